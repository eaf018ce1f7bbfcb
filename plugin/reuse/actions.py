"""What keys were made of, and under which keys each step ran lately: what an explanation compares.

Layout in the workspace::

    actions/<kk>/<key>.json        the action document, with the details that explanations use
    actions/recent/<family>.json   the keys a step last ran under, newest first
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from airflow_azureml.model.canonical import canonical_json, digest_of
from airflow_azureml.reuse.action import Action
from airflow_azureml.runtime.exceptions import ConditionFailed, ObjectNotFound, StoreError
from airflow_azureml.workspace.documents import read_json, update_json
from airflow_azureml.workspace.store import ObjectStore

PREFIX = "actions/"
RECENT_PREFIX = "actions/recent/"
MAX_RECENT = 10
"""How many keys of a step are kept to find the nearest earlier one among."""


@dataclass(frozen=True, slots=True)
class SavedAction:
    """What a key was made of.

    :param key: the action key.
    :param document: the action document.
    :param details: what explanations use beside it: ``inputs``, ``environment``, ``ignored``.
    """

    key: str
    document: Mapping[str, Any]
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Earlier:
    """An action under which a step ran earlier.

    :param run_id: the Airflow run in which that was.
    """

    key: str
    run_id: str
    document: Mapping[str, Any]
    details: Mapping[str, Any]


class ActionStore:
    """Keeps the pre-images of keys.

    :param store: the workspace's object store.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def save(self, action: Action, family: str, run_id: str) -> None:
        """Keep the pre-image of a key and note it as the family's newest, so that later runs can be explained.

        :param family: see :func:`family_of`.
        :param run_id: the Airflow run.
        """
        document = {"key": action.key, "action": dict(action.document), "details": action.details()}
        # A key has one pre-image: whoever wrote it first wrote the same.
        with suppress(ConditionFailed):
            self._store.put(_action_key(action.key), canonical_json(document), if_absent=True)
        update_json(
            self._store, _recent_key(family), lambda known: _noted(known, action.key, run_id), {"recent": []}
        )

    def get(self, key: str) -> SavedAction | None:
        """Return what a key was made of; ``None`` when that is gone or damaged: it costs an explanation."""
        try:
            saved = json.loads(self._store.get(_action_key(key)).data)
            return SavedAction(key, saved["action"], saved["details"])
        except (ObjectNotFound, ValueError, LookupError, TypeError):
            return None

    def recent(self, family: str) -> Iterator[Earlier]:
        """Return the actions under which the steps of ``family`` last ran, newest first; read as they are asked for."""
        for key, run_id in self.recent_keys(family):
            saved = self.get(key)
            if saved is not None:
                yield Earlier(key, run_id, saved.document, saved.details)

    def recent_keys(self, family: str) -> list[tuple[str, str]]:
        """Return key and run of the last runs of a family, newest first."""
        try:
            known = read_json(self._store, _recent_key(family), {"recent": []})
            return [(str(item["key"]), str(item["run_id"])) for item in known["recent"]]
        except (StoreError, LookupError, TypeError):
            return []

    def keys(self) -> Iterator[str]:
        """Return all keys whose pre-image is kept; a scan."""
        for info in self._store.list(PREFIX):
            if not info.key.startswith(RECENT_PREFIX):
                yield info.key.rpartition("/")[2].removesuffix(".json")

    def delete(self, key: str) -> None:
        """Forget what a key was made of."""
        self._store.delete(_action_key(key))


def family_of(dag_id: str, task_id: str, map_index: int) -> str:
    """Name the steps whose runs are compared with each other: one task of one DAG, one per map index."""
    return digest_of({"dag_id": dag_id, "task_id": task_id, "map_index": map_index})


def _noted(known: Any, key: str, run_id: str) -> dict[str, Any]:
    """Return the list of recent keys with one at its head."""
    rest = known.get("recent", []) if isinstance(known, dict) else []
    others = [item for item in rest if item.get("key") != key]
    return {"recent": [{"key": key, "run_id": run_id}, *others][:MAX_RECENT]}


def _action_key(key: str) -> str:
    return f"{PREFIX}{key[:2]}/{key}.json"


def _recent_key(family: str) -> str:
    return f"{RECENT_PREFIX}{family}.json"
