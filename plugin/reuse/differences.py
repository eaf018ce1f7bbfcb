"""What changed between two actions of a step, in words a person can act on."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from airflow_azureml.model.canonical import canonical_json
from airflow_azureml.reuse.action import Action
from airflow_azureml.reuse.actions import Earlier
from airflow_azureml.reuse.code_scope import HASH_PATHS
from airflow_azureml.reuse.difference import (
    NOTHING,
    Difference,
    FilesOf,
    changed,
    compare_files,
    files_sentence,
)
from airflow_azureml.reuse.environment_differences import environment_differences
from airflow_azureml.reuse.port_differences import (
    Ports,
    argument_differences,
    input_differences,
    output_differences,
)
from airflow_azureml.reuse.reasons import ReasonCode
from airflow_azureml.runtime.exceptions import AzureMLException

__all__ = ["Difference", "FilesOf", "differences", "ignored_changes", "nearest"]


def nearest(earlier: Iterable[Earlier], action: Action) -> Earlier | None:
    """Return the earlier action that has most in common with this one; of equals the newest.

    :param earlier: newest first.
    :return: ``None`` when there is none at all.
    """
    now = _components(action.document)

    def shared(other: Earlier) -> int:
        before = _components(other.document)
        return sum(before.get(place) == value for place, value in now.items())

    # max() takes the first of equals, and the newest comes first.
    return max(earlier, key=shared, default=None)


def _components(document: object) -> dict[tuple[str, ...], bytes]:
    """Return the parts of an action that can be equal or not, by their place."""
    found: dict[tuple[str, ...], bytes] = {}
    if not isinstance(document, Mapping):
        # Damaged: it has nothing in common with anything.
        return found
    for field, value in document.items():
        if isinstance(value, Mapping):
            found.update({(field, str(name)): canonical_json(item) for name, item in value.items()})
        elif isinstance(value, list):
            for place, item in enumerate(value):
                name = item.get("name", place) if isinstance(item, Mapping) else place
                found[field, str(name)] = canonical_json(item)
        else:
            found[field,] = canonical_json(value)
    return found


def differences(
    earlier: Earlier, action: Action, *, files_of: FilesOf, source_label: str = ""
) -> list[Difference]:
    """Compare a step's action with the nearest earlier one.

    :param earlier: an action under which the step ran earlier.
    :param action: the action of this run.
    :param files_of: reads the file list behind a digest of code.
    :param source_label: folder name put before the names of changed source files.
    :return: all differences, the most telling first; empty when the two are the same.
    :raises LookupError: the earlier one lacks something that every action has.
    """
    # As the other one was: written and read.
    before, after = earlier.document, json.loads(canonical_json(action.document))
    if before["schema"] != after["schema"]:
        return [_changed_interface("the format of reuse keys", before["schema"], after["schema"])]
    ports = Ports.of(action)
    specification = earlier.details.get("environment")
    found = [
        *_code(before, after, files_of, source_label),
        *_values("parameter", before["parameters"], after["parameters"]),
        *_values("params", before["variables"], after["variables"]),
        *_values("argument", before.get("settings", {}), after.get("settings", {})),
        *input_differences(before["inputs"], after["inputs"], earlier.details.get("inputs") or {}, action),
        *environment_differences(
            before["environment"], after["environment"], specification, action.environment
        ),
        *argument_differences(before["arguments"], after["arguments"], ports),
        *output_differences(before["outputs"], after["outputs"], ports),
        *_rest(before, after),
    ]
    return sorted(found, key=lambda item: item.code.rank)


def ignored_changes(details: Mapping[str, Any], action: Action) -> list[str]:
    """Say which ignored parameters had other values.

    :param details: those of an earlier action.
    :param action: the action of this run.
    :return: such as ``"ignored build_id: 6 → 7"``.
    """
    return [item.what for item in _values("ignored", details.get("ignored") or {}, action.ignored)]


def _code(
    before: Mapping[str, Any], after: Mapping[str, Any], files_of: FilesOf, label: str
) -> Iterator[Difference]:
    if before["script"] != after["script"]:
        yield changed(ReasonCode.CODE, "script", before["script"], after["script"])
    if before["code"] == after["code"]:
        return
    try:
        files = compare_files(files_of(before["code"]), files_of(after["code"]))
    except AzureMLException:
        # The file list of a run long ago may be gone; that there is a difference is certain.
        yield Difference(ReasonCode.CODE, f"the source directory{f' {label}' if label else ''} changed")
        return
    named = {kind: sorted({_path(name, label) for name in names}) for kind, names in files.items()}
    yield Difference(ReasonCode.CODE, files_sentence(named, "the source directory changed"), files=named)


def _path(name: str, label: str) -> str:
    """Return a source file as people know it: paths of ``hash_paths`` may lead out of the folder."""
    name = name.removeprefix(HASH_PATHS)
    return posixpath.normpath(f"{label}/{name}") if label else name


def _values(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if any("secret" in item for item in (old, new) if item is not None):
            yield Difference(ReasonCode.PARAMETER, f"{kind} {name} (secret) changed")
            continue
        shown_old, shown_new = (_shown(item) for item in (old, new))
        if shown_old == shown_new and old is not None and new is not None:
            shown_old, shown_new = f"{shown_old} ({old['type']})", f"{shown_new} ({new['type']})"
        yield changed(ReasonCode.PARAMETER, f"{kind} {name}", shown_old, shown_new)


def _shown(item: Mapping[str, Any] | None) -> str:
    """Return the value of a parameter, or of a variable, as people read it."""
    if item is None:
        return NOTHING
    if "parameter" in item:
        return f"the value of parameter {item['parameter']}"
    value = item["text"] if "text" in item else item["value"]
    is_text = "text" in item or item["type"] == "str"
    return repr(value) if is_text else str(value)


def _rest(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    if before["version"] != after["version"]:
        yield _changed_interface("version", before["version"], after["version"])
    if before["step"]["type"] != after["step"]["type"]:
        yield _changed_interface("step type", before["step"]["type"], after["step"]["type"])
    if before["step"]["version"] != after["step"]["version"]:
        what = "how this version of airflow-azureml runs such steps"
        yield _changed_interface(what, before["step"]["version"], after["step"]["version"])
    if before["scope"] != after["scope"]:
        yield _changed_interface("reuse scope", _scope(before["scope"]), _scope(after["scope"]))
    if before["salt"] != after["salt"]:
        yield Difference(ReasonCode.INTERFACE, "the workspace's salt changed")


def _scope(document: Mapping[str, str] | None) -> str:
    return "workspace" if document is None else " ".join(next(iter(document.items())))


def _changed_interface(label: str, before: object, after: object) -> Difference:
    old, new = (NOTHING if value is None else str(value) for value in (before, after))
    return changed(ReasonCode.INTERFACE, label, old, new)
