"""The guard: a small process between the worker and a step's process tree.

Run as a program by :mod:`airflow_azureml.compute.guard_process`, never imported there. It exists because a worker can be
killed with SIGKILL, and then nothing of the worker's own is left to clean up: the guard notices the end of its channel
and takes the step's tree down. As a *subreaper* it inherits every process that the step's children abandon, also those
that became daemons or left the session, so "no process left" can be known, not hoped for.

It starts before every step, so it imports little: ``_signal`` because ``signal`` pulls in ``enum`` (8 ms), ``marshal``
because ``json`` pulls in ``re`` (14 ms). Both ends are the same interpreter, so the worker also sends this module's code
ready compiled, while the guard's interpreter is still starting: compiling it there would take as long as starting it.

File descriptors at the start: 0 the channel to the worker (a stream socket), 1 and 2 the step's stdout and stderr.
Frames on the channel are four bytes of length and a marshalled value. The worker sends code and plan, then at most a byte
``T`` ("stop the step"); the guard answers ``("started", pid)`` or ``("failed", errno, text)``, then ``("ended", {…})``.
"""

from __future__ import annotations

import marshal
import os
import select
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable
    from typing import Any
else:
    import _signal

LINUX = sys.platform == "linux"
CHANNEL = 0
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
SWEEP_LIMIT_S = 10.0
"""How long the guard tries to get rid of processes that do not die (uninterruptible sleep, another user's)."""
ORPHANED_GRACE_S = 0.5
"""Grace after the worker's death: nobody reads the output any more, and a retry may start at once."""
MEMORY_CHECK_S = 0.5
OOM_SCORE_ADJUST = 300
"""When memory runs out the kernel should take the step and not the worker or the scheduler."""


def read_exactly(fd: int, size: int) -> bytes:
    """Read ``size`` bytes, fewer only at the end of the stream."""
    parts = []
    while size:
        part = os.read(fd, size)
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def send(message: tuple[Any, ...]) -> None:
    """Send a frame to the worker; a worker that is gone does not matter here, the channel's end tells."""
    frame = marshal.dumps(message)
    try:
        os.write(CHANNEL, len(frame).to_bytes(4, "big") + frame)
    except OSError:
        pass


def prctl_function() -> Callable[[int, int], object]:
    """Linux's ``prctl``; elsewhere a function that does nothing (abandoned grandchildren then escape)."""
    if not LINUX:
        return lambda _option, _value: None
    import ctypes

    function = ctypes.CDLL(None).prctl
    return lambda option, value: function(option, value, 0, 0, 0)


def apply_limits(plan: dict[str, Any]) -> None:
    """Memory and CPU limits, in the child before it becomes the step."""
    if plan["memory_bytes"]:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (plan["memory_bytes"], plan["memory_bytes"]))
    if plan["cpus"] and LINUX:
        allowed = sorted(os.sched_getaffinity(0))
        # Start at another CPU in each step: all limited steps on CPU 0 would be a bottleneck of our making.
        first = os.getpid() % len(allowed)
        count = min(plan["cpus"], len(allowed))
        os.sched_setaffinity(0, [allowed[(first + i) % len(allowed)] for i in range(count)])


def prefer_for_out_of_memory() -> None:
    """Make this process a better victim of the kernel's out-of-memory killer than its worker."""
    try:
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    except OSError:
        return
    try:
        os.write(fd, str(OOM_SCORE_ADJUST).encode())
    except OSError:
        pass
    os.close(fd)


def become_step(
    plan: dict[str, Any], guard_pid: int, problem_fd: int, prctl: Callable[[int, int], object]
) -> None:
    """Turn the forked child into the step; never returns."""
    try:
        os.setpgid(0, 0)
        prctl(PR_SET_PDEATHSIG, _signal.SIGKILL)
        if os.getppid() != guard_pid:
            os._exit(127)
        prefer_for_out_of_memory()
        apply_limits(plan)
        os.chdir(plan["cwd"])
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        for number in (
            _signal.SIGPIPE,
            _signal.SIGXFSZ,
        ):  # the interpreter ignores these, a step expects defaults
            _signal.signal(number, _signal.SIG_DFL)
        os.execvpe(plan["argv"][0], plan["argv"], plan["env"])
    except BaseException as error:  # noqa: BLE001 - a fork of the guard must not go on as a second one
        os.write(problem_fd, marshal.dumps((getattr(error, "errno", None), str(error))))
    os._exit(127)


