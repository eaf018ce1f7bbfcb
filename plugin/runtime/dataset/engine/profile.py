"""What the columns of a table hold: counts, extremes, moments, quantiles, and how the values are spread."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from airflow_azureml.runtime.dataset.engine import inference
from airflow_azureml.runtime.dataset.engine.libraries import pandas

QUANTILES = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
"""v1's."""

BINS = 10
"""Bars of a histogram, and values among the most frequent."""


@dataclass(frozen=True)
class Bar:
    """A bar of a histogram."""

    lower: Any
    """Its lower bound, which belongs to it."""
    upper: Any
    """Its upper bound, which belongs to the next bar, or to the last one."""
    count: int


@dataclass(frozen=True)
class ColumnProfile:
    """What a column holds. Times are ISO 8601 texts; what a type has no answer for is None or empty."""

    name: str
    type: str
    """``integer``, ``decimal``, ``boolean``, ``datetime``, ``text`` or ``other``."""
    count: int
    """Rows."""
    missing: int
    distinct: int | None
    """Different values that aren't missing; None for values that cannot be compared."""
    min: Any
    max: Any
    mean: Any
    std: float | None
    """Standard deviation of the sample; of times in seconds."""
    quantiles: dict[str, Any]
    """By their share, such as ``"0.5"``."""
    histogram: list[Bar]
    frequent: list[tuple[Any, int]]
    """The most frequent values with their numbers, of text and truth values."""

    def to_document(self) -> dict[str, Any]:
        """Return the profile as JSON."""
        document = asdict(self)
        document["frequent"] = [{"value": value, "count": count} for value, count in self.frequent]
        return document


@dataclass(frozen=True)
class DatasetProfile:
    """What a table holds."""

    rows: int
    columns: dict[str, ColumnProfile]
    """By name, in the table's order."""

    def to_document(self) -> dict[str, Any]:
        """Return the profile as JSON."""
        return {"rows": self.rows, "columns": [column.to_document() for column in self.columns.values()]}

    def to_pandas_dataframe(self) -> Any:
        """Return a table with a row per column, without histograms."""
        kept = ("name", "type", "count", "missing", "distinct", "min", "max", "mean", "std")
        rows = [
            {
                **{name: getattr(column, name) for name in kept},
                **{"q%s" % share: value for share, value in column.quantiles.items()},
            }
            for column in self.columns.values()
        ]
        return pandas().DataFrame(rows)


def profile(frame: Any) -> DatasetProfile:
    """Look at all rows of a table.

    :param frame: the rows.
    """
    columns = {str(name): _column(str(name), frame[name]) for name in frame.columns}
    return DatasetProfile(len(frame), columns)


def _column(name: str, values: Any) -> ColumnProfile:
    kind = type_of(values)
    present = values.dropna()
    base = ColumnProfile(
        name=name,
        type=kind,
        count=len(values),
        missing=len(values) - len(present),
        distinct=_distinct(present),
        min=None,
        max=None,
        mean=None,
        std=None,
        quantiles={},
        histogram=[],
        frequent=[],
    )
    if present.empty:
        return base
    if kind in ("integer", "decimal"):
        return _measured(base, present.astype("float64"), present, _number)
    if kind == "datetime":
        # Nanoseconds since 1970: every measure of them is a time again, but for the spread.
        numbers = present.astype("datetime64[ns]").astype("int64").astype("float64")
        measured = _measured(base, numbers, present, _time)
        return replace(measured, std=None if measured.std is None else measured.std / 1e9)
    if kind in ("boolean", "text"):
        return _counted(base, present, kind)
    return base


def type_of(values: Any) -> str:
    """Return the word for a column's type, see :class:`ColumnProfile`."""
    types = pandas().api.types
    if types.is_bool_dtype(values.dtype):
        return "boolean"
    if types.is_integer_dtype(values.dtype):
        return "integer"
    if types.is_numeric_dtype(values.dtype):
        return "decimal"
    if types.is_datetime64_any_dtype(values.dtype):
        return "datetime"
    if not inference.is_text(values):
        return "other"
    found = types.infer_dtype(values, skipna=True)
    return {"boolean": "boolean", "string": "text", "empty": "text"}.get(found, "other")


def _distinct(present: Any) -> int | None:
    try:
        return int(present.nunique())
    except TypeError:
        # Lists and objects, as JSON has them.
        return None


def _measured(base: ColumnProfile, numbers: Any, present: Any, shown: Any) -> ColumnProfile:
    finite = numbers[numbers.abs() != math.inf]
    if finite.empty:
        return base
    quantiles = finite.quantile(list(QUANTILES))
    return replace(
        base,
        min=shown(present.min()),
        max=shown(present.max()),
        mean=shown(finite.mean()),
        std=None if len(finite) < 2 else float(finite.std()),
        quantiles={"%g" % share: shown(value) for share, value in quantiles.items()},
        histogram=_histogram(finite, shown),
    )


def _histogram(finite: Any, shown: Any) -> list[Bar]:
    low, high = float(finite.min()), float(finite.max())
    width = high / BINS - low / BINS
    if not width / BINS > 0:
        return [Bar(shown(low), shown(high), len(finite))]
    edges = [low + width * step for step in range(BINS)] + [high]
    # Counted by number, which no rounding of an edge can leave out.
    places = ((finite / BINS - low / BINS) / (width / BINS)).astype("int64").clip(0, BINS - 1)
    counts = places.value_counts()
    return [Bar(shown(edges[step]), shown(edges[step + 1]), int(counts.get(step, 0))) for step in range(BINS)]


def _counted(base: ColumnProfile, present: Any, kind: str) -> ColumnProfile:
    counts = present.value_counts()
    # Of equally frequent values the smaller one first, so that every look finds the same.
    ordered = sorted(counts.items(), key=lambda item: (-int(item[1]), str(item[0])))
    frequent = [(_plain(value), int(count)) for value, count in ordered[:BINS]]
    extremes = [_plain(present.min()), _plain(present.max())] if kind == "text" else [None, None]
    mean = float(present.astype("float64").mean()) if kind == "boolean" else None
    return replace(base, min=extremes[0], max=extremes[1], mean=mean, frequent=frequent)


def _plain(value: Any) -> Any:
    return bool(value) if type(value).__name__ in ("bool", "bool_") else str(value)


def _number(value: Any) -> Any:
    number = float(value)
    if not math.isfinite(number):
        # JSON has no infinity.
        return str(number)
    return int(value) if number.is_integer() and "int" in type(value).__name__ else number


def _time(value: Any) -> str:
    return str(pandas().Timestamp(value).isoformat())
