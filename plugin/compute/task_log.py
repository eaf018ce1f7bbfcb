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
