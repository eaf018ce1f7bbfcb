"""The script's output on its way to the task log, and into the log file of the run record."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

LOG_NAME = "user_logs/std_log.txt"
"""Name of the log file in the run record; where v1's newer runs keep what the script printed."""

MANY_LINES = 50
"""From so many lines that come together on, they become one record of the task log.

A record costs Airflow a third of a millisecond, however short its line: at one record a line a script that prints 1 GiB would
wait an hour for its log. Lines come together only when a script prints faster than they can be logged, so that a usual script
has a record, and a time, for each line.
"""

TASK_LOG_BYTES = 64 * 1024 * 1024
"""How much of a script's output the task log gets as it comes; more than anybody reads, and Airflow's viewer still opens it."""

LAST_BYTES = 256 * 1024
"""How much of what is beyond that follows at the end: the traceback, if there is one, is there."""

LOG_FILE_BYTES = 2 * 1024 * 1024 * 1024
"""How much of a script's output the run record keeps."""


class StepLog:
    """Passes lines on and keeps them.

    Used as a context: the end of output that was too long for the task log follows when it is left.

    :param path: the log file; it holds both streams in the order in which they came.
    :param say: writes one record to the task log.
    """

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb")
        self._say = say
        self._lines: list[str] = []
        self._last: deque[str] = deque()
        self._last_bytes = 0
        self._left_out_bytes = 0
        self._task_log_bytes = TASK_LOG_BYTES
        self._file_bytes = LOG_FILE_BYTES

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What is left in the buffer may meet a full disk.
        with suppress(OSError):
            self._file.close()
        if self._last:
            self._say(
                f"… {self._left_out_bytes - self._last_bytes:,} bytes are left out here; the last lines were:"
            )
            self._say("\n".join(self._last))

    def line(self, _stream: str, text: str) -> None:
        """Take one line of ``stdout`` or ``stderr``."""
        self._lines.append(text)

    def pass_on(self) -> None:
        """Pass on the lines taken since the last time: they came together."""
        if not self._lines:
            return
        text = "\n".join(self._lines)
        data = f"{text}\n".encode(errors="backslashreplace")
        # Airflow's time limit may strike anywhere here: better a line twice in the log than a line lost.
        if self._task_log_bytes > 0:
            self._show(text, len(data))
        else:
            self._hold_back(text, len(data))
        self._lines.clear()
        self._keep(data)

    def _show(self, text: str, size: int) -> None:
        if len(self._lines) >= MANY_LINES:
            self._say(text)
        else:
            for line in self._lines:
                self._say(line)
        self._task_log_bytes -= size
        if self._task_log_bytes <= 0:
            self._say(
                f"… the script has printed {TASK_LOG_BYTES >> 20} MiB: from here on only its last lines follow, at its end; "
                f"its whole output is kept with the run record, as {LOG_NAME}"
            )

    def _hold_back(self, text: str, size: int) -> None:
        self._left_out_bytes += size
        self._last_bytes += size
        self._last.append(text)
        while self._last_bytes > LAST_BYTES and len(self._last) > 1:
            self._last_bytes -= len(self._last.popleft().encode(errors="backslashreplace")) + 1

    def _keep(self, data: bytes) -> None:
        if self._file_bytes <= 0:
            return
        self._file_bytes -= len(data)
        try:
            self._file.write(data)
            if self._file_bytes <= 0:
                self._file.write(f"… the rest is not kept (over {LOG_FILE_BYTES >> 30} GiB)\n".encode())
        except OSError:
            # A full disk must not cost the task log its lines; the script will meet the same error itself.
            self._file_bytes = 0
