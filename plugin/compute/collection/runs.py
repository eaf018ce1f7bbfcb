"""Runs that nothing refers to, and what they left on datastores."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_azureml.compute.collection.items import CollectionLimits, Item, Kind
from airflow_azureml.compute.collection.places import Folders
from airflow_azureml.compute.collection.roots import Roots
from airflow_azureml.compute.collection.survey import RunFolder, Survey, outputs_of
from airflow_azureml.runtime.dataset.walking import ARRIVING
from airflow_azureml.runtime.exceptions import AzureMLException
from airflow_azureml.storage.files import FileStore
from airflow_azureml.workspace.names import decode_name, encode_name

OWN_FOLDERS = ("azureml", "dataset")
"""Where a datastore has folders named for step runs, unless a destination says otherwise."""

_RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(slots=True)
class RunFindings:
    """What was found of runs.

    :param items: what may go.
    :param records: the records that stay.
    :param unknown: folders that look like a run's and belong to none.
    """

    items: list[Item] = field(default_factory=list)
    records: list[Mapping[str, Any]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def find_runs(found: Survey, roots: Roots, limits: CollectionLimits, *, now: float) -> RunFindings:
    """Find the runs that may go.

    A run whose outputs stay, because a dataset or a pin names them, stays itself: somebody has to know whose they are.

    :param found: what is in the workspace.
    :param roots: what has to stay, remembered results included.
    :param now: seconds since the epoch.
    """
    findings = RunFindings()
    steps = {run_id: run for run_id, run in found.runs.items() if run.kind == "step"}
    staying = roots.kept | roots.shown
    for run_id, run in steps.items():
        if run_id not in roots.kept:
            own = list(_own_outputs(run, roots))
            findings.items += [item for item in own if not _is_covered(item, roots)]
            if any(_is_covered(item, roots) for item in own):
                staying.add(run_id)
    _add_origins(staying, found)
    _find_leftovers(found, roots, now - limits.grace_s, findings)
    used = _objects_of(found, staying, roots)
    notes = _notes(found)
    findings.items += [
        _step_item(run, found, used, notes.get((run.pipeline_run_id, run_id), []))
        for run_id, run in steps.items()
        if run_id not in staying
    ]
    findings.items += _pipelines(found, staying)
    findings.records = [
        run.document
        for run_id, run in found.runs.items()
        if run.record is not None and (run_id in staying or run.kind != "step")
    ]
    findings.items += _orphans(found, roots, now - limits.grace_s)
    return findings


def _own_outputs(run: RunFolder, roots: Roots) -> Iterator[Item]:
    """Walk the folders that belong to a step run alone and are there."""
    if run.document.get("reused_from"):
        return
    folders = roots.places.folders
    sizes: dict[str, int] = {}
    groups: dict[str, Mapping[str, Any]] = {}
    for document in outputs_of(run.document):
        group = str(document.get("group", ""))
        place = folders.place(document, "group")
        # A folder that is not named for the run isn't its own, whatever a damaged record says.
        if place is not None and document.get("exclusive") is True and run.run_id in group:
            sizes[place] = sizes.get(place, 0) + int(document.get("size_bytes") or 0)
            groups[place] = document
    for place, document in groups.items():
        if folders.has(document):
            name = str(document["datastore"])
            is_local = folders.store(name) is None
            yield Item(
                Kind.OUTPUT,
                place,
                "no result, run or dataset refers to it",
                sizes[place],
                name=_name_of(run.document),
                paths=(Path(place),) if is_local else (),
                folders=() if is_local else ((name, str(document["group"])),),
                run_id=run.run_id,
                is_committed=run.is_committed,
            )


def _is_covered(item: Item, roots: Roots) -> bool:
    return roots.places.cover(item.id)


def _add_origins(staying: set[str], found: Survey) -> None:
    """Add the runs that made what staying runs show; a result is never taken from a run that took it itself."""
    for run_id in list(staying):
        run = found.runs.get(run_id)
        origin = run.document.get("reused_from") if run is not None else None
        if origin:
            staying.add(str(origin))


def _find_leftovers(found: Survey, roots: Roots, oldest: float, findings: RunFindings) -> None:
    """Find what tries left that never came to a commit, and folders that nobody knows."""
    planned = {item.id for item in findings.items}
    for folder in _named_folders(roots.places.folders):
        run = found.runs.get(folder.run_id)
        if folder.place in planned or roots.places.cover(folder.place):
            continue
        if run is None or run.record is None:
            if _RUN_ID.fullmatch(folder.run_id):
                findings.unknown.append(folder.place)
        elif _is_left(folder, run, found.runs.get(run.pipeline_run_id), oldest):
            findings.items.append(folder.item(run))


@dataclass(frozen=True, slots=True)
class _NamedFolder:
    """A folder on a datastore that is named for a step run."""

    run_id: str
    place: str
    datastore: str
    path: str
    store: FileStore | None
    is_temporary: bool = False

    def item(self, run: RunFolder) -> Item:
        return Item(
            Kind.LEFTOVER,
            self.place,
            "its commit is over" if run.is_committed else "the try that wrote it failed",
            _disk_bytes(Path(self.place)) if self.store is None else _stored_bytes(self.store, self.path),
            name=f"{_name_of(run.document)} on {self.datastore}",
            paths=(Path(self.place),) if self.store is None else (),
            folders=() if self.store is None else ((self.datastore, self.path),),
            run_id=run.run_id,
            is_committed=run.is_committed,
        )


def _is_left(folder: _NamedFolder, run: RunFolder, parent: RunFolder | None, oldest: float) -> bool:
    # What a commit put aside on a store goes with it, unless the store was busy at that moment.
    return (folder.is_temporary or not run.is_committed) and was_given_up(run, parent, oldest)


def _named_folders(folders: Folders) -> Iterator[_NamedFolder]:
    for datastore, root in folders.roots():
        for own in OWN_FOLDERS:
            for name in _local_folders(root / own):
                yield _NamedFolder(name, str(root / own / name), datastore, f"{own}/{name}", None)
    for datastore, store in folders.stores():
        for own in (*OWN_FOLDERS, ARRIVING):
            for name in sorted(folders.folders(store, own) or ()):
                path = f"{own}/{name}"
                place = folders.place({"datastore": datastore, "path": path}, "path")
                yield _NamedFolder(name, str(place), datastore, path, store, own == ARRIVING)


def _local_folders(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def was_given_up(run: RunFolder, parent: RunFolder | None, oldest: float) -> bool:
    """Whether a step run that was never committed is over.

    :param parent: its pipeline run.
    :param oldest: what ended later may still be on its way.
    """
    if run.last_sign() >= oldest:
        return False
    if parent is None or parent.record is None:
        return True
    return run.has_ended or (parent.has_ended and parent.last_sign() < oldest)


def _objects_of(found: Survey, staying: set[str], roots: Roots) -> set[str]:
    """Return the keys of all objects that staying runs and models consist of."""
    used = set(roots.objects)
    for run_id, run in found.runs.items():
        if run_id in staying or run.kind != "step":
            used.update(_keys_in(run.document))
    return used


def _keys_in(value: Any) -> Iterator[str]:
    """Walk the keys of the files that a record names: its own, its children's, those for its parent."""
    if isinstance(value, Mapping):
        key = value.get("key")
        if isinstance(key, str) and key.startswith("runs/"):
            yield key
        for inner in value.values():
            yield from _keys_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys_in(inner)


