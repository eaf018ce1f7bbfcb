"""Which results go when they take more than they may."""

from __future__ import annotations

from airflow_azureml.compute.collection.garbage import entry_item, output_bytes
from airflow_azureml.compute.collection.items import CollectionLimits, Item
from airflow_azureml.compute.collection.roots import Roots
from airflow_azureml.compute.collection.survey import KnownKey, Survey, seconds


def choose_evictions(
    found: Survey, roots: Roots, limits: CollectionLimits, *, now: float
) -> tuple[dict[str, Item], int]:
    """Choose the results that go, those first that save the least time for the space they take.

    Results that a run inside the retention, a dataset or a pin uses stay, and so do those just made.

    :param roots: what has to stay, remembered results left aside.
    :param now: seconds since the epoch.
    :return: the results by key, and by how many bytes the rest is over the quota nevertheless.
    """
    if limits.quota_bytes is None:
        return {}, 0
    live = [known for known in found.keys.values() if known.head is not None and known.head.is_live]
    sizes = {known.key: _bytes_of(known) for known in live}
    over = sum(sizes.values()) - limits.quota_bytes
    chosen: dict[str, Item] = {}
    candidates = [known for known in live if sizes[known.key] and _may_go(known, roots, now - limits.grace_s)]
    for known in sorted(candidates, key=lambda item: (_worth(item) / sizes[item.key], item.key)):
        if over <= 0:
            break
        over -= sizes[known.key]
        reason = f"the results take more than the quota; it saves {_worth(known):.1f} s for {sizes[known.key]} bytes"
        chosen[known.key] = entry_item(known, reason, evicts=True)
    return chosen, max(over, 0)


def _bytes_of(known: KnownKey) -> int:
    return 0 if known.newest is None else output_bytes(known.newest.outputs)


def _worth(known: KnownKey) -> float:
    return 0.0 if known.newest is None else float(known.newest.document.get("duration_s") or 0.0)


def _may_go(known: KnownKey, roots: Roots, oldest: float) -> bool:
    newest = known.newest
    if newest is None or known.key in roots.keys or roots.refer_to(newest):
        return False
    return seconds(newest.document.get("finished")) < oldest
