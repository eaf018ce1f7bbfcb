"""What is read from a database: a table, a query or a stored procedure, with typed values for its parameters.

Values never become part of a statement's text; the database gets them beside it.
"""

from __future__ import annotations

import base64
import datetime
import math
import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from airflow_azureml.runtime.exceptions import DefinitionError, UserErrorException

__all__ = ["SourceKind", "SqlParameter", "SqlSource", "SqlValue", "check_parameters", "typed_value"]

SourceKind = Literal["table", "query", "procedure"]
SqlValue = (
    bool | int | float | Decimal | str | bytes | datetime.date | datetime.datetime | datetime.time | uuid.UUID
)
"""What a parameter's value may be, beside None."""

_VALUE_TYPES = (
    bool,
    int,
    float,
    Decimal,
    str,
    bytes,
    datetime.date,
    datetime.datetime,
    datetime.time,
    uuid.UUID,
)
_NAME = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class SqlParameter:
    """A parameter of a query or procedure.

    :param name: as the query says ``:name``, or the procedure calls it.
    :param value: its value; not shown, it may be personal data.
    """

    name: str
    value: SqlValue | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class SqlSource:
    """What to read.

    :param kind: ``table``, ``query`` or ``procedure``.
    :param text: the name of the table or procedure, schema and name as SQL writes them, or the query.
    :param parameters: values of the query's ``:name`` places, or of the procedure's parameters in their order.
    """

    kind: SourceKind
    text: str
    parameters: tuple[SqlParameter, ...] = ()

    @classmethod
    def table(cls, name: str) -> SqlSource:
        """Return a whole table or view."""
        return cls("table", name)

    @classmethod
    def query(cls, text: str, parameters: Mapping[str, Any] | None = None) -> SqlSource:
        """Return the result of one query.

        :param parameters: values for ``:name`` in the query.
        :raises DefinitionError: a name that is none, or a value of a type that databases don't know.
        """
        return cls("query", text, check_parameters("query", (parameters or {}).items()))

    @classmethod
    def procedure(cls, name: str, parameters: Iterable[SqlParameter] = ()) -> SqlSource:
        """Return the rows that a stored procedure returns.

        :param parameters: its parameters in their order.
        :raises DefinitionError: a name that is none, or a value of a type that databases don't know.
        """
        pairs = [(parameter.name, parameter.value) for parameter in parameters]
        return cls("procedure", name, check_parameters(f"procedure {name!r}", pairs))

    @property
    def shown(self) -> str:
        """Text for messages: what it is, without values."""
        text = " ".join(self.text.split())
        return f"{self.kind} {text if len(text) <= 80 else text[:79] + '…'}"

    def to_document(self) -> dict[str, Any]:
        """Return what it is as JSON, values with their types: for keys and records."""
        parameters = [[each.name, *_written(each.value)] for each in self.parameters]
        return {"kind": self.kind, "text": self.text, "parameters": parameters}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> SqlSource:
        """Read what :meth:`to_document` wrote."""
        return cls(
            document["kind"],
            document["text"],
            tuple(SqlParameter(name, _READ[type_](text)) for name, type_, text in document["parameters"]),
        )


def check_parameters(owner: str, parameters: Iterable[tuple[object, Any]]) -> tuple[SqlParameter, ...]:
    """Return parameters whose names and values a database can take.

    :param owner: whose they are, for the message.
    :param parameters: names and values; ``@`` before a name is dropped.
    :raises DefinitionError: a name that is none or comes twice, or a value of another type.
    """
    found: dict[str, SqlParameter] = {}
    for given, value in parameters:
        name = given.removeprefix("@") if isinstance(given, str) else ""
        if not _NAME.fullmatch(name):
            raise DefinitionError(
                f"{owner}: {given!r} is no name of a parameter; use letters, digits, underscores"
            )
        if name in found:
            raise DefinitionError(f"{owner}: parameter {name!r} is given twice; give it once")
        if value is not None and not isinstance(value, _VALUE_TYPES):
            raise DefinitionError(
                f"{owner}: parameter {name!r} is a {type(value).__name__}; give text, a number, True or False, "
                "a date, a time, a UUID, bytes or None"
            )
        found[name] = SqlParameter(name, value)
    return tuple(found.values())


def typed_value(owner: str, type_name: str, value: object) -> SqlValue | None:
    """Return a stored procedure parameter's value as its declared type.

    :param owner: whose it is, for the message.
    :param type_name: v1's word: ``String``, ``Int``, ``Decimal``, ``Guid``, ``Boolean`` or ``Date``.
    :param value: the value, or the text of it as v1 took it.
    :raises UserErrorException: it is no value of that type.
    """
    if value is None:
        return None
    try:
        return _TYPED[type_name](value)
    except (ValueError, TypeError, InvalidOperation):
        raise UserErrorException(
            f"{owner}: the value is no {type_name}; give {_EXAMPLES[type_name]}, or declare another type"
        ) from None


def _integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise TypeError
    return int(value)


def _decimal(value: object) -> Decimal:
    number = Decimal(str(value))
    if isinstance(value, bool) or not math.isfinite(number):
        raise ValueError
    return number


def _guid(value: object) -> uuid.UUID:
    return value if isinstance(value, uuid.UUID) else uuid.UUID(str(value))


def _boolean(value: object) -> bool:
    text = str(value).strip().lower()
    if text not in {"true", "1", "false", "0"}:
        raise ValueError
    return text in {"true", "1"}


def _date(value: object) -> datetime.date:
    if isinstance(value, datetime.date):
        return value
    text = str(value).strip()
    return datetime.date.fromisoformat(text) if len(text) == 10 else datetime.datetime.fromisoformat(text)


_TYPED: dict[str, Callable[[object], SqlValue]] = {
    "String": str,
    "Int": _integer,
    "Decimal": _decimal,
    "Guid": _guid,
    "Boolean": _boolean,
    "Date": _date,
}
_EXAMPLES = {
    "String": "text",
    "Int": "a whole number",
    "Decimal": "a number such as '12.50'",
    "Guid": "a GUID such as '7f3c…-…'",
    "Boolean": "True or False",
    "Date": "a date such as '2026-01-31' or '2026-01-31T08:00:00'",
}


def _written(value: SqlValue | None) -> Sequence[str]:
    if isinstance(value, bytes):
        return "bytes", base64.b64encode(value).decode()
    if isinstance(value, (datetime.date, datetime.time)):
        return type(value).__name__, value.isoformat()
    return type(value).__name__, "" if value is None else str(value)


_READ: dict[str, Callable[[str], SqlValue | None]] = {
    "NoneType": lambda _: None,
    "bool": lambda text: text == "True",
    "int": int,
    "float": float,
    "Decimal": Decimal,
    "str": str,
    "bytes": base64.b64decode,
    "date": datetime.date.fromisoformat,
    "datetime": datetime.datetime.fromisoformat,
    "time": datetime.time.fromisoformat,
    "UUID": uuid.UUID,
}
