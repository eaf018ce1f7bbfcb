"""What a collection removes: limits, items, plan."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

_DAY_S = 86_400.0


class Kind(StrEnum):
    """What an item is, in the order in which they are removed: what refers to something goes before it."""

    ENTRY = "entry"
    GENERATION = "generation"
    OUTPUT = "output"
    LEFTOVER = "leftover"
    RUN = "run"
    PIPELINE_RUN = "pipeline_run"
    ORPHAN = "orphan"
    REGISTRATION = "registration"
    LEASE = "lease"
    ACTION = "action"
    MANIFEST = "manifest"
    SNAPSHOT = "snapshot"
    PACK = "pack"
    PACK_INDEX = "pack_index"
    CACHE = "cache"

    @property
    def rank(self) -> int:
        """Position in the order."""
        return list(Kind).index(self)


@dataclass(frozen=True, slots=True)
class CollectionLimits:
    """What is old enough, and how much may stay.

    :param retention_s: how long runs are kept although no result refers to them.
    :param grace_s: how long anything is kept that nothing refers to: it may be on its way to be referred to.
    :param quota_bytes: how much the remembered results may take; ``None`` for any amount.
    :param cache_age_s: how long what this machine has cached is kept unused.
    """

    retention_s: float = 30 * _DAY_S
    grace_s: float = _DAY_S
    quota_bytes: int | None = None
    cache_age_s: float = 30 * _DAY_S

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("retention_s", "grace_s", "cache_age_s", "quota_bytes"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} is {value}; expected at least 0")

    @property
    def run_age_s(self) -> float:
        """Age at which a run may go."""
        return max(self.retention_s, self.grace_s)


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to remove.

    :param kind: what it is.
    :param id: which one, unique among its kind.
    :param reason: why it may go.
    :param size_bytes: what it takes.
    :param name: what people know it by.
    :param paths: files and folders of this machine that go first.
    :param folders: folders on datastores elsewhere that go first: name of the datastore, path.
    :param keys: objects that go then, in this order.
    :param tags: versions of those objects that may go only as they are, by key.
    :param run_id: the step run that it belongs to; a run that is in use again keeps everything.
    :param is_committed: whether that run was committed when it was looked at.
    :param generation: of an entry.
    :param evicts: whether a result goes that could still be reused.
    """

    kind: Kind
    id: str
    reason: str
    size_bytes: int = 0
    name: str = ""
    paths: tuple[Path, ...] = ()
    folders: tuple[tuple[str, str], ...] = ()
    keys: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    run_id: str = ""
    is_committed: bool = False
    generation: int = 0
    evicts: bool = False

    @property
    def place(self) -> tuple[Kind, str]:
        """Names the item among all."""
        return self.kind, self.id

    def to_document(self) -> dict[str, Any]:
        """Return what people and programs want to know of it, as JSON data."""
        return {
            "kind": self.kind.value,
            "id": self.id,
            "name": self.name,
            "reason": self.reason,
            "size_bytes": self.size_bytes,
        }


@dataclass(frozen=True, slots=True)
class CollectionPlan:
    """What a collection would remove.

    :param limits: what it was made with.
    :param items: in the order in which they are removed.
    :param unknown: what nobody here knows and stays nevertheless: folders on datastores that look like a run's and belong to
        none, files that no version of a model has.
    :param entries: results that would stay.
    :param entry_bytes: size of their outputs.
    :param over_quota_bytes: by how much that is over the quota because runs still refer to them.
    """

    limits: CollectionLimits
    items: tuple[Item, ...]
    unknown: tuple[str, ...] = ()
    entries: int = 0
    entry_bytes: int = 0
    over_quota_bytes: int = 0

    @property
    def size_bytes(self) -> int:
        """What would be freed."""
        return sum(item.size_bytes for item in self.items)

    def to_document(self) -> dict[str, Any]:
        """Return the plan as JSON data."""
        return {
            "limits": asdict(self.limits),
            "size_bytes": self.size_bytes,
            "kinds": tally(self.items),
            "items": [item.to_document() for item in self.items],
            "unknown": list(self.unknown),
            "entries": self.entries,
            "entry_bytes": self.entry_bytes,
            "over_quota_bytes": self.over_quota_bytes,
        }


@dataclass(frozen=True, slots=True)
class Kept:
    """An item of a plan that was not removed.

    :param why: what was found when it should have been.
    """

    item: Item
    why: str


@dataclass(slots=True)
class CollectionReport:
    """What a collection removed.

    :param removed: what is gone.
    :param kept: what is in use again, or was changed since it was planned.
    :param failed: what could not be removed; the next collection tries again.
    :param revived: keys of results that were about to go and are used again.
    """

    removed: list[Item] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    failed: list[Kept] = field(default_factory=list)
    revived: list[str] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        """What was freed."""
        return sum(item.size_bytes for item in self.removed)

    def to_document(self) -> dict[str, Any]:
        """Return the report as JSON data."""
        return {
            "size_bytes": self.size_bytes,
            "kinds": tally(self.removed),
            "removed": [item.to_document() for item in self.removed],
            "kept": [{**kept.item.to_document(), "why": kept.why} for kept in self.kept],
            "failed": [{**kept.item.to_document(), "why": kept.why} for kept in self.failed],
            "revived": list(self.revived),
        }


def tally(items: Iterable[Item]) -> dict[str, dict[str, int]]:
    """Return number and size of items by kind."""
    found: dict[str, dict[str, int]] = {}
    for item in items:
        counted = found.setdefault(item.kind.value, {"count": 0, "size_bytes": 0})
        counted["count"] += 1
        counted["size_bytes"] += item.size_bytes
    return found
