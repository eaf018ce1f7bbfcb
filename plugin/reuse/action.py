"""The action document: everything a step's result depends on, and nothing else. Its digest is the key of the result.

Design: "Reuse", the action document. What enters is listed in :func:`build_action`; display names, tags, run ids, absolute
paths, retries, time limits, pools and owners do not, so that they can change without running anything again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from airflow_azureml.model.canonical import digest_of

ACTION_SCHEMA = 1


class IdentityClass(StrEnum):
    """How well an input is known, strongest first."""

    CONTENT = "content"
    VERSION = "version"
    ETAG = "etag"
    STAT = "stat"
    PATH = "path"

    @property
    def sees_changes(self) -> bool:
        """Whether an unchanged identity means unchanged data; a bare path says nothing of the bytes behind it."""
        return self is not IdentityClass.PATH


@dataclass(frozen=True, slots=True)
class InputIdentity:
    """What an input of a step holds.

    :param name: the input's port name.
    :param mode: how the script sees it: ``mount``, ``download`` or ``direct``.
    :param identity_class: how the identity was found.
    :param identity: hex digest, version or ETag text.
    :param kind: ``data`` or ``dataset``: which variables carry it.
    :param path_on_compute: where the user wants the script to find it.
    :param files: ``path -> sha256`` of the files behind it, for explanations only; not part of the key.
    :param producer: the name of the step that wrote it, for explanations only.
    """

    name: str
    mode: str
    identity_class: IdentityClass
    identity: str
    kind: str = "data"
    path_on_compute: str | None = None
    files: Mapping[str, str] | None = None
    producer: str | None = None

    def to_document(self) -> dict[str, Any]:
        """Return the part of the identity that enters the key."""
        return {
            "name": self.name,
            "mode": self.mode,
            "kind": self.kind,
            "path_on_compute": self.path_on_compute,
            "class": self.identity_class.value,
            "identity": self.identity,
        }


@dataclass(frozen=True, slots=True)
class Action:
    """A step as the cache sees it.

    :param document: the action document, JSON-able.
    :param key: hex SHA-256 of the canonical document.
    :param inputs: the inputs with the details that explanations use.
    :param aliases: see :func:`build_action`.
    """

    document: Mapping[str, Any]
    key: str
    inputs: tuple[InputIdentity, ...]
    aliases: Mapping[str, str]

    @property
    def is_weak(self) -> bool:
        """Whether some input could change without the key noticing."""
        return any(not item.identity_class.sees_changes for item in self.inputs)


def typed(value: object) -> dict[str, Any]:
    """Return a parameter value with its type, so that ``1``, ``1.0``, ``True`` and ``"1"`` stay apart."""
    if isinstance(value, float):
        # Floats as text: JSON writers disagree about 1.0 and 1e16, repr() doesn't.
        return {"type": "float", "value": repr(value)}
    return {"type": type(value).__name__, "value": value}


def build_action(
    *,
    step_type: str,
    step_version: int,
    script: str,
    code: str,
    arguments: Sequence[Any],
    parameters: Mapping[str, Any],
    variables: Mapping[str, Any],
    outputs: Iterable[Mapping[str, Any]],
    inputs: Iterable[InputIdentity],
    environment: str,
    version: str | None,
    aliases: Mapping[str, str] | None = None,
    salt: str = "",
) -> Action:
    """Build the action of a step.

    :param step_type: class name of the step, such as ``PythonScriptStep``.
    :param step_version: version of that step type's behaviour; raised when the same definition would do something else.
    :param script: script path inside the source directory, POSIX.
    :param code: hex digest of the source files that the result depends on.
    :param arguments: the argument vector as token documents, with placeholders where data or parameters are bound.
    :param parameters: parameter name to the value of this run.
    :param variables: v1's ``params`` of the step: name to the document of an argument.
    :param outputs: per output ``name``, ``kind``, ``datastore`` and what else shapes it.
    :param inputs: what the step reads.
    :param environment: hex digest of the step's environment.
    :param version: the user's own version label of the step.
    :param aliases: port name to the name under which it enters the key; for names that nobody chose.
    :param salt: the workspace's salt; changing it disowns all earlier results.
    :return: the action with its key.
    """
    ordered = tuple(sorted(inputs, key=lambda item: item.name))
    known_as = aliases or {}
    document: dict[str, Any] = {
        "schema": ACTION_SCHEMA,
        "step": {"type": step_type, "version": step_version},
        "script": script,
        "code": code,
        "arguments": [_renamed(item, known_as) for item in arguments],
        "parameters": {name: typed(value) for name, value in sorted(parameters.items())},
        "variables": dict(variables),
        "outputs": sorted((_named(item, known_as) for item in outputs), key=lambda item: str(item["name"])),
        "inputs": sorted(
            (_named(item.to_document(), known_as) for item in ordered), key=lambda item: str(item["name"])
        ),
        "environment": environment,
        "version": version,
        "salt": salt,
    }
    return Action(document=document, key=digest_of(document), inputs=ordered, aliases=dict(known_as))


def _named(document: Mapping[str, Any], aliases: Mapping[str, str]) -> dict[str, Any]:
    return {**document, "name": aliases.get(document["name"], document["name"])}


def _renamed(token: Mapping[str, Any], aliases: Mapping[str, str]) -> dict[str, Any]:
    """Return the document of an argument with the ports it names under the names that count."""
    if "parts" in token:
        return {"parts": [_renamed(part, aliases) for part in token["parts"]]}
    return {
        kind: aliases.get(value, value) if kind in ("input", "output") else value
        for kind, value in token.items()
    }
