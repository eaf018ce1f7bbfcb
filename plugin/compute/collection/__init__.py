"""Garbage collection: what of a workspace nothing refers to any more, and removing it.

``plan_collection`` only looks; ``collect`` removes what a plan names, as far as nothing refers to it at that moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from airflow_azureml.compute.collection.garbage import find_garbage
from airflow_azureml.compute.collection.items import (
    CollectionLimits,
    CollectionPlan,
    CollectionReport,
    Item,
    Kept,
    Kind,
)
from airflow_azureml.compute.collection.machine import find_caches
from airflow_azureml.compute.collection.quota import choose_evictions
from airflow_azureml.compute.collection.roots import find_roots
from airflow_azureml.compute.collection.survey import survey
from airflow_azureml.compute.collection.sweep import collect
from airflow_azureml.workspace.handle import WorkspaceHandle

__all__ = [
    "CollectionLimits",
    "CollectionPlan",
    "CollectionReport",
    "Item",
    "Kept",
    "Kind",
    "collect",
    "plan_collection",
]


def plan_collection(
    workspace: WorkspaceHandle,
    limits: CollectionLimits | None = None,
    *,
    cache: Path | None = None,
    clock: Callable[[], float] = time.time,
) -> CollectionPlan:
    """Find what may be removed; removes nothing.

    References are: results that count, runs inside the retention or not ended, registered datasets and models, pins, and results
    that are being computed. Only what belongs to a run alone is ever removed from a datastore, never a destination of the user's.

    :param limits: what is old enough, and how much may stay.
    :param cache: ``[azureml] cache_directory`` of this machine, to look there too.
    :param clock: tells the time, seconds since the epoch.
    :raises StoreError: what is referred to cannot be read now.
    """
    limits = limits or CollectionLimits()
    now = clock()
    found = survey(workspace)
    roots = find_roots(workspace, found, limits, now=now)
    evictions, over = choose_evictions(found, roots, limits, now=now)
    garbage = find_garbage(workspace.store, found, roots, limits, now=now, evictions=evictions)
    caches = [] if cache is None else find_caches(cache, limits, now=now)
    return CollectionPlan(
        limits=limits,
        items=(*garbage.items, *caches),
        unknown=tuple(garbage.unknown),
        entries=garbage.entries,
        entry_bytes=garbage.entry_bytes,
        over_quota_bytes=over,
    )
