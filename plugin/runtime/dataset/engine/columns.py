"""Putting the frames of several files together, with the columns that come from their paths."""

from __future__ import annotations

from typing import Any, Sequence

from airflow_azureml.runtime.dataset.engine.libraries import pandas
from airflow_azureml.runtime.dataset.partitions import PartitionFormat
from airflow_azureml.runtime.dataset.resolve import ResolvedFile
from airflow_azureml.runtime.dataset.sources import PATH_COLUMN
from airflow_azureml.runtime.exceptions import DatasetExecutionError


def with_path_columns(source: dict[str, Any], file: ResolvedFile, frame: Any) -> Any:
    """Return a file's frame with its path and the columns of ``partition_format`` in front.

    A column of that name in the file itself wins over one from the path: it has a type. That is what
    ``partition_by`` writes.

    :raises DatasetExecutionError: the path is asked for and the file has a column of that name.
    """
    values: dict[str, Any] = {}
    if source["include_path"]:
        if PATH_COLUMN in frame.columns:
            raise DatasetExecutionError(
                "%s has a column %r itself, so include_path=True has no place for the path"
                % (file.origin, PATH_COLUMN)
            )
        values[PATH_COLUMN] = file.origin
    if source["partition_format"] is not None:
        values.update(PartitionFormat.parse(source["partition_format"]).values(file.origin) or {})
    front = {
        name: _constant(value, frame.index) for name, value in values.items() if name not in frame.columns
    }
    return pandas().concat([pandas().DataFrame(front, index=frame.index), frame], axis=1) if front else frame


def concatenate(frames: Sequence[Any]) -> Any:
    """Return the rows of all frames under one index from 0; columns in the order of their first appearance."""
    shaped = [frame for frame in frames if len(frame.columns)]
    if not shaped:
        return pandas().DataFrame()
    if len(shaped) == 1:
        # Nothing to align, and copying it would take a tenth of the time that reading takes.
        return shaped[0].reset_index(drop=True)
    dtypes = {
        name: _dtype(name, shaped) for name in dict.fromkeys(name for frame in shaped for name in frame)
    }
    filled = [_aligned(frame, dtypes) for frame in shaped if len(frame)]
    if not filled:
        return _aligned(shaped[0], dtypes).reset_index(drop=True)
    return pandas().concat(filled, ignore_index=True)


def _constant(value: Any, index: Any) -> Any:
    if isinstance(value, str):
        return pandas().Series(value, index=index)
    return pandas().Series(value, index=index, dtype="datetime64[ns]")


def _dtype(name: str, frames: Sequence[Any]) -> Any:
    """Return the type of a column: in the first frame with values, else with rows, else with that column."""
    columns = [frame[name] for frame in frames if name in frame.columns]
    with_rows = [column for column in columns if len(column)]
    with_values = (column for column in with_rows if column.notna().any())
    return next(with_values, (with_rows or columns)[0]).dtype


def _aligned(frame: Any, dtypes: dict[str, Any]) -> Any:
    """Return a frame with all columns, those without values in the type that the other frames' values have.

    Otherwise a file with an empty column would turn the times or numbers of all other files into objects.
    """
    aligned = {}
    for name, dtype in dtypes.items():
        if name in frame.columns and (frame[name].notna().any() or not len(frame)):
            aligned[name] = frame[name]
        else:
            nothing = pandas().NaT if pandas().api.types.is_datetime64_any_dtype(dtype) else None
            aligned[name] = pandas().Series(nothing, index=frame.index, dtype=_nullable(dtype))
    return pandas().DataFrame(aligned, index=frame.index)


def _nullable(dtype: Any) -> Any:
    types = pandas().api.types
    if types.is_bool_dtype(dtype):
        return "object"
    if types.is_integer_dtype(dtype):
        return "float64"
    return dtype
