"""What a step run says of itself while it runs, whatever it does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_azureml.compute.request import ExecutionServices, StepRequest
from airflow_azureml.workspace.run_state import RunState


def step_state(
    request: StepRequest,
    services: ExecutionServices,
    staging: Path,
    *,
    target: str,
    properties: Mapping[str, Any] | None = None,
    working_directory: Path | None = None,
) -> RunState:
    """Return the state of a step run that begins.

    :param staging: a folder of its own for uploads.
    :param target: name of the compute target.
    :param properties: properties the run starts with, beside its type.
    :param working_directory: where its script runs.
    """
    identity = request.identity
    return RunState(
        services.workspace,
        identity.step_run_id,
        staging=staging,
        pipeline_run_id=identity.pipeline_run_id,
        experiment=identity.experiment,
        name=identity.step_name,
        pipeline_name=identity.dag_id,
        working_directory=working_directory,
        details={"target": target},
        properties={"StepType": identity.step_type, **(properties or {})},
    )
