"""Runs a step's process: streamed output, exact exit status, and no process left behind, whatever happens."""

from __future__ import annotations

import array
import fcntl
import logging
import marshal
import os
import select
import signal
import termios
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec, Self

from airflow_azureml.compute.guard_process import GuardProcess
from airflow_azureml.compute.limits import Limits
from airflow_azureml.compute.process_output import READ_SIZE, LineSplitter, OnLine, OnPause
from airflow_azureml.compute.process_status import ExitStatus
from airflow_azureml.runtime.exceptions import RunEnvironmentException

log = logging.getLogger(__name__)
P = ParamSpec("P")

CANCEL_CHECK_MS = 50
"""How soon a cancel is seen: the event that asks for it cannot be waited for together with pipes."""


def run_process(
    argv: Sequence[str | os.PathLike[str]],
    *,
    cwd: str | os.PathLike[str],
    env: Mapping[str, str],
    on_line: OnLine,
    on_pause: OnPause | None = None,
    limits: Limits | None = None,
    grace_s: float = 10.0,
    cancelled: threading.Event | None = None,
    timeout_s: float | None = None,
    guard: GuardProcess | None = None,
) -> ExitStatus:
    """Run a program to its end, in a session of its own, under a guard that outlives this process.

    Whatever the program has started and left is killed when it ends. To stop it (``cancelled``, ``timeout_s``, an
    exception in this thread such as Airflow's task timeout) its process group gets SIGTERM and, after ``grace_s``, the
    whole tree SIGKILL, daemons and other sessions included; output is delivered up to the end. If this process dies,
    the guard does the same with half a second of grace. Only the guard's own death by SIGKILL limits this to the
    program itself and its process group. Standard input is empty, and no descriptor of this process reaches the program.

    On systems other than Linux, descendants that leave the process group are not found.

    :param argv: program and arguments; a name without a slash is looked up on ``env``'s PATH.
    :param cwd: working directory.
    :param env: the program's whole environment.
    :param on_line: called with ``"stdout"`` or ``"stderr"`` and a line, in this thread, as the lines come; see
        :class:`~airflow_azureml.compute.process_output.LineSplitter`. A slow callback slows the program down.
    :param on_pause: called when what could be read at once has been delivered, for a receiver that passes lines on
        together; the more often it is called the fewer lines there are.
    :param limits: memory and CPU limits.
    :param grace_s: seconds between SIGTERM and SIGKILL.
    :param cancelled: stops the program when set, from any thread or signal handler.
    :param timeout_s: stops the program after so many seconds.
    :param guard: a guard that was started before, a new one by default; it ends with the program. A lock held through one
        of its ``keep_fds`` stays held for as long as anything of the program can still write, even when this process is
        killed.
    :returns: how it ended. A bad end is no error here.
    :raises RunEnvironmentException: the program cannot be started.
    """
    limits = limits or Limits()
    plan = {
        "argv": [os.fsencode(part) for part in argv],
        "cwd": os.fsencode(cwd),
        "env": {os.fsencode(name): os.fsencode(value) for name, value in env.items()},
        "memory_bytes": limits.memory_bytes,
        "cpus": limits.cpus,
        "grace_s": grace_s,
        "timeout_s": timeout_s,
    }
    oom_kills = _oom_kills()
    with _Supervision(guard or GuardProcess(), plan, on_line, on_pause or (lambda: None)) as supervision:
        supervision.follow(cancelled)
    return supervision.status(oom_kills)


