"""What one run asks of reuse, for all of its steps: in the trigger form, the run's ``conf``, or at the terminal."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from airflow_azureml.reuse.policy import parse_duration
from airflow_azureml.runtime.exceptions import UserErrorException

REGENERATE = "regenerate_outputs"
DOWNSTREAM = "regenerate_downstream"
MAX_STALENESS = "max_staleness"
REUSE = "reuse"
CONTROL_NAMES = (REGENERATE, DOWNSTREAM, MAX_STALENESS, REUSE)
"""Under these names a run's ``conf`` carries the controls."""

ALL_STEPS = "*"


class RunReuse(StrEnum):
    """What a run does with earlier results and its own."""

    OFF = "off"
    READ = "read"
    READWRITE = "readwrite"


@dataclass(frozen=True, slots=True)
class RunControls:
    """What a run asks of reuse.

    :param regenerate: run although there are results: all steps, or those with these names (v1 ``regenerate_outputs``).
    :param regenerate_downstream: of named steps, also everything that depends on them.
    :param max_staleness_s: results older than this don't count for this run.
    :param reuse: ``off``: use no results and record none; ``read``: record none; ``readwrite`` or ``None``: as far as the
        deployment's option ``[azureml] reuse`` allows.
    """

    regenerate: bool | tuple[str, ...] = False
    regenerate_downstream: bool = False
    max_staleness_s: float | None = None
    reuse: RunReuse | None = None

    @classmethod
    def from_conf(cls, conf: Mapping[str, Any]) -> RunControls:
        """Read the controls out of a run's ``conf`` or parameters; other names are not looked at.

        :raises UserErrorException: a value cannot be understood; the message names it.
        """
        return cls(
            regenerate=_regenerate(conf.get(REGENERATE)),
            regenerate_downstream=_switch(DOWNSTREAM, conf.get(DOWNSTREAM)),
            max_staleness_s=_staleness(conf.get(MAX_STALENESS)),
            reuse=_mode(conf.get(REUSE)),
        )

    def regenerates(self, names: Collection[str], upstream: Collection[str]) -> bool:
        """Whether a step is to run although there may be a result.

        :param names: what the step is called: its name and its task id.
        :param upstream: what the steps that it depends on are called.
        """
        if isinstance(self.regenerate, bool):
            return self.regenerate
        wanted = set(self.regenerate)
        return not wanted.isdisjoint(names) or (
            self.regenerate_downstream and not wanted.isdisjoint(upstream)
        )

    def unknown_steps(self, names: Collection[str]) -> list[str]:
        """Return the named steps that are none of ``names``."""
        return [] if isinstance(self.regenerate, bool) else sorted(set(self.regenerate) - set(names))

    def to_conf(self) -> dict[str, Any]:
        """Return the controls as a run's ``conf`` carries them; what isn't asked for is left out."""
        conf: dict[str, Any] = {}
        if self.regenerate:
            conf[REGENERATE] = self.regenerate if isinstance(self.regenerate, bool) else list(self.regenerate)
        if self.regenerate_downstream:
            conf[DOWNSTREAM] = True
        if self.max_staleness_s is not None:
            conf[MAX_STALENESS] = self.max_staleness_s
        if self.reuse is not None:
            conf[REUSE] = self.reuse.value
        return conf


def _regenerate(value: Any) -> bool | tuple[str, ...]:
    if value is None or value == "":
        return False
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        # A form or a command line gives text.
        switch = {"true": True, "false": False}.get(value.strip().lower())
        if switch is not None:
            return switch
        value = [name.strip() for name in value.split(",") if name.strip()]
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        return True if ALL_STEPS in value else tuple(sorted(value)) or False
    raise UserErrorException(
        f"{REGENERATE} is {value!r}; expected true for all steps, or a list of the names of steps"
    )


def _switch(name: str, value: Any) -> bool:
    if value is None or value == "":
        return False
    if isinstance(value, str) and value.strip().lower() in {"true", "false"}:
        return value.strip().lower() == "true"
    if isinstance(value, bool):
        return value
    raise UserErrorException(f"{name} is {value!r}; expected true or false")


def _staleness(value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        return parse_duration(value)
    except (ValueError, TypeError, AttributeError) as error:
        raise UserErrorException(f"{MAX_STALENESS}: {error}") from None


def _mode(value: Any) -> RunReuse | None:
    if value is None or value == "":
        return None
    try:
        return RunReuse(str(value).lower())
    except ValueError:
        raise UserErrorException(f"{REUSE} is {value!r}; expected one of {', '.join(RunReuse)}") from None