def _notes(found: Survey) -> dict[tuple[str, str], list[str]]:
    """Return what pipeline runs note of their steps: keys by pipeline run and step run."""
    notes: dict[tuple[str, str], list[str]] = {}
    for run_id, run in found.runs.items():
        for info in run.objects:
            parts = info.key.split("/")
            if parts[2] in ("children", "commits"):
                notes.setdefault((run_id, decode_name(parts[-1]) or ""), []).append(info.key)
    return notes


def _step_item(run: RunFolder, found: Survey, used: set[str], notes: list[str]) -> Item:
    """Return the item of a step run: its files first, then the marker and the record, then what its pipeline run notes of it."""
    sizes = {info.key: info.size_bytes for info in run.objects}
    for key in _keys_in(run.document):
        # Files of runs below it lie in folders of their own.
        folder = found.runs.get(key.split("/")[1])
        sizes.update(
            {info.key: info.size_bytes for info in (folder.objects if folder else ()) if info.key == key}
        )
    prefix = f"runs/{encode_name(run.run_id)}/"
    record, marker = f"{prefix}record.json", f"{prefix}committed"
    files = [key for key in sizes if key not in used and key not in (record, marker)]
    return Item(
        Kind.RUN,
        run.run_id,
        "no result and no run refers to it",
        sum(size for key, size in sizes.items() if key not in used),
        name=_name_of(run.document),
        keys=(*files, marker, record, *notes),
        tags=((record, run.record.tag if run.record else ""),),
        run_id=run.run_id,
        is_committed=run.is_committed,
    )


def _pipelines(found: Survey, staying: set[str]) -> Iterator[Item]:
    parents = {run.pipeline_run_id for run_id, run in found.runs.items() if run_id in staying}
    index: dict[str, list[str]] = {}
    for info in found.experiments:
        index.setdefault(info.key.rpartition("/")[2], []).append(info.key)
    for run_id, run in found.runs.items():
        if run.kind != "pipeline" or run.record is None or run_id in staying or run_id in parents:
            continue
        record = f"runs/{encode_name(run_id)}/record.json"
        others = [info.key for info in run.objects if info.key != record]
        yield Item(
            Kind.PIPELINE_RUN,
            run_id,
            "none of its steps is left",
            run.size_bytes,
            name=_name_of(run.document),
            keys=(record, *others, *index.get(encode_name(run_id), [])),
            tags=((record, run.record.tag),),
        )


def _orphans(found: Survey, roots: Roots, oldest: float) -> Iterator[Item]:
    """Walk files that no record names, of runs without one, and entries of the index that lead to none."""
    used = _objects_of(found, set(found.runs), roots)
    for run_id, run in found.runs.items():
        if run.record is None:
            lost = [info for info in run.objects if info.key not in used and info.modified < oldest]
            if lost:
                yield Item(
                    Kind.ORPHAN,
                    f"runs/{run_id}",
                    "it belongs to no run",
                    sum(info.size_bytes for info in lost),
                    keys=tuple(info.key for info in lost),
                )
    names = {encode_name(run_id) for run_id, run in found.runs.items() if run.record is not None}
    for info in found.experiments:
        if info.key.rpartition("/")[2] not in names and info.modified < oldest:
            yield Item(Kind.ORPHAN, info.key, "its run is gone", info.size_bytes, keys=(info.key,))


def _disk_bytes(folder: Path) -> int:
    sizes = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                sizes += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118 - many files
            except OSError:
                continue
    return sizes


def _stored_bytes(store: FileStore, folder: str) -> int:
    try:
        return sum(info.size_bytes for info in store.walk(folder))
    except (AzureMLException, OSError):
        return 0


def _name_of(document: Mapping[str, Any]) -> str:
    return " ".join(str(document.get(name, "?")) for name in ("dag_id", "run_id", "name"))
