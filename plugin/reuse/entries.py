"""Entries: the results remembered under action keys.

Layout in the workspace::

    entries/<kk>/<key>/head.json            which generation counts and in which state, moved by conditional write
    entries/<kk>/<key>/<generation>.json    immutable: which step run made the result, when, and its outputs
    entries/<kk>/<key>/diverged/<step run>  another result for the same key, which did not come to count

What the keys were made of is kept by :mod:`airflow_azureml.reuse.actions`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from airflow_azureml.model.canonical import canonical_json
from airflow_azureml.runtime.exceptions import ConditionFailed, ObjectNotFound
from airflow_azureml.workspace.documents import read_json, utc_now, write_json
from airflow_azureml.workspace.store import ObjectStore

ENTRY_SCHEMA = 1
PREFIX = "entries/"


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
    :param writer: the Airflow deployment that computed it.
    :param size_bytes: size of all its outputs.
    :param fence: fencing counter of the lease it was computed under; 0 without one.
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
    writer: str = ""
    size_bytes: int = 0
    fence: int = 0

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

    def digests(self) -> dict[str, str]:
        """Return output name to what its content is known by."""
        return {name: str(document["digest"]) for name, document in self.outputs.items()}


class HeadState(StrEnum):
    """What the newest result of a key is good for."""

    LIVE = "live"
    """It is reused."""
    QUARANTINED = "quarantined"
    """Its outputs were found missing or altered."""
    INVALIDATED = "invalidated"
    """A person disowned it."""
    RETIRED = "retired"
    """Its outputs are about to be removed, or were."""
    NONE = "none"
    """There was never a result; the head only holds the fencing counter."""


@dataclass(frozen=True, slots=True)
class Head:
    """Which result of a key counts.

    :param generation: number of the newest result; 0 when there is none.
    :param state: what it is good for.
    :param fence: the greatest fencing counter of all who computed the key.
    :param tag: version of the head, for conditional writes.
    :param reason: why it isn't live.
    :param by: who said so.
    :param time: when that was.
    """

    generation: int
    state: HeadState
    fence: int
    tag: str
    reason: str | None = None
    by: str | None = None
    time: str | None = None

    @property
    def is_live(self) -> bool:
        """Whether the result may be reused."""
        return self.state is HeadState.LIVE


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known under a key.

    :param head: ``None`` when nobody ever computed it.
    :param entry: the newest result, whatever its state; ``None`` when there is none or it is damaged.
    """

    head: Head | None
    entry: Entry | None

    @property
    def live(self) -> Entry | None:
        """The result, when it may be reused."""
        return self.entry if self.head is not None and self.head.is_live else None


class StaleHolder(ConditionFailed):
    """Somebody else has taken over the computing of a key; what the former holder found does not count."""


