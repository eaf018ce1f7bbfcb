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
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

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
        """Read an entry back.

        :raises ValueError: it is none, or of another version.
        """
        try:
            return cls(**json.loads(data))
        except TypeError as error:
            raise ValueError(f"not an entry of schema {ENTRY_SCHEMA} ({error})") from None


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
        """Return the entry that counts for ``key``, or ``None``, also when it is damaged or of another version."""
        head = self._head(key)
        return None if head is None else self._generation(key, head.generation)

    def remember(self, entry: Entry, *, replaces: int | None) -> Entry:
        """Make ``entry`` the result of its key, and return the entry that counts afterwards.

        :param entry: the result to remember; its generation is set here.
        :param replaces: the generation to be replaced (one found dead or forced), or ``None`` when there should be none.
        :return: ``entry`` under its new generation, or the one another run committed first: the first stays.
        """
        head = self._head(entry.key)
        if head is not None and head.generation != replaces:
            standing = self._generation(entry.key, head.generation)
            if standing is not None:
                return standing
        numbered = self._write_generation(entry, 1 if head is None else head.generation + 1)
        pointer = canonical_json({"generation": numbered.generation})
        try:
            if head is None:
                self._store.put(_head_key(entry.key), pointer, if_absent=True)
            else:
                self._store.put(_head_key(entry.key), pointer, if_match=head.tag)
        except ConditionFailed:
            return self.find(entry.key) or numbered
        return numbered

    def save_action(self, action: Action, family: str, run_id: str) -> None:
        """Keep the pre-image of a key and note it as the family's latest, so that later runs can be explained."""
        details = {
            action.aliases.get(item.name, item.name): {
                "files": None if item.files is None else dict(item.files),
                "producer": item.producer,
            }
            for item in action.inputs
        }
        document = {"key": action.key, "action": dict(action.document), "details": details}
        # A key has one pre-image: whoever wrote it first wrote the same.
        with suppress(ConditionFailed):
            self._store.put(_action_key(action.key), canonical_json(document), if_absent=True)
        self._store.put(_family_key(family), canonical_json({"key": action.key, "run_id": run_id}))

    def latest(self, family: str) -> Earlier | None:
        """Return the action under which the steps of ``family`` last ran, or ``None`` when they never did.

        What is damaged counts as never written: it costs an explanation.
        """
        try:
            pointer = json.loads(self._store.get(_family_key(family)).data)
            saved = json.loads(self._store.get(_action_key(pointer["key"])).data)
            return Earlier(
                key=pointer["key"],
                run_id=pointer["run_id"],
                document=saved["action"],
                details=saved["details"],
            )
        except (ObjectNotFound, ValueError, LookupError, TypeError):
            return None

    def _head(self, key: str) -> _Head | None:
        try:
            stored = self._store.get(_head_key(key))
        except ObjectNotFound:
            return None
        try:
            return _Head(int(json.loads(stored.data)["generation"]), stored.tag)
        except (ValueError, LookupError, TypeError):
            # Damaged: it leads to no generation, and the next result replaces it.
            return _Head(0, stored.tag)

    def _generation(self, key: str, generation: int) -> Entry | None:
        try:
            return Entry.from_bytes(self._store.get(_generation_key(key, generation)).data)
        except (ObjectNotFound, ValueError):
            return None

    def _write_generation(self, entry: Entry, generation: int) -> Entry:
        """Write an entry under the next free generation; a run that died before it moved the head leaves one taken."""
        while True:
            numbered = replace(entry, generation=generation)
            try:
                self._store.put(_generation_key(entry.key, generation), numbered.to_bytes(), if_absent=True)
            except ConditionFailed:
                generation += 1
            else:
                return numbered


class _Head(NamedTuple):
    generation: int
    tag: str


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
