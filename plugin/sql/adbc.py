"""The ADBC driver for PostgreSQL: connecting, binding values, sending record batches, and which types fit."""

from __future__ import annotations

import datetime
import importlib.util
import uuid
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from airflow_azureml.model.sql_source import SqlParameter, SqlSource, SqlValue
from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.sql.database import Rows
from airflow_azureml.sql.dialects import Column, Statement, described_type
from airflow_azureml.sql.statements import with_places

_DRIVER = "adbc_driver_postgresql.dbapi"
_CONNECT_TIMEOUT_S = 30
_INT32 = range(-(2**31), 2**31)
_INT64 = range(-(2**63), 2**63)
_PARAMETER_TYPES: dict[type, str] = {
    bool: "boolean",
    float: "double precision",
    Decimal: "numeric",
    str: "text",
    bytes: "bytea",
    datetime.date: "date",
    datetime.time: "time",
    uuid.UUID: "uuid",
}
# Types whose values ADBC hands over as the bytes of the wire, or as numbers that mean something else.
_READ_AS = {"money": "numeric", "interval": "text", "oid": "bigint"}
# Which Arrow types go into which columns as they are, without the server's casting.
_SAME = {
    "int16": {"int2"},
    "int32": {"int4"},
    "int64": {"int8"},
    "float": {"float4"},
    "double": {"float8"},
    "string": {"text", "varchar"},
    "bool": {"bool"},
    "date32": {"date"},
    "time64": {"time"},
    "timestamp": {"timestamp"},
    "timestamp_tz": {"timestamptz"},
    "binary": {"bytea"},
    "decimal": {"numeric"},
}
_FLOATING = ("pg_catalog.float4", "pg_catalog.float8", "pg_catalog.numeric")


def installed() -> bool:
    """Tell whether the driver is there."""
    return importlib.util.find_spec("adbc_driver_postgresql") is not None


def connected(options: Mapping[str, str]) -> Any:
    """Return a new connection, in a transaction.

    :param options: libpq's options by name.
    """
    options = {"connect_timeout": str(_CONNECT_TIMEOUT_S), "application_name": "airflow-azureml", **options}
    text = " ".join(f"{name}='{_escaped(value)}'" for name, value in options.items())
    return importlib.import_module(_DRIVER).connect(text, autocommit=False)


def secrets(options: Mapping[str, str]) -> tuple[str, ...]:
    """Return what of the options no message may hold."""
    return tuple(options[name] for name in ("password", "sslpassword") if options.get(name))


def placed(statement: Statement, source: SqlSource | None) -> tuple[str, list[SqlParameter]]:
    """Return a statement with the driver's places for values, each with its type, and the values in their order.

    :param source: what it reads; None for one of our own.
    """
    calling = source is not None and source.kind == "procedure"

    def place(number: int, parameter: SqlParameter) -> str:
        return f"CAST(${number} AS {_type_of(parameter.value, calling=calling)})"

    return with_places(statement.text, statement.parameters, "postgresql", place, percent=False)


def sent(bound: Sequence[SqlParameter]) -> tuple[SqlValue | None, ...] | None:
    """Return values as the driver takes them; None for none."""
    return tuple(map(_sent_value, bound)) or None


def read_cast(field: Any) -> str | None:
    """Return what a column has to be cast to before it is read; None where it is read as it is."""
    import pyarrow as pa

    name = field.metadata[b"POSTGRESQL:type"].decode()
    if name in _READ_AS:
        return _READ_AS[name]
    item = field.type.value_type if pa.types.is_list(field.type) else field.type
    if isinstance(item, pa.OpaqueType) and not pa.types.is_string(item.storage_type):
        return "text" if item is field.type else "text[]"
    return None


def ingested(cursor: Any, rows: Rows, table: str, mode: str, *, schema: str | None = None) -> int:
    """Send rows to a table.

    :param mode: ``append``, or ``create`` for a new temporary table.
    :return: how many rows there were.
    """
    import pyarrow as pa

    failure: list[Exception] = []
    count = 0

    def batches() -> Iterator[Any]:
        nonlocal count
        try:
            for batch in rows.batches:
                count += batch.num_rows
                yield batch
        except Exception as error:
            # The driver would only say that a callback failed.
            failure.append(error)
            raise

    reader = pa.RecordBatchReader.from_batches(rows.schema, batches())
    try:
        cursor.adbc_ingest(table, reader, mode=mode, db_schema_name=schema, temporary=mode == "create")
    except Exception:
        if failure:
            raise failure[0] from None
        raise
    return count


def renamed(rows: Rows, targets: Sequence[Column]) -> Rows:
    """Return rows under the names of the columns that they go to."""
    import pyarrow as pa

    names = [target.name for target in targets]
    schema = pa.schema([field.with_name(name) for field, name in zip(rows.schema, names, strict=True)])
    return Rows(schema, (batch.rename_columns(names) for batch in rows.batches))


def goes_as_it_is(field: Any, target: Column) -> bool:
    """Tell whether a column's values can be sent straight into the target."""
    word = described_type(field)[0]
    return target.type.removeprefix("pg_catalog.") in _SAME.get(word, ())


def written_cast(quoted: str, field: Any, target: Column) -> str:
    """Return what is taken of a staged column for its target."""
    import pyarrow as pa

    if pa.types.is_floating(field.type) and target.type not in _FLOATING:
        # A cast to an integer would round 1.5 to 2 without a word; its text is no integer, and the server says so.
        quoted = f"CAST({quoted} AS text)"
    return f"CAST({quoted} AS {target.type})"


def _escaped(value: str) -> str:
    return str(value).replace("\\", "\\\\").replace("'", "\\'")


def _type_of(value: SqlValue | None, *, calling: bool) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        # Functions are found by the types of their arguments, and an int4 parameter takes no bigint.
        if calling and value in _INT32:
            return "integer"
        return "bigint" if value in _INT64 else "numeric"
    if isinstance(value, datetime.datetime):
        return "timestamp" if value.tzinfo is None else "timestamptz"
    return next(name for kind, name in _PARAMETER_TYPES.items() if isinstance(value, kind))


def _sent_value(parameter: SqlParameter) -> SqlValue | None:
    value = parameter.value
    if isinstance(value, int) and not isinstance(value, bool) and value not in _INT64:
        return Decimal(value)
    return value


def refuse_missing() -> None:
    """Raise when the driver isn't installed.

    :raises UserErrorException: it isn't.
    """
    if not installed():
        raise UserErrorException(
            "PostgreSQL needs the ADBC driver; install it: pip install 'airflow-azureml[postgres]'"
        )
