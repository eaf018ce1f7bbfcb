"""The values of a plan: what each step of a run would do, and what that adds up to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from airflow_azureml.reuse.controls import RunControls

PLAN_SCHEMA = 1


class PlanDecision(StrEnum):
    """What a step would do."""

    REUSE = "reuse"
    RUN = "run"
    WAIT = "wait"
    """Somebody else is computing its result now."""
    DEPENDS = "depends"
    """A step before it has to run; this one is reused if that one writes what it wrote before."""
    UNKNOWN = "unknown"
    """It needs something that only a run has."""


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """What one step would do.

    :param task_id: the task.
    :param name: the step's name (v1 ``name``).
    :param map_index: of an instance of a mapped step; -1 otherwise, and for a mapped step whose instances only a run knows.
    :param decision: what it would do.
    :param message: why, for people.
    :param reuse: the reuse document, where a decision could be made.
    :param key: the action key, where it is known.
    :param takes_s: how long the step ran when it last did, for a step that isn't reused and ran before.
    :param saves_s: how long computing the result took that would be reused.
    :param document: what later steps would read as this step's result, for a step that would be reused.
    """

    task_id: str
    name: str
    map_index: int
    decision: PlanDecision
    message: str
    reuse: Mapping[str, Any] | None = None
    key: str | None = None
    takes_s: float | None = None
    saves_s: float | None = None
    document: Mapping[str, Any] | None = None

    @property
    def label(self) -> str:
        """How Airflow's pages call it: the task, with the index of a mapped instance."""
        return self.task_id if self.map_index < 0 else f"{self.task_id}[{self.map_index}]"

    def to_document(self) -> dict[str, Any]:
        """Return the step as JSON."""
        return {
            "task_id": self.task_id,
            "name": self.name,
            "map_index": self.map_index,
            "decision": self.decision.value,
            "message": self.message,
            "key": self.key,
            "takes_s": self.takes_s,
            "saves_s": self.saves_s,
            "reuse": None if self.reuse is None else dict(self.reuse),
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run of a pipeline would do.

    :param dag_id: the pipeline.
    :param parameters: the values it was planned with, where they aren't the defaults.
    :param controls: what the run would ask of reuse.
    :param steps: its steps, each after those it depends on.
    """

    dag_id: str
    parameters: Mapping[str, Any]
    controls: RunControls
    steps: tuple[PlannedStep, ...]

    @property
    def reused(self) -> int:
        """How many steps would be reused."""
        return sum(step.decision is PlanDecision.REUSE for step in self.steps)

    @property
    def takes_s(self) -> float:
        """How long the steps that aren't reused took when they last ran, together; those that never ran are left out."""
        return sum(step.takes_s or 0.0 for step in self.steps)

    @property
    def saves_s(self) -> float:
        """How long computing all took that would be reused."""
        return sum(step.saves_s or 0.0 for step in self.steps)

    @property
    def without_estimate(self) -> int:
        """How many steps may run and never ran before, so that nobody knows how long they take."""
        return sum(step.decision is not PlanDecision.REUSE and step.takes_s is None for step in self.steps)

    def to_document(self) -> dict[str, Any]:
        """Return the plan as JSON."""
        return {
            "schema": PLAN_SCHEMA,
            "dag_id": self.dag_id,
            "parameters": dict(self.parameters),
            "controls": self.controls.to_conf(),
            "steps": [step.to_document() for step in self.steps],
            "totals": {
                "steps": len(self.steps),
                "reused": self.reused,
                "takes_s": self.takes_s,
                "without_reuse_s": self.takes_s + self.saves_s,
                "steps_without_estimate": self.without_estimate,
            },
        }
