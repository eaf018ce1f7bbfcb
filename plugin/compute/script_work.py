"""The work of a step that runs a script."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_azureml.compute.environment_identity import Build, EnvironmentIdentity, environment_identity
from airflow_azureml.compute.request import output_places
from airflow_azureml.compute.source import StepSource
from airflow_azureml.compute.staging import withdraw_outputs
from airflow_azureml.compute.step_inputs import resolve_inputs
from airflow_azureml.model.environment import Environment

if TYPE_CHECKING:
    from airflow_azureml.compute.inputs import ResolvedInput
    from airflow_azureml.compute.local import LocalRun
    from airflow_azureml.compute.request import ExecutionServices, StepRequest
    from airflow_azureml.compute.task_log import TaskLog
    from airflow_azureml.reuse.secrecy import Secrecy
    from airflow_azureml.workspace.manifest import TreeManifest


@dataclass(frozen=True, slots=True)
class ScriptWork:
    """A script in an environment.

    :param script: the script's path inside the source, POSIX.
    :param source: where the code comes from.
    :param declared: the step's interpreter and packages.
    """

    script: str
    source: StepSource
    declared: Environment

    @property
    def settings(self) -> Mapping[str, Any]:
        """Nothing: arguments and parameters say it all."""
        return {}

    @property
    def snapshot(self) -> str:
        """Digest of the source snapshot."""
        return self.source.digest

    @property
    def label(self) -> str:
        """The source's own name."""
        return self.source.label

    @property
    def note(self) -> str:
        """What the task log says of the files that count."""
        return self.source.scope_note

    def code(self) -> TreeManifest:
        """Return the source files that the result depends on."""
        return self.source.code()

    def environment(
        self, services: ExecutionServices, scope: str, secrecy: Secrecy, build: Build | None
    ) -> EnvironmentIdentity:
        """Return what the environment counts for."""
        return environment_identity(services.environments, self.declared, scope, secrecy, build)

    def build(self, services: ExecutionServices, log: TaskLog, stopping: threading.Event) -> Build:
        """Return what makes the environment."""
        return lambda environment: services.environments.ensure(
            environment, lambda line: log.info("%s", line), stopping
        )

    def inputs(self, request: StepRequest, services: ExecutionServices) -> list[ResolvedInput]:
        """Find the data behind every input."""
        return resolve_inputs(request, services)

    def withdraw(self, request: StepRequest, services: ExecutionServices, step_run_id: str) -> None:
        """Remove the outputs of an earlier try."""
        withdraw_outputs(services.workspace, output_places(request, services.workspace, step_run_id))

    def begin(
        self,
        request: StepRequest,
        services: ExecutionServices,
        record: dict[str, Any],
        log: TaskLog,
        stopping: threading.Event,
    ) -> LocalRun:
        """Make a run of the script on this machine."""
        from airflow_azureml.compute.local import LocalRun

        return LocalRun(request, self, services, record, log, stopping)
