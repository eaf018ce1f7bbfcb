"""Delimited text whose records end with their line, also when a quoted field is still open there.

This is v1's ``support_multi_line=False``: a stray quote spoils its own line and not the rest of the file.
"""

from __future__ import annotations

import io
from typing import TextIO


class LineRecords(io.TextIOBase):
    """A readable text stream that closes quoted fields at the end of each line.

    :param stream: the file, opened with ``newline=""``.
    :param separator: what separates fields.
    """

    def __init__(self, stream: TextIO, separator: str) -> None:
        self._stream = stream
        self._separator = separator

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1) -> str:
        """Return about ``size`` characters, up to the end of a line; an empty text at the end."""
        text = self._stream.read(-1 if size is None else size)
        if size is not None and size >= 0:
            text += self._stream.readline()
        if '"' not in text:
            return text
        return "".join(self._closed(line) for line in io.StringIO(text, newline=""))

    def readline(self, size: int = -1) -> str:  # type: ignore[override]
        """Return the next line, whole."""
        return self._closed(self._stream.readline())

    def __next__(self) -> str:  # type: ignore[override]
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
        super().close()

    def _closed(self, line: str) -> str:
        # An even number of quotes leaves no field open, but for a quote within an unquoted field: too rare to
        # look at every line for it.
        if line.count('"') % 2 == 0 or not _ends_open(line, self._separator):
            return line
        body = line.rstrip("\r\n")
        return body + '"' + line[len(body) :]


def _ends_open(line: str, separator: str) -> bool:
    start = 0
    while start >= 0:
        after = _field_end(line, start)
        if after is None:
            return True
        found = line.find(separator, after)
        start = -1 if found < 0 else found + len(separator)
    return False


def _field_end(line: str, start: int) -> int | None:
    """Return the position behind a quoted field that starts here, ``start`` if it isn't quoted, None if it is open."""
    if not line.startswith('"', start):
        return start
    position = start + 1
    while True:
        quote = line.find('"', position)
        if quote < 0:
            return None
        if not line.startswith('""', quote):
            return quote + 1
        position = quote + 2
