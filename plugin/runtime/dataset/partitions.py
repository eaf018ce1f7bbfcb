"""``partition_format``: columns that are spelled in the paths of files.

``{name}`` is a text column, ``{name:yyyy/MM/dd/HH/mm/ss}`` a datetime column; ``*`` stands for any text within
one folder level. The format begins at the first column and reaches to the end of the path.
"""

from __future__ import annotations

import datetime
import re
from functools import lru_cache
from typing import Any, NamedTuple

from airflow_azureml.runtime.exceptions import UserErrorException

_PIECE = re.compile(r"\{([^{}:]+)(?::([^{}]*))?\}|(\*)|([{}])")
_TIME_PARTS = {
    "yyyy": ("year", r"\d{4}"),
    "MM": ("month", r"\d{2}"),
    "dd": ("day", r"\d{2}"),
    "HH": ("hour", r"\d{2}"),
    "mm": ("minute", r"\d{2}"),
    "ss": ("second", r"\d{2}"),
}
_FIRST = datetime.datetime.fromisoformat("0001-01-01")
"""Parts that the format leaves out are their lowest."""
_TIME_PIECE = re.compile("|".join(_TIME_PARTS))


class _TimeColumn(NamedTuple):
    name: str
    parts: tuple[str, ...]
    first_group: int


class PartitionFormat(NamedTuple):
    """A parsed format; see :meth:`parse`."""

    text: str
    columns: tuple[str, ...]
    """Names of the columns, in the order of the format."""
    pattern: re.Pattern[str]
    texts: tuple[tuple[str, int], ...]
    times: tuple[_TimeColumn, ...]

    @staticmethod
    def parse(text: str) -> PartitionFormat:
        """Parse a format.

        :raises UserErrorException: it names no column, names one twice, or a date lacks its year.
        """
        return _parse(text)

    def values(self, path: str) -> dict[str, Any] | None:
        """Return the columns' values for a path, or None when the path doesn't fit.

        :param path: the path of a file as the user knows it, with ``/``.
        """
        found = self.pattern.search(path)
        if found is None:
            return None
        values: dict[str, Any] = {name: found.group(group) for name, group in self.texts}
        for column in self.times:
            numbers: dict[str, Any] = {
                part: int(found.group(column.first_group + i)) for i, part in enumerate(column.parts)
            }
            try:
                values[column.name] = _FIRST.replace(**numbers)
            except ValueError:
                return None
        return {name: values[name] for name in self.columns}


class _Builder:
    def __init__(self) -> None:
        self.pattern: list[str] = []
        self.groups = 0
        self.columns: list[str] = []
        self.texts: list[tuple[str, int]] = []
        self.times: list[_TimeColumn] = []

    def literal(self, text: str) -> None:
        self.pattern.append(re.escape(text))

    def column(self, name: str, time_format: str | None) -> None:
        if name in self.columns:
            raise UserErrorException("partition_format names the column %r twice" % (name,))
        self.columns.append(name)
        if time_format is None:
            self.groups += 1
            self.pattern.append("([^/]+)")
            self.texts.append((name, self.groups))
        else:
            self._time(name, time_format)

    def _time(self, name: str, time_format: str) -> None:
        first, parts, end = self.groups + 1, [], 0
        for piece in _TIME_PIECE.finditer(time_format):
            self.literal(time_format[end : piece.start()])
            part, digits = _TIME_PARTS[piece.group()]
            self.pattern.append("(%s)" % digits)
            parts.append(part)
            end = piece.end()
        self.literal(time_format[end:])
        if "year" not in parts or len(set(parts)) != len(parts):
            raise UserErrorException(
                "partition_format: {%s:%s} has to hold yyyy, and each of yyyy, MM, dd, HH, mm, ss at most once"
                % (name, time_format)
            )
        self.groups += len(parts)
        self.times.append(_TimeColumn(name, tuple(parts), first))


@lru_cache(maxsize=256)
def _parse(text: str) -> PartitionFormat:
    builder, end = _Builder(), 0
    for piece in _PIECE.finditer(text):
        name, time_format, star, stray = piece.groups()
        if stray:
            raise UserErrorException("partition_format %r has an unbalanced brace" % (text,))
        builder.literal(text[end : piece.start()])
        if star:
            builder.pattern.append("[^/]*")
        else:
            builder.column(name, time_format)
        end = piece.end()
    builder.literal(text[end:])
    if not builder.columns:
        raise UserErrorException(
            "partition_format %r names no column; write it as {column} or {column:yyyy/MM/dd}" % (text,)
        )
    # The format may begin within the path, but at the start of a folder or file name.
    begin = "" if text.startswith("/") else "(?:^|/)"
    pattern = re.compile(begin + "".join(builder.pattern) + r"\Z")
    return PartitionFormat(text, tuple(builder.columns), pattern, tuple(builder.texts), tuple(builder.times))
