"""Airflow connections, as stores and databases need them: the only place where credentials are."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

_AIRFLOW = "airflow_azureml.hooks.connections"


@dataclass(frozen=True, slots=True)
class ConnectionFields:
    """The fields of an Airflow connection.

    :param id: its id.
    :param type: its type, such as ``wasb``.
    :param host: host or URL.
    :param login: user, account or client id.
    :param password: the secret; never shown.
    :param schema: database.
    :param port: port.
    :param extra: further fields by name.
    """

    id: str
    type: str
    host: str | None = None
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    schema: str | None = None
    port: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


def get_connection(connection_id: str) -> ConnectionFields:
    """Return an Airflow connection.

    :raises UserErrorException: there is none of that id.
    """
    found: ConnectionFields = _airflow("get_connection")(connection_id)
    return found


def get_hook(connection_id: str) -> Any:
    """Return the hook that Airflow makes of a connection: for databases a ``DbApiHook``.

    :raises UserErrorException: there is no such connection, or its provider isn't installed.
    """
    return _airflow("get_hook")(connection_id)


def _airflow(name: str) -> Callable[[str], Any]:
    # By name: this layer knows nothing of Airflow, and has to ask it only here.
    function: Callable[[str], Any] = getattr(importlib.import_module(_AIRFLOW), name)
    return function
