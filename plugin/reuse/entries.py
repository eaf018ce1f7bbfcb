"""Entries: the results remembered under action keys.

Layout in the workspace::

    actions/<kk>/<key>.json                the action document with the details explanations use
    entries/<kk>/<key>/head.json           {"generation": n}: which generation counts, moved by conditional write
    entries/<kk>/<key>/<generation>.json   immutable: which step run made the result, when, and its outputs
    actions/latest/<family>.json           the key a step last ran under, to find the nearest earlier action
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from airflow_azureml.model.canonical import canonical_json, digest_of
from airflow_azureml.reuse.action import Action
from airflow_azureml.runtime.exceptions import ConditionFailed, ObjectNotFound
from airflow_azureml.workspace.store import ObjectStore

ENTRY_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One remembered result.

    :param key: the action key.
    :param generation: 1 for the first result under that key; raised when a result replaces a dead one.
    :param step_run_id: the step run that computed it; its record holds metrics, artifacts and logs.
    :param run_id: the Airflow run in which that was, for people.
    :param dag_id: the DAG in which that was.
    :param step_name: the step's name there.
    :param finished: ISO 8601 UTC time of the commit.
    :param duration_s: how long computing it took: what a reuse saves.
    :param outputs: output name to its document (``datastore``, ``path``, ``digest``, ``size_bytes``, …).
    """

    key: str
    step_run_id: str
    run_id: str
    dag_id: str
    step_name: str
    finished: str
    duration_s: float
    outputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    generation: int = 1
    schema: int = ENTRY_SCHEMA

    def to_bytes(self) -> bytes:
        """Return the entry as canonical JSON."""
        return canonical_json(asdict(self))

    @classmethod
    def from_bytes(cls, data: bytes) -> Entry:
        """Read an entry back."""
        return cls(**json.loads(data))


@dataclass(frozen=True, slots=True)
class Earlier:
    """The nearest earlier action of a step: what its last run depended on."""

    key: str
    run_id: str
    document: Mapping[str, Any]
    details: Mapping[str, Any]


class EntryStore:
    """Reads and writes entries and actions.

    :param store: the workspace's object store.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def find(self, key: str) -> Entry | None:
        """Return the entry that counts for ``key``, or ``None``."""
        head = self._head(key)
        if head is None:
            return None
        try:
            return Entry.from_bytes(self._store.get(_generation_key(key, head[0])).data)
        except ObjectNotFound:
            return None

    def remember(self, entry: Entry, *, replace: int | None) -> Entry:
        """Make ``entry`` the result of its key, and return the entry that counts afterwards.

        :param entry: the result to remember; its generation is set here.
        :param replace: the generation to be replaced (one found dead or forced), or ``None`` when there should be none.
        :return: ``entry`` under its new generation, or the one another run committed first: the first stays.
        """
        head = self._head(entry.key)
        if head is not None and head[0] != replace:
            standing = self.find(entry.key)
            if standing is not None:
                return standing
        generation = (head[0] if head else 0) + 1
        numbered = Entry(**{**asdict(entry), "generation": generation})
        try:
            self._store.put(_generation_key(entry.key, generation), numbered.to_bytes(), if_absent=True)
        except ConditionFailed:
            # A run that died between writing the generation and moving the head leaves its number taken.
            generation = self._free_generation(entry.key, generation)
            numbered = Entry(**{**asdict(entry), "generation": generation})
            self._store.put(_generation_key(entry.key, generation), numbered.to_bytes(), if_absent=True)
        pointer = canonical_json({"generation": generation})
        try:
            if head is None:
                self._store.put(_head_key(entry.key), pointer, if_absent=True)
            else:
                self._store.put(_head_key(entry.key), pointer, if_match=head[1])
        except ConditionFailed:
            return self.find(entry.key) or numbered
        return numbered

    def save_action(self, action: Action, family: str, run_id: str) -> None:
        """Keep the pre-image of a key and note it as the family's latest, so that later runs can be explained."""
        details = {
            action.aliases.get(item.name, item.name): {"files": dict(item.files) if item.files is not None else None, "producer": item.producer}
            for item in action.inputs
        }
        document = {"key": action.key, "action": dict(action.document), "details": details}
        self._store.put(_action_key(action.key), canonical_json(document))
        self._store.put(_family_key(family), canonical_json({"key": action.key, "run_id": run_id}))

    def latest(self, family: str) -> Earlier | None:
        """Return the action under which the steps of ``family`` last ran, or ``None`` when they never did."""
        try:
            pointer = json.loads(self._store.get(_family_key(family)).data)
            saved = json.loads(self._store.get(_action_key(pointer["key"])).data)
        except ObjectNotFound:
            return None
        return Earlier(
            key=pointer["key"], run_id=pointer["run_id"], document=saved["action"], details=saved["details"]
        )

    def _head(self, key: str) -> tuple[int, str] | None:
        try:
            stored = self._store.get(_head_key(key))
        except ObjectNotFound:
            return None
        return int(json.loads(stored.data)["generation"]), stored.tag

    def _free_generation(self, key: str, taken: int) -> int:
        generation = taken + 1
        while self._store.exists(_generation_key(key, generation)):
            generation += 1
        return generation


def family_of(dag_id: str, task_id: str, map_index: int) -> str:
    """Name the steps whose runs are compared with each other: one task of one DAG, one per map index."""
    return digest_of({"dag_id": dag_id, "task_id": task_id, "map_index": map_index})


def _action_key(key: str) -> str:
    return f"actions/{key[:2]}/{key}.json"


def _family_key(family: str) -> str:
    return f"actions/latest/{family}.json"


def _head_key(key: str) -> str:
    return f"entries/{key[:2]}/{key}/head.json"


def _generation_key(key: str, generation: int) -> str:
    return f"entries/{key[:2]}/{key}/{generation:06d}.json"