class EntryStore:
    """Reads and writes entries.

    :param store: the workspace's object store.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def look(self, key: str) -> Standing:
        """Return what is known under a key."""
        head = self._head(key)
        entry = None if head is None or not head.generation else self.generation(key, head.generation)
        return Standing(head, entry)

    def find(self, key: str) -> Entry | None:
        """Return the entry that counts for ``key``, or ``None``, also when it is damaged or of another version."""
        return self.look(key).live

    def is_current(self, entry: Entry) -> bool:
        """Whether ``entry`` still counts; two small reads.

        The number alone doesn't tell: after everything under a key was removed, numbers begin again.
        """
        return self.find(entry.key) == entry

    def remember(self, entry: Entry, *, replaces: int | None) -> Entry:
        """Make ``entry`` the result of its key, and return the entry that counts afterwards.

        Another result that stands already stays: the first one counts. When it has other content, the difference is kept as a
        divergence.

        :param entry: the result to remember; its generation is set here. Its ``fence`` says under which lease it was computed.
        :param replaces: the live generation to be replaced (forced, too old, damaged), or ``None`` when there should be none.
        :raises StaleHolder: a later holder of the lease has begun to compute the key.
        """
        while True:
            standing = self.look(entry.key)
            head = standing.head
            if head is not None and 0 < entry.fence < head.fence:
                raise StaleHolder(_head_key(entry.key))
            kept = standing.live
            if kept is not None and kept.generation != replaces:
                return self._stand_back(entry, kept)
            numbered = self._write_generation(entry, 1 if head is None else head.generation + 1)
            fence = max(entry.fence, head.fence if head else 0)
            try:
                self._write_head(entry.key, numbered.generation, HeadState.LIVE, fence, head)
            except ConditionFailed:
                if self._is_head(numbered):
                    # It was this very write, whose answer got lost.
                    return numbered
                self.delete_generation(entry.key, numbered.generation)
            else:
                return numbered

    def fence_off(self, key: str, fence: int) -> bool:
        """Write a fencing counter into a key's head, so that no earlier holder's result can come to count any more.

        :return: False when the head moved meanwhile; it has to be looked at again.
        """
        head = self._head(key)
        if head is not None and head.fence >= fence:
            return head.fence == fence
        state = HeadState.NONE if head is None else head.state
        try:
            self._write_head(key, 0 if head is None else head.generation, state, fence, head)
        except ConditionFailed:
            return False
        return True

    def set_state(
        self, key: str, state: HeadState, *, generation: int, reason: str | None = None, by: str | None = None
    ) -> bool:
        """Say what a result is good for.

        :param generation: the result that is meant.
        :return: False when another result counts meanwhile, or the head moved; nothing was changed then.
        """
        head = self._head(key)
        if head is None or head.generation != generation:
            return False
        try:
            self._write_head(key, generation, state, head.fence, head, reason=reason, by=by)
        except ConditionFailed:
            return False
        return True

    def keys(self) -> Iterator[str]:
        """Return all keys that have a head or a result; a scan."""
        last = ""
        for info in self._store.list(PREFIX):
            key = info.key.split("/")[2]
            if key != last:
                last = key
                yield key

    def generations(self, key: str) -> list[int]:
        """Return the numbers of all results of a key that are kept."""
        names = (info.key[len(_folder(key)) :] for info in self._store.list(_folder(key)))
        return [int(name[:-5]) for name in names if name[:-5].isdigit() and name.endswith(".json")]

    def generation(self, key: str, number: int) -> Entry | None:
        """Return one result of a key; ``None`` when it is gone or damaged."""
        try:
            return Entry.from_bytes(self._store.get(_generation_key(key, number)).data)
        except (ObjectNotFound, ValueError):
            return None

    def divergences(self, key: str) -> list[dict[str, Any]]:
        """Return the results with other content that did not come to count, oldest first."""
        found = [read_json(self._store, info.key) for info in self._store.list(f"{_folder(key)}diverged/")]
        return sorted(found, key=lambda item: str(item.get("time")))

    def delete_generation(self, key: str, number: int) -> None:
        """Remove one result of a key; the head must not point at it as live."""
        self._store.delete(_generation_key(key, number))

    def delete(self, key: str) -> bool:
        """Remove everything under a key that is not live; return False when it is, or the head moved meanwhile."""
        # What is listed before the head goes was there before; what comes afterwards belongs to a new result.
        listed = [info.key for info in self._store.list(_folder(key))]
        head = self._head(key)
        if head is not None:
            if head.is_live:
                return False
            try:
                self._store.delete(_head_key(key), if_match=head.tag)
            except ConditionFailed:
                return False
        for name in listed:
            if name != _head_key(key):
                self._store.delete(name)
        return True

    def _stand_back(self, entry: Entry, kept: Entry) -> Entry:
        """Leave the result that stands, and note how another one differs from it."""
        mine, theirs = entry.digests(), kept.digests()
        if kept.step_run_id == entry.step_run_id or mine == theirs:
            return kept
        differing = {
            name: {"kept": theirs.get(name), "other": mine.get(name)}
            for name in sorted({*mine, *theirs})
            if mine.get(name) != theirs.get(name)
        }
        document = {
            "schema": ENTRY_SCHEMA,
            "step_run_id": entry.step_run_id,
            "run_id": entry.run_id,
            "dag_id": entry.dag_id,
            "time": utc_now(),
            "kept": {"generation": kept.generation, "step_run_id": kept.step_run_id},
            "outputs": differing,
        }
        with suppress(ConditionFailed):
            write_json(
                self._store,
                f"{_folder(entry.key)}diverged/{entry.step_run_id}.json",
                document,
                if_absent=True,
            )
        return kept

    def _is_head(self, entry: Entry) -> bool:
        head = self._head(entry.key)
        # Numbers are given once: a generation is written where there is none.
        return head is not None and head.generation == entry.generation

    def _head(self, key: str) -> Head | None:
        try:
            stored = self._store.get(_head_key(key))
        except ObjectNotFound:
            return None
        try:
            document = json.loads(stored.data)
            return Head(
                int(document["generation"]),
                HeadState(document.get("state", HeadState.LIVE)),
                int(document.get("fence", 0)),
                stored.tag,
                document.get("reason"),
                document.get("by"),
                document.get("time"),
            )
        except (ValueError, LookupError, TypeError, AttributeError):
            # Damaged: it leads to no generation, and the next result replaces it.
            return Head(0, HeadState.NONE, 0, stored.tag)

    def _write_head(
        self,
        key: str,
        generation: int,
        state: HeadState,
        fence: int,
        over: Head | None,
        *,
        reason: str | None = None,
        by: str | None = None,
    ) -> None:
        document = {
            "generation": generation,
            "state": state.value,
            "fence": fence,
            "reason": reason,
            "by": by,
            "time": utc_now(),
        }
        write_json(
            self._store,
            _head_key(key),
            document,
            if_absent=over is None,
            if_match=over.tag if over is not None else None,
        )

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


def _folder(key: str) -> str:
    return f"{PREFIX}{key[:2]}/{key}/"


def _head_key(key: str) -> str:
    return f"{_folder(key)}head.json"


def _generation_key(key: str, generation: int) -> str:
    return f"{_folder(key)}{generation:06d}.json"
