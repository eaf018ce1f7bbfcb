"""Disowning results: an entry that a person no longer trusts, and everything that was computed from it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from airflow_azureml.reuse.actions import ActionStore, SavedAction
from airflow_azureml.reuse.entries import Entry, EntryStore, HeadState, Standing
from airflow_azureml.runtime.exceptions import ConditionFailed, UserErrorException

_ATTEMPTS = 100
"""How often a head is tried that others keep moving; each of them makes progress, so this ends long before."""

_OVER = frozenset({HeadState.INVALIDATED, HeadState.NONE})
"""States in which there is nothing to disown."""


@dataclass(frozen=True, slots=True)
class Invalidated:
    """A result that no longer counts.

    :param key: its action key.
    :param generation: which of the key's results.
    :param step_name: the step that computed it.
    :param dag_id: the DAG in which that was.
    :param run_id: the Airflow run in which that was.
    :param step_run_id: the step run.
    :param because_of: key of the result whose output it had read; ``None`` for the one that was named.
    """

    key: str
    generation: int
    step_name: str
    dag_id: str
    run_id: str
    step_run_id: str
    because_of: str | None

    def to_document(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return asdict(self)


def invalidate(
    entries: EntryStore,
    actions: ActionStore,
    key: str,
    *,
    reason: str,
    by: str,
    downstream: bool = False,
) -> list[Invalidated]:
    """Make sure that a result is not reused again.

    With ``downstream`` the data is followed, and not the graph: whatever read bytes that the result, an earlier result of its
    key, or one that differed from it consists of, in any pipeline; and so on with what came out of that. All actions are read for
    it. A step that has read the bytes and hasn't ended is not found; it is when this is called again afterwards.

    :param entries: the remembered results.
    :param actions: what their keys were made of.
    :param key: the action key of the result.
    :param reason: why, for those who wonder.
    :param by: who says so.
    :return: what was live (or set aside otherwise) and is now invalidated, the named one first. Empty when all was before.
    :raises UserErrorException: there is no result under the key.
    """
    standing = entries.look(key)
    if standing.head is None or standing.head.state is HeadState.NONE:
        raise UserErrorException(f"there is no result under the key {key!r}; `reuse list` shows the keys")
    readers = _readers(actions) if downstream else {}
    found: list[Invalidated] = []
    seen = {key}
    waiting: deque[tuple[str, str | None]] = deque([(key, None)])
    while waiting:
        current, origin = waiting.popleft()
        written = _digests(entries, current) if downstream else set()
        entry = _invalidate_one(entries, current, _sentence(reason, origin), by)
        if entry is not None:
            found.append(_said(entry, origin))
        for reader in sorted({reader for digest in written for reader in readers.get(digest, ())} - seen):
            seen.add(reader)
            waiting.append((reader, current))
    return found


def consumed(action: SavedAction) -> set[str]:
    """Return the digests of the outputs that a step read under an action."""
    inputs = action.details.get("inputs")
    if not isinstance(inputs, Mapping):
        return set()
    return {
        str(digest)
        for item in inputs.values()
        if isinstance(item, Mapping)
        for digest in item.get("consumed") or ()
    }


def _readers(actions: ActionStore) -> dict[str, set[str]]:
    """Return output digest to the keys of the actions that read it."""
    readers: dict[str, set[str]] = {}
    for key in actions.keys():  # noqa: SIM118 - no mapping
        saved = actions.get(key)
        for digest in consumed(saved) if saved is not None else ():
            readers.setdefault(digest, set()).add(key)
    return readers


def _digests(entries: EntryStore, key: str) -> set[str]:
    """Return everything that was ever written under a key, as far as it is known."""
    numbers = entries.generations(key)
    results = [entry for number in numbers if (entry := entries.generation(key, number)) is not None]
    found = {digest for entry in results for digest in entry.digests().values()}
    for divergence in entries.divergences(key):
        found |= _others(divergence.get("outputs", {}).values())
    return found


def _others(outputs: Iterable[Mapping[str, Any]]) -> set[str]:
    return {str(item["other"]) for item in outputs if item.get("other")}


def _invalidate_one(entries: EntryStore, key: str, reason: str, by: str) -> Entry | None:
    """Invalidate whatever counts under a key; return it, or ``None`` when there was nothing to do."""
    for _ in range(_ATTEMPTS):
        standing = entries.look(key)
        head = standing.head
        if head is None or head.state in _OVER:
            return None
        if entries.set_state(key, HeadState.INVALIDATED, generation=head.generation, reason=reason, by=by):
            return _entry_of(standing, key)
    raise ConditionFailed(key)


def _entry_of(standing: Standing, key: str) -> Entry:
    # A damaged entry has lost who wrote it.
    generation = standing.head.generation if standing.head is not None else 0
    return standing.entry or Entry(key, "", "", "", "", "", 0.0, generation=generation)


def _sentence(reason: str, origin: str | None) -> str:
    return reason if origin is None else f"{reason} (it was computed from the result {origin[:12]})"


def _said(entry: Entry, origin: str | None) -> Invalidated:
    return Invalidated(
        entry.key,
        entry.generation,
        entry.step_name,
        entry.dag_id,
        entry.run_id,
        entry.step_run_id,
        origin,
    )
