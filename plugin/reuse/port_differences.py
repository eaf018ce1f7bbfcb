"""What changed in the inputs, outputs and arguments of a step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from airflow_azureml.model.canonical import canonical_json
from airflow_azureml.reuse.action import Action, InputIdentity
from airflow_azureml.reuse.difference import (
    NOTHING,
    Difference,
    changed,
    compare_files,
    files_sentence,
    named_changes,
)
from airflow_azureml.reuse.reasons import ReasonCode

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ports:
    """What people call the ports of a step whose names nobody chose.

    :param names: name in the key to name in this run.
    """

    names: Mapping[str, str]

    @classmethod
    def of(cls, action: Action) -> Ports:
        """Return the names that this run uses."""
        return cls({alias: name for name, alias in action.aliases.items()})

    def name(self, known_as: str) -> str:
        """Return the name of a port for a sentence."""
        if known_as in self.names:
            return self.names[known_as]
        # One that this run doesn't have: its place is all that is known of it.
        place = known_as.removeprefix("#in").removeprefix("#out")
        return f"number {int(place) + 1}" if known_as.startswith("#") and place.isdecimal() else known_as


def input_differences(
    before: Sequence[Document], after: Sequence[Document], details: Document, action: Action
) -> Iterator[Difference]:
    """Yield what changed in the inputs.

    :param before: the inputs of the earlier action.
    :param after: those of this run.
    :param details: what else is known of the earlier inputs.
    :param action: the action of this run.
    """
    old = {item["name"]: item for item in before}
    new = {item["name"]: item for item in after}
    known = {action.aliases.get(item.name, item.name): item for item in action.inputs}
    ports = Ports.of(action)
    renamed = _renamed(old, new)
    for name in sorted({*old, *new}):
        label = f"input {ports.name(name)}"
        if name in renamed:
            yield Difference(ReasonCode.INTERFACE, f"{label} is called {ports.name(renamed[name])} now")
        elif name not in new:
            yield Difference(ReasonCode.INPUT, f"{label} is gone")
        elif name not in old and name not in renamed.values():
            yield Difference(ReasonCode.INPUT, f"{label} is new")
        elif name in old:
            yield from _changed_input(label, old[name], new[name], details.get(name) or {}, known[name])


def _renamed(old: Mapping[str, Document], new: Mapping[str, Document]) -> dict[str, str]:
    """Return inputs that are the same under another name."""
    free = {name: item for name, item in new.items() if name not in old}
    found: dict[str, str] = {}
    for name in sorted(set(old) - set(new)):
        twin = next((other for other, item in free.items() if {**item, "name": name} == old[name]), None)
        if twin is not None:
            found[name] = twin
            del free[twin]
    return found


def _changed_input(
    label: str, before: Document, after: Document, details: Document, known: InputIdentity
) -> Iterator[Difference]:
    if before["class"] != after["class"]:
        what = f"{label} is known by its {after['class']} now, before by its {before['class']}"
        yield Difference(ReasonCode.INPUT, what)
    elif before["identity"] != after["identity"]:
        yield _changed_data(label, details, known)
    yield from named_changes(ReasonCode.INTERFACE, f"{label}:", _ways(before), _ways(after))


def _ways(item: Document) -> dict[str, str]:
    """Return how the script is given an input."""
    return {name: str(item[name]) for name in ("mode", "kind", "path_on_compute") if item[name] is not None}


def _changed_data(label: str, details: Document, known: InputIdentity) -> Difference:
    origin = _origin(details.get("producer"), known.producer)
    before = details.get("files")
    if before is None or known.files is None:
        return Difference(ReasonCode.INPUT, f"{label}{origin} changed")
    files = compare_files(before, known.files)
    # The same files with the same bytes: what is left is how they are read, or folders and permissions.
    otherwise = "its definition changed" if known.kind == "dataset" else "its folders or permissions changed"
    return Difference(ReasonCode.INPUT, f"{label}{origin}: {files_sentence(files, otherwise)}", files=files)


def _origin(before: str | None, after: str | None) -> str:
    if after is None:
        return f" (before written by {before})" if before else ""
    return f" (written by {after}{f', before by {before}' if before and before != after else ''})"


def output_differences(
    before: Sequence[Document], after: Sequence[Document], ports: Ports
) -> Iterator[Difference]:
    """Yield what changed in the declared outputs."""
    old = {item["name"]: item for item in before}
    new = {item["name"]: item for item in after}
    for name in sorted({*old, *new}):
        label = f"output {ports.name(name)}"
        if name not in new:
            yield Difference(ReasonCode.INTERFACE, f"{label} is gone")
        elif name not in old:
            yield Difference(ReasonCode.INTERFACE, f"{label} is new")
        else:
            yield from named_changes(
                ReasonCode.INTERFACE, f"{label}:", _settings(old[name]), _settings(new[name])
            )


def _settings(item: Document) -> dict[str, str]:
    shown = {name: ", ".join(value) if isinstance(value, list) else value for name, value in item.items()}
    return {name: str(value) for name, value in shown.items() if value is not None and name != "name"}


def argument_differences(
    before: Sequence[Document], after: Sequence[Document], ports: Ports
) -> Iterator[Difference]:
    """Yield what changed in the arguments, by position; the first is 1."""
    old, new = ([canonical_json(item) for item in items] for items in (before, after))
    if old != new and sorted(old) == sorted(new):
        yield changed(
            ReasonCode.INTERFACE, "the order of the arguments", _line(before, ports), _line(after, ports)
        )
        return
    for kind, start, end, new_start, new_end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        for offset in range(max(end - start, new_end - new_start)):
            gone = before[start + offset] if start + offset < end else None
            come = after[new_start + offset] if new_start + offset < new_end else None
            place = start + offset if come is None else new_start + offset
            yield _changed_argument(place + 1, gone, come, ports)


def _changed_argument(
    place: int, before: Document | None, after: Document | None, ports: Ports
) -> Difference:
    code, label = ReasonCode.INTERFACE, f"argument {place}"
    if before is not None and after is not None:
        if _is_secret(before) or _is_secret(after):
            return Difference(code, f"{label} (secret) changed")
        return changed(code, label, _shown(before, ports), _shown(after, ports))
    present, what = (after, "is new") if after is not None else (before or {}, "is gone")
    if _is_secret(present):
        return Difference(code, f"{label} (secret) {what}")
    shown = changed(code, label, NOTHING, _shown(present, ports)).after
    return Difference(code, f"{label} {what}: {shown}")


def _is_secret(token: Document) -> bool:
    return "secret" in token or any(_is_secret(part) for part in token.get("parts", ()))


def _shown(token: Document, ports: Ports) -> str:
    return repr(token["text"]) if "text" in token else _plain(token, ports)


def _plain(token: Document, ports: Ports) -> str:
    if "parts" in token:
        return "".join(_plain(part, ports) for part in token["parts"])
    kind, value = next(iter(token.items()))
    if kind == "text":
        return str(value)
    return "(secret)" if kind == "secret" else f"<{kind} {ports.name(value)}>"


def _line(tokens: Sequence[Document], ports: Ports) -> str:
    return " ".join(_plain(token, ports) for token in tokens)
