"""Text to points in time: the spellings that are recognised, and what pandas' nanosecond range cannot hold."""

from __future__ import annotations

import datetime
import functools
import itertools
import logging
import re
from typing import Any, Callable, Iterable, Iterator, NamedTuple

from airflow_azureml.runtime.dataset.engine.libraries import pandas

_LOG = logging.getLogger(__name__)

EARLIEST = datetime.datetime.fromisoformat("1677-09-21T00:12:44")
LATEST = datetime.datetime.fromisoformat("2262-04-11T23:47:16")
"""What 64-bit nanoseconds can hold; v1 calls everything else out of range, and so do we with any pandas."""

_ISO = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:[ T]\d{2}(?::\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})?)?)?"
)
_CLOCKS = (
    ("", ""),
    (r" \d{1,2}:\d{2}", " %H:%M"),
    (r" \d{1,2}:\d{2}:\d{2}", " %H:%M:%S"),
    (r" \d{1,2}:\d{2}:\d{2}\.\d{1,6}", " %H:%M:%S.%f"),
    (r" \d{1,2}:\d{2} [AaPp][Mm]", " %I:%M %p"),
    (r" \d{1,2}:\d{2}:\d{2} [AaPp][Mm]", " %I:%M:%S %p"),
)
_DATES = (
    (r"\d{4}/\d{1,2}/\d{1,2}", ("%Y/%m/%d",)),
    (r"\d{1,2}/\d{1,2}/\d{4}", ("%m/%d/%Y", "%d/%m/%Y")),
    (r"\d{1,2}-\d{1,2}-\d{4}", ("%m-%d-%Y", "%d-%m-%Y")),
)


class _Spelling(NamedTuple):
    pattern: re.Pattern[str]
    formats: tuple[str, ...]
    """``strptime`` formats, the preferred one first; empty for ISO 8601."""


_SPELLINGS = (
    _Spelling(_ISO, ()),
    *(
        _Spelling(re.compile(date + clock), tuple(day + hour for day in days))
        for date, days in _DATES
        for clock, hour in _CLOCKS
    ),
)


class ParsedTimes(NamedTuple):
    """Times read from a column of text."""

    times: Any
    """Series of UTC times without time zone; missing where there was nothing or nothing usable."""
    bad: Any
    """Boolean array: text that is no time."""
    out_of_range: Any
    """Boolean array: a time, but one that doesn't fit."""


def inferred(values: Any) -> Any | None:
    """Return a column of text as times when every value is spelled as one, in one spelling; else None.

    :param values: Series of text and missing values.
    """
    present = values.dropna()
    if present.empty:
        return None
    first = present.iloc[0]
    spelling = next((item for item in _SPELLINGS if item.pattern.fullmatch(first)), None)
    if spelling is None or not _all_match(present, spelling.pattern):
        return None
    times = _in_spelling(present, spelling)
    return None if times.isna().any() else times.reindex(values.index)


def parsed(values: Any, formats: Iterable[str] | None) -> ParsedTimes:
    """Read a column of text as times.

    :param values: Series of text and missing values.
    :param formats: ``strptime`` formats in order of preference; None for the recognised spellings.
    """
    times = pandas().Series(pandas().NaT, index=values.index, dtype="datetime64[ns]")
    left = values.dropna().str.strip()
    for attempt in _attempts(left.iloc[0], formats) if len(left) else ():
        found = attempt(left).dropna()
        if len(found):
            times.loc[found.index] = found
            left = left.drop(found.index)
        if left.empty:
            break
    beyond = [_is_time(text, formats) for text in left]
    labels = list(left.index)
    bad = values.index.isin([label for label, is_time in zip(labels, beyond) if not is_time])
    return ParsedTimes(times, bad, values.index.isin(list(itertools.compress(labels, beyond))))


def naive_utc(times: Any) -> Any:
    """Return a Series of times in UTC without time zone."""
    return times if times.dt.tz is None else times.dt.tz_convert("UTC").dt.tz_localize(None)


def _attempts(first: str, formats: Iterable[str] | None) -> Iterator[Callable[[Any], Any]]:
    if formats is not None:
        for text in formats:
            yield functools.partial(_in_format, text=text)
        return
    # A column is mostly of one spelling: the first value's is tried before the others.
    for spelling in sorted(_SPELLINGS, key=lambda item: item.pattern.fullmatch(first) is None):
        yield functools.partial(_where_spelled, spelling=spelling)


def _where_spelled(values: Any, spelling: _Spelling) -> Any:
    fitting = values[[spelling.pattern.fullmatch(text) is not None for text in values.tolist()]]
    return _in_spelling(fitting, spelling) if len(fitting) else fitting


def _in_spelling(values: Any, spelling: _Spelling) -> Any:
    if not spelling.formats:
        return _iso(values)
    parsed_by = [_in_format(values, text) for text in spelling.formats]
    if len(parsed_by) == 1 or not parsed_by[0].isna().any():
        if len(parsed_by) == 2 and not parsed_by[1].isna().any() and not parsed_by[0].equals(parsed_by[1]):
            _LOG.warning(
                "column %r: dates such as %r may be month-day or day-month, read as month-day; "
                "say which with set_column_types",
                values.name,
                values.iloc[0],
            )
        return parsed_by[0]
    return parsed_by[1] if not parsed_by[1].isna().any() else parsed_by[0]


def _iso(values: Any) -> Any:
    options = {"format": "ISO8601"} if int(pandas().__version__.split(".")[0]) >= 2 else {}
    return _in_range(pandas().to_datetime(values, errors="coerce", utc=True, **options))


def _in_format(values: Any, text: str) -> Any:
    return _in_range(pandas().to_datetime(values, errors="coerce", utc=True, format=text))


def _in_range(times: Any) -> Any:
    times = naive_utc(times)
    fits = times.isna() | ((times >= pandas().Timestamp(EARLIEST)) & (times <= pandas().Timestamp(LATEST)))
    return (times if fits.all() else times.where(fits)).astype("datetime64[ns]")


def _all_match(values: Any, pattern: re.Pattern[str]) -> bool:
    # A list is much faster to go through than a Series, above all one that is backed by Arrow.
    return all(map(pattern.fullmatch, values.tolist()))


def _is_time(text: str, formats: Iterable[str] | None) -> bool:
    """Tell whether a text that pandas couldn't read is a time all the same, one beyond its range."""
    if formats is None:
        spelling = next((item for item in _SPELLINGS if item.pattern.fullmatch(text)), None)
        if spelling is None:
            return False
        formats = spelling.formats or ("%Y-%m-%d",)
        text = text if spelling.formats else text[:10]
    for item in formats:
        try:
            datetime.datetime.strptime(text, item)  # noqa: DTZ007 - only asked whether it fits
        except ValueError:
            continue
        return True
    return False
