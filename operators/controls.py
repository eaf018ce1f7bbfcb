"""What a run asks of reuse: in the trigger form and in ``conf``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import Param

from airflow_azureml.reuse.controls import (
    ALL_STEPS,
    CONTROL_NAMES,
    DOWNSTREAM,
    MAX_STALENESS,
    REGENERATE,
    REUSE,
    RunControls,
    RunReuse,
)
from airflow_azureml.runtime.exceptions import UserErrorException

if TYPE_CHECKING:
    from airflow.sdk import DAG, Context

    from airflow_azureml.operators.step import PipelineStep

_SECTION = "Reuse"


def declare_controls(dag: DAG) -> None:
    """Put the controls of reuse into the trigger form of a pipeline; a parameter of that name that it has itself stays."""
    for name, param in _params(dag).items():
        if name not in dag.params:
            dag.params[name] = param


def _params(dag: DAG) -> dict[str, Param]:
    return {
        REGENERATE: Param(
            None,
            type=["null", "array", "boolean", "string"],
            title="Run again",
            description=f"Steps that run although there is a result; {ALL_STEPS} for all.",
            examples=[ALL_STEPS, *dag.task_ids],
            section=_SECTION,
        ),
        DOWNSTREAM: Param(
            False,
            type="boolean",
            title="And what depends on them",
            description="Also the steps that depend on those.",
            section=_SECTION,
        ),
        MAX_STALENESS: Param(
            None,
            type=["null", "string", "number"],
            title="Oldest result",
            description="Results older than this are not reused: 7d, 36h, P7D, or seconds.",
            section=_SECTION,
        ),
        REUSE: Param(
            RunReuse.READWRITE.value,
            type="string",
            enum=[mode.value for mode in reversed(RunReuse)],
            title="Earlier results",
            description="off: use none and keep none; read: keep none; readwrite: both.",
            section=_SECTION,
        ),
    }


def run_controls(step: PipelineStep, context: Context) -> RunControls:
    """Return what the run of a step asks of reuse.

    :raises UserErrorException: a value cannot be understood, or names a step that the pipeline doesn't have.
    """
    params: Mapping[str, Any] = context["params"]
    own = getattr(step.dag, "pipeline_parameters", {})
    controls = RunControls.from_conf(
        {name: params[name] for name in CONTROL_NAMES if name in params and name not in own}
    )
    if isinstance(controls.regenerate, bool):
        return controls
    unknown = controls.unknown_steps({name for task in step.dag.tasks for name in _names(task)})
    if unknown:
        raise UserErrorException(
            f"{REGENERATE} names {', '.join(map(repr, unknown))}, which the pipeline does not have; "
            f"its steps are {', '.join(sorted(step.dag.task_ids))}"
        )
    return controls


def is_regenerated(step: PipelineStep, controls: RunControls) -> bool:
    """Whether a run wants a step to run although there may be a result."""
    if isinstance(controls.regenerate, bool):
        return controls.regenerate
    upstream: set[str] = set()
    if controls.regenerate_downstream:
        above = step.get_flat_relatives(upstream=True)
        upstream = {name for task in above for name in _names(task)}
    return controls.regenerates(_names(step), upstream)


def _names(task: Any) -> set[str]:
    """Return what people call a task: its id, and a step's own name."""
    name = getattr(task, "name", None) or getattr(task, "partial_kwargs", {}).get("name")
    return {str(task.task_id), *([str(name)] if name else [])}
