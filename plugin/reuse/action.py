"""The action document: everything a step's result depends on, and nothing else. Its digest is the key of the result.

Design: "Reuse", the action document. What enters is listed in :func:`build_action`; display names, tags, run ids, absolute
paths, retries, time limits, pools and owners do not, so that they can change without running anything again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from airflow_azureml.model.canonical import canonical_json, digest_of
from airflow_azureml.reuse.secrecy import NO_SECRETS, Secrecy

ACTION_SCHEMA = 2


class IdentityClass(StrEnum):
    """How well an input is known, strongest first."""

    CONTENT = "content"
    VERSION = "version"
    ETAG = "etag"
    STAT = "stat"
    PATH = "path"

    def at_least(self, minimum: IdentityClass) -> bool:
        """Whether this says as much about the data as ``minimum`` does, or more."""
        strongest_first = list(IdentityClass)
        return strongest_first.index(self) <= strongest_first.index(minimum)


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
    :param consumed: what stored outputs with these bytes are known by, to find who used a result; not part of the key.
    """

    name: str
    mode: str
    identity_class: IdentityClass
    identity: str
    kind: str = "data"
    path_on_compute: str | None = None
    files: Mapping[str, str] | None = None
    producer: str | None = None
    consumed: tuple[str, ...] = ()

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
    :param ignored: see :func:`build_action`; with types, as the document has its parameters.
    :param environment: see ``specification`` of :func:`build_action`.
    """

    document: Mapping[str, Any]
    key: str
    inputs: tuple[InputIdentity, ...]
    aliases: Mapping[str, str]
    ignored: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    environment: Mapping[str, Any] | None = None

    def weak_inputs(self, minimum: IdentityClass) -> tuple[str, ...]:
        """Return the names of the inputs that are known less well than asked for.

        :param minimum: a bare path says nothing of the bytes behind it, so it is enough for ``PATH`` alone.
        """
        return tuple(item.name for item in self.inputs if not item.identity_class.at_least(minimum))

    def details(self) -> dict[str, Any]:
        """Return what explanations and look-ups use and the key doesn't hold, JSON-able."""
        return {
            "inputs": {
                self.aliases.get(item.name, item.name): {
                    "files": None if item.files is None else dict(item.files),
                    "producer": item.producer,
                    "consumed": list(item.consumed),
                }
                for item in self.inputs
            },
            "environment": None if self.environment is None else dict(self.environment),
            "ignored": {name: dict(value) for name, value in self.ignored.items()},
        }


def typed(value: object, secrecy: Secrecy = NO_SECRETS) -> dict[str, Any]:
    """Return a parameter value with its type, so that ``1``, ``1.0``, ``True`` and ``"1"`` stay apart.

    :param secrecy: a value with a secret in it becomes ``secret``, a keyed digest.
    """
    kind = type(value).__name__
    if any(secrecy.finds(text) for text in _texts_in(value)):
        return {"type": kind, "secret": secrecy.digest(canonical_json(value).decode())}
    if isinstance(value, float):
        # Floats as text: JSON writers disagree about 1.0 and 1e16, repr() doesn't.
        return {"type": "float", "value": repr(value)}
    return {"type": kind, "value": value}


def _texts_in(value: object) -> Iterator[str]:
    """Yield what of a value a script may get to see as text."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield str(name)
            yield from _texts_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts_in(item)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield str(value)


def build_action(
    *,
    step_type: str,
    step_version: int,
    script: str,
    code: str,
    settings: Mapping[str, Any] | None = None,
    arguments: Sequence[Any],
    parameters: Mapping[str, Any],
    variables: Mapping[str, Any],
    outputs: Iterable[Mapping[str, Any]],
    inputs: Iterable[InputIdentity],
    environment: str,
    version: str | None,
    scope: Mapping[str, str] | None = None,
    salt: str = "",
    aliases: Mapping[str, str] | None = None,
    ignored: Mapping[str, Any] | None = None,
    specification: Mapping[str, Any] | None = None,
    secrecy: Secrecy = NO_SECRETS,
) -> Action:
    """Build the action of a step.

    :param step_type: class name of the step, such as ``PythonScriptStep``.
    :param step_version: version of that step type's behaviour; raised when the same definition would do something else.
    :param script: script path inside the source directory, POSIX.
    :param code: hex digest of the source files that the result depends on.
    :param settings: what else of the definition decides about the result, by argument name.
    :param arguments: the argument vector as token documents, with placeholders where data or parameters are bound.
    :param parameters: parameter name to the value of this run.
    :param variables: v1's ``params`` of the step: name to the document of an argument.
    :param outputs: per output ``name``, ``kind``, ``datastore`` and what else shapes it.
    :param inputs: what the step reads.
    :param environment: hex digest of the step's environment.
    :param version: the user's own version label of the step.
    :param scope: whose results count: ``{"pipeline": dag_id}``, ``{"run": pipeline_run_id}``, or all of the workspace.
    :param salt: the workspace's salt; changing it disowns all earlier results.
    :param aliases: port name to the name under which it enters the key; for names that nobody chose.
    :param ignored: further parameters, which are not part of the key; for explanations.
    :param specification: what the environment is made of; for explanations.
    :param secrecy: arguments, parameters and variables with a secret in them enter as a keyed digest.
    :return: the action with its key.
    """
    ordered = tuple(sorted(inputs, key=lambda item: item.name))
    known_as = aliases or {}
    document: dict[str, Any] = {
        "schema": ACTION_SCHEMA,
        "step": {"type": step_type, "version": step_version},
        "script": script,
        "code": code,
        "arguments": [_hidden(_renamed(item, known_as), secrecy) for item in arguments],
        "parameters": _all_typed(parameters, secrecy),
        "variables": {name: _hidden(token, secrecy) for name, token in variables.items()},
        "outputs": sorted((_named(item, known_as) for item in outputs), key=lambda item: str(item["name"])),
        "inputs": sorted(
            (_named(item.to_document(), known_as) for item in ordered), key=lambda item: str(item["name"])
        ),
        "environment": environment,
        "version": version,
        "scope": None if scope is None else dict(scope),
        "salt": salt,
    }
    if settings:
        # Only where there are any: the keys of script steps stay what they were.
        document["settings"] = _all_typed(settings, secrecy)
    return Action(
        document=document,
        key=digest_of(document),
        inputs=ordered,
        aliases=dict(known_as),
        ignored=_all_typed(ignored or {}, secrecy),
        environment=specification,
    )


def _all_typed(values: Mapping[str, Any], secrecy: Secrecy) -> dict[str, dict[str, Any]]:
    return {name: typed(value, secrecy) for name, value in sorted(values.items())}


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


def _hidden(token: Mapping[str, Any], secrecy: Secrecy) -> dict[str, Any]:
    """Return the document of an argument with text that holds a secret as a keyed digest."""
    if "parts" in token:
        return {"parts": [_hidden(part, secrecy) for part in token["parts"]]}
    text = token.get("text")
    if isinstance(text, str) and secrecy.finds(text):
        return {"secret": secrecy.digest(text)}
    return dict(token)
