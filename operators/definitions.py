"""From a pipeline to its definition and back: what runs, without the DAG file and without the source directories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_azureml.model.definition import PipelineDefinition, StepDefinition
from airflow_azureml.model.environment import Environment
from airflow_azureml.model.parameters import PipelineParameter
from airflow_azureml.model.ports import Ports
from airflow_azureml.model.tokens import ParameterToken, token_to_document
from airflow_azureml.operators.pipeline import Pipeline
from airflow_azureml.operators.python_script import PythonScriptStep
from airflow_azureml.operators.step import PipelineStep
from airflow_azureml.reuse.policy import ReusePolicy
from airflow_azureml.runtime.exceptions import DefinitionError

if TYPE_CHECKING:
    from airflow_azureml.runtime.workspace import Workspace


def define(pipeline: Pipeline) -> PipelineDefinition:
    """Return the definition of a pipeline, and keep the sources of its steps in the workspace.

    :raises DefinitionError: the pipeline doesn't hold together, or has tasks that aren't steps; they are named.
    """
    pipeline.validate()
    others = [task.task_id for task in pipeline.tasks if not isinstance(task, PythonScriptStep)]
    if others:
        raise DefinitionError(
            f"pipeline {pipeline.dag_id!r}: tasks {', '.join(sorted(others))} are no steps, and only steps can be frozen; "
            "take them out, or keep the pipeline as a DAG file"
        )
    parameters: dict[str, PipelineParameter] = getattr(pipeline, "pipeline_parameters", {})
    return PipelineDefinition(
        name=pipeline.dag_id,
        description=pipeline.description,
        steps=tuple(_step_definition(step) for step in pipeline.steps if isinstance(step, PythonScriptStep)),
        parameters=tuple(parameters.values()),
        default_datastore=pipeline.default_datastore,
        continue_on_step_failure=not pipeline.fail_fast,
    )


def rebuild(
    definition: PipelineDefinition, *, workspace: Workspace | None = None, **dag_arguments: Any
) -> Pipeline:
    """Return the pipeline that a definition describes.

    :param definition: as :func:`define` made it, in this process or another one.
    :param workspace: where the snapshots are; the configured workspace by default.
    :param dag_arguments: further arguments of the DAG, such as ``dag_id``.
    """
    pipeline = Pipeline(
        definition.name,
        description=definition.description,
        default_datastore=definition.default_datastore,
        workspace=workspace,
        continue_on_step_failure=definition.continue_on_step_failure,
        **dag_arguments,
    )
    ports = definition.ports()
    steps = {step.task_id: _step(step, ports[step.task_id]) for step in definition.steps}
    for step in definition.steps:
        for before in step.run_after:
            steps[step.task_id].run_after(steps[before])
    for built in steps.values():
        built.join(pipeline)
    return pipeline


def _step_definition(step: PythonScriptStep) -> StepDefinition:
    source = step.source()
    source.upload(step.log.info)
    from_data = {origin.producer.task_id for origin in step.input_origins().values()}
    target = step.compute
    return StepDefinition(
        type=type(step).__name__,
        name=step.name,
        task_id=step.task_id,
        script_name=step.script(),
        snapshot=source.digest,
        environment=step.effective_environment.specification(),
        compute=str(getattr(target, "name", target)),
        allow_reuse=step.allow_reuse,
        version=step.version,
        run_after=tuple(sorted(step.upstream_task_ids - from_data)),
        settings={
            "unrelated_files": sorted(source.unrelated),
            "reuse_policy": step.effective_policy.to_document(),
            "reuse_gate": step.effective_gate,
        },
    ).with_ports(step.ports, lambda producer: str(producer.task_id))


def _step(definition: StepDefinition, ports: Ports) -> PipelineStep:
    if definition.type != PythonScriptStep.__name__:
        raise DefinitionError(
            f"step {definition.name!r} is a {definition.type}, which this version does not know"
        )
    return PythonScriptStep(
        script_name=definition.script_name or "",
        name=definition.name,
        task_id=definition.task_id,
        arguments=[_shown(token_to_document(token)) for token in definition.arguments],
        ports=ports,
        snapshot=definition.snapshot,
        unrelated_files=definition.settings["unrelated_files"],
        environment=_environment(definition.environment),
        compute_target=_compute(definition),
        allow_reuse=definition.allow_reuse,
        version=definition.version,
        reuse_policy=ReusePolicy.from_document(definition.settings["reuse_policy"]),
        reuse_gate=definition.settings["reuse_gate"],
    )


def _environment(specification: dict[str, Any] | None) -> Environment | None:
    return None if specification is None else Environment.from_specification(specification)


def _compute(definition: StepDefinition) -> str | None:
    if isinstance(definition.compute, ParameterToken):
        raise DefinitionError(
            f"step {definition.name!r}: the compute target is a parameter, which this version does not know"
        )
    return definition.compute


def _shown(document: dict[str, Any]) -> str:
    """Return how a frozen argument looks in Airflow's rendered fields."""
    if "parts" in document:
        return "".join(_shown(part) for part in document["parts"])
    kind, value = next(iter(document.items()))
    return str(value) if kind == "text" else f"<{kind} {value}>"
