"""Metrics as values: what a script may log, how it is kept, how it is read back.

A metric is kept as a list of records ``{"name", "kind", "value", "step", "time"}``; nothing is ever overwritten, reading
folds the records of a name together by v1's rules.

Values are kept as JSON. NaN and the infinities, which JSON lacks, are kept as the texts ``"NaN"``, ``"Infinity"`` and
``"-Infinity"`` and are floats again when a metric is read. Scalars of numpy and the like become plain numbers; what is no
number, text or bool is kept as its ``repr``, as in v1.
"""

from __future__ import annotations

import json
import math
import types
from typing import Any, Callable, Iterable, Mapping

from airflow_azureml.runtime.exceptions import AzureMLException, UserErrorException

MAX_NAMES = 50
MAX_COLUMNS = 15
MAX_CHARACTERS = 255
MAX_ROWS = 1_000_000
"""v1's documented limits: names per run, columns per table, length of a name or text, rows per metric."""

FAMILIES = {
    "scalar": "scalar",
    "list": "list",
    "row": "table",
    "table": "table",
    "image": "image",
    "confusion_matrix": "confusion_matrix",
    "accuracy_table": "accuracy_table",
    "residuals": "residuals",
    "predictions": "predictions",
}
"""Kind of a record → what its name holds. Rows and tables of one name make one table; other kinds don't mix."""

CHARTS = ("confusion_matrix", "accuracy_table", "residuals", "predictions")

_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_SEQUENCES = (list, range, types.GeneratorType)


def scalar(name: str, value: Any) -> Any:
    """Return a value as it is kept.

    :param name: the metric's name, for the error.
    :raises UserErrorException: a text longer than 255 characters.
    """
    plain = _plain(value)
    if isinstance(plain, str) and len(plain) > MAX_CHARACTERS:
        raise UserErrorException(
            f"metric {name!r}: a text of {len(plain)} characters; at most {MAX_CHARACTERS} are possible. "
            "Upload longer texts with run.upload_file"
        )
    return plain


def single(name: str, value: Any) -> Any:
    """Return a value for ``log``.

    :raises UserErrorException: a list, range or generator: ``log_list`` is for those.
    """
    if isinstance(value, _SEQUENCES):
        raise UserErrorException(
            f"metric {name!r}: log takes one value, found a {type(value).__name__}; use log_list"
        )
    return scalar(name, value)


def many(name: str, values: Any) -> list[Any]:
    """Return the values for ``log_list``.

    :raises UserErrorException: what cannot be iterated over, or a text.
    """
    if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
        raise UserErrorException(
            f"metric {name!r}: log_list takes a list of values, found a {type(values).__name__}; use log"
        )
    kept = [scalar(name, value) for value in values]
    _check_rows(name, len(kept))
    return kept


