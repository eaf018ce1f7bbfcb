"""``airflow azureml reuse gc``: what nothing refers to any more."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_azureml import config
from airflow_azureml.cli.commands import FAILED, UsageError, audited, who, workspace_of
from airflow_azureml.cli.printing import Answer, Table, plural, print_answer, size
from airflow_azureml.compute.collection import (
    CollectionLimits,
    CollectionPlan,
    CollectionReport,
    Item,
    plan_collection,
)
from airflow_azureml.compute.collection import collect as remove
from airflow_azureml.reuse.policy import parse_duration

if TYPE_CHECKING:
    from argparse import Namespace

MAX_SHOWN = 50
"""How many things a table names; ``json`` and ``yaml`` name all."""

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(I?)B?", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


@audited
def collect(args: Namespace) -> None:
    """Show what nothing refers to any more, and with ``--delete`` delete it."""
    if args.delete and args.dry_run:
        raise UsageError("--delete and --dry-run say the opposite of each other")
    workspace = workspace_of(args)
    plan = plan_collection(workspace, _limits(args), cache=config.cache_directory())
    if not args.delete:
        _print(plan.to_document(), plan.items, _planned(plan), args.output)
        return
    report = remove(workspace, plan, by=who())
    _print(report.to_document(), report.removed, _removed(report), args.output)
    if report.failed:
        sys.exit(FAILED)


def parse_size(text: str) -> int:
    """Return a number of bytes: ``50GB`` (decimal), ``50GiB``, ``500M``, ``1024``.

    :raises UsageError: it is none.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} is no size; write 50GB, 50GiB or a number of bytes")
    number, unit, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** _POWERS[unit.upper()])


def _limits(args: Namespace) -> CollectionLimits:
    given: dict[str, Any] = {}
    if args.keep_runs is not None:
        given["retention_s"] = parse_duration(args.keep_runs)
    if args.grace is not None:
        given["grace_s"] = parse_duration(args.grace)
    if args.quota is not None:
        given["quota_bytes"] = parse_size(args.quota)
    return CollectionLimits(**given)


def _print(document: Any, items: Sequence[Item], last: list[str], output: str) -> None:
    columns = ("what", "which", "size", "because")
    rows = [(item.kind.value, item.name or item.id, size(item.size_bytes), item.reason) for item in items]
    numbers = frozenset({"size"})
    parts: list[str | Table] = []
    if rows:
        # People want to know of the large ones.
        order = sorted(range(len(rows)), key=lambda place: -items[place].size_bytes)
        parts.append(Table(columns, [rows[place] for place in order[:MAX_SHOWN]], numbers))
        if len(rows) > MAX_SHOWN:
            parts.append(f"… and {len(rows) - MAX_SHOWN} smaller ones; --output json names all")
    print_answer(Answer(document, [*parts, *last], Table(columns, rows, numbers)), output)


def _planned(plan: CollectionPlan) -> list[str]:
    stays = f"{plural(plan.entries, 'result')} ({size(plan.entry_bytes)}) would stay"
    if plan.items:
        said = [f"{_counted(plan.items)} would be deleted; {stays}; nothing was changed, --delete does it"]
    else:
        said = [f"nothing to delete; {stays}"]
    if plan.over_quota_bytes:
        said.append(
            f"the results that runs or people still refer to are {size(plan.over_quota_bytes)} over the quota"
        )
    if plan.unknown:
        said.append(f"unknown, and left alone: {', '.join(plan.unknown)}")
    return said


def _removed(report: CollectionReport) -> list[str]:
    said = [f"{_counted(report.removed)} deleted" if report.removed else "nothing deleted"]
    for kept, what in ((report.kept, "kept"), (report.failed, "could not be deleted")):
        said += [
            f"{what}: {item.item.kind.value} {item.item.name or item.item.id}: {item.why}" for item in kept
        ]
    if report.revived:
        said.append(f"{plural(len(report.revived), 'result')} used again and kept")
    return said


def _counted(items: Sequence[Item]) -> str:
    return f"{plural(len(items), 'item')} ({size(sum(item.size_bytes for item in items))})"
