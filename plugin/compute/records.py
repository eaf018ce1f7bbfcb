"""What is written down of a step run, from its start to its end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_azureml.model.status import RunStatus

if TYPE_CHECKING:
    from airflow_azureml.compute.identity import StepIdentity
    from airflow_azureml.workspace.handle import WorkspaceHandle

RECORD_SCHEMA = 1

LOST = "the worker died while the step ran"
"""The error of a step run that never said how it ended."""


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


def new_pipeline_record(
    identity: StepIdentity, parameters: Mapping[str, Any], url: str | None
) -> dict[str, Any]:
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
    record["duration_s"] = (
        datetime.fromisoformat(end) - datetime.fromisoformat(record["start"])
    ).total_seconds()
    record["error"] = error


def open_pipeline_run(workspace: WorkspaceHandle, document: Mapping[str, Any]) -> None:
    """Make sure that the record of a pipeline run is there and open.

    A step that starts in a run that had ended says that somebody cleared it to run again: what stopped it then is over.

    :param document: the record, as :func:`new_pipeline_record` makes it.
    """

    def reopen(record: dict[str, Any]) -> dict[str, Any]:
        if record.get("end") is None:
            return record
        return {**record, "status": RunStatus.RUNNING.value, "end": None, "cancel": None}

    if workspace.runs.create_pipeline_run(document).get("end") is not None:
        workspace.runs.update(document["id"], reopen)


def close_lost_tries(workspace: WorkspaceHandle, identity: StepIdentity) -> list[str]:
    """Mark earlier tries that never came to an end as failed: their worker died.

    :return: the ids of those tries; what they left can be removed.
    """
    if identity.try_number == 1:
        return []
    lost = []
    for record in workspace.runs.children(identity.pipeline_run_id):
        if _is_earlier_try(record, identity) and not _has_ended(workspace, record):
            workspace.runs.write_step(_lost(record))
            lost.append(record["id"])
    return lost


def was_committed_before(workspace: WorkspaceHandle, identity: StepIdentity) -> bool:
    """Whether an earlier try of a step succeeded: then somebody cleared its task, to run it again."""
    if identity.try_number == 1:
        return False
    return any(
        _is_earlier_try(record, identity) and workspace.runs.is_committed(record["id"])
        for record in workspace.runs.children(identity.pipeline_run_id)
    )


def close_open_steps(workspace: WorkspaceHandle, pipeline_run_id: str) -> None:
    """Close what steps left open when their pipeline run fails: their workers died, and nobody tries them again.

    A step that is only slow to stop says more exactly how it ended when it has.
    """
    for record in workspace.runs.children(pipeline_run_id):
        if not RunStatus(record["status"]).is_terminal:
            # Looked at again when it is written: the step may be closing its record at this moment.
            workspace.runs.update(
                record["id"], lambda now: now if RunStatus(now["status"]).is_terminal else _lost(now)
            )


def _lost(record: dict[str, Any]) -> dict[str, Any]:
    finish(record, RunStatus.FAILED, LOST)
    return {**record, "outputs": {}, "registrations": [], "parent_effects": {}}


def _is_earlier_try(record: Mapping[str, Any], identity: StepIdentity) -> bool:
    same = (record["task_id"], record["map_index"]) == (identity.task_id, identity.map_index)
    return same and record["id"] != identity.step_run_id and record["try_number"] < identity.try_number


def _has_ended(workspace: WorkspaceHandle, record: Mapping[str, Any]) -> bool:
    if record["error"] == LOST:
        # Closed by somebody else, who cannot remove what it left on this machine.
        return False
    status = RunStatus(record["status"])
    # A record says Finished a moment before the commit that makes it true.
    return workspace.runs.is_committed(record["id"]) if status is RunStatus.FINISHED else status.is_terminal
