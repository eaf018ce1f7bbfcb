"""``workspace.*``, ``experiment.*`` and ``compute.*``: what there is."""

from __future__ import annotations

from typing import Any

from airflow_azureml.workspace.run_service_base import Family, document
from airflow_azureml.workspace.run_service_targets import StoredTarget

Document = dict[str, Any]


class WorkspaceMethods(Family):
    """Methods on the workspace."""

    def describe(self) -> Document:
        """Return its name and place."""
        return {"name": self._workspace.name, "url": self._workspace.url}


class ExperimentMethods(Family):
    """Methods on experiments."""

    def list(self) -> Any:
        """Return the names of the experiments that have runs."""
        return self._workspace.runs.experiments()

    def runs(self, name: str, include_children: bool = False) -> Any:
        """Return the descriptions of an experiment's runs, newest first."""
        found = []
        for record in self._workspace.runs.in_experiment(name):
            target = StoredTarget(self._context, record)
            below = target.children(recursive=True) if include_children else []
            found += [each.describe() for each in (target, *below)]
        return found


class ComputeMethods(Family):
    """Methods on compute targets."""

    def list(self) -> Any:
        """Return all compute targets."""
        return [document(record) for record in self._workspace.computes.list()]

    def get(self, name: str) -> Document:
        """Return a compute target."""
        return document(self._workspace.computes.get(name))
