"""Airflow's connections for the layers below, which know nothing of Airflow."""

from __future__ import annotations

import os
import sys
from typing import Any

from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.storage.connections import ConnectionFields


def get_connection(connection_id: str) -> ConnectionFields:
    """Return an Airflow connection, wherever Airflow keeps it: environment, secrets backend, database.

    :raises UserErrorException: there is none of that id.
    """
    found = _connection(connection_id)
    return ConnectionFields(
        id=connection_id,
        type=found.conn_type or "",
        host=found.host or None,
        login=found.login or None,
        password=found.password or None,
        schema=found.schema or None,
        port=found.port,
        extra=found.extra_dejson,
    )


def get_hook(connection_id: str) -> Any:
    """Return the hook that Airflow makes of a connection.

    :raises UserErrorException: there is no such connection, or its provider isn't installed.
    """
    from airflow.sdk.exceptions import AirflowException

    found = _connection(connection_id)
    try:
        return _as_in_a_task(found).get_hook()
    except (AirflowException, ImportError) as error:
        raise UserErrorException(
            f"connection {connection_id!r} has no hook: {error}; install the provider of its type"
        ) from error


def _connection(connection_id: str) -> Any:
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    _look_in_database_too()
    try:
        return BaseHook.get_connection(connection_id)
    except AirflowNotFoundException:
        raise UserErrorException(
            f"there is no Airflow connection {connection_id!r}; create it: airflow connections add {connection_id} …"
        ) from None


def _as_in_a_task(found: Any) -> Any:
    """Return a connection as tasks have it: one of the database looks for its hook in a way that is deprecated."""
    from airflow.sdk import Connection

    if isinstance(found, Connection):
        return found
    return Connection(
        conn_id=found.conn_id,
        conn_type=found.conn_type,
        host=found.host,
        login=found.login,
        password=found.password,
        schema=found.schema,
        port=found.port,
        extra=found.extra,
    )


def _look_in_database_too() -> None:
    """Make Airflow look for connections in its database, too, where a command or a script of a user asks.

    Tasks, triggers and the processes that read DAG files ask Airflow's supervisor instead; they are left alone.
    """
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    if getattr(runner, "SUPERVISOR_COMMS", None) is None:
        # For good, as `airflow connections` does it: a hook asks again whenever it connects.
        os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
