"""One look of the reuse sensor: whether a step would be reused now, and what it depends on if not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count, takewhile
from typing import TYPE_CHECKING, Any

from airflow.sdk import PokeReturnValue

from airflow_azureml.operators.controls import run_controls
from airflow_azureml.operators.loading import load_dag
from airflow_azureml.operators.planning import Plan, PlanDecision, PlannedStep, plan
from airflow_azureml.operators.planning_steps import is_step
from airflow_azureml.operators.services import workspace_of
from airflow_azureml.reuse.controls import CONTROL_NAMES, RunControls
from airflow_azureml.reuse.reasons import ReasonCode
from airflow_azureml.runtime.exceptions import UserErrorException

if TYPE_CHECKING:
    from airflow.sdk import DAG, Context
    from airflow.sdk.types import Operator

    from airflow_azureml.operators.reuse_sensor import StepReuseSensor

_NEVER = {
    ReasonCode.BYPASSED_BY_RUN.value,
    ReasonCode.BYPASSED_BY_STEP.value,
    ReasonCode.WEAK_IDENTITY.value,
}
"""Reasons that don't pass by waiting."""


@dataclass(frozen=True, slots=True)
class ReuseLook:
    """What the sensor saw.

    :param document: the reuse document of the step.
    :param keys: the keys whose results it waits for: the step's own, and those of steps that have to run before it.
    :param workspace_url: where the results are.
    :param poked: the answer to Airflow.
    """

    document: dict[str, Any]
    keys: tuple[str, ...]
    workspace_url: str
    poked: PokeReturnValue

    @classmethod
    def at_nothing(cls, workspace_url: str) -> ReuseLook:
        """Return a look that failed."""
        return cls({}, (), workspace_url, PokeReturnValue(is_done=False))


def look(sensor: StepReuseSensor, context: Context) -> ReuseLook:
    """Look once.

    :raises UserErrorException: there is no such pipeline, step or parameter, or the step can never have a result to reuse.
    """
    dag = load_dag(sensor.pipeline_id, sensor.dag)
    task = dag.task_dict.get(sensor.step_id)
    if task is None or not is_step(task):
        steps = ", ".join(sorted(item.task_id for item in dag.tasks if is_step(item)))
        raise UserErrorException(
            f"pipeline {dag.dag_id!r} has no step {sensor.step_id!r}; it has {steps or 'none'}"
        )
    is_own = dag is sensor.dag
    found = plan(
        dag,
        _parameters(sensor, dag, context),
        controls=run_controls(sensor, context) if is_own else RunControls(),  # type: ignore[arg-type]  # looks at its DAG alone
        until=task.task_id,
        known=dict(_known(task, context)) if is_own else {},
        logical_date=context.get("logical_date") if is_own else None,
    )
    planned = [step for step in found.steps if step.task_id == task.task_id]
    if not planned:
        raise UserErrorException(f"step {task.task_id!r} is mapped over nothing and has no instances")
    document = _document(planned)
    is_there = all(step.decision is PlanDecision.REUSE for step in planned)
    if sensor.wait and not is_there:
        _refuse_endless(found, planned, is_own=is_own)
    keys = tuple(step.key for step in found.steps if step.key and step.decision is not PlanDecision.REUSE)
    poked = PokeReturnValue(is_done=is_there or not sensor.wait, xcom_value=document)
    return ReuseLook(document, keys, workspace_of(task).url, poked)  # type: ignore[arg-type]  # looks at its DAG alone


def _parameters(sensor: StepReuseSensor, dag: DAG, context: Context) -> dict[str, Any]:
    """Return the values of the pipeline's parameters: those of the run for the sensor's own, and what the sensor was given."""
    given = sensor.pipeline_parameters or {}
    if not isinstance(given, Mapping):
        raise UserErrorException(
            f"argument pipeline_parameters is a {type(given).__name__} in this run; it has to be a dict of name to value"
        )
    own = context["params"] if dag is sensor.dag else {}
    return {
        **{name: own[name] for name in dag.params if name in own and name not in CONTROL_NAMES},
        **given,
    }


def _known(task: Operator, context: Context) -> Iterator[tuple[tuple[str, int], dict[str, Any]]]:
    """Yield the results that steps before the one looked for have in this run."""
    ti: Any = context["ti"]
    above = {item.task_id: item for item in task.get_flat_relatives(upstream=True) if is_step(item)}
    if not above:
        return
    states = ti.get_task_states(dag_id=ti.dag_id, task_ids=sorted(above), run_ids=[ti.run_id])
    succeeded = {name for name, state in states.get(ti.run_id, {}).items() if state == "success"}
    for task_id, step in above.items():
        if not step.is_mapped and step.get_closest_mapped_task_group() is None:
            indexes = [-1] if task_id in succeeded else []
        elif (indexes := _instances(task_id, states[ti.run_id])) and not succeeded.issuperset(
            f"{task_id}_{index}" for index in indexes
        ):
            # Whoever reads a mapped step reads all of its instances.
            continue
        for index in indexes:
            (document,) = ti.xcom_pull(task_ids=[task_id], map_indexes=[index])
            if document is not None:
                yield (task_id, index), document


def _instances(task_id: str, states: Mapping[str, Any]) -> list[int]:
    """Return the map indexes of a mapped task, as Airflow has them by now."""
    return list(takewhile(lambda index: f"{task_id}_{index}" in states, count()))


def _document(planned: list[PlannedStep]) -> dict[str, Any]:
    """Return the reuse document of a step; of a mapped one that of the first instance that isn't reused, with those of all."""
    documents = [_reuse_document(step) for step in planned]
    if len(documents) == 1:
        return documents[0]
    first = next((item for item in documents if item["decision"] != "reuse"), documents[0])
    return {**first, "instances": documents}


def _reuse_document(step: PlannedStep) -> dict[str, Any]:
    if step.reuse is not None:
        return dict(step.reuse)
    # Nothing is known of its key yet.
    return {
        "decision": "run",
        "code": None,
        "codes": [],
        "message": step.message,
        "key": None,
        "origin": None,
        "saved_s": None,
        "waited_s": None,
        "differences": [],
    }


def _refuse_endless(found: Plan, planned: list[PlannedStep], *, is_own: bool) -> None:
    """Raise when waiting for a result would never end.

    :param is_own: whether steps before it run in this run, so that what they write becomes known.
    """
    for step in planned:
        if _NEVER.intersection((step.reuse or {}).get("codes", ())):
            raise UserErrorException(f"step {step.name!r} will never be reused: {step.message}")
        if step.decision is PlanDecision.UNKNOWN and not _may_change(step):
            raise UserErrorException(
                f"whether step {step.name!r} would be reused cannot be told: it {step.message}"
            )
    if is_own or not any(step.decision is PlanDecision.DEPENDS for step in planned):
        return
    for step in found.steps:
        codes = (step.reuse or {}).get("codes", ())
        if step.decision is PlanDecision.UNKNOWN and not _may_change(step):
            raise UserErrorException(f"a step before it, {step.name!r}, {step.message}")
        if _NEVER.intersection(codes) or (step.decision is PlanDecision.RUN and step.reuse is None):
            raise UserErrorException(f"a step before it, {step.name!r}, is never reused: {step.message}")


def _may_change(step: PlannedStep) -> bool:
    """Whether what keeps a step from being planned may pass: data that isn't there yet, a store that is down."""
    return step.message.startswith("cannot be planned")
