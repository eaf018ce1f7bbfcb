"""The operations of a definition document: checked when they are made, in the words of v1's methods.

Each function returns ``{"op": name, …}``. What they do to rows is in ``engine.rows``, to files in ``resolve``.
"""

from __future__ import annotations

import datetime
import math
from typing import Any, Iterable

from airflow_azureml.runtime.exceptions import UserErrorException

_BOTH = frozenset(("skip", "take", "sample", "split", "filter"))
KNOWN_OPERATIONS = {
    "file": _BOTH,
    "tabular": _BOTH
    | frozenset(("keep_columns", "drop_columns", "timestamp_columns", "time_range", "time_recent")),
}
_ONE_SECOND = datetime.timedelta(seconds=1)


def skip(count: object) -> dict[str, Any]:
    """Leave out the first items.

    :raises UserErrorException: ``count`` is not a whole number of 0 or more.
    """
    return {"op": "skip", "count": _count("skip", count)}


def take(count: object) -> dict[str, Any]:
    """Keep the first items only.

    :raises UserErrorException: ``count`` is not a whole number of 0 or more.
    """
    return {"op": "take", "count": _count("take", count)}


def sample(probability: object, seed: int) -> dict[str, Any]:
    """Keep each item with a probability.

    :raises UserErrorException: the probability is not in 0 … 1, or the seed no whole number.
    """
    return {
        "op": "sample",
        "probability": _probability("take_sample: probability", probability),
        "seed": _seed(seed),
    }


def split(percentage: object, seed: int, part: str) -> dict[str, Any]:
    """Keep one of two complementary random parts.

    :param percentage: about how much the first part holds, 0 … 1.
    :param part: ``"first"`` or ``"second"``.
    :raises UserErrorException: the percentage is not in 0 … 1, or the seed no whole number.
    """
    probability = _probability("random_split: percentage", percentage)
    return {"op": "split", "probability": probability, "seed": _seed(seed), "part": part}


def filter_items(expression: dict[str, Any]) -> dict[str, Any]:
    """Keep the items for which an expression (a document of ``expressions``) is true."""
    return {"op": "filter", "expression": expression}


def keep_columns(columns: object) -> dict[str, Any]:
    """Keep these columns, in the order they have in the data.

    :raises UserErrorException: ``columns`` is no column name and no list of them.
    """
    return {"op": "keep_columns", "columns": column_names("keep_columns", columns)}


def drop_columns(columns: object) -> dict[str, Any]:
    """Leave these columns out.

    :raises UserErrorException: ``columns`` is no column name and no list of them.
    """
    return {"op": "drop_columns", "columns": column_names("drop_columns", columns)}


def timestamps(timestamp: object, partition_timestamp: object) -> dict[str, Any]:
    """Name the timestamp columns; None takes the trait away.

    :raises UserErrorException: as v1, a partition timestamp needs a timestamp, and another column than it.
    """
    for value in (timestamp, partition_timestamp):
        if value is not None and not isinstance(value, str):
            raise UserErrorException("a timestamp column is named by text, not %r" % (value,))
    if partition_timestamp is not None and timestamp is None:
        raise UserErrorException("partition_timestamp needs timestamp: name both, or only timestamp")
    if partition_timestamp is not None and partition_timestamp == timestamp:
        raise UserErrorException(
            "timestamp and partition_timestamp are both %r; they must be two columns" % (timestamp,)
        )
    return {"op": "timestamp_columns", "timestamp": timestamp, "partition_timestamp": partition_timestamp}


def time_range(
    column: str,
    lower: datetime.datetime | None,
    upper: datetime.datetime | None,
    include_boundary: bool,
) -> dict[str, Any]:
    """Keep the rows whose timestamp lies between two times.

    v1's rounding: the lower bound is cut to the second, the upper bound is rounded to it.

    :param lower: None for no bound. Naive times are UTC.
    :param upper: None for no bound.
    """
    if lower is not None and upper is not None and _utc(lower) > _utc(upper):
        raise UserErrorException("the start time %s is later than the end time %s" % (lower, upper))
    return {
        "op": "time_range",
        "column": column,
        "lower": None if lower is None else _utc(lower).replace(microsecond=0).isoformat(),
        "upper": None if upper is None else _rounded(_utc(upper)).isoformat(),
        "include_boundary": bool(include_boundary),
    }


def time_recent(column: str, time_delta: object, include_boundary: bool) -> dict[str, Any]:
    """Keep the rows of the last while, counted back from the evaluation; ``pin_times`` makes it absolute.

    :raises UserErrorException: ``time_delta`` is no duration.
    """
    if not isinstance(time_delta, datetime.timedelta):
        raise UserErrorException("time_recent: time_delta is a datetime.timedelta, not %r" % (time_delta,))
    return {
        "op": "time_recent",
        "column": column,
        "duration_s": time_delta.total_seconds(),
        "include_boundary": bool(include_boundary),
    }


def pinned_recent(operation: dict[str, Any], now: datetime.datetime) -> dict[str, Any]:
    """Return the time range that a ``time_recent`` operation means at ``now``."""
    start = _utc(now) - datetime.timedelta(seconds=operation["duration_s"])
    return time_range(operation["column"], start, None, operation["include_boundary"])


def checked_time(method: str, argument: str, value: object) -> datetime.datetime:
    """Return a time that a user gave.

    :raises UserErrorException: it is not a ``datetime``.
    """
    if not isinstance(value, datetime.datetime):
        raise UserErrorException("%s: %s is a datetime.datetime, not %r" % (method, argument, value))
    return value


def column_names(method: str, columns: object) -> list[str]:
    """Return a list of column names from one name or several.

    :raises UserErrorException: it is empty or holds something else.
    """
    listed = [columns] if isinstance(columns, str) else columns
    if not isinstance(listed, Iterable):
        raise UserErrorException("%s takes a column name or a list of them, not %r" % (method, columns))
    names = list(listed)
    if not names or not all(isinstance(name, str) for name in names):
        raise UserErrorException("%s takes a column name or a list of them, not %r" % (method, columns))
    return names


def checked_seed(seed: object, default: int) -> int:
    """Return the seed a user gave, or the default for None.

    :raises UserErrorException: it is no whole number.
    """
    return default if seed is None else _seed(seed)


def _count(method: str, count: object) -> int:
    if isinstance(count, bool) or not hasattr(count, "__index__") or count.__index__() < 0:
        raise UserErrorException("%s takes a whole number of 0 or more, not %r" % (method, count))
    return int(count.__index__())


def _seed(seed: object) -> int:
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise UserErrorException("a seed is a whole number, not %r" % (seed,))
    return int(seed.__index__())


def _probability(what: str, value: object) -> float:
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise UserErrorException("%s is a number from 0 to 1, not %r" % (what, value))
    number = float(value)
    if math.isnan(number) or not 0 <= number <= 1:
        raise UserErrorException("%s is a number from 0 to 1, not %r" % (what, value))
    return number


def _utc(value: datetime.datetime) -> datetime.datetime:
    if value.tzinfo is None:
        return value
    return value.astimezone(datetime.timezone.utc).replace(tzinfo=None)


def _rounded(value: datetime.datetime) -> datetime.datetime:
    whole = value.replace(microsecond=0)
    return whole + _ONE_SECOND if value.microsecond >= 500_000 else whole
