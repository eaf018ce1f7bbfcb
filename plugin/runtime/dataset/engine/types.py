"""Converting columns to the types a user set (``set_column_types``), the same way for every file format."""

from __future__ import annotations

import re
from typing import Any, Callable

from airflow_azureml.runtime.dataset.engine import times
from airflow_azureml.runtime.dataset.engine.libraries import pandas
from airflow_azureml.runtime.dataset.engine.options import EvaluationOptions
from airflow_azureml.runtime.exceptions import DatasetExecutionError

_INTEGER = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_NOT_FINITE = {
    "nan": "nan",
    "inf": "inf",
    "+inf": "inf",
    "-inf": "-inf",
    "infinity": "inf",
    "-infinity": "-inf",
}
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_LONG_RANGE = (-(2**63), 2**63 - 1)


def convert_columns(frame: Any, types: dict[str, Any], options: EvaluationOptions) -> Any:
    """Return a frame whose columns have the types that were set.

    :param frame: the rows as read; a column with a set type is text if its file format has no types.
    :param types: type documents by column name.
    :param options: what to do with values that don't convert.
    :raises DatasetExecutionError: a column is missing, or a value doesn't convert and the caller wants that to fail.
    """
    missing = [name for name in types if name not in frame.columns]
    if missing:
        raise DatasetExecutionError(
            "set_column_types names %r; the data has the columns %s"
            % (missing[0], ", ".join(map(str, frame.columns)))
        )
    converted = {name: _converters[kind["type"]](frame[name], kind, options) for name, kind in types.items()}
    return frame.assign(**converted) if converted else frame


def as_text(values: Any) -> Any:
    """Return a column as text, missing values staying missing."""
    if pandas().api.types.is_string_dtype(values.dtype) and values.dtype != object:
        return values
    texts = [
        _spelled(value) if there else None for value, there in zip(values.tolist(), values.notna().tolist())
    ]
    return pandas().Series(texts, index=values.index, name=values.name)


def _spelled(value: Any) -> str:
    return value.isoformat(" ") if hasattr(value, "isoformat") else str(value)


def _to_string(values: Any, kind: dict[str, Any], options: EvaluationOptions) -> Any:
    return as_text(values)


def _to_long(values: Any, kind: dict[str, Any], options: EvaluationOptions) -> Any:
    types = pandas().api.types
    if types.is_integer_dtype(values.dtype) or types.is_bool_dtype(values.dtype):
        return values.astype("int64")
    if types.is_float_dtype(values.dtype):
        numbers = [int(value) if float(value).is_integer() else None for value in values.tolist()]
    else:
        numbers = [_integer(text) for text in as_text(values).tolist()]
    return _checked(values, numbers, "integer", options, "int64", "float64")


def _integer(text: Any) -> int | None:
    if not isinstance(text, str) or _INTEGER.fullmatch(text.strip()) is None:
        return None
    number = int(text)
    return number if _LONG_RANGE[0] <= number <= _LONG_RANGE[1] else None


def _to_float(values: Any, kind: dict[str, Any], options: EvaluationOptions) -> Any:
    if pandas().api.types.is_numeric_dtype(values.dtype):
        return values.astype("float64")
    comma = kind["decimal_mark"] == ","
    numbers = [_number(text, comma) for text in as_text(values).tolist()]
    return _checked(values, numbers, "number", options, "float64", "float64")


def _number(text: Any, comma: bool) -> float | None:
    if not isinstance(text, str):
        return None
    plain = text.strip()
    if plain.lower() in _NOT_FINITE:
        return float(_NOT_FINITE[plain.lower()])
    if comma:
        plain = plain.translate({ord(","): ".", ord("."): ","})
    return float(plain.replace(",", "")) if _NUMBER.fullmatch(plain) else None


def _to_bool(values: Any, kind: dict[str, Any], options: EvaluationOptions) -> Any:
    if pandas().api.types.is_bool_dtype(values.dtype):
        return values.astype("bool")
    texts = as_text(values)
    truths = [_TRUTH.get(text.strip().lower()) if isinstance(text, str) else None for text in texts.tolist()]
    return _checked(values, truths, "truth value", options, "bool", "object")


def _to_datetime(values: Any, kind: dict[str, Any], options: EvaluationOptions) -> Any:
    if pandas().api.types.is_datetime64_any_dtype(values.dtype):
        return times.naive_utc(values)
    found = times.parsed(as_text(values), kind["formats"])
    options.check(values.name, "datetime", values, found.bad)
    options.check_range(values.name, values, found.out_of_range)
    return found.times


def _checked(
    values: Any, converted: list[Any], kind: str, options: EvaluationOptions, whole: str, with_missing: str
) -> Any:
    """Make a column of converted values, None where there was nothing or nothing usable."""
    absent = [value is None for value in converted]
    dtype = with_missing if any(absent) else whole
    bad = values.notna() & pandas().Series(absent, index=values.index, dtype="bool")
    options.check(values.name, kind, values, bad)
    return pandas().Series(converted, index=values.index, name=values.name, dtype=dtype)


_converters: dict[str, Callable[[Any, dict[str, Any], EvaluationOptions], Any]] = {
    "string": _to_string,
    "long": _to_long,
    "float": _to_float,
    "bool": _to_bool,
    "datetime": _to_datetime,
}
