"""The script's output on its way to the task log, and into the log file of the run record."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

MAX_LOG_FILE_BYTES = 64 * 1024 * 1024
"""How much of a script's output the run record keeps; the task log gets all of it."""


class StepLog:
    """Passes lines on and keeps them.

    :param path: the log file; it holds both streams in the order in which they came.
    :param say: writes one line to the task log.
    """

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="utf-8", errors="backslashreplace")
        self._say = say
        self._left_bytes = MAX_LOG_FILE_BYTES

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
        self._say(text)
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
