"""Starts the guard of a step's process, see :mod:`airflow_azureml.compute.guard`, and gives it its plan when that is known."""

from __future__ import annotations

import fcntl
import marshal
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any, Self

from airflow_azureml.runtime.exceptions import RunEnvironmentException

_BOOTSTRAP = """\
import marshal, os, select, sys, time
if sys.platform == "linux":
    import ctypes  # what the guard needs is imported while the worker still prepares the step
size, data = int.from_bytes(os.read(0, 4) or os._exit(0), "big"), b""
while len(data) < size:
    data += os.read(0, size - len(data)) or os._exit(0)
code, plan = marshal.loads(data)
names = {"__name__": "guard"}
exec(code, names)
names["main"](plan)
"""
PIPE_SIZE = 1024 * 1024
"""A step that writes in bursts need not wait for each line to be logged. The most an unprivileged user gets."""


class GuardProcess:
    """A guard that waits for its plan.

    Its interpreter takes as long to start as a step takes to prepare; started before that, it is ready when the step is.
    Used as a context: a guard that got no plan ends with it.

    :param keep_fds: descriptors that the guard keeps open until no process is left.
    """

    def __init__(self, keep_fds: Sequence[int] = ()) -> None:
        self.keep_fds = tuple(keep_fds)
        self.outputs: dict[int, str] = {}
        """Reading ends of the program's output, and their names."""
        self.channel, guard_end = socket.socketpair()
        with guard_end:
            writing = [self._open_output("stdout"), self._open_output("stderr")]
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", _BOOTSTRAP],
                    stdin=guard_end.fileno(),
                    stdout=writing[0],
                    stderr=writing[1],
                    # Nothing of the worker's environment: a step may read its parent's in /proc.
                    env={name: value for name, value in os.environ.items() if name == "LD_LIBRARY_PATH"},
                    cwd="/",
                    start_new_session=True,
                    pass_fds=self.keep_fds,
                )
            except BaseException:
                self.close()
                raise
            finally:
                for fd in writing:
                    os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self.close()

    def send(self, plan: Mapping[str, Any]) -> None:
        """Let the guard start the program.

        :param plan: see :func:`airflow_azureml.compute.guard.run`.
        """
        frame = marshal.dumps((_guard_code(), {**plan, "keep_fds": self.keep_fds}))
        try:
            self.channel.sendall(len(frame).to_bytes(4, "big") + frame)
        except OSError:
            pass  # a guard that is gone already shows as the channel's end

    def end_output(self, fd: int) -> None:
        """Close the reading end of an output."""
        del self.outputs[fd]
        os.close(fd)

    def close(self) -> None:
        """Let go of the guard and wait for its end: to one that still runs this is the worker's death."""
        self.channel.close()
        for fd in list(self.outputs):
            self.end_output(fd)
        if hasattr(self, "_process"):
            self._process.wait()

    def _open_output(self, name: str) -> int:
        """Make the pipe of an output; returns its writing end."""
        reading, writing = os.pipe()
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            try:
                fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
            except OSError:
                pass  # the user's share of pipe memory is used up; the default size does
        self.outputs[reading] = name
        return writing


def _guard_code() -> CodeType:
    """The guard's module, compiled; from the byte code cache if there is one."""
    path = str(Path(__file__).with_name("guard.py"))
    code = SourceFileLoader("guard", path).get_code("guard")
    if code is None:
        raise RunEnvironmentException(f"{path} is missing; install the package again")
    return code
