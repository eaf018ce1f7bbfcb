"""What drivers raise, told as this package's errors: which may go away by themselves, and in plain words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from airflow_azureml.runtime.exceptions import AzureMLException, DatasetExecutionError, UserErrorException
from airflow_azureml.storage.files import StoreBusy

_BUSY_STATES = ("08", "53", "57P0", "40001", "40P01", "55P03")
_CANCELED_STATES = ("57014", "70100")
# Deadlock, lock wait, too many connections, server gone; throttling and fail-over of Azure SQL.
_BUSY_NUMBERS = frozenset(
    {1040, 1205, 1213, 2002, 2003, 2006, 2013}
    | {10928, 10929, 40197, 40501, 40613, 49918, 49919, 49920, 20002, 20003, 20009}
)
_CANCELED_NUMBERS = frozenset({1317, 3024, 1969})
_STREAM_STATES = {
    "canceling statement due to": "57014",
    "terminating connection": "57P01",
    "server closed the connection": "08006",
    "could not receive data": "08006",
}
_REFUSED = re.compile(
    r"authentication failed|no pg_hba\.conf entry|does not exist|not permitted to log in|login failed|access denied|"
    r"no password supplied|does not support SSL|certificate",
    re.IGNORECASE,
)
_SERVER_TEXT = re.compile(r"(?:ERROR|FATAL):\s+(.*?)(?=\s*Query was: |\.? SQLSTATE: |$)", re.DOTALL)
# Where in the statement; it is a line of ours around the user's, mostly.
_POSITION = re.compile(r"\nLINE \d+:[^\n]*\n\s*\^\s*(?=\n|$)")
_LONGEST = 500


@dataclass(frozen=True, slots=True)
class Place:
    """What was being done, for messages.

    :param connection_id: the Airflow connection.
    :param uri: the database, without credentials.
    :param secrets: texts that no message may hold.
    """

    connection_id: str
    uri: str
    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return it without the secrets."""
        return f"Place({self.uri!r})"


@contextmanager
def connecting(place: Place) -> Iterator[None]:
    """Tell what keeps a connection from being made as one of our errors."""
    try:
        yield
    except Exception as error:
        if not is_driver_error(error):
            raise
        raise _no_connection(place, _text(error, place)) from None


def is_driver_error(error: BaseException) -> bool:
    """Tell whether an error comes from a database driver: DB-API classes are named alike in all of them.

    What goes wrong while ADBC streams comes out of Arrow, as an OSError with libpq's text.
    """
    named = any(kind.__name__ in ("DatabaseError", "InterfaceError") for kind in type(error).__mro__)
    return named or (isinstance(error, OSError) and "[libpq]" in str(error))


def explained(error: BaseException, place: Place, what: str, timeout_s: float | None) -> AzureMLException:
    """Return our error for a driver's.

    :param what: what was being done, such as ``query SELECT …``.
    :param timeout_s: the limit it was given, for the message.
    """
    state, number, text = sql_state(error), error_number(error), _text(error, place)
    if state.startswith(_CANCELED_STATES) or number in _CANCELED_NUMBERS:
        if timeout_s is not None:
            return DatasetExecutionError(
                f"{what} on {place.uri} took longer than its time limit of {timeout_s:g} s; raise the limit, or read less"
            )
        return StoreBusy(f"{what} on {place.uri} was ended by the server: {text}")
    if state.startswith(_BUSY_STATES) or number in _BUSY_NUMBERS:
        return StoreBusy(f"{what} on {place.uri} could not be done now: {text}; trying again may help")
    return DatasetExecutionError(f"{what} on {place.uri} failed: {text}")


def sql_state(error: BaseException) -> str:
    """Return the SQLSTATE of a driver's error, empty where it has none."""
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if state:
        return str(state)
    if not isinstance(error, OSError):
        return ""
    return next((state for text, state in _STREAM_STATES.items() if text in str(error)), "")


def error_number(error: BaseException) -> int:
    """Return the number that MySQL and SQL Server give their errors, 0 where there is none."""
    number = error.args[0] if error.args else 0
    return number if isinstance(number, int) else 0


def without_secrets(text: str, place: Place) -> str:
    """Return a text with every secret of a connection blotted out."""
    for secret in place.secrets:
        text = text.replace(secret, "***")
    return text


def _text(error: BaseException, place: Place) -> str:
    raw = error.args[-1] if error.args else ""
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw or error)
    text = _POSITION.sub("", text)
    found = _SERVER_TEXT.search(text)
    shown = " ".join((found.group(1) if found else text).split())
    return without_secrets(shown, place)[:_LONGEST]


def _no_connection(place: Place, text: str) -> AzureMLException:
    message = f"connection {place.connection_id!r} cannot reach {place.uri}: {text}"
    if _REFUSED.search(text):
        return UserErrorException(f"{message}; check its host, schema, login, password and extra")
    return StoreBusy(f"{message}; is the server up, and does its firewall let this machine in?")
