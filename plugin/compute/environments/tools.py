"""Runs uv and the conda tools: watched, cancellable, never leaving a process behind."""

from __future__ import annotations

import shutil
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from airflow_azureml.compute.environments.indexes import redact
from airflow_azureml.compute.guard_process import GuardProcess
from airflow_azureml.compute.process import run_process
from airflow_azureml.runtime.exceptions import EnvironmentBuildError, StepCanceled

TAIL_LINES = 100
"""Lines of a tool's output kept for the error."""

ESSENCE_LINES = 30
"""Lines of these that an error message shows."""

Report = Callable[[str], None]

_TELLING = ("Downloading ", "Building ", "warning: ")
"""Beginnings of uv's lines that a person who waits wants to see."""


class ToolFailed(Exception):
    """A tool ended badly.

    :param lines: the last lines it wrote, credentials replaced.
    """

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = list(lines)

    def essence(self) -> list[str]:
        """The lines from the error on, a long middle left out."""
        start = next((i for i, line in enumerate(self.lines) if line.startswith(("error:", "  \u00d7 "))), 0)
        lines = self.lines[start:]
        return lines if len(lines) <= ESSENCE_LINES else [*lines[:6], "…", *lines[7 - ESSENCE_LINES :]]


class ToolRunner:
    """Runs the programs that build one environment.

    :param variables: environment variables for them.
    :param report: told the lines worth telling.
    :param cancelled: stops a running program when set.
    :param lock_fd: descriptor of the build's lock. The guard of each program keeps it open: when this process is killed,
        nobody else starts to build before the last process of ours has stopped writing.
    """

    def __init__(
        self, variables: Mapping[str, str], report: Report, cancelled: threading.Event | None, lock_fd: int
    ) -> None:
        self.variables = variables
        self.report = report
        self._cancelled = cancelled
        self._lock_fd = lock_fd

    def run(self, argv: Sequence[str | Path]) -> list[str]:
        """Run a program to its end.

        :returns: the lines of its standard output.
        :raises ToolFailed: it failed.
        :raises StepCanceled: the build was cancelled.
        :raises RunEnvironmentException: it cannot be started.
        """
        tail: deque[str] = deque(maxlen=TAIL_LINES)
        output: list[str] = []

        def on_line(stream: str, line: str) -> None:
            if stream == "stdout":
                output.append(line)
            line = redact(line)
            tail.append(line)
            if line.lstrip().startswith(_TELLING):
                self.report(line.strip())

        status = run_process(
            argv,
            cwd="/",  # from anywhere else, uv would take settings of a project it finds around
            env=self.variables,
            on_line=on_line,
            grace_s=1.0,
            cancelled=self._cancelled,
            guard=GuardProcess((self._lock_fd,)),
        )
        if status.canceled:
            raise StepCanceled(
                "the build of the step's environment was stopped", reason="cancelled during the build"
            )
        if not status.succeeded:
            if status.code is None or not tail:
                tail.append(f"{Path(argv[0]).name}: {status.describe()}")
            raise ToolFailed(list(tail))
        return output


def uv_program() -> str:
    """The path of uv.

    :raises EnvironmentBuildError: it is not installed.
    """
    try:
        from uv import find_uv_bin

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
        if found is None:
            raise EnvironmentBuildError("uv is not installed; add it to the worker: pip install uv") from None
        return found


_ADVICE = (
    ("No solution found", "relax or correct the requirements, or choose another python_version"),
    ("unsatisfiable", "relax or correct the requirements, or choose another python_version"),
    (
        "No space left",
        "free space on the disk of the environment cache, or point it and UV_CACHE_DIR elsewhere",
    ),
    ("401 Unauthorized", "check the credentials of the package index (pip.conf, UV_INDEX_…, ~/.netrc)"),
    ("403 Forbidden", "check the credentials of the package index (pip.conf, UV_INDEX_…, ~/.netrc)"),
    (
        "invalid peer certificate",
        "set SSL_CERT_FILE to your company's certificate bundle, or cert in pip.conf",
    ),
    ("UnknownIssuer", "set SSL_CERT_FILE to your company's certificate bundle, or cert in pip.conf"),
    (
        "error sending request",
        "the index cannot be reached: check its address (pip.conf, UV_DEFAULT_INDEX) and the proxy",
    ),
    (
        "Failed to build",
        "there is no wheel for this Python: choose another version of the package or of Python",
    ),
    ("Couldn't parse requirement", "correct the requirement; each line is one requirement as pip takes it"),
)


def advice_for(lines: Sequence[str], otherwise: str) -> str:
    """One line on what to try after a failed build."""
    text = "\n".join(lines)
    return next((advice for sign, advice in _ADVICE if sign in text), otherwise)
