"""From the bytes a step writes to lines of a log."""

from __future__ import annotations

import time
from collections.abc import Callable

MAX_LINE = 64 * 1024
"""Longer lines are delivered in pieces, so that a line never has to fit into memory whole."""
READ_SIZE = 32 * 1024
"""Bytes worth reading at once: below ``MAX_LINE``, so that a usual block needs no look at its single lines."""
PROGRESS_INTERVAL_S = 1.0
"""How often a progress bar that redraws itself on one line gets into the log."""

OnLine = Callable[[str, str], None]
OnPause = Callable[[], None]

_NOISE = bytes(
    {*range(32), 127} - {9, 10, 27}
)  # tab and newline are text, ESC begins colours that log viewers show
# Bytes that are not UTF-8 are decoded to surrogates first: the codec does that quickly, "backslashreplace" does not.
_ESCAPES = {code: f"\\x{code:02x}" for code in _NOISE} | {
    0xDC00 + byte: f"\\x{byte:02x}" for byte in range(128, 256)
}


class LineSplitter:
    r"""Turns one stream of a step into lines for a callback.

    - A line ends at ``\n`` or ``\r\n``; the last one needs no end.
    - A bare ``\r`` redraws the line, as progress bars do: what is drawn over is dropped, but once a second one state of
      it is delivered, so that a long download stays visible.
    - Lines above :data:`MAX_LINE` come in pieces.
    - What is not UTF-8, and control characters other than tab and ESC, arrive as ``\xNN``.

    :param stream: name of the stream, passed on to the callback.
    :param on_line: called with the stream's name and the line without its end.
    :param clock: seconds, monotonic.
    """

    def __init__(self, stream: str, on_line: OnLine, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self.on_line = on_line
        self._clock = clock
        self._pending = b""
        self._shown: str | None = None
        self._shown_at = clock()

    def feed(self, data: bytes) -> None:
        """Take the next bytes and deliver the lines they complete."""
        head, newline, tail = data.rpartition(b"\n")
        if newline:
            block, self._pending = self._pending + head, tail
            self._deliver_block(block)
        else:
            self._pending += data
        if b"\r" in self._pending:
            self._fold_progress()
        while len(self._pending) > MAX_LINE:
            self._pending = self._deliver_piece(self._pending)

    def finish(self) -> None:
        """Deliver the line that was begun and not ended."""
        if self._pending:
            block, self._pending = self._pending, b""
            self._deliver_block(block)

    def _deliver_block(self, block: bytes) -> None:
        """Deliver whole lines, the last one without its newline."""
        text = self._plain_text(block)
        if text is None:
            for line in block.split(b"\n"):
                self._deliver_line(line)
            return
        stream, on_line = self._stream, self.on_line
        for plain in text.split("\n"):
            on_line(stream, plain)

    def _plain_text(self, block: bytes) -> str | None:
        """The text of a block whose lines can be delivered as they are, which is nearly always so."""
        # bytes.translate is the fastest way to see whether a block holds certain bytes.
        if (
            len(block) > MAX_LINE
            or self._shown is not None
            or len(block.translate(None, _NOISE)) != len(block)
        ):
            return None
        try:
            return block.decode()
        except UnicodeDecodeError:
            return None

    def _deliver_line(self, line: bytes) -> None:
        line = _visible(line)
        while len(line) > MAX_LINE:
            line = self._deliver_piece(line)
        text = _escape(line)
        shown, self._shown = self._shown, None
        if text != shown:  # else a progress bar ended in the state that was delivered last
            self.on_line(self._stream, text)

    def _deliver_piece(self, line: bytes) -> bytes:
        """Deliver the first ``MAX_LINE`` bytes of a line, not cutting a character; returns the rest."""
        cut = MAX_LINE
        while cut > MAX_LINE - 4 and 0x80 <= line[cut] < 0xC0:
            cut -= 1
        self.on_line(self._stream, _escape(line[:cut]))
        return line[cut:]

    def _fold_progress(self) -> None:
        """Keep only the last state of a line that redraws itself; deliver a finished state now and then."""
        finished, _, current = self._pending.rpartition(b"\r")
        state = _visible(finished)
        if state and self._clock() - self._shown_at >= PROGRESS_INTERVAL_S:
            self._shown_at = self._clock()
            text = _escape(state)
            if text != self._shown:
                self._shown = text
                self.on_line(self._stream, text)
        self._pending = current or state + b"\r"


def _visible(line: bytes) -> bytes:
    r"""What a terminal shows of a line with ``\r`` in it."""
    return line.rstrip(b"\r").rpartition(b"\r")[2] if b"\r" in line else line


def _escape(line: bytes) -> str:
    return line.decode("utf-8", "surrogateescape").translate(_ESCAPES)
