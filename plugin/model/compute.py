"""Where steps run, as a DAG file names it.

v1 source: ``azureml.core.compute``. A compute target is a record of the workspace; the object here is its face.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from airflow_azureml.runtime import service

__all__ = ["LOCAL", "ComputeTarget", "LocalCompute"]

LOCAL: Final = "local"
"""Name and type of the compute target that every workspace has: the worker's own machine."""


class ComputeTarget:
    """A compute target of the workspace, by its name.

    :param workspace: the workspace (v1); there is one around a process.
    :param name: the target's name.
    :raises ComputeTargetException: there is none of that name, as in v1.
    """

    def __init__(self, workspace: object, name: str) -> None:
        del workspace
        self._take(service.call("compute.get", name=name))

    @staticmethod
    def list(workspace: object) -> list[ComputeTarget]:
        """Return all compute targets of the workspace.

        :param workspace: the workspace (v1); there is one around a process.
        """
        return [ComputeTarget(workspace, record["name"]) for record in service.call("compute.list")]

    def _take(self, record: Mapping[str, Any]) -> None:
        self.name = str(record["name"])
        self.type = str(record["type"])
        self.properties = dict(record["properties"])

    def __eq__(self, other: object) -> bool:
        """Tell whether name, type and properties are the same."""
        if not isinstance(other, ComputeTarget):
            return NotImplemented
        return (self.name, self.type, self.properties) == (other.name, other.type, other.properties)

    def __hash__(self) -> int:
        """Hash name and type."""
        return hash((self.name, self.type))

    def __repr__(self) -> str:
        """Return class, name and type."""
        return f"{type(self).__name__}(name={self.name!r}, type={self.type!r})"


class LocalCompute(ComputeTarget):
    """The worker's own machine; needs no registration and asks no workspace."""

    def __init__(self) -> None:
        self._take({"name": LOCAL, "type": LOCAL, "properties": {}})
