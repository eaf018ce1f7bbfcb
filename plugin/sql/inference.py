"""Types for rows that a DB-API driver gives as Python values: looked at chunk by chunk, settled at the end.

A column may be all empty at first and hold text in the millionth row, so the chunks wait in a folder until every one has been
seen; memory holds one at a time.
"""

from __future__ import annotations

import datetime
import decimal
import ipaddress
import json
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airflow_azureml.runtime.exceptions import DatasetExecutionError
from airflow_azureml.sql.database import Rows

_AS_TEXT: tuple[tuple[type | tuple[type, ...], Callable[[Any], str]], ...] = (
    ((dict, list), lambda value: json.dumps(value, default=str, ensure_ascii=False)),
    ((uuid.UUID, datetime.timedelta, ipaddress.IPv4Address, ipaddress.IPv6Address), str),
)


@contextmanager
def typed(names: Sequence[str], chunks: Iterable[Sequence[Any]]) -> Iterator[Rows]:
    """Return rows with types that fit all of their values.

    :param names: the columns.
    :param chunks: the rows, as a driver gives them.
    :raises DatasetExecutionError: a column has values that no one type fits.
    """
    import pyarrow as pa

    with tempfile.TemporaryDirectory(prefix="azureml-sql-") as folder:
        files: list[Path] = []
        schemas: list[Any] = []
        writer: Any = None
        for chunk in chunks:
            batch = _batch(names, chunk)
            if not schemas or batch.schema != schemas[-1]:
                if writer is not None:
                    writer.close()
                files.append(Path(folder) / f"{len(files)}.arrow")
                schemas.append(batch.schema)
                writer = pa.ipc.new_stream(str(files[-1]), batch.schema)
            writer.write_batch(batch)
        if writer is not None:
            writer.close()
        schema = _unified(names, schemas)
        yield Rows(schema, _read_back(files, schema))


def _batch(names: Sequence[str], chunk: Sequence[Any]) -> Any:
    import pyarrow as pa

    rows = [tuple(row.values()) for row in chunk] if isinstance(chunk[0], Mapping) else chunk
    columns = zip(*rows, strict=True)
    return pa.record_batch(
        [_array(name, values) for name, values in zip(names, columns, strict=True)], list(names)
    )


def _array(name: str, values: Sequence[Any]) -> Any:
    import pyarrow as pa

    first = next((value for value in values if value is not None), None)
    for kinds, as_text in _AS_TEXT:
        if isinstance(first, kinds):
            return pa.array([None if value is None else as_text(value) for value in values], pa.string())
    if isinstance(first, (memoryview, bytearray)):
        return pa.array([None if value is None else bytes(value) for value in values], pa.binary())
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return _mixed(name, values)


def _mixed(name: str, values: Sequence[Any]) -> Any:
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float, decimal.Decimal}:
        exact = [None if value is None else decimal.Decimal(value) for value in values]
        return (
            pa.array(exact)
            if float not in kinds
            else pa.array([None if v is None else float(v) for v in values])
        )
    if len(kinds) == 1:
        return pa.array([None if value is None else str(value) for value in values], pa.string())
    raise _no_type(name, sorted(kind.__name__ for kind in kinds))


def _unified(names: Sequence[str], schemas: Sequence[Any]) -> Any:
    import pyarrow as pa

    if not schemas:
        # No rows, so nothing tells the types.
        return pa.schema([pa.field(name, pa.string()) for name in names])
    try:
        return pa.unify_schemas(list(schemas), promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        for index, name in enumerate(names):
            kinds = {str(schema.field(index).type) for schema in schemas}
            if len(kinds - {"null"}) > 1:
                raise _no_type(name, sorted(kinds)) from None
        raise


def _read_back(files: Sequence[Path], schema: Any) -> Iterator[Any]:
    import pyarrow as pa

    for path in files:
        with pa.memory_map(str(path)) as opened, pa.ipc.open_stream(opened) as reader:
            for batch in reader:
                yield batch.cast(schema)


def _no_type(name: str, kinds: Sequence[str]) -> DatasetExecutionError:
    return DatasetExecutionError(
        f"column {name!r} has values of different types ({', '.join(kinds)}); cast it to one in the query"
    )
