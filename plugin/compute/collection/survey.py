"""What is in a workspace at one moment, read for garbage collection.

Entries are read first and run records after them. A step that takes an earlier result writes that down before it looks at the
result for the last time; so of an entry that was retired before this survey, every use is found in it.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from airflow_azureml.model.status import RunStatus
from airflow_azureml.reuse.entries import EntryStore, Head
from airflow_azureml.reuse.leases import LeaseStore, LeaseView
from airflow_azureml.runtime.exceptions import ObjectNotFound
from airflow_azureml.workspace.handle import WorkspaceHandle
from airflow_azureml.workspace.names import decode_name
from airflow_azureml.workspace.packs import INDEXES
from airflow_azureml.workspace.pins import Pin, PinRegistry
from airflow_azureml.workspace.store import ObjectInfo, ObjectStore

Document = Mapping[str, Any]

_AT_ONCE = 8
_WORTH_THREADS = 64
REGISTRIES = ("registry/datasets/named/", "registry/models/")


class Read(NamedTuple):
    """A document, and the version that it is of.

    :param document: empty when it is damaged.
    """

    document: Document
    tag: str


@dataclass(frozen=True, slots=True)
class Result:
    """One generation of an entry, as it is stored; also of a version that this package cannot use.

    :param document: empty when it is damaged.
    """

    number: int
    info: ObjectInfo
    document: Document

    @property
    def step_run_id(self) -> str:
        """The step run that computed it."""
        return str(self.document.get("step_run_id", ""))

    @property
    def outputs(self) -> list[Document]:
        """The documents of its outputs."""
        return outputs_of(self.document)


@dataclass(slots=True)
class KnownKey:
    """What is remembered under an action key.

    :param head: which result counts.
    :param results: all that are kept, by number.
    :param size_bytes: of all objects of the key.
    :param modified: when the newest of them was written.
    """

    key: str
    head: Head | None = None
    results: dict[int, Result] = field(default_factory=dict)
    size_bytes: int = 0
    modified: float = 0.0

    @property
    def newest(self) -> Result | None:
        """The result that the head points at."""
        return None if self.head is None else self.results.get(self.head.generation)


@dataclass(slots=True)
class RunFolder:
    """What is stored of a run.

    :param objects: everything under ``runs/<id>/``.
    :param record: its record, if there is one.
    """

    run_id: str
    objects: list[ObjectInfo] = field(default_factory=list)
    record: Read | None = None

    @property
    def document(self) -> Document:
        """The record; empty without one."""
        return self.record.document if self.record is not None else {}

    @property
    def size_bytes(self) -> int:
        """Of all objects."""
        return sum(info.size_bytes for info in self.objects)

    @property
    def modified(self) -> float:
        """When anything of it was last written."""
        return max((info.modified for info in self.objects), default=0.0)

    @property
    def is_committed(self) -> bool:
        """Whether what the step wrote counts."""
        return any(info.key.endswith("/committed") and info.key.count("/") == 2 for info in self.objects)

    @property
    def kind(self) -> str:
        """``step``, ``pipeline``, or nothing."""
        return str(self.document.get("kind", ""))

    @property
    def pipeline_run_id(self) -> str:
        """The pipeline run that a step belongs to."""
        return str(self.document.get("pipeline_run_id", ""))

    @property
    def has_ended(self) -> bool:
        """Whether the record says so."""
        return self.document.get("status") in _ENDED

    def last_sign(self) -> float:
        """Return when it ended, or else started, seconds since the epoch."""
        return seconds(self.document.get("end") or self.document.get("start"))


_ENDED = frozenset(status.value for status in RunStatus if status.is_terminal)


@dataclass(slots=True)
class Survey:
    """What is in a workspace.

    :param keys: entries.
    :param leases: leases by key.
    :param runs: runs by id, also those of which only files are left.
    :param versions: versions of datasets and models by key of the object.
    :param pins: pins.
    :param actions: objects under ``actions/``, lists of recent ones not among them.
    :param recent: keys that are in a list of recent ones.
    :param manifests: lists of files.
    :param trees: source snapshots.
    :param indexes: indexes of packs.
    :param packs: packs.
    :param experiments: entries of the index of runs by experiment.
    :param model_files: files of models.
    :param at: ``time.monotonic()`` of its beginning.
    """

    keys: dict[str, KnownKey]
    leases: dict[str, LeaseView]
    runs: dict[str, RunFolder]
    versions: dict[str, Read]
    pins: list[Pin]
    actions: dict[str, ObjectInfo]
    recent: set[str]
    manifests: dict[str, ObjectInfo]
    trees: dict[str, ObjectInfo]
    indexes: dict[str, ObjectInfo]
    packs: dict[str, ObjectInfo]
    experiments: list[ObjectInfo]
    model_files: list[ObjectInfo]
    at: float


def survey(workspace: WorkspaceHandle) -> Survey:
    """Read what is in a workspace.

    :raises StoreError: something cannot be read now; without knowing all references nothing may be removed.
    """
    store, at = workspace.store, time.monotonic()
    keys = _read_keys(store)
    leases = _read_leases(store)
    runs = _read_runs(store)
    actions, recent = _read_actions(store)
    return Survey(
        keys=keys,
        leases=leases,
        runs=runs,
        versions=_read_versions(store),
        pins=list(PinRegistry(store).all()),
        actions=actions,
        recent=recent,
        manifests={_stem(info): info for info in store.list("manifests/")},
        trees={_stem(info): info for info in store.list("snapshots/trees/")},
        indexes={_stem(info): info for info in store.list(INDEXES)},
        packs={_stem(info): info for info in store.list("snapshots/packs/")},
        experiments=list(store.list("experiments/")),
        model_files=list(store.list("models/files/")),
        at=at,
    )


def seconds(text: object) -> float:
    """Return the time that a document writes, seconds since the epoch; what cannot be told is never old."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return math.inf


