"""Rows to Parquet and CSV files, and back."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.sql.columns import check_names, for_csv, for_parquet
from airflow_azureml.sql.database import Exported, FileFormat, Rows

ROW_GROUP_ROWS = 65_536
"""Rows that stand together in a Parquet file; batches of a query are collected up to it."""

Compression = Literal["snappy", "lz4"]
"""``snappy`` is read by everything; ``lz4`` is read in half the time, by pyarrow."""

_READ_ROWS = 65_536
_DICTIONARY_BYTES = 64 * 2**10
_CSV_BLOCK_BYTES = 4 * 2**20


def write_file(
    rows: Rows,
    target: Path,
    file_format: FileFormat,
    *,
    exact_decimals: bool,
    compression: Compression = "snappy",
) -> Exported:
    """Write rows to a file that appears whole or not at all.

    :param exact_decimals: whether decimals of a declared precision stay decimals in Parquet.
    :param compression: of Parquet.
    """
    fitted = for_parquet(rows, exact_decimals=exact_decimals) if file_format == "parquet" else for_csv(rows)
    target.parent.mkdir(parents=True, exist_ok=True)
    arriving = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        count = 0
        opened = (
            _csv_writer(arriving, fitted)
            if file_format == "csv"
            else _parquet_writer(arriving, fitted, compression)
        )
        with opened as write:
            for batch in _collected(fitted):
                write(batch)
                count += batch.num_rows
        arriving.replace(target)
    except OSError as error:
        raise UserErrorException(f"cannot write {target}: {os.strerror(error.errno or 0)}") from error
    finally:
        arriving.unlink(missing_ok=True)
    return Exported(count, {field.name: str(field.type) for field in fitted.schema})


def read_files(files: Iterable[Path], file_format: FileFormat, *, as_text: bool) -> Rows:
    """Read files one after the other as one stream of rows.

    :param files: asked for the next one when the one before has been read; all have the first one's columns.
    :param as_text: whether the values of CSV files stay text, for a database to read; types are guessed otherwise.
    :raises UserErrorException: no file, one without a header, one with other columns, one that is no such file.
    """
    waiting = iter(files)
    first = next(waiting, None)
    if first is None:
        raise UserErrorException("no files to load; give at least one")
    rows = _opened(first, file_format, as_text=as_text)
    check_names(rows.schema.names, f"file {first.name!r}")
    return Rows(rows.schema, _all_batches(rows, waiting, first.name, file_format, as_text=as_text))


@contextmanager
def _parquet_writer(path: Path, rows: Rows, compression: Compression) -> Iterator[Callable[[Any], None]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # A dictionary pays where texts repeat; of numbers and times it costs half of the writing and saves nothing.
    texts = [field.name for field in rows.schema if pa.types.is_string(field.type)]
    with pq.ParquetWriter(
        path,
        rows.schema,
        use_dictionary=texts,
        # Texts that don't repeat are soon found out.
        dictionary_pagesize_limit=_DICTIONARY_BYTES,
        compression=compression,
    ) as writer:
        yield lambda batch: writer.write_table(pa.Table.from_batches([batch]), row_group_size=ROW_GROUP_ROWS)


@contextmanager
def _csv_writer(path: Path, rows: Rows) -> Iterator[Callable[[Any], None]]:
    from pyarrow import csv

    with csv.CSVWriter(path, rows.schema) as writer:
        yield writer.write_batch


def _collected(rows: Rows) -> Iterator[Any]:
    """Join small batches, so that a file doesn't fall into thousands of pieces."""
    import pyarrow as pa

    waiting: list[Any] = []
    count = 0
    for batch in rows.batches:
        waiting.append(batch)
        count += batch.num_rows
        if count >= ROW_GROUP_ROWS:
            yield pa.concat_batches(waiting)
            waiting, count = [], 0
    if waiting:
        yield pa.concat_batches(waiting)


def _all_batches(
    rows: Rows, waiting: Iterator[Path], first: str, file_format: FileFormat, *, as_text: bool
) -> Iterator[Any]:
    yield from rows.batches
    for path in waiting:
        more = _opened(path, file_format, as_text=as_text)
        if sorted(more.schema.names) != sorted(rows.schema.names):
            raise UserErrorException(
                f"file {path.name!r} has columns {', '.join(more.schema.names)}, but {first!r} has "
                f"{', '.join(rows.schema.names)}; files for one table need the same columns"
            )
        for batch in more.batches:
            yield _fitted(batch, rows.schema, path)


def _fitted(batch: Any, schema: Any, path: Path) -> Any:
    import pyarrow as pa

    try:
        columns = [batch.column(field.name).cast(field.type) for field in schema]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserErrorException(f"file {path.name!r} has other types than the first file: {error}") from None
    return pa.record_batch(columns, schema=schema)


def _opened(path: Path, file_format: FileFormat, *, as_text: bool) -> Rows:
    import pyarrow as pa

    try:
        rows = _opened_csv(path, as_text=as_text) if file_format == "csv" else _opened_parquet(path)
        return Rows(rows.schema, _explained(rows.batches, path, file_format))
    except pa.ArrowInvalid as error:
        raise _unreadable(path, file_format, error) from None


def _opened_csv(path: Path, *, as_text: bool) -> Rows:
    from pyarrow import csv

    names = _header(path)
    types: Mapping[str, Any] = dict.fromkeys(names, _text_type()) if as_text else {}
    reader = csv.open_csv(
        path,
        read_options=csv.ReadOptions(block_size=_CSV_BLOCK_BYTES),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        # A quoted nothing is an empty text, one without quotes is no value: what the writer above does, and COPY.
        convert_options=csv.ConvertOptions(
            column_types=types, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )
    return Rows(reader.schema, iter(reader))


def _header(path: Path) -> list[str]:
    """Return the names of a CSV file's columns."""
    from pyarrow import csv

    reader = csv.open_csv(path, parse_options=csv.ParseOptions(newlines_in_values=True))
    names: list[str] = reader.schema.names
    reader.close()
    return names


def _text_type() -> Any:
    import pyarrow as pa

    return pa.string()


def _opened_parquet(path: Path) -> Rows:
    import pyarrow.parquet as pq

    opened = pq.ParquetFile(path)
    return Rows(opened.schema_arrow, opened.iter_batches(batch_size=_READ_ROWS))


def _explained(batches: Iterator[Any], path: Path, file_format: str) -> Iterator[Any]:
    import pyarrow as pa

    try:
        yield from batches
    except pa.ArrowInvalid as error:
        raise _unreadable(path, file_format, error) from None


def _unreadable(path: Path, file_format: str, error: Exception) -> UserErrorException:
    return UserErrorException(f"file {path.name!r} is no {file_format} file that can be loaded: {error}")
