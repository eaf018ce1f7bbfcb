"""What has to stay because somebody may still want it: the places where a collection starts from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_azureml.compute.collection.items import CollectionLimits
from airflow_azureml.compute.collection.places import Folders, Places
from airflow_azureml.compute.collection.survey import (
    REGISTRIES,
    Read,
    Result,
    RunFolder,
    Survey,
    outputs_of,
    seconds,
)
from airflow_azureml.workspace.handle import WorkspaceHandle


@dataclass(slots=True)
class Roots:
    """What has to stay, remembered results left aside.

    :param places: data on datastores.
    :param kept: runs that are inside the retention, haven't ended, or are pinned: with all they have.
    :param reused: step runs whose results runs that are kept have taken.
    :param shown: step runs that other runs or registered versions name: their records and files.
    :param objects: keys of objects that versions of models consist of.
    :param keys: action keys that are pinned, or whose result is being computed.
    :param snapshots: digests of pinned source snapshots.
    :param pending: versions of datasets and models that failed tries left, by key of the object.
    """

    places: Places
    kept: set[str] = field(default_factory=set)
    reused: set[str] = field(default_factory=set)
    shown: set[str] = field(default_factory=set)
    objects: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    snapshots: set[str] = field(default_factory=set)
    pending: dict[str, Read] = field(default_factory=dict)

    def refer_to(self, result: Result) -> bool:
        """Whether a run that is kept, a registered dataset or a pin uses a result's data."""
        if result.step_run_id in self.kept or result.step_run_id in self.reused:
            return True
        return any(self.places.cover(place) for place in self._groups(result))

    def _groups(self, result: Result) -> Iterator[str]:
        for document in result.outputs:
            place = self.places.folders.place(document, "group")
            if place is not None:
                yield place


def find_roots(workspace: WorkspaceHandle, found: Survey, limits: CollectionLimits, *, now: float) -> Roots:
    """Find what has to stay whatever becomes of the remembered results.

    :param found: what is in the workspace.
    :param now: seconds since the epoch.
    """
    roots = Roots(Places(Folders(workspace)))
    roots.keys = {key for key, view in found.leases.items() if not view.is_free(now)}
    for pin in found.pins:
        roots.kept.update(pin.runs)
        roots.keys.update(pin.keys)
        roots.snapshots.update(pin.snapshots)
        for datastore, path in pin.paths:
            roots.places.add_path(datastore, path)
    _keep_runs(roots, found, now - limits.run_age_s)
    _keep_versions(roots, found, now - limits.grace_s)
    return roots


def is_kept(run: RunFolder, pipeline: RunFolder | None, oldest: float) -> bool:
    """Whether a run is inside the retention or has not ended; a step goes by its pipeline run.

    :param pipeline: the pipeline run of a step; ``None`` for a pipeline run, or without one.
    :param oldest: what ended earlier is outside the retention.
    """
    if run.last_sign() >= oldest:
        return True
    if run.kind == "pipeline":
        return not run.has_ended
    if pipeline is None or pipeline.record is None:
        return False
    return not pipeline.has_ended or pipeline.last_sign() >= oldest


def _keep_runs(roots: Roots, found: Survey, oldest: float) -> None:
    for run_id, run in found.runs.items():
        parent = run.pipeline_run_id
        if run.record is None:
            continue
        if parent in roots.kept or run_id in roots.kept or is_kept(run, found.runs.get(parent), oldest):
            roots.kept.add(run_id)
    for run_id in roots.kept:
        document = found.runs[run_id].document if run_id in found.runs else {}
        origin = document.get("reused_from")
        if origin:
            roots.reused.add(str(origin))
        roots.places.add_outputs(outputs_of(document))
        _keep_inputs(roots, document.get("inputs"))
    roots.shown |= roots.reused


def _keep_inputs(roots: Roots, inputs: Any) -> None:
    """Keep what a run reads or has read."""
    for item in inputs.values() if isinstance(inputs, Mapping) else ():
        if not isinstance(item, Mapping):
            continue
        outputs = item.get("outputs")
        if isinstance(outputs, list):
            roots.places.add_outputs([output for output in outputs if isinstance(output, Mapping)])
        elif isinstance(item.get("datastore"), str) and isinstance(item.get("path"), str):
            roots.places.add_path(item["datastore"], item["path"])


def _keep_versions(roots: Roots, found: Survey, oldest: float) -> None:
    """Keep what versions of datasets and models consist of, as far as they count or may come to count."""
    for key, read in found.versions.items():
        folder, _, file = key.rpartition("/")
        if not _is_version(folder, file):
            continue
        through = found.versions.get(f"{folder}/unregistered.json")
        if through is not None and int(file[:8]) <= int(through.document.get("through", 0)):
            continue
        run_id = read.document.get("pending_run")
        if run_id and _was_given_up(read, found.runs.get(str(run_id)), oldest):
            roots.pending[key] = read
            continue
        roots.shown.update(
            str(read.document[name]) for name in ("run_id", "pending_run") if read.document.get(name)
        )
        roots.places.add_definition(read.document.get("definition"))
        files = read.document.get("files")
        roots.objects.update(str(item.get("key")) for item in files or () if isinstance(item, Mapping))


def _is_version(folder: str, file: str) -> bool:
    # A name's own folder is directly below the registry's; notes on versions are one deeper.
    in_registry = any(folder.rpartition("/")[0] == registry.rstrip("/") for registry in REGISTRIES)
    return in_registry and len(file) == 13 and file[:8].isdigit() and file.endswith(".json")


def _was_given_up(version: Read, run: RunFolder | None, oldest: float) -> bool:
    """Whether the step run that registered a version ended without a commit, so that the version never counts."""
    if seconds(version.document.get("registered_at")) >= oldest:
        return False
    if run is None or run.record is None:
        return True
    return not run.is_committed and run.has_ended and run.last_sign() < oldest
