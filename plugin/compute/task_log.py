"""The log a step run writes to."""

from __future__ import annotations

from typing import Any, Protocol


class TaskLog(Protocol):
    """What is needed of a logger: Airflow's task log, or one of the standard library."""

    def info(self, message: str, /, *args: Any) -> Any:
        """Say what goes on."""

    def warning(self, message: str, /, *args: Any) -> Any:
        """Say what is odd."""

    def error(self, message: str, /, *args: Any) -> Any:
        """Say what went wrong."""


def describe(error: BaseException) -> str:
    """Return one line about an error that is not ours, such as Airflow's when the step's time is up."""
    return (
        f"stopped by {type(error).__name__}: {error}" if str(error) else f"stopped by {type(error).__name__}"
    )
