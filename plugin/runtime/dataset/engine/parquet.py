"""Reading and writing Parquet files through pyarrow."""

from __future__ import annotations

from typing import Any, Collection, Sequence

from airflow_azureml.runtime.dataset.engine.libraries import pandas, pyarrow
from airflow_azureml.runtime.dataset.engine.options import EvaluationOptions
from airflow_azureml.runtime.dataset.engine.times import EARLIEST, LATEST
from airflow_azureml.runtime.dataset.resolve import ResolvedFile
from airflow_azureml.runtime.exceptions import DatasetExecutionError


def read_parquet(
    files: Sequence[ResolvedFile],
    limit: int | None,
    columns: Collection[str] | None,
    options: EvaluationOptions,
) -> list[Any]:
    """Read Parquet files; an index that pandas stored is a column, dates are datetimes, times are UTC.

    :param files: the files, in order.
    :param limit: how many rows are wanted in all; a file that isn't needed any more gives its columns only.
    :param columns: the columns that are needed; None for all.
    :return: a frame per file.
    :raises DatasetExecutionError: a file is no Parquet file, or a time is out of range and that is to fail.
    """
    frames = []
    for file in files:
        table = _table(file, columns, enough=limit == 0)
        table = table if limit is None else table.slice(0, limit)
        frames.append(_frame(table, options))
        limit = None if limit is None else max(0, limit - len(table))
    return frames


def write_parquet(frame: Any, path: str, row_group_size: int | None = None) -> None:
    """Write rows as a Parquet file, without their index.

    :param frame: the rows.
    :param path: the file.
    :param row_group_size: rows per group; None leaves it to pyarrow.
    """
    table = pyarrow().Table.from_pandas(frame, preserve_index=False)
    pyarrow("pyarrow.parquet").write_table(table, path, row_group_size=row_group_size)


def _table(file: ResolvedFile, columns: Collection[str] | None, enough: bool) -> Any:
    arrow = pyarrow()
    try:
        # ParquetFile reads just this file: the dataset reader would add columns for folders called key=value.
        with open(file.path, "rb") as stream:
            opened = pyarrow("pyarrow.parquet").ParquetFile(stream, pre_buffer=False)
            names = opened.schema_arrow.names
            if columns is not None and set(columns) <= set(names):
                names = [name for name in names if name in columns]
            if enough:
                return opened.schema_arrow.empty_table().select(names)
            return opened.read(columns=names)
    except arrow.ArrowInvalid as error:
        raise DatasetExecutionError("%s is no Parquet file: %s" % (file.origin, error)) from error


def _frame(table: Any, options: EvaluationOptions) -> Any:
    types = pyarrow("pyarrow.types")
    for index, field in enumerate(table.schema):
        if types.is_date(field.type) or types.is_timestamp(field.type):
            column = _nanoseconds(field.name, table.column(index), options)
            table = table.set_column(index, field.name, column)
    return table.to_pandas(ignore_metadata=True)


def _nanoseconds(name: str, column: Any, options: EvaluationOptions) -> Any:
    arrow, compute = pyarrow(), pyarrow("pyarrow.compute")
    types = arrow.types
    if not (types.is_timestamp(column.type) and column.type.unit == "ns"):
        if types.is_date(column.type):
            column = column.cast(arrow.timestamp("s" if types.is_date32(column.type) else "ms"))
        fits = compute.and_(
            compute.greater_equal(column, arrow.scalar(EARLIEST, type=column.type)),
            compute.less_equal(column, arrow.scalar(LATEST, type=column.type)),
        )
        if not compute.all(fits).as_py() and len(column):
            beyond = compute.fill_null(compute.invert(fits), False).to_pandas()
            values = pandas().Series(column.to_pylist(), dtype=object)
            options.check_range(name, values, beyond)
            column = compute.if_else(fits, column, arrow.scalar(None, type=column.type))
    return column.cast(arrow.timestamp("ns"))
