"""From a tabular definition and its files to a pandas DataFrame."""

from __future__ import annotations

from typing import Any, Sequence

from airflow_azureml.runtime.dataset.definition import check_definition, timestamp_columns
from airflow_azureml.runtime.dataset.engine.columns import concatenate, with_path_columns
from airflow_azureml.runtime.dataset.engine.delimited import read_delimited
from airflow_azureml.runtime.dataset.engine.inference import infer_types, is_text
from airflow_azureml.runtime.dataset.engine.jsonlines import read_json_lines
from airflow_azureml.runtime.dataset.engine.libraries import pandas
from airflow_azureml.runtime.dataset.engine.options import EvaluationOptions
from airflow_azureml.runtime.dataset.engine.parquet import read_parquet
from airflow_azureml.runtime.dataset.engine.rows import apply_operations, rows_needed
from airflow_azureml.runtime.dataset.engine.types import convert_columns
from airflow_azureml.runtime.dataset.expressions import columns_of
from airflow_azureml.runtime.dataset.resolve import ResolvedFile

_DEFAULT = EvaluationOptions()


def evaluate(
    definition: dict[str, Any],
    files: Sequence[ResolvedFile],
    options: EvaluationOptions = _DEFAULT,
) -> Any:
    """Return the rows of a tabular dataset under an index from 0.

    :param definition: the definition document.
    :param files: its files, in order; empty ones hold no rows.
    :param options: what to do with values that don't fit.
    :raises DatasetExecutionError: the files can't be read as the definition says.
    """
    source = check_definition(definition)["source"]
    operations = definition["operations"]
    present = [file for file in files if file.size_bytes]
    frames = _read(source, operations, present, options)
    data_columns = dict.fromkeys(name for frame in frames for name in frame.columns)
    frame = concatenate([with_path_columns(source, *pair) for pair in zip(present, frames)])
    if source["format"] == "delimited":
        frame = _typed(source, frame, [name for name in data_columns if name not in source["column_types"]])
    return apply_operations(convert_columns(frame, source["column_types"], options), operations)


def with_timestamp_index(definition: dict[str, Any], frame: Any) -> Any:
    """Return the rows as v1's ``to_pandas_dataframe`` gives them: the timestamp column is the index too.

    The index has no name, so that the column's name stays unambiguous.
    """
    timestamp, _ = timestamp_columns(definition)
    if timestamp is None:
        return frame
    return frame.set_index(timestamp, drop=False).rename_axis(index=None)


def _read(
    source: dict[str, Any],
    operations: list[dict[str, Any]],
    files: Sequence[ResolvedFile],
    options: EvaluationOptions,
) -> list[Any]:
    limit = rows_needed(operations)
    if source["format"] in ("parquet", "sql"):
        return read_parquet(files, limit, _columns_needed(source, operations), options)
    if source["format"] == "jsonlines":
        # As with inference below, the type of the first values depends on the later ones.
        return read_json_lines(source, files)
    # With inference the type of the first rows depends on all rows, so all of them are read.
    return read_delimited(source, files, None if source["infer_column_types"] else limit)


def _columns_needed(source: dict[str, Any], operations: list[dict[str, Any]]) -> set[str] | None:
    """Return the columns the operations can see, None for all."""
    needed = set(source["column_types"])
    for operation in operations:
        needed.update(operation.get("columns", ()))
        if operation["op"] == "keep_columns":
            return needed
        needed.update(columns_of(operation.get("expression", {})))
        named = (operation.get(key) for key in ("column", "timestamp", "partition_timestamp"))
        needed.update(name for name in named if name is not None)
    return None


def _typed(source: dict[str, Any], frame: Any, columns: list[str]) -> Any:
    if source["infer_column_types"]:
        frame = infer_types(frame, columns)
    if not source["empty_as_string"]:
        return frame
    texts = {name: _without_missing_text(frame[name]) for name in columns}
    return frame.assign(**texts) if texts else frame


def _without_missing_text(values: Any) -> Any:
    present = values.dropna()
    if present.empty:
        return pandas().Series("", index=values.index, name=values.name)
    return values.fillna("") if is_text(values) and isinstance(present.iloc[0], str) else values
