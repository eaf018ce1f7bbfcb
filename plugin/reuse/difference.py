"""One thing that differs between two runs of a step, and how it is put into words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_azureml.reuse.reasons import ReasonCode

MAX_NAMED = 5
"""How many changed files a sentence names before it counts the rest."""

MAX_LISTED = 100
"""How many files of a kind a document lists before it counts the rest."""

MAX_SHOWN = 80
"""How many characters of a value a sentence shows."""

NOTHING = "(none)"
"""Stands for a value in a sentence where there is none."""

FilesOf = Callable[[str], Mapping[str, str]]
"""From a digest of code to ``path -> content`` of its files."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs from the nearest earlier action.

    :param code: what kind of thing it is.
    :param what: the sentence's subject and verb, such as ``"train.py changed"``.
    :param before: the earlier value, where there is one to show.
    :param after: the value of this run.
    :param files: changed files: ``{"added": [...], "removed": [...], "changed": [...]}``.
    """

    code: ReasonCode
    what: str
    before: str | None = None
    after: str | None = None
    files: Mapping[str, list[str]] | None = None

    def to_document(self) -> dict[str, Any]:
        """Return the difference as it is kept in run records and XCom; ``more`` counts files that are not listed."""
        document: dict[str, Any] = {"code": self.code.value, "what": self.what}
        if self.before is not None or self.after is not None:
            document["before"], document["after"] = self.before, self.after
        if self.files is not None:
            document["files"] = {kind: names[:MAX_LISTED] for kind, names in self.files.items()}
            more = {kind: len(names) - MAX_LISTED for kind, names in self.files.items()}
            if any(count > 0 for count in more.values()):
                document["more"] = {kind: max(count, 0) for kind, count in more.items()}
        return document


def changed(code: ReasonCode, label: str, before: str, after: str) -> Difference:
    """Return the difference of a value.

    :param label: what has the value, such as ``"parameter alpha"``.
    :param before: the earlier value as people read it.
    :param after: that of this run.
    """
    old, new = _clipped(before, after)
    return Difference(code, f"{label}: {old} → {new}", old, new)


def named_changes(
    code: ReasonCode, label: str, before: Mapping[str, str], after: Mapping[str, str]
) -> Iterable[Difference]:
    """Yield the differences between two tables of values that people read.

    :param label: what the names are, such as ``"output model:"``.
    """
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield changed(code, f"{label} {name}", before.get(name, NOTHING), after.get(name, NOTHING))


def _clipped(before: str, after: str) -> tuple[str, str]:
    """Cut two long texts so that what they differ in is seen."""
    apart = (place for place, (one, other) in enumerate(zip(before, after, strict=False)) if one != other)
    common = next(apart, min(len(before), len(after)))
    is_far = common > MAX_SHOWN // 2 and max(len(before), len(after)) > MAX_SHOWN
    start = common - MAX_SHOWN // 4 if is_far else 0
    return _window(before, start), _window(after, start)


def _window(text: str, start: int) -> str:
    end = start + MAX_SHOWN
    return f"{'…' if start else ''}{text[start:end]}{'…' if len(text) > end else ''}"


def compare_files(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the names of files added, removed and changed between two ``path -> content`` tables."""
    return {
        "added": sorted(set(after) - set(before)),
        "removed": sorted(set(before) - set(after)),
        "changed": sorted(name for name in set(before) & set(after) if before[name] != after[name]),
    }


def files_sentence(files: Mapping[str, list[str]], otherwise: str) -> str:
    """Say which files changed.

    :param files: as :func:`compare_files` returns them.
    :param otherwise: what to say when none did.
    """
    parts = []
    for kind, one, many in (
        ("changed", "changed", "changed"),
        ("added", "is new", "are new"),
        ("removed", "is gone", "are gone"),
    ):
        names = files[kind]
        if names:
            more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
            parts.append(f"{', '.join(names[:MAX_NAMED])}{more} {many if len(names) > 1 else one}")
    return "; ".join(parts) or otherwise