class _Supervision:
    """One program under its guard, seen from the worker."""

    def __init__(self, guard: GuardProcess, plan: dict[str, Any], on_line: OnLine, on_pause: OnPause) -> None:
        self._argv0 = os.fsdecode(plan["argv"][0])
        self._on_line = on_line
        self._on_pause = on_pause
        self._canceled = False
        self._stopping = False
        self._pid = 0
        self._ended: dict[str, Any] | None = None
        self._failed = ""
        self._frames = bytearray()
        self._guard = guard
        self._channel = guard.channel
        self._streams = {fd: LineSplitter(name, on_line) for fd, name in guard.outputs.items()}
        self._poller = select.poll()
        for fd in (self._channel.fileno(), *self._streams):
            self._poller.register(fd, select.POLLIN)
        guard.send(plan)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        try:
            if kind is not None:
                # An exception came from the callback or out of a signal handler. The step gets its grace, and the
                # reader of the log its last words.
                self.stop()
                for splitter in self._streams.values():
                    splitter.on_line = _forgiving(self._on_line)
                self._on_pause = _forgiving(self._on_pause)
                self.follow(None)
        finally:
            self._guard.close()

    def stop(self) -> None:
        """Ask the guard to stop the program; asking again changes nothing."""
        if self._stopping:
            return
        self._stopping = True
        try:
            self._channel.send(b"T")
        except OSError:
            pass

    def follow(self, cancelled: threading.Event | None) -> None:
        """Deliver output until the guard reports the end of the program and of all it has started."""
        open_channel = True
        while open_channel:
            for fd, _ in self._poller.poll(None if cancelled is None or self._stopping else CANCEL_CHECK_MS):
                if fd == self._channel.fileno():
                    open_channel = self._hear()
                else:
                    self._read_waiting(fd, at_least=1)
            if cancelled is not None and not self._stopping and cancelled.is_set():
                self._canceled = True
                self.stop()
        if self._ended is None and not self._failed:
            self._kill_group()
        self._drain()

    def _hear(self) -> bool:
        """Take what the guard says; whether it may say more."""
        try:
            data = self._channel.recv(65536)
        except OSError:
            data = b""
        self._frames += data
        while len(self._frames) >= 4:
            size = int.from_bytes(self._frames[:4], "big")
            if len(self._frames) < 4 + size:
                break
            kind, *details = marshal.loads(bytes(self._frames[4 : 4 + size]))
            del self._frames[: 4 + size]
            if kind == "started":
                (self._pid,) = details
            elif kind == "failed":
                self._failed = details[1]
            elif kind == "broken":
                log.error("the guard of process %s failed: %s", self._pid, details[0])
            else:
                (self._ended,) = details
        return bool(data) and self._ended is None and not self._failed

    def _read_waiting(self, fd: int, at_least: int) -> None:
        """Deliver all that waits in a stream, no more.

        All, for the order of the two streams: when stderr has something to read, what was printed to stdout before it is in
        that one's pipe already, and stdout is read first.

        :param at_least: 1 if ``poll`` said that there is something to read: it may be the stream's end, which has no bytes.
        """
        waiting = array.array("i", [0])
        fcntl.ioctl(fd, termios.FIONREAD, waiting)
        left = max(waiting[0], at_least)
        while left > 0 and fd in self._streams:
            left -= self._read(fd, min(left, READ_SIZE))
            self._on_pause()

    def _read(self, fd: int, size: int) -> int:
        """Deliver what a stream has; returns how much that was."""
        data = os.read(fd, size)
        if data:
            self._streams[fd].feed(data)
        else:
            self._poller.unregister(fd)
            self._streams.pop(fd).finish()
            self._guard.end_output(fd)
        return len(data)

    def _drain(self) -> None:
        """Deliver what is in the pipes now, no more.

        Nothing of the step is alive any more, but an end of file need not come: the step may have handed its output to
        a process that is not its descendant.
        """
        for fd in list(self._streams):
            self._read_waiting(fd, at_least=0)
        for splitter in self._streams.values():
            splitter.finish()
        self._on_pause()

    def _kill_group(self) -> None:
        """The guard is gone, killed most likely: kill what can be found without it."""
        if self._pid:
            try:
                os.killpg(self._pid, signal.SIGKILL)
            except OSError:
                pass

    def status(self, oom_kills_before: int) -> ExitStatus:
        """How the program ended.

        :param oom_kills_before: the kernel's count of victims at the start.
        :raises RunEnvironmentException: it could not be started.
        """
        if self._failed:
            raise RunEnvironmentException(f"cannot start {self._argv0}: {self._failed}")
        if self._ended is None:
            return ExitStatus(code=None, signal=None, canceled=self._canceled, guard_lost=True)
        ended = dict(self._ended)
        status = ended.pop("status")
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        stopped = self._stopping or ended["timed_out"] or ended["memory_exceeded_bytes"]
        return ExitStatus(
            code=os.WEXITSTATUS(status) if number is None else None,
            signal=number,
            canceled=self._canceled,
            oom=number == signal.SIGKILL and not stopped and _oom_kills() > oom_kills_before,
            **ended,
        )


def _forgiving(callback: Callable[P, None]) -> Callable[P, None]:
    """A callback whose errors do not stop the delivery: the first one is already on its way to the caller."""

    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            callback(*args, **kwargs)
        except Exception:
            log.debug("some output was not delivered", exc_info=True)

    return call


def _oom_kills() -> int:
    """How many processes the kernel has killed for want of memory since it was started."""
    try:
        with Path("/proc/vmstat").open("rb") as counters:
            for line in counters:
                if line.startswith(b"oom_kill "):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0
