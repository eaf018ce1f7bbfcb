"""From the address of a database to the database: PostgreSQL over ADBC, everything else over its Airflow hook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.sql import adbc
from airflow_azureml.sql.database import Database, DatabaseAddress
from airflow_azureml.sql.dialects import DIALECTS
from airflow_azureml.sql.drivers import choose_database
from airflow_azureml.sql.hook import HookDatabase
from airflow_azureml.sql.postgresql import PostgreSQLDatabase
from airflow_azureml.storage.connections import ConnectionFields, get_connection, get_hook

_KIND_OF_TYPE = {"AzureSqlDatabase": "mssql", "AzurePostgreSql": "postgresql", "AzureMySql": "mysql"}
_CONNECTIONS = {"mssql": ("mssql", "odbc"), "postgresql": ("postgres",), "mysql": ("mysql",)}
_KIND_OF_CONNECTION = {"postgres": "postgresql", "mssql": "mssql", "mysql": "mysql"}
_PORTS = {"postgresql": 5432, "mssql": 1433, "mysql": 3306}
# What libpq knows of a connection's extra; the rest is for the hook.
_LIBPQ = frozenset(
    {
        "application_name",
        "channel_binding",
        "client_encoding",
        "connect_timeout",
        "gssencmode",
        "hostaddr",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "krbsrvname",
        "options",
        "require_auth",
        "sslcert",
        "sslcrl",
        "sslkey",
        "sslmode",
        "sslpassword",
        "sslrootcert",
        "target_session_attrs",
        "tcp_user_timeout",
    }
)


def open_database(address: DatabaseAddress) -> Database:
    """Return the database at an address. Nothing is connected yet.

    :raises UserErrorException: no such connection, one of another type or without a field that is needed.
    """
    fields = get_connection(address.connection_id)
    kind = _kind(address, fields)
    database = _database_name(address, fields, kind)
    uri = _uri(fields, kind, database)
    if kind == "postgresql" and adbc.installed():
        return PostgreSQLDatabase(uri, address.connection_id, lambda: _options(address))
    secrets = tuple(
        text for text in (fields.password, *map(str, _secret_extras(fields.extra))) if text and len(text) > 2
    )
    return HookDatabase(
        DIALECTS[kind], uri, address.connection_id, lambda: _hook(address.connection_id, database), secrets
    )


def _kind(address: DatabaseAddress, fields: ConnectionFields) -> str:
    kind = _KIND_OF_TYPE.get(address.type)
    if kind is None:
        return _KIND_OF_CONNECTION.get(fields.type, "ansi")
    if fields.type not in _CONNECTIONS[kind]:
        raise UserErrorException(
            f"connection {fields.id!r} is of type {fields.type!r}; a datastore of type {address.type} needs one of type "
            f"{' or '.join(_CONNECTIONS[kind])}"
        )
    return kind


def _database_name(address: DatabaseAddress, fields: ConnectionFields, kind: str) -> str | None:
    if kind != "ansi" and not fields.host:
        raise UserErrorException(f"connection {fields.id!r} has no Host; fill it in: the name of the server")
    database = address.database or fields.schema
    if kind != "ansi" and not database:
        raise UserErrorException(
            f"connection {fields.id!r} has no Database (Schema), and the datastore names none; fill it in"
        )
    return database


def _uri(fields: ConnectionFields, kind: str, database: str | None) -> str:
    scheme = fields.type if kind == "ansi" else kind
    port = fields.port or _PORTS.get(kind)
    server = f"{(fields.host or '').lower()}{'' if port is None else f':{port}'}"
    return f"{scheme}://{server}/{database or ''}"


def _options(address: DatabaseAddress) -> Mapping[str, str]:
    """Return what libpq connects with; asked for every time, because secrets change and tokens expire."""
    fields = get_connection(address.connection_id)
    login, password, host, port = fields.login, fields.password, fields.host, fields.port
    if fields.extra.get("iam"):
        # The hook knows how to get a token of AWS or Azure for this connection.
        url = get_hook(address.connection_id).sqlalchemy_url
        login, password, host, port = url.username, url.password, url.host, url.port
    given = {
        "host": host,
        "port": port or _PORTS["postgresql"],
        "user": login,
        "password": password,
        "dbname": address.database or fields.schema,
        **{name: value for name, value in fields.extra.items() if name in _LIBPQ},
    }
    return {name: str(value) for name, value in given.items() if value not in (None, "")}


def _hook(connection_id: str, database: str | None) -> Any:
    hook = get_hook(connection_id)
    if not hasattr(hook, "placeholder") or not hasattr(hook, "get_conn"):
        raise UserErrorException(
            f"connection {connection_id!r} is of type {type(hook).__name__}, which is no SQL database's"
        )
    if database is not None and database != hook.connection.schema:
        _choose(hook, connection_id, database)
    return hook


def _choose(hook: Any, connection_id: str, database: str) -> None:
    try:
        choose_database(hook, database)
    except AttributeError:
        raise UserErrorException(
            f"connection {connection_id!r} cannot connect to another database than its own; "
            f"make a connection to database {database!r}"
        ) from None


def _secret_extras(extra: Mapping[str, Any]) -> list[Any]:
    return [
        value
        for name, value in extra.items()
        if any(word in name.lower() for word in ("password", "secret", "token"))
    ]