def outputs_of(document: Document) -> list[Document]:
    """Return the documents of the outputs of a run record or an entry."""
    outputs = document.get("outputs")
    if not isinstance(outputs, Mapping):
        return []
    return [item for item in outputs.values() if isinstance(item, Mapping)]


def read_document(store: ObjectStore, key: str) -> Read | None:
    """Read a document; ``None`` when it is gone."""
    try:
        stored = store.get(key)
    except ObjectNotFound:
        return None
    try:
        document = json.loads(stored.data)
    except ValueError:
        document = {}
    return Read(document if isinstance(document, dict) else {}, stored.tag)


def _read_all(store: ObjectStore, keys: Iterable[str]) -> dict[str, Read]:
    """Read documents; those that are gone meanwhile are left out."""
    wanted = list(keys)
    read: Callable[[str], Read | None] = lambda key: read_document(store, key)  # noqa: E731 - for two kinds of map
    if len(wanted) < _WORTH_THREADS or store.local_path("registry") is not None:
        found = list(map(read, wanted))
    else:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = list(pool.map(read, wanted))
    return {key: item for key, item in zip(wanted, found, strict=True) if item is not None}


def _read_keys(store: ObjectStore) -> dict[str, KnownKey]:
    keys: dict[str, KnownKey] = {}
    numbered: dict[str, tuple[KnownKey, ObjectInfo, int]] = {}
    for info in store.list("entries/"):
        _, _, key, name = info.key.split("/", 3)
        known = keys.setdefault(key, KnownKey(key))
        known.size_bytes += info.size_bytes
        known.modified = max(known.modified, info.modified)
        if name.endswith(".json") and name[:-5].isdigit():
            numbered[info.key] = (known, info, int(name[:-5]))
    entries = EntryStore(store)
    # The heads before the generations: what a head points at is never written after it.
    for known in keys.values():
        known.head = entries.look(known.key).head
    missing = [
        f"entries/{known.key[:2]}/{known.key}/{known.head.generation:06d}.json"
        for known in keys.values()
        if known.head is not None and known.head.generation
    ]
    for path, read in _read_all(store, dict.fromkeys([*numbered, *missing])).items():
        if path in numbered:
            known, info, number = numbered[path]
        else:
            known, number = keys[path.split("/")[2]], int(path[-11:-5])
            info = ObjectInfo(path, 0, time.time())
        known.results[number] = Result(number, info, read.document)
    return keys


def _read_leases(store: ObjectStore) -> dict[str, LeaseView]:
    leases = LeaseStore(store, 0.0)
    found = {key: leases.read(key) for key in leases.keys()}  # noqa: SIM118 - no mapping
    return {key: view for key, view in found.items() if view is not None}


def _read_runs(store: ObjectStore) -> dict[str, RunFolder]:
    runs: dict[str, RunFolder] = {}
    for info in store.list("runs/"):
        segment = info.key.split("/")[1]
        run_id = decode_name(segment) or segment
        runs.setdefault(run_id, RunFolder(run_id)).objects.append(info)
    records = {
        info.key: run
        for run in runs.values()
        for info in run.objects
        if info.key.endswith("/record.json") and info.key.count("/") == 2
    }
    for key, read in _read_all(store, records).items():
        records[key].record = read
    return runs


def _read_versions(store: ObjectStore) -> dict[str, Read]:
    return _read_all(store, [info.key for folder in REGISTRIES for info in store.list(folder)])


def _read_actions(store: ObjectStore) -> tuple[dict[str, ObjectInfo], set[str]]:
    actions: dict[str, ObjectInfo] = {}
    lists: list[str] = []
    for info in store.list("actions/"):
        if info.key.startswith("actions/recent/"):
            lists.append(info.key)
        else:
            actions[_stem(info)] = info
    recent = {
        str(item.get("key"))
        for read in _read_all(store, lists).values()
        for item in read.document.get("recent", ())
        if isinstance(item, Mapping)
    }
    return actions, recent


def _stem(info: ObjectInfo) -> str:
    return info.key.rpartition("/")[2].removesuffix(".json")
