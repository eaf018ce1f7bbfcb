"""Conditions on columns (``dataset["age"] > 30``) and on files' metadata, kept as documents.

::

    {"column": name} | {"value": JSON scalar} | {"datetime": ISO text, UTC}
    {"op": "gt", "args": [expression, …]}         {"op": "isin", "args": [expression], "values": [literal, …]}

An expression is built by operators and evaluated later: on rows by ``engine.rows``, on files by :func:`holds`.
A missing value satisfies no comparison except ``!=``, as in pandas.
"""

from __future__ import annotations

import datetime
import math
import operator
from typing import Any, Callable, Iterable

from airflow_azureml.runtime.exceptions import UserErrorException

COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}
TEXT_TESTS = ("contains", "startswith", "endswith")


class Expression:
    """A condition or a column; combine conditions with ``&``, ``|`` and ``~``.

    ``and``, ``or``, ``not`` and chained comparisons can't work on something evaluated later, so they raise.
    """

    __slots__ = ("_document",)

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def to_document(self) -> dict[str, Any]:
        """Return the expression as it stands in a definition document."""
        return self._document

    def isin(self, values: Iterable[object]) -> Expression:
        """True where the value is one of ``values``."""
        if isinstance(values, (str, bytes)):
            raise UserErrorException("isin takes a list of values, not %r" % (values,))
        return Expression(
            {"op": "isin", "args": [self._document], "values": [_literal(value) for value in values]}
        )

    is_in = isin

    def is_null(self) -> Expression:
        """True where the value is missing."""
        return Expression({"op": "is_null", "args": [self._document]})

    def is_not_null(self) -> Expression:
        """True where there is a value."""
        return ~self.is_null()

    def contains(self, text: str) -> Expression:
        """True where the text holds ``text``, taken literally."""
        return self._text_test("contains", text)

    def startswith(self, text: str) -> Expression:
        """True where the text begins with ``text``."""
        return self._text_test("startswith", text)

    def endswith(self, text: str) -> Expression:
        """True where the text ends with ``text``."""
        return self._text_test("endswith", text)

    def _text_test(self, name: str, text: object) -> Expression:
        if not isinstance(text, str):
            raise UserErrorException("%s takes text, not %r" % (name, text))
        return Expression({"op": name, "args": [self._document, {"value": text}]})

    def _binary(self, name: str, other: object) -> Expression:
        return Expression({"op": name, "args": [self._document, _operand(other)]})

    def _condition(self, name: str, other: object) -> Expression:
        if not isinstance(other, Expression):
            raise UserErrorException(
                "a condition combines with another condition, not with %r; put each comparison in parentheses"
                % (other,)
            )
        return self._binary(name, other)

    def __eq__(self, other: object) -> Expression:  # type: ignore[override]
        return self._binary("eq", other)

    def __ne__(self, other: object) -> Expression:  # type: ignore[override]
        return self._binary("ne", other)

    def __lt__(self, other: object) -> Expression:
        return self._binary("lt", other)

    def __le__(self, other: object) -> Expression:
        return self._binary("le", other)

    def __gt__(self, other: object) -> Expression:
        return self._binary("gt", other)

    def __ge__(self, other: object) -> Expression:
        return self._binary("ge", other)

    def __and__(self, other: object) -> Expression:
        return self._condition("and", other)

    def __or__(self, other: object) -> Expression:
        return self._condition("or", other)

    def __invert__(self) -> Expression:
        return Expression({"op": "not", "args": [self._document]})

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise UserErrorException(
            "a dataset condition has no truth value yet: combine with &, | and ~ instead of and, or, not"
        )

    def __repr__(self) -> str:
        return "Expression(%r)" % (self._document,)


def column(name: object) -> Expression:
    """Return the expression for a column.

    :raises UserErrorException: the name is no text.
    """
    if not isinstance(name, str):
        raise UserErrorException("a column is named by text, not %r" % (name,))
    return Expression({"column": name})


def condition_document(expression: object) -> dict[str, Any]:
    """Return the document of a condition that was given to ``filter``.

    :raises UserErrorException: it is no condition.
    """
    if not isinstance(expression, Expression) or "op" not in expression.to_document():
        raise UserErrorException(
            "filter takes a condition such as dataset['age'] > 30, not %r" % (expression,)
        )
    return expression.to_document()


def literal_value(document: dict[str, Any]) -> Any:
    """Return the Python value of a literal in a document."""
    if "datetime" in document:
        return datetime.datetime.fromisoformat(document["datetime"])
    return document["value"]


def columns_of(document: dict[str, Any]) -> set[str]:
    """Return the names of the columns an expression reads."""
    if "column" in document:
        return {document["column"]}
    return {name for argument in document.get("args", ()) for name in columns_of(argument)}


def holds(document: dict[str, Any], values: dict[str, Any]) -> Any:
    """Evaluate an expression for one item.

    :param document: the expression.
    :param values: the item's values by column name.
    """
    if "column" in document:
        return values.get(document["column"])
    if "op" not in document:
        return literal_value(document)
    arguments = [holds(argument, values) for argument in document["args"]]
    return _scalar_operation(document, arguments)


def _scalar_operation(document: dict[str, Any], arguments: list[Any]) -> bool:
    name, first = document["op"], arguments[0]
    if name == "not":
        return not first
    if name == "and":
        return bool(first and arguments[1])
    if name == "or":
        return bool(first or arguments[1])
    if name == "is_null":
        return first is None
    if name == "isin":
        return first in [literal_value(value) for value in document["values"]]
    if name in TEXT_TESTS:
        return isinstance(first, str) and _text_tests[name](first, arguments[1])
    if first is None or arguments[1] is None:
        return bool(name == "ne")
    return bool(COMPARISONS[name](first, arguments[1]))


_text_tests: dict[str, Callable[[str, str], bool]] = {
    "contains": lambda text, part: part in text,
    "startswith": str.startswith,
    "endswith": str.endswith,
}


def _operand(value: object) -> dict[str, Any]:
    return value.to_document() if isinstance(value, Expression) else _literal(value)


def _literal(value: Any) -> dict[str, Any]:
    if isinstance(value, datetime.datetime):
        if value.tzinfo is not None:
            value = value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
        return {"datetime": value.isoformat()}
    if isinstance(value, datetime.date):
        return {"datetime": value.isoformat() + "T00:00:00"}
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()  # a numpy scalar
    if isinstance(value, float) and not math.isfinite(value):
        raise UserErrorException("compare with a finite number, not %r; missing values: is_null()" % (value,))
    if value is None or isinstance(value, (str, bool, int, float)):
        return {"value": value}
    raise UserErrorException(
        "a column compares with text, numbers, truth values and times, not %r" % (value,)
    )