def start_step(plan: dict[str, Any], prctl: Callable[[int, int], object]) -> int:
    """Start the step's process and say so to the worker; returns its pid, or 0 if it could not be started."""
    problem_in, problem_out = os.pipe()
    guard_pid = os.getpid()
    pid = os.fork()
    if pid == 0:
        become_step(plan, guard_pid, problem_out, prctl)
    os.close(problem_out)
    problem = read_exactly(
        problem_in, 65536
    )  # ends when the child has become the step: the pipe closes on exec
    os.close(problem_in)
    if problem:
        os.waitpid(pid, 0)
        send(("failed", *marshal.loads(problem)))
        return 0
    send(("started", pid))
    return pid


def process_table() -> dict[int, tuple[int, str]]:
    """``{pid: (parent pid, state)}`` of all processes; empty where there is no ``/proc``."""
    table: dict[int, tuple[int, str]] = {}
    try:
        names = os.listdir("/proc")
    except OSError:
        return table
    for name in names:
        if not name.isdigit():
            continue
        text = read_text("/proc/" + name + "/stat")
        fields = text[text.rfind(")") + 2 :].split(" ", 2)  # the command name may hold spaces and brackets
        if len(fields) == 3:
            table[int(name)] = (int(fields[1]), fields[0])
    return table


