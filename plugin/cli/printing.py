"""What commands print: tables for people, documents for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

NOTHING = "–"
KEY_LENGTH = 12
"""How many letters of a key tables show; as good as always enough to name it."""

_COLOURS = {"reuse": "green", "run": "yellow", "live": "green", "quarantined": "red", "invalidated": "red"}
_MINUTE_S, _HOUR_S = 60.0, 3600.0


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under one heading each.

    :param columns: the headings.
    :param rows: the cells of each row, in the order of the headings.
    :param numbers: headings of columns that are aligned to the right.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command says.

    :param document: everything, for programs: ``json`` and ``yaml``.
    :param parts: lines of text and tables, for people.
    :param plain: the table that is printed as ``plain``, for other programs at a terminal.
    """

    document: Any
    parts: Sequence[str | Table]
    plain: Table = field(default_factory=lambda: Table((), ()))


def print_answer(answer: Answer, output: str) -> None:
    """Print an answer.

    :param output: ``table``, ``json``, ``yaml`` or ``plain``, as ``--output`` has it.
    """
    if output == "json":
        say(json.dumps(answer.document, indent=2, ensure_ascii=False))
    elif output == "yaml":
        import yaml  # type: ignore[import-untyped, unused-ignore]

        yaml.safe_dump(answer.document, sys.stdout, sort_keys=False, allow_unicode=True)
    elif output == "plain":
        _print_plain(answer.plain)
    else:
        for part in answer.parts:
            _print_table(part) if isinstance(part, Table) else say(part)


def say(line: str) -> None:
    """Write a line to the standard output."""
    sys.stdout.write(f"{line}\n")


def seconds(value: float | None) -> str:
    """Return a time span for people: ``4.1 s``, ``12.5 min``, ``3.2 h``."""
    if value is None:
        return NOTHING
    if value < 2 * _MINUTE_S:
        return f"{value:.1f} s"
    if value < 2 * _HOUR_S:
        return f"{value / _MINUTE_S:.1f} min"
    return f"{value / _HOUR_S:.1f} h"


def size(value: float | None) -> str:
    """Return a number of bytes for people: ``812 B``, ``4.1 MB``."""
    if value is None:
        return NOTHING
    if value < 1000:
        return f"{int(value)} B"
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 1000:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"


def moment(text: str | None) -> str:
    """Return a time of a record for people: UTC to the second."""
    if not text:
        return NOTHING
    try:
        return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return text


def plural(count: int, word: str) -> str:
    """Return a number with its noun: ``1 step``, ``2 steps``."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def fields(values: Mapping[str, str | None]) -> Table:
    """Return names and values below each other; those without a value are left out."""
    return Table((), [(name, value) for name, value in values.items() if value])


def _print_plain(table: Table) -> None:
    """Print a table without decoration: one line each, columns at least two spaces apart."""
    rows = [list(table.columns), *(list(row) for row in table.rows)] if table.columns else list(table.rows)
    if not rows:
        return
    widths = [max(len(str(row[place])) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        say("  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_table(table: Table) -> None:
    """Print a table; at a terminal with colours, and long cells wrapped."""
    if not sys.stdout.isatty():
        _print_plain(table)
        return
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(box=None, show_edge=False, pad_edge=False, show_header=bool(table.columns))
    width = len(table.columns) or max((len(row) for row in table.rows), default=0)
    for place in range(width):
        heading = table.columns[place] if table.columns else ""
        shown.add_column(heading, overflow="fold", justify="right" if heading in table.numbers else "left")
    for row in table.rows:
        shown.add_row(*(Text(cell, style=_COLOURS.get(cell, "")) for cell in row))
    Console(highlight=False).print(shown)
