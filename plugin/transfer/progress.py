"""How far a transfer is, in lines for a task log."""

from __future__ import annotations

import time
from collections.abc import Callable

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")


class Progress:
    """Counts, and says from time to time how far it is.

    :param files: how many files there are to work on.
    :param size_bytes: their bytes.
    :param tell: takes a line.
    :param every_s: how often to say something.
    """

    def __init__(
        self, files: int, size_bytes: int, tell: Callable[[str], None], every_s: float = 10.0
    ) -> None:
        self._files = files
        self._size_bytes = size_bytes
        self._tell = tell
        self._every_s = every_s
        self._began = self._said = time.monotonic()
        self._done_files = self._done_bytes = 0

    def file_done(self, size_bytes: int) -> None:
        """Count a file."""
        self._done_files += 1
        self._done_bytes += size_bytes

    def say(self, passing_bytes: int) -> None:
        """Say a line if it is time for one.

        :param passing_bytes: bytes that went through so far, those of unfinished files among them.
        """
        now = time.monotonic()
        if now - self._said < self._every_s:
            return
        self._said = now
        self._tell(self.line(passing_bytes, now - self._began))

    def line(self, passing_bytes: int, seconds: float) -> str:
        """Write how far it is."""
        done = min(self._size_bytes, max(self._done_bytes, passing_bytes))
        rate = done / seconds if seconds > 0 else 0.0
        share = done / self._size_bytes if self._size_bytes else self._done_files / max(1, self._files)
        left = f", {duration((self._size_bytes - done) / rate)} left" if rate else ""
        return (
            f"{self._done_files:,} of {self._files:,} files, {size(done)} of {size(self._size_bytes)} ({share:.0%}), "
            f"{size(rate)}/s{left}"
        )


def size(size_bytes: float) -> str:
    """Write a number of bytes for people."""
    unit = 0
    while size_bytes >= 1024 and unit < len(_UNITS) - 1:
        size_bytes /= 1024
        unit += 1
    return f"{size_bytes:.0f} {_UNITS[unit]}" if unit == 0 else f"{size_bytes:.1f} {_UNITS[unit]}"


def duration(seconds: float) -> str:
    """Write a duration for people: ``7 s``, ``3:05 min``, ``2:10 h``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"
