"""The graph of a pipeline: which steps belong to it, in what order, and whether it holds together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from airflow_azureml.model.graph import find_cycle
from airflow_azureml.model.sequence import StepSequence
from airflow_azureml.runtime.exceptions import DefinitionError

if TYPE_CHECKING:
    from airflow.sdk import DAG
    from airflow.sdk.types import Operator

    from airflow_azureml.operators.step import PipelineStep


def closure(steps: Iterable[PipelineStep], *, resolve: bool) -> list[PipelineStep]:
    """Return ``steps`` and everything upstream of them, by data or ``run_after``; each step once.

    :param steps: the steps a user named.
    :param resolve: whether steps that weren't named are pulled in (v1 ``resolve_closure``).
    :raises DefinitionError: a step needs one that wasn't named and ``resolve`` is off.
    """
    from airflow_azureml.operators.step import PipelineStep

    found = dict.fromkeys(steps)
    waiting = list(found)
    while waiting:
        step = waiting.pop()
        for upstream in step.wanted_upstream():
            if upstream in found or not isinstance(upstream, PipelineStep):
                continue
            if not resolve:
                raise DefinitionError(
                    f"{step.title}: needs {upstream.title}, which is not among the steps of the pipeline; "
                    "add it, or leave resolve_closure on"
                )
            found[upstream] = None
            waiting.append(upstream)
    return list(found)


def ordered_pairs(steps: Any) -> Iterator[tuple[PipelineStep, PipelineStep]]:
    """Yield (before, after) for every order that a ``StepSequence`` somewhere in ``steps`` asks for."""
    if isinstance(steps, StepSequence):
        yield from steps.pairs()
    elif isinstance(steps, list):
        for item in steps:
            yield from ordered_pairs(item)


def check_pipeline(dag: DAG) -> None:
    """Check a DAG that holds steps of ours.

    :raises DefinitionError: an input nobody produces, a producer elsewhere, a step that can't run, or a cycle.
    """
    from airflow.sdk import get_parsing_context

    from airflow_azureml.operators.mapped import instances_of
    from airflow_azureml.operators.step import PipelineStep

    reader = get_parsing_context()
    for task in dag.tasks:
        for step in [task] if isinstance(task, PipelineStep) else instances_of(task):
            _check_upstream(step, dag)
            _check_parameters(step, dag)
            # The process of a task reads the whole file for one of its steps; the DAG processor has looked at the others.
            if reader.dag_id != dag.dag_id or reader.task_id == task.task_id:
                step.check()
    path = find_cycle((task.task_id, after) for task in dag.tasks for after in task.downstream_task_ids)
    if path:
        raise DefinitionError(
            f"pipeline {dag.dag_id!r} runs in a circle: {' → '.join(path)}; break one of these edges"
        )


def place_gates(dag: DAG) -> None:
    """Let the steps of a complete DAG start in the triggerer that look there for earlier results.

    :raises DefinitionError: a step names no such place.
    """
    from airflow_azureml.operators.step import PipelineStep

    steps = [task for task in dag.tasks if isinstance(task, PipelineStep)]
    in_triggerer = [step for step in steps if step.effective_gate == "triggerer"]
    if in_triggerer:
        from airflow_azureml.operators.triggerer_gate import start_in_triggerer

        for step in in_triggerer:
            start_in_triggerer(step)


def _check_upstream(step: PipelineStep, dag: DAG) -> None:
    for name, origin in step.input_origins().items():
        if origin.producer is None:
            raise DefinitionError(
                f"{step.title}: input {name!r} is never produced; "
                f"list {origin.description} in the outputs of the step that writes it"
            )
    for upstream in step.wanted_upstream():
        home = upstream.get_dag()
        if home is None:
            raise DefinitionError(
                f"{step.title}: needs {upstream.task_id!r}, which is in no pipeline; declare it in the same one"
            )
        if home.dag_id != dag.dag_id:
            raise DefinitionError(
                f"{step.title}: needs {upstream.task_id!r}, which is in another DAG, {home.dag_id!r}; "
                "register its output there (register_on_complete) and read the dataset here"
            )


def _check_parameters(step: PipelineStep, dag: DAG) -> None:
    for name in step.ports.parameters_by_name_only:
        if name not in dag.params:
            raise DefinitionError(
                f"{step.title}: argument arguments names parameter {name!r}, which the pipeline does not have; "
                f"declare it: PipelineParameter({name!r}, default_value=…), in the arguments or params of a step"
            )


def draw_edge(upstream: Operator, task: Operator) -> bool:
    """Make ``task`` run after ``upstream``, if both are in one DAG by now; those that never are, the check finds.

    :return: whether the edge is there.
    :raises DefinitionError: the edge closes a circle.
    """
    if not upstream.has_dag() or not task.has_dag() or upstream.dag is not task.dag:
        return False
    if upstream.task_id not in task.upstream_task_ids:
        task.set_upstream(upstream)
    return True


def refuse_circle(before: Any, after: Any) -> None:
    """Raise when ``after`` can't run after ``before`` because it runs before it already.

    :raises DefinitionError: with the circle.
    """
    # The tasks of a group come one by one.
    if not (hasattr(before, "task_id") and hasattr(after, "task_id")):
        return
    dag = after.get_dag()
    if dag is None or before.get_dag() is not dag:
        return
    path = closes_cycle(dag, before.task_id, after.task_id)
    if path:
        raise DefinitionError(
            f"{type(after).__name__} {after.task_id!r}: running after {before.task_id!r} closes a circle: {' → '.join(path)}"
        )


def closes_cycle(dag: DAG, upstream_id: str, task_id: str) -> list[str] | None:
    """Return the circle that an edge ``upstream_id`` → ``task_id`` would close, or ``None``."""
    if upstream_id == task_id:
        return [task_id, task_id]
    came_from: dict[str, str] = {task_id: ""}
    waiting = [task_id]
    while waiting:
        current = waiting.pop()
        for following in dag.task_dict[current].downstream_task_ids:
            if following in came_from or following not in dag.task_dict:
                continue
            came_from[following] = current
            waiting.append(following)
            if following == upstream_id:
                return [*_path_back(came_from, following), task_id]
    return None


def _path_back(came_from: dict[str, str], last: str) -> list[str]:
    path = [last]
    while came_from[path[-1]]:
        path.append(came_from[path[-1]])
    return path[::-1]
