"""Things known by their content that nothing refers to: actions, lists of files, source snapshots and their packs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from airflow_azureml.compute.collection.items import CollectionLimits, Item, Kind
from airflow_azureml.compute.collection.roots import Roots
from airflow_azureml.compute.collection.survey import KnownKey, Survey, outputs_of, read_document
from airflow_azureml.workspace.store import ObjectInfo, ObjectStore

DROPPED = "dropped"
"""Kind of the document that stands for the index of a pack that nothing may newly refer to."""


def find_contents(
    store: ObjectStore,
    found: Survey,
    roots: Roots,
    keys: Iterable[KnownKey],
    records: Iterable[Mapping[str, Any]],
    limits: CollectionLimits,
    *,
    now: float,
) -> list[Item]:
    """Find what neither a remembered result nor a run, action or pin refers to.

    :param found: what is in the workspace.
    :param keys: the remembered results that stay.
    :param records: the run records that stay.
    :param now: seconds since the epoch.
    """
    known = {item.key: item for item in keys}
    records = list(records)
    oldest = now - limits.grace_s
    gone = set(_old_actions(found, roots, set(known), records, now - limits.run_age_s))
    items = [
        _item(Kind.ACTION, key, "no result, run or list of recent ones refers to it", found.actions[key])
        for key in gone
    ]
    code = _code_of(store, (info for key, info in found.actions.items() if key not in gone))
    outputs = [item for record in records for item in outputs_of(record)]
    outputs += [item for one in known.values() for result in one.results.values() for item in result.outputs]
    digests = {str(item.get(name)) for item in outputs for name in ("digest", "listing")}
    for digest, info in found.manifests.items():
        if digest not in digests and digest not in code and info.modified < oldest:
            items.append(_item(Kind.MANIFEST, digest, "no output and no action refers to it", info))
    snapshots = {str(record.get("snapshot")) for record in records} | roots.snapshots | code
    items += _snapshots(store, found, snapshots, oldest)
    return items


def _old_actions(
    found: Survey, roots: Roots, keys: set[str], records: list[Mapping[str, Any]], oldest: float
) -> Iterator[str]:
    decided = {
        str(record["reuse"].get("key")) for record in records if isinstance(record.get("reuse"), Mapping)
    }
    used = keys | decided | found.recent | roots.keys
    for key, info in found.actions.items():
        if key not in used and info.modified < oldest:
            yield key


def _code_of(store: ObjectStore, actions: Iterable[ObjectInfo]) -> set[str]:
    """Return the digests of code that actions name."""
    found = set()
    for info in actions:
        read = read_document(store, info.key)
        action = read.document.get("action") if read is not None else None
        if isinstance(action, Mapping):
            found.add(str(action.get("code")))
    return found


def _snapshots(store: ObjectStore, found: Survey, used: set[str], oldest: float) -> Iterator[Item]:
    packs: set[str] = set()
    for digest, info in found.trees.items():
        if digest not in used and info.modified < oldest:
            yield _item(Kind.SNAPSHOT, digest, "no run and no pin refers to it", info)
        else:
            read = read_document(store, info.key)
            packs.update(read.document.get("packs", ()) if read is not None else ())
    for pack in found.packs.keys() | found.indexes.keys():
        if pack not in packs:
            yield from _pack(store, found, pack, oldest)


def _pack(store: ObjectStore, found: Survey, pack: str, oldest: float) -> Iterator[Item]:
    """Take a pack away in two collections.

    An upload looks at the indexes, and writes much later that its snapshot lies in a pack that was there already. So the index
    goes first, and the pack when all uploads that may have seen the index are over.
    """
    objects = [place[pack] for place in (found.packs, found.indexes) if pack in place]
    if any(info.modified >= oldest for info in objects):
        return
    index = found.indexes.get(pack)
    read = read_document(store, index.key) if index is not None else None
    if index is None or read is None or read.document.get("kind") == DROPPED:
        keys = tuple(info.key for info in objects)
        yield Item(
            Kind.PACK, pack, "no snapshot refers to it", sum(info.size_bytes for info in objects), keys=keys
        )
    else:
        reason = "no snapshot refers to it; its content goes with a later collection"
        yield Item(Kind.PACK_INDEX, pack, reason, keys=(index.key,), tags=((index.key, read.tag),))


def _item(kind: Kind, which: str, reason: str, info: ObjectInfo) -> Item:
    return Item(kind, which, reason, info.size_bytes, keys=(info.key,))
