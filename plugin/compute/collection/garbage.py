"""What nothing refers to: remembered results, runs and their outputs, registrations, leases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from airflow_azureml.compute.collection.contents import find_contents
from airflow_azureml.compute.collection.items import CollectionLimits, Item, Kind
from airflow_azureml.compute.collection.roots import Roots
from airflow_azureml.compute.collection.runs import find_runs
from airflow_azureml.compute.collection.survey import KnownKey, Survey, seconds
from airflow_azureml.reuse.entries import HeadState
from airflow_azureml.reuse.leases import lease_key
from airflow_azureml.workspace.store import ObjectStore

_DEAD = {
    HeadState.INVALIDATED: "it was invalidated",
    HeadState.QUARANTINED: "its outputs were found missing or altered",
    HeadState.NONE: "nobody finished computing it",
}


@dataclass(slots=True)
class Garbage:
    """What nothing refers to.

    :param items: what may go.
    :param unknown: see :class:`CollectionPlan`.
    :param revive: retired results that are referred to again: key and generation.
    :param entries: results that stay.
    :param entry_bytes: size of their outputs.
    """

    items: list[Item] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    revive: list[tuple[str, int]] = field(default_factory=list)
    entries: int = 0
    entry_bytes: int = 0


def find_garbage(
    store: ObjectStore,
    found: Survey,
    roots: Roots,
    limits: CollectionLimits,
    *,
    now: float,
    evictions: Mapping[str, Item] = MappingProxyType({}),
) -> Garbage:
    """Find what may go.

    :param store: the workspace's store.
    :param found: what is in the workspace.
    :param roots: what has to stay; what remaining results refer to is added.
    :param now: seconds since the epoch.
    :param evictions: results that are to go although they could be reused, by key.
    """
    garbage = Garbage()
    oldest = now - limits.grace_s
    remaining: list[KnownKey] = []
    for known in found.keys.values():
        item = evictions.get(known.key) or _dead(known, roots, garbage, oldest)
        if item is not None:
            garbage.items.append(item)
            continue
        old = list(_old_generations(known, roots, oldest))
        garbage.items += old
        _stays(known, {item.generation for item in old}, roots, garbage)
        remaining.append(known)
    runs = find_runs(found, roots, limits, now=now)
    garbage.items += runs.items
    garbage.unknown = [*runs.unknown, *_lost_models(found, roots, now - limits.run_age_s)]
    garbage.items += _registrations(found, roots)
    garbage.items += _leases(found, oldest)
    garbage.items += find_contents(store, found, roots, remaining, runs.records, limits, now=now)
    garbage.items.sort(key=lambda item: (item.kind.rank, item.id))
    return garbage


def name_of(document: Mapping[str, Any]) -> str:
    """Return what people know a result by."""
    return " ".join(str(document.get(name, "?")) for name in ("dag_id", "run_id", "step_name"))


def entry_item(known: KnownKey, reason: str, *, evicts: bool = False) -> Item:
    """Return the item of a remembered result: what is known under its key, without the data."""
    newest = known.newest
    return Item(
        Kind.ENTRY,
        known.key,
        reason,
        known.size_bytes,
        name="" if newest is None else name_of(newest.document),
        run_id="" if newest is None else newest.step_run_id,
        generation=0 if known.head is None else known.head.generation,
        evicts=evicts,
    )


def _dead(known: KnownKey, roots: Roots, garbage: Garbage, oldest: float) -> Item | None:
    """Return the item of a result that no longer counts, if it may go."""
    head = known.head
    if known.key in roots.keys:
        return None
    if head is None and not known.results and known.modified < oldest:
        return entry_item(known, "what it was is gone")
    if head is None or head.is_live:
        return None
    if head.state is HeadState.RETIRED:
        newest = known.newest
        if newest is not None and roots.refer_to(newest):
            garbage.revive.append((known.key, head.generation))
            return None
        return entry_item(known, head.reason or "an earlier collection was about to remove it")
    since = seconds(head.time) if head.time else known.modified
    return entry_item(known, _DEAD[head.state]) if since < oldest else None


def _old_generations(known: KnownKey, roots: Roots, oldest: float) -> Iterator[Item]:
    if known.key in roots.keys:
        return
    counting = None if known.head is None else known.head.generation
    for number, result in known.results.items():
        if number != counting and result.info.modified < oldest:
            yield Item(
                Kind.GENERATION,
                f"{known.key}/{number}",
                "another result took its place" if counting else "it never came to count",
                result.info.size_bytes,
                name=name_of(result.document),
                keys=(result.info.key,),
                run_id=result.step_run_id,
                generation=number,
            )


def _stays(known: KnownKey, gone: set[int], roots: Roots, garbage: Garbage) -> None:
    """Count a result that stays, and what it refers to."""
    for number, result in known.results.items():
        if number not in gone:
            roots.places.add_outputs(result.outputs)
            roots.shown.add(result.step_run_id)
    if known.head is not None and known.head.is_live and known.newest is not None:
        garbage.entries += 1
        garbage.entry_bytes += output_bytes(known.newest.outputs)


def output_bytes(outputs: Iterable[Mapping[str, Any]]) -> int:
    """Return the size of those outputs that belong to their result alone."""
    return sum(int(item.get("size_bytes") or 0) for item in outputs if item.get("exclusive"))


def _registrations(found: Survey, roots: Roots) -> Iterator[Item]:
    greatest: dict[str, str] = {}
    for key in found.versions:
        folder, _, file = key.rpartition("/")
        if file[:8].isdigit():
            greatest[folder] = max(greatest.get(folder, ""), file)
    for key, read in roots.pending.items():
        folder, _, file = key.rpartition("/")
        # The greatest number stays: it must not be given a second time.
        if file < greatest[folder]:
            yield Item(
                Kind.REGISTRATION,
                key,
                "the step that registered it failed",
                name=f"{read.document.get('name')}:{read.document.get('version')}",
                keys=(key, f"{folder}/notes/{file}"),
            )


def _lost_models(found: Survey, roots: Roots, oldest: float) -> Iterator[str]:
    """Walk files that no version of a model has.

    They stay, because a step that uploads the same file again finds it there, and registers it much later.
    """
    for info in found.model_files:
        if info.key not in roots.objects and info.modified < oldest:
            yield info.key


def _leases(found: Survey, oldest: float) -> Iterator[Item]:
    for key, view in found.leases.items():
        if view.is_free(oldest) and max(view.since, view.expires) < oldest:
            yield Item(
                Kind.LEASE, key, "nobody holds it", keys=(lease_key(key),), tags=((lease_key(key), view.tag),)
            )
