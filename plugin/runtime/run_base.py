"""What all parts of a run's face share: its id and the way to its service."""

from __future__ import annotations

from typing import Any, BinaryIO

from airflow_azureml.runtime import service


class RunBase:
    """A run as its service knows it: an id.

    :param run_id: the run's id.
    """

    def __init__(self, run_id: str) -> None:
        self._id = run_id

    @property
    def id(self) -> str:
        """The run's id."""
        return self._id

    def _call(self, method: str, payload: BinaryIO | bytes | None = None, **params: Any) -> Any:
        return service.call("run." + method, payload, run=self._id, **params)

    def _describe(self) -> dict[str, Any]:
        description: dict[str, Any] = self._call("describe")
        return description
