"""What DB-API drivers do each in their own way: reading without holding everything, ending a statement, time limits."""

from __future__ import annotations

import importlib
import math
import uuid
from collections.abc import Callable
from contextlib import closing
from typing import Any


def streaming_cursor(connection: Any) -> Any:
    """Return a cursor that leaves the rows at the server until they are fetched."""
    driver = _driver_of(connection)
    if driver in ("psycopg2", "psycopg"):
        return connection.cursor(name=f"azureml_{uuid.uuid4().hex[:12]}")
    if driver == "MySQLdb":
        return connection.cursor(importlib.import_module("MySQLdb.cursors").SSCursor)
    if driver == "pymysql":
        return connection.cursor(importlib.import_module("pymysql.cursors").SSCursor)
    return connection.cursor()


def canceler(connect: Callable[[], Any], connection: Any, cursor: Any) -> Callable[[], object]:
    """Return what ends the running statement when another thread calls it; nothing where a driver has no way.

    :param connect: makes another connection, for servers that take the wish on one of its own.
    """
    driver = _driver_of(connection)
    if driver in ("psycopg2", "psycopg"):
        return connection.cancel  # type: ignore[no-any-return]
    if driver in ("MySQLdb", "pymysql", "mysql"):
        return _killer(connect, _mysql_thread(connection))
    if callable(getattr(cursor, "cancel", None)):
        return cursor.cancel  # type: ignore[no-any-return]
    return lambda: None


def limit_statements(connection: Any, timeout_s: float | None) -> None:
    """Give a connection to SQL Server a time limit for each statement, which only its driver keeps."""
    if timeout_s is None:
        return
    seconds = max(1, math.ceil(timeout_s))
    inner = getattr(connection, "_conn", None)
    if inner is not None and hasattr(inner, "query_timeout"):
        # pymssql: its own connection has no such attribute.
        inner.query_timeout = seconds
    elif hasattr(connection, "timeout"):
        connection.timeout = seconds


def choose_database(hook: Any, database: str) -> None:
    """Make a hook connect to another database than its connection's.

    :raises AttributeError: the hook has no place for it.
    """
    for name in ("_database", "database", "schema"):
        if hasattr(hook, name):
            setattr(hook, name, database)
            return
    raise AttributeError("database")


def _driver_of(connection: Any) -> str:
    return type(connection).__module__.partition(".")[0]


def _mysql_thread(connection: Any) -> int:
    thread = getattr(connection, "thread_id", None) or connection.connection_id
    return int(thread() if callable(thread) else thread)


def _killer(connect: Callable[[], Any], thread: int) -> Callable[[], object]:
    def kill() -> None:
        with closing(connect()) as other, closing(other.cursor()) as cursor:
            cursor.execute(f"KILL QUERY {thread}")

    return kill
