"""What a step writes becomes lines of the log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_azureml.compute.process_output import MAX_LINE, LineSplitter


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def lines_of(*parts: bytes, clock: Clock | None = None) -> list[str]:
    delivered: list[str] = []
    splitter = LineSplitter("stdout", lambda stream, line: delivered.append(line), clock or Clock())
    for part in parts:
        splitter.feed(part)
    splitter.finish()
    return delivered


def test_the_stream_is_named_with_every_line() -> None:
    delivered: list[tuple[str, str]] = []
    LineSplitter("stderr", lambda stream, line: delivered.append((stream, line))).feed(b"a\nb\n")
    assert delivered == [("stderr", "a"), ("stderr", "b")]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((b"one\ntwo\n",), ["one", "two"]),
        ((b"on", b"e\ntw", b"o\n"), ["one", "two"]),
        ((b"no newline at the end",), ["no newline at the end"]),
        ((b"\n\nx\n",), ["", "", "x"]),
        ((b"windows\r\nends\r\n",), ["windows", "ends"]),
        ((b"split between\r", b"\nthe two"), ["split between", "the two"]),
        ((b"\xc3", b"\xa4\n"), ["ä"]),
        ((b"tab\tand \x1b[31mcolour\x1b[0m\n",), ["tab\tand \x1b[31mcolour\x1b[0m"]),
        ((b"\x00\x07 \xff\xfe \xc3\xa4\n",), ["\\x00\\x07 \\xff\\xfe ä"]),
        (("no \x85 end \u2028 of line\n".encode(),), ["no \x85 end \u2028 of line"]),
    ],
)
def test_lines_are_delivered_as_text(parts: tuple[bytes, ...], expected: list[str]) -> None:
    assert lines_of(*parts) == expected


def test_a_long_line_comes_in_pieces_that_cut_no_character() -> None:
    text = "ä" * MAX_LINE  # two bytes each, shifted by one so that the bound falls into a character
    pieces = lines_of(b"x" + text.encode() + b"\n")
    assert "".join(pieces) == "x" + text
    assert all(len(piece.encode()) <= MAX_LINE for piece in pieces)


def test_a_line_without_end_is_delivered_while_it_grows() -> None:
    delivered: list[str] = []
    splitter = LineSplitter("stdout", lambda stream, line: delivered.append(line))
    for _ in range(5):
        splitter.feed(b"x" * MAX_LINE)
    assert len(delivered) == 4


def test_a_progress_bar_leaves_its_last_state() -> None:
    assert lines_of(b"\r 10%", b"\r 50%", b"\r100%\nnext\n") == ["100%", "next"]
    assert lines_of(b"10%\r", b"50%\r", b"100%\r", b"\n") == ["100%"]
    assert lines_of(b"10%\r50%\r") == ["50%"]


def test_a_long_progress_bar_shows_up_once_a_second() -> None:
    clock = Clock()
    delivered: list[str] = []
    splitter = LineSplitter("stderr", lambda stream, line: delivered.append(line), clock)
    for step in range(40):
        splitter.feed(b"\rstep %d" % step)
        clock.now += 0.1
    splitter.feed(b"\ndone\n")
    assert delivered[-2:] == ["step 39", "done"]
    assert 3 <= len(delivered) - 2 <= 4


def test_a_progress_state_that_was_shown_is_not_repeated_at_the_end_of_the_line() -> None:
    clock = Clock()
    delivered: list[str] = []
    splitter = LineSplitter("stderr", lambda stream, line: delivered.append(line), clock)
    clock.now += 5
    splitter.feed(b"ready\r")
    assert delivered == ["ready"]
    splitter.feed(b"\nready\n")
    assert delivered == ["ready", "ready"]


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_where_the_reads_fall_makes_no_difference_to_text(parts: list[bytes]) -> None:
    whole = b"".join(parts).replace(b"\r", b"")
    assert lines_of(*(part.replace(b"\r", b"") for part in parts)) == lines_of(whole)


@given(st.text(alphabet=st.characters(blacklist_categories=("Cs", "Cc"))))
def test_printable_text_arrives_unchanged(text: str) -> None:
    assert lines_of(text.encode() + b"\n") == [text]
