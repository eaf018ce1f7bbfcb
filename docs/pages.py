"""Reads documentation pages: code blocks, what they show, headings and links. Used by ``check.py``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^(?P<fence>`{3,})(?P<info>.*)$")
_ATTRIBUTE = re.compile(r'([\w-]+)="([^"]*)"')
_CODE = re.compile(r"^(`{3,}).*?^\1", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_COLUMN_GAP = re.compile(r"(?<=\S) {2,}")
_TWO_SENTENCES = re.compile(r"[a-z)`][.!?] [A-Z]")
_VARYING = (
    (re.compile(r"manual__[\d:.T+\-]+"), "RUN"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ][\d:.]+(\+00:00|Z)?"), "TIME"),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"\b(?=\d*[a-f])[0-9a-f]{8,64}\b"), "DIGEST"),
    (re.compile(r"\b\d+(\.\d+)? (s|ms|min)\b"), "DURATION"),
    (re.compile(r"\bPython 3(\.\d+)+"), "PYTHON"),
    (re.compile(r"\b(python|py)3(\.\d+)?\b"), "python3"),
)
"""What differs from run to run, and what stands for it when output is compared."""


class Wrong(Exception):
    """Something doesn't do what its page says."""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced code block.

    :param line: number of the line that opens it.
    :param words: the words of that line: the language first.
    :param attributes: its ``name="value"`` pairs.
    :param text: what is in it.
    """

    line: int
    words: tuple[str, ...]
    attributes: dict[str, str]
    text: str

    @property
    def language(self) -> str:
        """What it is written in; empty for a block that doesn't say."""
        return self.words[0] if self.words else ""

    @property
    def is_output(self) -> bool:
        """Whether it shows what the Python block above it prints."""
        return self.words == ("text", "output")


def blocks_of(text: str) -> list[Block]:
    """Return the code blocks of a page."""
    blocks, lines = [], enumerate(text.splitlines(), 1)
    for number, line in lines:
        opening = _FENCE.match(line)
        if opening is None:
            continue
        body = []
        for _, inner in lines:
            if inner.rstrip() == opening["fence"]:
                break
            body.append(f"{inner}\n")
        else:
            raise Wrong(f"line {number}: the code block has no end")
        info = opening["info"]
        words = tuple(_ATTRIBUTE.sub("", info).split())
        blocks.append(Block(number, words, dict(_ATTRIBUTE.findall(info)), "".join(body)))
    return blocks


def commands_of(text: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a console block and the output below it."""
    command, output = "", ""
    for line in text.splitlines():
        if line.startswith("$ "):
            if command:
                yield command, output
            command, output = line[2:], ""
        elif command.endswith("\\"):
            command += f"\n{line}"
        else:
            output += f"{line}\n"
    if command:
        yield command, output


def fits(expected: str, found: str) -> bool:
    """Whether output is what a page shows, apart from what differs from run to run.

    :param expected: what the page shows; ``…`` stands for anything, alone on a line for any lines.
    :param found: what was printed.
    """
    pattern = "".join(_line_pattern(line) for line in _lines(expected))
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _lines(found))) is not None


def _lines(text: str) -> list[str]:
    for varying, name in _VARYING:
        text = varying.sub(name, text)
    # How far apart columns stand depends on what is in them.
    return [_COLUMN_GAP.sub("  ", line.rstrip()) for line in text.strip().splitlines()]


def _line_pattern(line: str) -> str:
    if line.strip() == "…":
        return r"(?:.*\n)*"
    return ".*".join(re.escape(part) for part in line.split("…")) + r"\n"


def anchors_of(text: str) -> set[str]:
    """Return the anchors that a page's headings get."""
    anchors: set[str] = set()
    for line in _prose(text).splitlines():
        heading = re.match(r"#+ +(.*)", line)
        if heading is None:
            continue
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        count = 0
        while (anchor := f"{slug}-{count}" if count else slug) in anchors:
            count += 1
        anchors.add(anchor)
    return anchors


def broken_links(page: Path) -> list[str]:
    """Return what is wrong with the links of a page to files and headings."""
    found = []
    for target in _LINK.findall(_prose(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        if not linked.exists():
            found.append(f"{target} does not exist")
        elif anchor and anchor not in anchors_of(linked.read_text(encoding="utf-8")):
            found.append(f"{target}: no such heading")
    return found


def crowded_lines(page: Path) -> list[str]:
    """Return the lines of a page's text that hold more than one sentence."""
    return [
        f"line {number}: more than one sentence on a line"
        for number, line in enumerate(_prose(page.read_text(encoding="utf-8")).splitlines(), 1)
        if not line.startswith("|") and _TWO_SENTENCES.search(line)
    ]


def _prose(text: str) -> str:
    """Return a page with its code blocks emptied; line numbers stay."""
    return _CODE.sub(lambda code: "\n" * code[0].count("\n"), text)
