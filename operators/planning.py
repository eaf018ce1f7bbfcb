"""What a run of a pipeline would reuse and what it would run, found before anything is scheduled.

Outputs are known by content, so a step that would be reused says what the next one reads: the whole cached prefix of a
pipeline is known at once. Nothing is written, and nothing is asked of Airflow but its DAG.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_azureml.operators.planning_parameters import check_parameters
from airflow_azureml.operators.planning_result import Plan, PlanDecision, PlannedStep
from airflow_azureml.operators.planning_steps import Planner
from airflow_azureml.operators.sources import look_once
from airflow_azureml.reuse.controls import RunControls
from airflow_azureml.runtime.exceptions import UserErrorException

if TYPE_CHECKING:
    from airflow.sdk import DAG
    from airflow.sdk.types import Operator

__all__ = ["Plan", "PlanDecision", "PlannedStep", "plan"]


def plan(
    dag: DAG,
    parameters: Mapping[str, Any],
    *,
    controls: RunControls = RunControls(),  # noqa: B008 - a frozen value
    until: str | None = None,
    known: Mapping[tuple[str, int], Mapping[str, Any]] | None = None,
    logical_date: datetime | None = None,
) -> Plan:
    """Find what a run of a pipeline would reuse.

    Steps below tasks that aren't steps are planned as if those tasks had run. "Now" is what ``{{ ds }}`` means unless
    ``logical_date`` says otherwise.

    :param dag: a pipeline, or any DAG with steps in it.
    :param parameters: parameter name to value; the others have their defaults.
    :param controls: what the run would ask of reuse.
    :param until: plan this task and what it depends on, nothing else.
    :param known: (task id, map index) to the document of a step that the run has already, all instances of a mapped one; such
        steps are not planned again.
    :param logical_date: the time that the run would stand for.
    :raises UserErrorException: there is no such parameter, step or task, or a value is of the wrong type.
    """
    values = check_parameters(dag, parameters)
    planner = Planner(dag, values, controls, known or {}, logical_date)
    _refuse_unknown_steps(dag, controls, planner.names())
    with look_once():
        return Plan(dag.dag_id, values, controls, tuple(planner.steps(_wanted(dag, until))))


def _wanted(dag: DAG, until: str | None) -> Iterable[Operator]:
    """Return the tasks to plan, each after those it depends on."""
    ordered: list[Operator] = list(dag.topological_sort())
    if until is None:
        return ordered
    if until not in dag.task_dict:
        raise UserErrorException(
            f"pipeline {dag.dag_id!r} has no step {until!r}; it has {', '.join(sorted(dag.task_dict))}"
        )
    wanted = {until, *dag.task_dict[until].get_flat_relative_ids(upstream=True)}
    return [task for task in ordered if task.task_id in wanted]


def _refuse_unknown_steps(dag: DAG, controls: RunControls, names: Collection[str]) -> None:
    unknown = controls.unknown_steps(names)
    if unknown:
        raise UserErrorException(
            f"pipeline {dag.dag_id!r} has no step {unknown[0]!r} to regenerate; it has {', '.join(sorted(names))}"
        )
