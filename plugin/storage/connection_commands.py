"""The commands that make Airflow connections, for messages: everything in them but the secrets."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping

_STANDARD = ("host", "login", "password", "schema", "port")
SECRET_FIELDS = frozenset({"password", "sas_token", "client_secret"})
"""Fields that a command shows as an environment variable instead of their value."""


def add_command(connection_id: str, connection_type: str, values: Mapping[str, str | None]) -> str:
    """Return the command that makes a connection.

    :param values: field to value, of the standard fields or of the extra ones; None leaves a field out. Of a secret
        field only the name is used: the command has ``"$PASSWORD"`` in its place, to be set in the shell.
    """
    words = [
        "airflow connections add",
        shlex.quote(connection_id),
        "--conn-type",
        shlex.quote(connection_type),
    ]
    for name in _STANDARD:
        value = values.get(name)
        if value is not None:
            words += [f"--conn-{name}", _word(name, value)]
    extra = {name: value for name, value in values.items() if name not in _STANDARD and value is not None}
    if extra:
        words += ["--conn-extra", _extra(extra)]
    return " ".join(words)


def _word(name: str, value: str) -> str:
    return f'"{_variable(name)}"' if name in SECRET_FIELDS else shlex.quote(value)


def _extra(values: Mapping[str, str]) -> str:
    secret = SECRET_FIELDS.intersection(values)
    text = json.dumps({name: _variable(name) if name in secret else value for name, value in values.items()})
    if not secret:
        return shlex.quote(text)
    # In double quotes, so that the shell puts the secrets in.
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("`", "\\`") + '"'


def _variable(name: str) -> str:
    return f"${name.upper()}"