def read_text(path: str) -> str:
    """A small file's text, empty if it is gone."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        return os.read(fd, 8192).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(fd)


def descendants(root: int) -> list[int]:
    """Pids of the living processes below ``root``."""
    table = process_table()
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in table.items():
        children.setdefault(parent, []).append(pid)
    found, queue = [], [root]
    while queue:
        for pid in children.get(queue.pop(), ()):
            queue.append(pid)
            if table[pid][1] not in "ZX":
                found.append(pid)
    return found


def resident_bytes(pid: int) -> int:
    """Resident memory of one process."""
    fields = read_text("/proc/%d/statm" % pid).split()
    return int(fields[1]) * os.sysconf("SC_PAGESIZE") if len(fields) > 1 else 0


def proportional_bytes(pid: int) -> int:
    """Memory of one process, pages shared with others counted in part; resident memory where the kernel hides it."""
    for line in read_text("/proc/%d/smaps_rollup" % pid).splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return resident_bytes(pid)


def tree_memory(limit: int) -> int:
    """Memory of all processes below this one; the cheap figure while that is below ``limit``."""
    pids = descendants(os.getpid())
    total = sum(resident_bytes(pid) for pid in pids)
    return total if total <= limit else sum(proportional_bytes(pid) for pid in pids)


class Guard:
    """Waits for the step's end, the worker's word, the worker's death and the limits; then clears the tree."""

    def __init__(self, plan: dict[str, Any], pid: int) -> None:
        self.plan = plan
        self.pid = pid
        self.status: int | None = None
        self.peak_memory = 0
        self.timed_out = False
        self.memory_exceeded = 0
        self.killed: set[int] = set()
        self.stop_requested = False
        self.kill_at: float | None = None
        started = time.monotonic()
        self.deadline = started + plan["timeout_s"] if plan["timeout_s"] is not None else None
        self.memory_check_at = started + MEMORY_CHECK_S if plan["memory_bytes"] else None
        self.started = started
        self.poller = select.poll()
        self.poller.register(CHANNEL, select.POLLIN)
        self.wakeup = self.install_handlers()
        self.poller.register(self.wakeup, select.POLLIN)

    def install_handlers(self) -> int:
        """Let signals end the poll: SIGCHLD, and SIGTERM and the like sent to the guard itself."""
        wakeup, signal_fd = os.pipe()
        os.set_blocking(wakeup, False)
        os.set_blocking(signal_fd, False)
        _signal.set_wakeup_fd(signal_fd)
        _signal.signal(_signal.SIGCHLD, lambda *_: None)
        for number in (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP):
            _signal.signal(number, lambda *_: self.stop(self.plan["grace_s"]))
        return wakeup

    def run(self) -> None:
        """Watch until the step's own process has ended."""
        self.reap()  # it may have ended before the handlers stood
        while self.status is None:
            self.wait(self.next_event())
            self.reap()
            self.check_clock()

    def next_event(self) -> float | None:
        """When the clock next matters."""
        times = [t for t in (self.deadline, self.kill_at, self.memory_check_at) if t is not None]
        return min(times) if times else None

    def wait(self, until: float | None) -> None:
        """Wait for a signal, a word from the worker, or the clock."""
        timeout_ms = None if until is None else max(0, int((until - time.monotonic()) * 1000) + 1)
        for fd, _ in self.poller.poll(timeout_ms):
            if fd == self.wakeup:
                os.read(fd, 4096)
            else:
                self.hear()

    def hear(self) -> None:
        """Act on what came over the channel."""
        try:
            word = os.read(CHANNEL, 16)
        except OSError:
            word = b""
        if word:
            self.stop(self.plan["grace_s"])
        else:
            self.poller.unregister(CHANNEL)
            self.stop(min(self.plan["grace_s"], ORPHANED_GRACE_S))

    def stop(self, grace_s: float) -> None:
        """SIGTERM to the step's process group now, SIGKILL to the whole tree after the grace; the earlier end holds."""
        if not self.stop_requested:
            self.stop_requested = True
            signal_group(self.pid, _signal.SIGTERM)
        at = time.monotonic() + grace_s
        self.kill_at = at if self.kill_at is None else min(at, self.kill_at)

    def check_clock(self) -> None:
        """Time limit, end of the grace, memory."""
        now = time.monotonic()
        if self.deadline is not None and now >= self.deadline:
            self.deadline = None
            if self.status is None and not self.stop_requested:
                self.timed_out = True
                self.stop(self.plan["grace_s"])
        if self.kill_at is not None and now >= self.kill_at:
            self.sweep()
        if self.memory_check_at is not None and now >= self.memory_check_at:
            self.memory_check_at = now + MEMORY_CHECK_S
            used = tree_memory(self.plan["memory_bytes"])
            if used > self.plan["memory_bytes"]:
                self.memory_exceeded = used
                self.sweep()

    def reap(self) -> bool:
        """Collect ended processes; whether any child is left."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.pid:
                self.status = status
                self.ended = time.monotonic()
                self.peak_memory = usage.ru_maxrss * (1024 if LINUX else 1)

    def sweep(self) -> None:
        """Kill all that is left below this process and wait until it is gone.

        Done when there is no child any more: a subreaper inherits whatever its descendants abandon. The tree is listed
        again after each round, for processes that were forked meanwhile.
        """
        give_up_at = time.monotonic() + SWEEP_LIMIT_S
        # Only while the step lives: afterwards its group's number may be in use again. Elsewhere there is no other way.
        if self.status is None or not LINUX:
            signal_group(self.pid, _signal.SIGKILL)
        while self.reap() and time.monotonic() < give_up_at:
            for pid in descendants(os.getpid()):
                try:
                    os.kill(pid, _signal.SIGKILL)
                    self.killed.add(pid)
                except OSError:
                    pass
            self.wait_for_child(0.05)

    def wait_for_child(self, seconds: float) -> None:
        """Wait for a signal, most likely that a child ended."""
        if select.select([self.wakeup], [], [], seconds)[0]:
            os.read(self.wakeup, 4096)

    def report(self) -> tuple[str, dict[str, Any]]:
        """What the worker is told at the end."""
        return (
            "ended",
            {
                "status": self.status,
                "duration_s": self.ended - self.started,
                "timed_out": self.timed_out,
                "memory_exceeded_bytes": self.memory_exceeded,
                "peak_memory_bytes": self.peak_memory,
                "leftovers_killed": len(self.killed - {self.pid}),
                "leftovers_alive": len(descendants(os.getpid())) if self.reap() else 0,
            },
        )


def signal_group(pid: int, number: int) -> None:
    """Signal the process group of the step, if there is still one."""
    try:
        os.killpg(pid, number)
    except OSError:
        pass


def main(plan: dict[str, Any]) -> None:
    """Run the step, clear up, report; called by the worker's bootstrap with the worker's plan."""
    try:
        run(plan)
    except BaseException as error:  # noqa: BLE001 - told to the worker, which waits
        send(("broken", repr(error)))
    finally:
        os._exit(0)  # nothing to clean up in the interpreter, and a worker waits


def run(plan: dict[str, Any]) -> None:
    """Run the step, clear up, report."""
    for fd in plan["keep_fds"]:  # kept open for as long as the guard lives, and not given to the step
        os.set_inheritable(fd, False)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    prctl = prctl_function()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    pid = start_step(plan, prctl)
    null = os.open(os.devnull, os.O_RDWR)  # the step's pipes must end with the step
    os.dup2(null, 1)
    os.dup2(null, 2)
    if pid:
        guard = Guard(plan, pid)
        guard.run()
        guard.sweep()
        send(guard.report())
