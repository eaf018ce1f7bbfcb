"""Arrow columns on their way between databases and files: which types each side takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from airflow_azureml.runtime.exceptions import DatasetExecutionError
from airflow_azureml.sql.database import Rows

_WIDEST_DECIMAL = 38


def check_names(names: list[str], what: str) -> None:
    """Refuse columns that share a name.

    :raises DatasetExecutionError: two do.
    """
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DatasetExecutionError(
            f"{what} has more than one column {repeated[0]!r}; name its columns: SELECT … AS another_name"
        )


def for_parquet(rows: Rows, *, exact_decimals: bool) -> Rows:
    """Return rows of types that Parquet readers know.

    :param exact_decimals: whether decimals of a declared precision stay; doubles otherwise.
    """
    return _cast(rows, lambda field: _parquet_type(field, exact_decimals=exact_decimals))


def for_csv(rows: Rows) -> Rows:
    """Return rows of types that have one text in a CSV file: decimals exact, lists as JSON, bytes as hexadecimal."""
    return _cast(rows, _csv_type)


def for_ingest(rows: Rows) -> Rows:
    """Return rows of types that ADBC can send; what it can't is sent as text, for the server to read."""
    return _cast(rows, _ingest_type)


def values_of(rows: Rows) -> Iterator[list[tuple[Any, ...]]]:
    """Walk rows as Python values, a list for each batch."""
    for batch in _cast(rows, _plain_type).batches:
        columns = [column.to_pylist() for column in batch.columns]
        yield list(zip(*columns, strict=True))


def _cast(rows: Rows, type_for: Any) -> Rows:
    import pyarrow as pa

    fields = [pa.field(field.name, type_for(field), nullable=True) for field in rows.schema]
    schema = pa.schema(fields)
    return Rows(schema, (_cast_batch(batch, schema) for batch in rows.batches))


def _cast_batch(batch: Any, schema: Any) -> Any:
    import pyarrow as pa

    try:
        columns = [_cast_column(column, field) for column, field in zip(batch.columns, schema, strict=True)]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DatasetExecutionError(f"a value doesn't fit: {error}; cast the column in the query") from None
    return pa.record_batch(columns, schema=schema)


def _cast_column(column: Any, field: Any) -> Any:
    import pyarrow as pa

    if column.type == field.type:
        return column
    storage = column.storage if isinstance(column.type, pa.BaseExtensionType) else column
    if storage.type == field.type:
        return storage
    if pa.types.is_string(field.type) and not pa.types.is_null(storage.type):
        return _as_text(column, storage)
    return storage.cast(field.type)


def _as_text(column: Any, storage: Any) -> Any:
    import json

    import pyarrow as pa

    kind = storage.type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        if isinstance(column.type, pa.BaseExtensionType):
            return pa.array(
                [None if value is None else str(value) for value in column.to_pylist()], pa.string()
            )
        return pa.array(
            [None if value is None else "\\x" + value.hex() for value in storage.to_pylist()], pa.string()
        )
    if pa.types.is_nested(kind):
        texts = [None if value is None else json.dumps(value, default=str) for value in column.to_pylist()]
        return pa.array(texts, pa.string())
    if pa.types.is_interval(kind) or pa.types.is_duration(kind):
        return pa.array([None if value is None else str(value) for value in storage.to_pylist()], pa.string())
    return storage.cast(pa.string())


def _parquet_type(field: Any, *, exact_decimals: bool) -> Any:
    import pyarrow as pa

    decimal = _decimal_of(field)
    if decimal is not None:
        return decimal if exact_decimals and decimal != pa.float64() else pa.float64()
    kind = field.type
    if pa.types.is_null(kind) or pa.types.is_interval(kind) or pa.types.is_duration(kind):
        return pa.string()
    if isinstance(kind, pa.BaseExtensionType):
        return pa.string()
    if pa.types.is_timestamp(kind):
        return _in_utc(kind)
    if pa.types.is_list(kind):
        return pa.list_(_parquet_type(kind.value_field, exact_decimals=exact_decimals))
    return kind


def _csv_type(field: Any) -> Any:
    import pyarrow as pa

    kind = field.type
    simple = (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_date(kind)
    )
    if pa.types.is_timestamp(kind):
        return _in_utc(kind)
    return kind if simple else pa.string()


def _in_utc(kind: Any) -> Any:
    import pyarrow as pa

    # The same moments; the zone they are written in would depend on the driver.
    return kind if kind.tz is None else pa.timestamp(kind.unit, tz="UTC")


def _ingest_type(field: Any) -> Any:
    import pyarrow as pa

    kind = field.type
    if pa.types.is_dictionary(kind):
        return _ingest_type(field.with_type(kind.value_type))
    if isinstance(kind, pa.BaseExtensionType) or _is_text(kind):
        return pa.string()
    if pa.types.is_unsigned_integer(kind):
        return pa.decimal128(20, 0) if kind == pa.uint64() else pa.int64()
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", tz=kind.tz)
    if pa.types.is_time(kind):
        return pa.time64("us")
    if pa.types.is_list(kind):
        return pa.list_(_ingest_type(kind.value_field))
    others = {pa.int8(): pa.int16(), pa.float16(): pa.float32(), pa.date64(): pa.date32()}
    return others.get(kind, kind)


def _plain_type(field: Any) -> Any:
    import pyarrow as pa

    kind = field.type
    if isinstance(kind, pa.BaseExtensionType) or _is_text(kind) or pa.types.is_nested(kind):
        return pa.string()
    if pa.types.is_timestamp(kind):
        # Finer ones become pandas objects in Python.
        return pa.timestamp("us", tz=kind.tz)
    return pa.time64("us") if pa.types.is_time(kind) else kind


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(
        pa.types.is_null(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_interval(kind)
        or pa.types.is_duration(kind)
        or pa.types.is_struct(kind)
        or pa.types.is_map(kind)
    )


def _decimal_of(field: Any) -> Any | None:
    """Return the type for a decimal: itself where its precision is declared, a double where it isn't; None for no decimal."""
    import pyarrow as pa

    if pa.types.is_decimal(field.type):
        return field.type if field.type.precision <= _WIDEST_DECIMAL else pa.float64()
    if not isinstance(field.type, pa.OpaqueType) or field.type.type_name != "numeric":
        return None
    modifier = int((field.metadata or {}).get(b"POSTGRESQL:typmod", b"-1"))
    if modifier < 0:
        return pa.float64()
    # As PostgreSQL packs numeric(precision, scale); a scale may be negative there, and larger than the precision.
    precision, scale = (modifier - 4) >> 16 & 0xFFFF, ((modifier - 4) & 0x7FF ^ 1024) - 1024
    fits = 0 < precision <= _WIDEST_DECIMAL and 0 <= scale <= precision
    return pa.decimal128(precision, scale) if fits else pa.float64()
