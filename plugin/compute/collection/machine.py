"""What this machine has cached and no longer uses."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from airflow_azureml.compute.collection.items import CollectionLimits, Item, Kind

CACHES = ("snapshots", "converted", "hashes")
"""Folders of ``[azureml] cache_directory`` whose content can be had again; what steps import is not among them."""


def find_caches(
    cache: Path, limits: CollectionLimits, *, now: float, names: Iterable[str] = CACHES
) -> list[Item]:
    """Find cached files that nobody has read or written for long.

    :param cache: ``[azureml] cache_directory``.
    :param now: seconds since the epoch.
    :param names: which of its folders.
    """
    items = []
    for name in names:
        old = dict(_unused(cache / name, now - limits.cache_age_s))
        if old:
            items.append(
                Item(
                    Kind.CACHE,
                    str(cache / name),
                    "nobody has used it for long",
                    sum(old.values()),
                    name=f"{len(old)} files",
                    paths=tuple(sorted(old)),
                )
            )
    return items


def still_unused(item: Item, limits: CollectionLimits, *, now: float) -> Item | None:
    """Return what of an item of :func:`find_caches` nobody has used since; ``None`` when that is nothing."""
    folder = Path(item.id)
    return next(iter(find_caches(folder.parent, limits, now=now, names=(folder.name,))), None)


def _unused(folder: Path, oldest: float) -> Iterator[tuple[Path, int]]:
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            try:
                found = path.lstat()
            except OSError:
                continue
            if max(found.st_atime, found.st_mtime) < oldest:
                yield path, found.st_size
