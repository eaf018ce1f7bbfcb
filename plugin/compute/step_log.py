"""The script's output on its way to the task log, and into the log file of the run record."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

MAX_LOG_FILE_BYTES = 64 * 1024 * 1024
"""How much of a script's output the run record keeps; the task log gets all of it."""

MANY_LINES = 50
"""From so many lines that come together on, they become one record of the task log.

A record costs Airflow a third of a millisecond, however short its line: at one record a line a script that prints 1 GiB would
wait an hour for its log. Lines come together only when a script prints faster than they can be logged, so that a usual script
has a record, and a time, for each line.
"""


class StepLog:
    """Passes lines on and keeps them.

    :param path: the log file; it holds both streams in the order in which they came.
    :param say: writes one record to the task log.
    """

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="utf-8", errors="backslashreplace")
        self._say = say
        self._left_bytes = MAX_LOG_FILE_BYTES
        self._lines: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What is left in the buffer may meet a full disk.
        with suppress(OSError):
            self._file.close()

    def line(self, _stream: str, text: str) -> None:
        """Take one line of ``stdout`` or ``stderr``."""
        self._lines.append(text)

    def pass_on(self) -> None:
        """Pass on the lines taken since the last time: they came together."""
        if not self._lines:
            return
        text = "\n".join(self._lines)
        # Airflow's time limit may strike anywhere here: better a line twice in the log than a line lost.
        if len(self._lines) >= MANY_LINES:
            self._say(text)
        else:
            for line in self._lines:
                self._say(line)
        self._lines.clear()
        self._keep(text)

    def _keep(self, text: str) -> None:
        if self._left_bytes <= 0:
            return
        self._left_bytes -= len(text.encode(errors="backslashreplace")) + 1
        try:
            self._file.write(f"{text}\n")
            if self._left_bytes <= 0:
                self._file.write(
                    f"… the rest is in the task log only (over {MAX_LOG_FILE_BYTES >> 20} MiB)\n"
                )
        except OSError:
            # A full disk must not cost the task log its lines; the script will meet the same error itself.
            self._left_bytes = 0