def row(name: str, columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns for ``log_row``.

    :raises AzureMLException: a list among them: ``log_table`` is for those.
    """
    _check_columns(name, columns)
    for column, value in columns.items():
        if _is_column(value):
            raise AzureMLException(
                f"metric {name!r}: log_row takes one value per column, column {column!r} holds a "
                f"{type(value).__name__}; use log_table"
            )
    return {column: scalar(name, value) for column, value in columns.items()}


def table(name: str, columns: Any) -> dict[str, list[Any]]:
    """Return the columns for ``log_table``; single values make a table of one row.

    :raises AzureMLException: columns of unequal length, or no mapping at all.
    """
    if not isinstance(columns, Mapping):
        raise AzureMLException(
            f"metric {name!r}: log_table takes a dict of column name → values, found a {type(columns).__name__}"
        )
    _check_columns(name, columns)
    kept = {
        column: [scalar(name, item) for item in (value if _is_column(value) else (value,))]
        for column, value in columns.items()
    }
    lengths = {column: len(values) for column, values in kept.items()}
    if len(set(lengths.values())) > 1:
        raise AzureMLException(f"metric {name!r}: the columns of a table have one length, found {lengths}")
    _check_rows(name, max(lengths.values(), default=0))
    return kept


def chart(name: str, kind: str, value: Any) -> dict[str, Any]:
    """Return the document for ``log_confusion_matrix`` and its like.

    :param value: dict or JSON text with ``schema_type``, ``schema_version`` and ``data``.
    :raises UserErrorException: anything else.
    """
    document = _parsed(name, kind, value) if isinstance(value, str) else value
    missing = [
        key
        for key in ("schema_type", "schema_version", "data")
        if not isinstance(document, Mapping) or key not in document
    ]
    if missing:
        raise UserErrorException(
            f"metric {name!r}: log_{kind} takes a dict or JSON text with schema_type, schema_version and data; "
            f"missing: {', '.join(missing)}"
        )
    kept: dict[str, Any] = _deep(document)
    return kept


def step_number(name: str, step: Any) -> int | None:
    """Return ``step`` as it is kept.

    :raises UserErrorException: no whole number.
    """
    plain = _plain(step)
    if plain is None or (isinstance(plain, int) and not isinstance(plain, bool)):
        return plain
    raise UserErrorException(f"metric {name!r}: step is a whole number, found {step!r}")


def check_name(name: Any) -> str:
    """Return a metric's name.

    :raises UserErrorException: no text, empty, or longer than 255 characters.
    """
    if not isinstance(name, str) or not name:
        raise UserErrorException(f"a metric's name is a text, found {name!r}")
    if len(name) > MAX_CHARACTERS:
        raise UserErrorException(
            f"metric {name[:40]!r}…: a name of {len(name)} characters; at most {MAX_CHARACTERS} are possible"
        )
    return name


def fold(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the metrics of a run by name, as v1's ``get_metrics`` does.

    A scalar logged once is that value, logged several times a list (ordered by ``step`` when given). Lists of one name
    are joined. A table of one row is a dict of values, of more rows a dict of lists; a cell that no row gave is None.
    Of images and charts that were logged several times there is a list.

    :param records: metric records in the order they were logged.
    """
    named: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        named.setdefault(record["name"], []).append(record)
    return {name: _folded(group) for name, group in named.items()}


def _folded(group: list[Mapping[str, Any]]) -> Any:
    family = FAMILIES.get(group[-1]["kind"], "scalar")
    return _FOLDS.get(family, _fold_charts)(group)


def _fold_scalars(group: list[Mapping[str, Any]]) -> Any:
    if all(record.get("step") is not None for record in group):
        group = sorted(group, key=lambda record: record["step"])
    values = [_read(record["value"]) for record in group]
    return values[0] if len(values) == 1 else values


def _fold_lists(group: list[Mapping[str, Any]]) -> Any:
    return [_read(value) for record in group for value in record["value"]]


def _fold_tables(group: list[Mapping[str, Any]]) -> Any:
    columns: dict[str, list[Any]] = {}
    rows = 0
    for record in group:
        found = record["value"]
        if record["kind"] == "row":
            found = {column: [value] for column, value in found.items()}
        added = max((len(values) for values in found.values()), default=0)
        for column, values in found.items():
            columns.setdefault(column, [None] * rows).extend(_read(value) for value in values)
        rows += added
        for cells in columns.values():
            cells.extend([None] * (rows - len(cells)))
    return {column: cells[0] for column, cells in columns.items()} if rows == 1 else columns


def _fold_charts(group: list[Mapping[str, Any]]) -> Any:
    values = [record["value"] for record in group]
    return values[0] if len(values) == 1 else values


_FOLDS: dict[str, Callable[[list[Mapping[str, Any]]], Any]] = {
    "scalar": _fold_scalars,
    "list": _fold_lists,
    "table": _fold_tables,
}


def _read(value: Any) -> Any:
    return _NOT_FINITE.get(value, value) if isinstance(value, str) else value


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _finite(float(value))
    item = getattr(value, "item", None)
    # Scalars of numpy, torch and others, told by what they can do: none of them is imported here.
    if callable(item) and getattr(value, "shape", None) == ():
        return _plain_item(value, item())
    return repr(value)


def _plain_item(value: Any, item: Any) -> Any:
    if isinstance(item, (bool, int, float, str)):
        return _plain(item)
    # Wider than any plain number (numpy.longdouble), or no number.
    try:
        return _finite(float(item))
    except (TypeError, ValueError, OverflowError):
        return repr(value)


def _finite(value: float) -> float | str:
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _deep(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _deep(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_deep(item) for item in value]
    if callable(getattr(value, "tolist", None)):
        return _deep(value.tolist())
    return _plain(value)


def _is_column(value: Any) -> bool:
    if isinstance(value, (str, bytes, Mapping)):
        return False
    return hasattr(value, "__iter__") and getattr(value, "shape", None) != ()


def _parsed(name: str, kind: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UserErrorException(
            f"metric {name!r}: log_{kind} got a text that isn't JSON ({error})"
        ) from error


def _check_columns(name: str, columns: Mapping[str, Any]) -> None:
    if len(columns) > MAX_COLUMNS:
        raise UserErrorException(
            f"metric {name!r}: {len(columns)} columns; at most {MAX_COLUMNS} are possible. "
            "Write wide tables to ./outputs"
        )
    for column in columns:
        check_name(column)


def _check_rows(name: str, rows: int) -> None:
    if rows > MAX_ROWS:
        raise UserErrorException(f"metric {name!r}: {rows} rows; at most {MAX_ROWS} are possible")
