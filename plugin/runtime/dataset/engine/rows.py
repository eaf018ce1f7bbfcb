"""What the operations of a definition do to rows."""

from __future__ import annotations

import datetime
import itertools
from typing import Any, Callable

from airflow_azureml.runtime.dataset.engine.libraries import pandas
from airflow_azureml.runtime.dataset.expressions import COMPARISONS, TEXT_TESTS, literal_value
from airflow_azureml.runtime.dataset.operations import pinned_recent
from airflow_azureml.runtime.dataset.sampling import choices
from airflow_azureml.runtime.exceptions import DatasetExecutionError


def apply_operations(frame: Any, operations: list[dict[str, Any]]) -> Any:
    """Return the rows after a definition's operations, under an index from 0.

    :raises DatasetExecutionError: an operation names a column that isn't there, or compares what can't be compared.
    """
    for operation in operations:
        frame = _operations[operation["op"]](frame, operation)
    return frame.reset_index(drop=True)


def rows_needed(operations: list[dict[str, Any]]) -> int | None:
    """Return how many rows at the start of the data the operations can see, None for all."""
    start = 0
    for operation in operations:
        if operation["op"] == "take":
            return start + int(operation["count"])
        if operation["op"] == "skip":
            start += operation["count"]
        elif operation["op"] not in ("keep_columns", "drop_columns", "timestamp_columns"):
            return None
    return None


def _choose(frame: Any, operation: dict[str, Any]) -> Any:
    chosen = itertools.islice(choices(operation), len(frame))
    return frame[pandas().Series(list(chosen), index=frame.index, dtype="bool")]


def _keep_columns(frame: Any, operation: dict[str, Any]) -> Any:
    _check_columns(frame, "keep_columns", operation["columns"])
    wanted = frozenset(operation["columns"])
    return frame[[name for name in frame.columns if name in wanted]]


def _drop_columns(frame: Any, operation: dict[str, Any]) -> Any:
    _check_columns(frame, "drop_columns", operation["columns"])
    return frame.drop(columns=operation["columns"])


def _timestamp_columns(frame: Any, operation: dict[str, Any]) -> Any:
    for name in (operation["timestamp"], operation["partition_timestamp"]):
        if name is not None:
            _times(frame, "with_timestamp_columns", name)
    return frame


def _time_range(frame: Any, operation: dict[str, Any]) -> Any:
    times = _times(frame, "a time filter", operation["column"])
    chosen = times.notna()
    for bound, inclusive, exclusive in (("lower", "ge", "gt"), ("upper", "le", "lt")):
        if operation[bound] is not None:
            compare = COMPARISONS[inclusive if operation["include_boundary"] else exclusive]
            chosen &= compare(times, pandas().Timestamp(operation[bound]))
    return frame[chosen]


def _time_recent(frame: Any, operation: dict[str, Any]) -> Any:
    return _time_range(frame, pinned_recent(operation, datetime.datetime.now(datetime.timezone.utc)))


def _filter(frame: Any, operation: dict[str, Any]) -> Any:
    return frame[_truth(_condition(frame, operation["expression"]))]


def _condition(frame: Any, document: dict[str, Any]) -> Any:
    if "column" in document:
        _check_columns(frame, "filter", [document["column"]])
        return frame[document["column"]]
    if "op" not in document:
        return literal_value(document)
    arguments = [_condition(frame, argument) for argument in document["args"]]
    try:
        return _evaluated(document, arguments)
    except (TypeError, ValueError) as error:
        raise DatasetExecutionError(
            "filter: %s doesn't work on %s: %s"
            % (document["op"], " and ".join(_described(argument) for argument in arguments), error)
        ) from error


def _evaluated(document: dict[str, Any], arguments: list[Any]) -> Any:
    name, first = document["op"], arguments[0]
    if name == "not":
        return ~_truth(first)
    if name in ("and", "or"):
        left, right = _truth(first), _truth(arguments[1])
        return left & right if name == "and" else left | right
    if name == "is_null":
        return first.isna()
    if name == "isin":
        return first.isin([literal_value(value) for value in document["values"]])
    if name in TEXT_TESTS:
        return _text_test(name, first, arguments[1])
    return _compared(name, first, arguments[1])


def _truth(values: Any) -> Any:
    """Return a column as truth values, a missing one counting as false."""
    if pandas().api.types.is_bool_dtype(values.dtype):
        return values
    truths = [bool(value) and there for value, there in zip(values, values.notna())]
    return pandas().Series(truths, index=values.index, dtype="bool")


def _compared(name: str, first: Any, second: Any) -> Any:
    # Columns of objects hold missing values that Python cannot put in an order.
    there = first.notna()
    if hasattr(second, "notna"):
        there &= second.notna()
        second = second[there]
    if second is None:
        return pandas().Series(name == "ne", index=first.index)
    return COMPARISONS[name](first[there], second).reindex(first.index, fill_value=name == "ne")


def _text_test(name: str, values: Any, text: str) -> Any:
    if name == "contains":
        return values.str.contains(text, regex=False, na=False)
    return getattr(values.str, name)(text, na=False)


def _times(frame: Any, what: str, name: str) -> Any:
    _check_columns(frame, what, [name])
    values = frame[name]
    if values.notna().any() and not pandas().api.types.is_datetime64_any_dtype(values.dtype):
        raise DatasetExecutionError(
            "%s needs datetimes and column %r holds %s; set_column_types={%r: DataType.to_datetime()} reads them"
            % (what, name, values.dtype, name)
        )
    return pandas().to_datetime(values)


def _check_columns(frame: Any, what: str, names: list[str]) -> None:
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise DatasetExecutionError(
            "%s names the column %r; the data has the columns %s"
            % (what, missing[0], ", ".join(map(str, frame.columns)))
        )


def _described(argument: Any) -> str:
    if hasattr(argument, "dtype"):
        return "column %r of type %s" % (argument.name, argument.dtype)
    return repr(argument)


_operations: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "skip": lambda frame, operation: frame.iloc[operation["count"] :],
    "take": lambda frame, operation: frame.iloc[: operation["count"]],
    "sample": _choose,
    "split": _choose,
    "keep_columns": _keep_columns,
    "drop_columns": _drop_columns,
    "timestamp_columns": _timestamp_columns,
    "time_range": _time_range,
    "time_recent": _time_recent,
    "filter": _filter,
}
