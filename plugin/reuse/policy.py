"""``ReusePolicy``: what a step asks of reuse beyond v1's ``allow_reuse``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from enum import StrEnum
from typing import Any, TypeVar

from airflow_azureml.reuse.action import IdentityClass
from airflow_azureml.runtime.exceptions import DefinitionError

_UNITS_S = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_PARTS = re.compile(r"(\d+(?:\.\d+)?)\s*([wdhms])")
_SAMPLE = re.compile(r"sample\(\s*(\d*\.?\d+)\s*\)")
_Word = TypeVar("_Word", bound=StrEnum)


class Scope(StrEnum):
    """Among whose results a step looks for one of its own."""

    WORKSPACE = "workspace"
    PIPELINE = "pipeline"
    RUN = "run"


class EnvironmentScope(StrEnum):
    """What of a step's environment its result depends on."""

    STRICT = "strict"
    DECLARED = "declared"
    OFF = "off"


class Wait(StrEnum):
    """What a step does when another run is computing the same result."""

    JOIN = "join"
    RACE = "race"
    NEVER = "never"


class CodeScope(StrEnum):
    """Which files of the source directory a result depends on."""

    DIRECTORY = "directory"
    IMPORTS = "imports"


class VerifyLevel(StrEnum):
    """How closely stored outputs are looked at before they are reused."""

    NONE = "none"
    EXISTS = "exists"
    SIZE = "size"
    DIGEST = "digest"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReusePolicy:
    """What a step asks of reuse. Every field has a default that is right for most steps.

    ::

        PythonScriptStep(script_name="train.py", reuse_policy=ReusePolicy(ttl="7d", ignore_params=["build_id"]))

    :param ttl: how old a result may be: a ``timedelta``, seconds, or text such as ``"7d"``, ``"36h"``, ``"P7D"``; by default
        any age.
    :param min_identity: how well inputs have to be known: ``content``, ``version``, ``etag``, ``stat`` (size and time) or
        ``path`` (v1: data that changes under its path goes unnoticed). A step with an input known less well runs.
    :param scope: among whose results to look: those of the whole ``workspace``, of this ``pipeline``, or of this ``run`` only.
    :param ignore_params: pipeline parameters that the result does not depend on, such as a build number.
    :param env: ``declared``: the environment as it is declared; ``strict``: also the platform and the exact packages; ``off``:
        any environment.
    :param wait: when another run computes the same result: ``join`` waits for it; ``race`` computes too, and takes whichever is
        there first; ``never`` computes whatever others do.
    :param verify: how outputs are looked at before they are reused: ``none``, ``exists``, ``size`` (names and sizes),
        ``digest`` (content; one look a file when it is unchanged); ``sample(0.05)`` is ``digest`` and runs one in twenty steps
        although there is a result, to compare the two.
    :param code_scope: ``directory``: all files of the source directory count, except scripts of other steps that this one
        certainly doesn't use; ``imports``: the script and what it imports.
    :param code_files: globs of further files of the source directory that count with ``code_scope="imports"``.
    :param accept_from: names of the Airflow deployments (``[azureml] deployment``) whose results count; by default those of the
        option ``[azureml] accept_from``, and without that all.
    :raises DefinitionError: a value is none of these.
    """

    ttl: timedelta | float | str | None = None
    min_identity: str = IdentityClass.ETAG
    scope: str = Scope.WORKSPACE
    ignore_params: tuple[str, ...] = ()
    env: str = EnvironmentScope.DECLARED
    wait: str = Wait.JOIN
    verify: str = VerifyLevel.DIGEST
    code_scope: str = CodeScope.DIRECTORY
    code_files: tuple[str, ...] = ()
    accept_from: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the values, and bring them into one form each."""
        words: dict[str, type[StrEnum]] = {
            "min_identity": IdentityClass,
            "scope": Scope,
            "env": EnvironmentScope,
            "wait": Wait,
            "code_scope": CodeScope,
        }
        for name, kind in words.items():
            object.__setattr__(self, name, _word(kind, name, getattr(self, name)))
        for name in ("ignore_params", "code_files", "accept_from"):
            object.__setattr__(self, name, _names(name, getattr(self, name)))
        if self.ttl is not None:
            object.__setattr__(self, "ttl", _argument_duration(self.ttl))
        if not _SAMPLE.fullmatch(self.verify):
            object.__setattr__(self, "verify", _word(VerifyLevel, "verify", self.verify))
        elif self.sample > 1:
            raise DefinitionError(f"ReusePolicy: argument verify is {self.verify!r}; a share is at most 1")
        if self.code_files and self.code_scope != CodeScope.IMPORTS:
            raise DefinitionError(
                'ReusePolicy: argument code_files needs code_scope="imports"; with "directory" all files count already'
            )

    @property
    def ttl_s(self) -> float | None:
        """How old a result may be in seconds."""
        return None if self.ttl is None else parse_duration(self.ttl)

    @property
    def minimum(self) -> IdentityClass:
        """How well inputs have to be known."""
        return IdentityClass(self.min_identity)

    @property
    def verify_level(self) -> VerifyLevel:
        """How closely stored outputs are looked at."""
        return VerifyLevel.DIGEST if self.sample else VerifyLevel(self.verify)

    @property
    def sample(self) -> float:
        """Share of the hits that run nevertheless, to compare the results."""
        found = _SAMPLE.fullmatch(self.verify)
        return float(found.group(1)) if found else 0.0

    def to_document(self) -> dict[str, Any]:
        """Return what differs from the defaults, JSON-able."""
        defaults = ReusePolicy()
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value if value is None else _plain(value)
            for name, value in found.items()
            if value != getattr(defaults, name)
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> ReusePolicy:
        """Read a policy back.

        :raises DefinitionError: it is none.
        """
        known = {item.name for item in fields(cls)}
        unknown = sorted(set(document) - known)
        if unknown:
            raise DefinitionError(f"ReusePolicy: {', '.join(unknown)} is none of: {', '.join(sorted(known))}")
        return cls(**document)


def parse_duration(value: timedelta | float | str) -> float:
    """Return a time span in seconds.

    :param value: a ``timedelta``, seconds, text with units (``"7d"``, ``"1h30m"``), or ISO 8601 (``"P7D"``, ``"PT12H"``).
    :raises ValueError: it is none of those, or negative.
    :raises TypeError: it is of another type.
    """
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, bool):
        raise TypeError(f"{value!r} is no time span")
    elif isinstance(value, int | float):
        seconds = float(value)
    else:
        seconds = _parse_text(value)
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"{value!r} is no time span: it must be at least 0")
    return seconds


def _parse_text(text: str) -> float:
    plain = text.strip().lower()
    # "P1M" is a month in ISO 8601 and "PT1M" a minute; a month has no length, so it is refused.
    before_time, _, _ = plain.partition("t")
    if plain.startswith("p") and ("m" in before_time or "y" in before_time):
        raise ValueError(f"{text!r} has months or years, which have no fixed length; give days")
    plain = plain.removeprefix("p").replace("t", "")
    try:
        return float(plain)
    except ValueError:
        parts = _PARTS.findall(plain)
        if not parts or _PARTS.sub("", plain).strip():
            raise ValueError(f'{text!r} is no time span; write "7d", "36h", "1h30m" or "P7D"') from None
        return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def _argument_duration(value: timedelta | float | str) -> float:
    try:
        return parse_duration(value)
    except (ValueError, TypeError, AttributeError) as error:
        raise DefinitionError(f"ReusePolicy: argument ttl: {error}") from None


def _word(kind: type[_Word], name: str, value: object) -> _Word:
    try:
        return kind(str(value))
    except ValueError:
        words = ", ".join(kind)
        more = " or sample(0.05)" if kind is VerifyLevel else ""
        raise DefinitionError(
            f"ReusePolicy: argument {name} is {value!r}; expected one of {words}{more}"
        ) from None


def _names(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, list | tuple | set | frozenset) and all(isinstance(item, str) for item in value):
        return tuple(sorted(value))
    raise DefinitionError(f"ReusePolicy: argument {name} is {value!r}; expected a list of names")


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, str) else value
