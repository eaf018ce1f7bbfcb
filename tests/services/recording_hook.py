"""A hook of Airflow's kind over a DB-API driver that writes down what it is told and answers what it was given."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any


class Error(Exception):
    """DB-API's."""


class DatabaseError(Error):
    """DB-API's."""


class Cursor:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rows: list[Any] = []
        self.description: list[tuple[str]] | None = None

    def execute(self, text: str, parameters: Sequence[Any] | None = None) -> None:
        self._connection.statements.append((text, parameters))
        self.description = None
        for pattern, answer in self._connection.answers:
            if re.search(pattern, text):
                if isinstance(answer, Exception):
                    raise answer
                names, rows = answer
                self.description, self._rows = [(name,) for name in names], list(rows)
                return

    def fetchone(self) -> Any:
        return self._rows.pop(0) if self._rows else None

    def fetchmany(self, size: int) -> list[Any]:
        some, self._rows = self._rows[:size], self._rows[size:]
        return some

    def fetchall(self) -> list[Any]:
        return self.fetchmany(len(self._rows))

    def close(self) -> None:
        pass


class Connection:
    """One connection for all, so that a test sees everything in order."""

    def __init__(self, answers: Sequence[tuple[str, Any]]) -> None:
        self.answers = list(answers)
        self.statements: list[tuple[str, Sequence[Any] | None]] = []
        self.timeout: float | None = None

    def cursor(self) -> Cursor:
        return Cursor(self)

    def commit(self) -> None:
        self.statements.append(("COMMIT", None))

    def rollback(self) -> None:
        self.statements.append(("ROLLBACK", None))

    def close(self) -> None:
        pass

    @property
    def texts(self) -> list[str]:
        """The statements without their values."""
        return [text for text, _ in self.statements]


class RecordingHook:
    """The part of ``DbApiHook`` that is used.

    :param answers: pairs of a pattern and what a statement that has it returns: names and rows, or raises.
    """

    supports_autocommit = False

    def __init__(self, *answers: tuple[str, Any], placeholder: str = "%s") -> None:
        self.recorded = Connection(answers)
        self.placeholder = placeholder

    def get_conn(self) -> Connection:
        return self.recorded

    def maker(self) -> Callable[[], RecordingHook]:
        return lambda: self
