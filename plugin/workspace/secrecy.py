"""Records never hold secrets: what looks like one is refused where a record is written.

Credentials live in Airflow connections; a record names the connection.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from airflow_azureml.runtime.exceptions import UserErrorException

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SECRET_FIELD = re.compile(
    r"(^|_)(password|passwd|pwd|passphrase|secrets?|token|sas|credentials?|keytab|connection_?string"
    r"|(account|access|application|api|private|shared|shared_access|storage|signing|subscription)_?key)$"
)
_SECRET_VALUE = re.compile(
    r"(?i)"
    r"\b(account_?key|shared_?access_?(key|signature)|password|pwd|client_?secret)\s*=\s*[^\s;]"
    r"|[?&]sig=[^\s&]"
    r"|\w://[^/\s@]*:[^/\s@]+@"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)


def refuse_secrets(document: Mapping[str, Any], what: str) -> None:
    """Raise when a field's name or a text in it looks like a credential.

    :param document: the record about to be written.
    :param what: what the record is, for the message ("datastore 'landing'"). The value itself is never shown.
    :raises UserErrorException: names the field and says where credentials belong.
    """
    for field, value in _fields(document, ""):
        name = field.rpartition(".")[2]
        if value not in (None, "") and _SECRET_FIELD.search(_CAMEL.sub("_", name).lower()):
            raise UserErrorException(_message(what, field, "is the name of a credential"))
        if isinstance(value, str) and _SECRET_VALUE.search(value):
            raise UserErrorException(_message(what, field, "holds what looks like a credential"))


def _message(what: str, field: str, finding: str) -> str:
    return (
        f"{what}: field {field!r} {finding}, and records are readable by everybody in the workspace; "
        "put it into an Airflow connection and give the connection's id"
    )


def _fields(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _fields(item, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _fields(item, path)
    else:
        yield path, value
