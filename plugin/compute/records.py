"""What is written down of a step run, from its start to its end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_azureml.model.status import RunStatus
from airflow_azureml.runtime.exceptions import ObjectNotFound

if TYPE_CHECKING:
    from airflow_azureml.compute.identity import StepIdentity
    from airflow_azureml.workspace.handle import WorkspaceHandle

RECORD_SCHEMA = 1


def now() -> str:
    """Return the time as records keep it: UTC, ISO 8601, microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def new_step_record(identity: StepIdentity) -> dict[str, Any]:
    """Return the record of a step run that starts now; see :mod:`airflow_azureml.workspace.runs` for its fields."""
    return {
        "schema": RECORD_SCHEMA,
        "kind": "step",
        "id": identity.step_run_id,
        "pipeline_run_id": identity.pipeline_run_id,
        "name": identity.step_name,
        "step_type": identity.step_type,
        "dag_id": identity.dag_id,
        "run_id": identity.run_id,
        "task_id": identity.task_id,
        "map_index": identity.map_index,
        "try_number": identity.try_number,
        "experiment": identity.experiment,
        "status": RunStatus.RUNNING.value,
        "start": now(),
        "end": None,
        "duration_s": None,
        "error": None,
        "reuse": None,
        "reused_from": None,
        "arguments": [],
        "inputs": {},
        "outputs": {},
        "metrics": [],
        "tags": {},
        "properties": {},
        "display_name": None,
        "description": None,
        "artifacts": [],
        "logs": [],
        "snapshot": None,
        "git": {},
        "environment": None,
        "parent_effects": {},
        "registrations": [],
        "children": [],
    }


def new_pipeline_record(identity: StepIdentity, parameters: Mapping[str, Any], url: str | None) -> dict[str, Any]:
    """Return the record of a pipeline run, written by whichever of its steps comes first."""
    return {
        "schema": RECORD_SCHEMA,
        "kind": "pipeline",
        "id": identity.pipeline_run_id,
        "dag_id": identity.dag_id,
        "run_id": identity.run_id,
        "experiment": identity.experiment,
        "name": identity.dag_id,
        "status": RunStatus.RUNNING.value,
        "start": now(),
        "end": None,
        "cancel": None,
        "parameters": dict(parameters),
        "metrics": [],
        "tags": {},
        "properties": {},
        "url": url,
    }


def finish(record: dict[str, Any], status: RunStatus, error: str | None = None) -> None:
    """Put the end of a step run into its record."""
    end = now()
    record["status"] = status.value
    record["end"] = end
    record["duration_s"] = (datetime.fromisoformat(end) - datetime.fromisoformat(record["start"])).total_seconds()
    record["error"] = error


def close_lost_tries(workspace: WorkspaceHandle, identity: StepIdentity) -> list[str]:
    """Mark earlier tries that never said how they ended as failed: their worker died.

    :return: the ids of those tries; what they left on this machine can be removed.
    """
    lost = []
    for step_id in identity.earlier_tries:
        try:
            record = workspace.runs.get(step_id)
        except ObjectNotFound:
            continue
        if RunStatus(record["status"]).is_terminal:
            break
        finish(record, RunStatus.FAILED, "the worker died while the step ran")
        workspace.runs.write_step(record)
        lost.append(step_id)
    return lost
