"""How runs that lie in the workspace are described, and where their files are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_azureml.runtime.exceptions import ObjectNotFound, UserErrorException

if TYPE_CHECKING:
    from airflow_azureml.workspace.handle import WorkspaceHandle

Document = dict[str, Any]

TYPES = {"pipeline": "azureml.PipelineRun", "step": "azureml.StepRun", "child": "azureml.scriptrun"}
"""Kind of a record → v1's type of a run."""


def find_record(workspace: WorkspaceHandle, run_id: str) -> Document:
    """Return the record of a pipeline run, a step run, or a run that a step started below itself.

    :raises UserErrorException: there is no such run.
    """
    try:
        return workspace.runs.get(run_id)
    except ObjectNotFound:
        found = _find_below(workspace, run_id)
    if found is None:
        raise UserErrorException(f"no run {run_id!r} in this workspace")
    return found


def _find_below(workspace: WorkspaceHandle, run_id: str) -> Document | None:
    # Runs below a step are kept in its record and have its id in front of theirs.
    stem = run_id
    while "." in stem:
        stem = stem.rpartition(".")[0]
        try:
            record = workspace.runs.get(stem)
        except ObjectNotFound:
            continue
        return next((child for child in below(record) if child["id"] == run_id), None)
    return None


def below(record: Mapping[str, Any]) -> Iterator[Document]:
    """Yield the runs kept in a record, at any depth."""
    for child in record.get("children") or ():
        yield child
        yield from below(child)


def describe(record: Mapping[str, Any], view: Mapping[str, Any]) -> Document:
    """Return the description of a run as ``run.describe`` answers it.

    :param record: its record.
    :param view: its metrics, tags and properties as a reader sees them.
    """
    kind = record["kind"]
    return {
        "id": record["id"],
        "kind": kind,
        "type": TYPES[kind],
        "name": record.get("name"),
        "number": record.get("number") or 1,
        "status": record["status"],
        "experiment": record.get("experiment") or "",
        "parent_id": record.get("parent_id") or record.get("pipeline_run_id"),
        "start": record.get("start"),
        "end": record.get("end"),
        "error": record.get("error"),
        "display_name": record.get("display_name"),
        "description": record.get("description"),
        "tags": view["tags"],
        "properties": view["properties"],
    }


def details(record: Mapping[str, Any], description: Mapping[str, Any]) -> Document:
    """Return what ``run.get_details`` shows, under v1's keys."""
    return {
        "runId": description["id"],
        "target": record.get("target") or "local",
        "status": description["status"],
        "startTimeUtc": description["start"],
        "endTimeUtc": description["end"],
        "error": description["error"],
        "properties": description["properties"],
        "tags": description["tags"],
        "inputDatasets": record.get("inputs") or [],
        "outputDatasets": record.get("outputs") or [],
        "runDefinition": {
            "arguments": record.get("arguments") or [],
            "environment": record.get("environment"),
        },
        "logFiles": {entry["name"]: entry["key"] for entry in record.get("logs") or ()},
        "submittedBy": None,
    }


def view(workspace: WorkspaceHandle, record: Mapping[str, Any]) -> Document:
    """Return metrics, tags and properties of a run as a reader sees them: a pipeline's with its steps' effects."""
    if record["kind"] == "pipeline":
        return workspace.runs.parent_view(record["id"])
    return {
        name: record.get(name) or empty for name, empty in (("metrics", []), ("tags", {}), ("properties", {}))
    }


def files(workspace: WorkspaceHandle, record: Mapping[str, Any]) -> dict[str, str]:
    """Return the files of a run, name → key; a pipeline's with those its committed steps gave it."""
    found = {entry["name"]: entry["key"] for entry in record.get("artifacts") or ()}
    if record["kind"] == "pipeline":
        for step in workspace.runs.children(record["id"]):
            effects = (step.get("parent_effects") or {}).get("artifacts") or ()
            if effects and workspace.runs.is_committed(step["id"]):
                found.update({entry["name"]: entry["key"] for entry in effects})
    return found


def children(workspace: WorkspaceHandle, record: Mapping[str, Any], *, recursive: bool) -> list[Document]:
    """Return the records of the runs below a run."""
    if record["kind"] != "pipeline":
        return list(below(record)) if recursive else list(record.get("children") or ())
    steps = workspace.runs.children(record["id"])
    return [found for step in steps for found in (step, *(below(step) if recursive else ()))]
