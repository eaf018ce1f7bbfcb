"""What changed between two actions of a step, in words a person can act on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_azureml.reuse.action import Action
from airflow_azureml.reuse.entries import Earlier
from airflow_azureml.reuse.reasons import ReasonCode
from airflow_azureml.runtime.exceptions import AzureMLException

MAX_NAMED = 5
"""How many changed files a sentence names before it counts the rest."""

MAX_SHOWN = 80
"""How many characters of a value a sentence shows."""

NOTHING = "(none)"
"""Stands for a value in a sentence where there is none."""

FilesOf = Callable[[str], Mapping[str, str]]
"""From a digest of code to ``path -> sha256`` of its files."""


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
    before: Any = None
    after: Any = None
    files: Mapping[str, list[str]] | None = None

    def to_document(self) -> dict[str, Any]:
        """Return the difference as it is kept in run records and XCom."""
        document: dict[str, Any] = {"code": self.code.value, "what": self.what}
        if self.before is not None or self.after is not None:
            document["before"], document["after"] = self.before, self.after
        if self.files is not None:
            document["files"] = {kind: list(names) for kind, names in self.files.items()}
        return document


def differences(
    earlier: Earlier, action: Action, *, files_of: FilesOf, source_label: str = ""
) -> list[Difference]:
    """Compare a step's action with the nearest earlier one.

    :param earlier: the action under which the step last ran.
    :param action: the action of this run.
    :param files_of: reads the file list behind a digest of code.
    :param source_label: folder name put before the names of changed source files.
    :return: all differences, the most telling first; empty when the two are the same.
    """
    before, after = earlier.document, action.document
    found = [
        *_code(before, after, files_of, source_label),
        *_values("parameter", before["parameters"], after["parameters"], _shown),
        *_values("params", before["variables"], after["variables"], _shown_variable),
        *_inputs(before["inputs"], earlier.details, action),
        *_environment(before, after),
        *_interface(before, after),
    ]
    return sorted(found, key=lambda item: item.code.rank)


def _code(
    before: Mapping[str, Any], after: Mapping[str, Any], files_of: FilesOf, label: str
) -> Iterable[Difference]:
    if before["script"] != after["script"]:
        yield Difference(ReasonCode.CODE, "another script is run", before["script"], after["script"])
    if before["code"] == after["code"]:
        return
    try:
        files = compare_files(files_of(before["code"]), files_of(after["code"]))
    except AzureMLException:
        # The file list of a run long ago may be gone; that there is a difference is certain.
        yield Difference(ReasonCode.CODE, f"the source directory{f' {label}' if label else ''} changed")
        return
    labelled = {
        kind: [f"{label}/{name}" if label else name for name in names] for kind, names in files.items()
    }
    yield Difference(
        ReasonCode.CODE, _files_sentence(labelled, "the source directory changed"), files=labelled
    )


def _values(
    kind: str, before: Mapping[str, Any], after: Mapping[str, Any], shown: Callable[[Mapping[str, Any]], str]
) -> Iterable[Difference]:
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        old_value, new_value = (NOTHING if item is None else shown(item) for item in (old, new))
        what = f"{kind} {name}: {old_value} → {new_value}"
        yield Difference(ReasonCode.PARAMETER, what, old_value, new_value)


def _shown(item: Mapping[str, Any]) -> str:
    value = str(item["value"]) if item["type"] != "str" else repr(item["value"])
    return value if len(value) <= MAX_SHOWN else f"{value[:MAX_SHOWN]}…"


def _shown_variable(token: Mapping[str, Any]) -> str:
    if "text" in token:
        return _shown({"type": "str", "value": token["text"]})
    return f"the value of parameter {token['parameter']}"


def _inputs(
    before: list[Mapping[str, Any]], details: Mapping[str, Any], action: Action
) -> Iterable[Difference]:
    old = {item["name"]: item for item in before}
    now = {item["name"]: item for item in action.document["inputs"]}
    for item in action.inputs:
        name = action.aliases.get(item.name, item.name)
        earlier = old.pop(name, None)
        if earlier is None:
            yield Difference(ReasonCode.INPUT, f"input {item.name} is new")
        elif _content(earlier) == _content(now[name]) and earlier != now[name]:
            yield Difference(
                ReasonCode.INTERFACE,
                f"input {item.name} is given to the script in another way",
                earlier,
                now[name],
            )
        elif earlier != now[name]:
            known = details.get(name) or {}
            yield _changed_input(item.name, item.producer, known.get("files"), item.files)
    for name in old:
        yield Difference(ReasonCode.INPUT, f"input {name} is gone")


def _content(document: Mapping[str, Any]) -> tuple[str, str]:
    return document["class"], document["identity"]


def _changed_input(
    name: str, producer: str | None, before: Mapping[str, str] | None, after: Mapping[str, str] | None
) -> Difference:
    origin = f" (written by {producer})" if producer else ""
    if before is None or after is None:
        return Difference(ReasonCode.INPUT, f"input {name}{origin} changed")
    files = compare_files(before, after)
    sentence = _files_sentence(files, "its definition changed")
    return Difference(ReasonCode.INPUT, f"input {name}{origin}: {sentence}", files=files)


def _environment(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterable[Difference]:
    if before["environment"] != after["environment"]:
        yield Difference(
            ReasonCode.ENVIRONMENT,
            f"the environment changed ({before['environment'][:8]} → {after['environment'][:8]})",
            before["environment"],
            after["environment"],
        )


_INTERFACE = {
    "arguments": "the arguments changed",
    "outputs": "the declared outputs changed",
    "version": "version changed",
    "step": "the step type changed",
    "salt": "the workspace's salt changed",
    "schema": "the format of reuse keys changed",
}


def _interface(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterable[Difference]:
    for field, what in _INTERFACE.items():
        if before.get(field) != after.get(field):
            yield Difference(ReasonCode.INTERFACE, what, before.get(field), after.get(field))


def compare_files(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the names of files added, removed and changed between two ``path -> sha256`` tables."""
    return {
        "added": sorted(set(after) - set(before)),
        "removed": sorted(set(before) - set(after)),
        "changed": sorted(name for name in set(before) & set(after) if before[name] != after[name]),
    }


def _files_sentence(files: Mapping[str, list[str]], otherwise: str) -> str:
    parts = []
    for kind, verb in (("changed", "changed"), ("added", "is new"), ("removed", "is gone")):
        names = files[kind]
        if names:
            more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
            plural = {"is new": "are new", "is gone": "are gone"}.get(verb, verb) if len(names) > 1 else verb
            parts.append(f"{', '.join(names[:MAX_NAMED])}{more} {plural}")
    return "; ".join(parts) or otherwise
