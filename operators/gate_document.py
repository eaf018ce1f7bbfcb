"""A step as a document that the triggerer can decide about, without the DAG file.

What is built from it is the step itself, as far as its key goes: the same class, ports, arguments, environment and policy, in a
DAG that holds nothing else. So the triggerer and the worker compute one key, by the same code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from airflow.sdk import BaseOperator

from airflow_azureml.model.canonical import canonical_json
from airflow_azureml.model.definition import PipelineDefinition, StepDefinition
from airflow_azureml.model.environment import Environment
from airflow_azureml.model.parameters import PipelineParameter
from airflow_azureml.model.port_types import OutputPort
from airflow_azureml.model.tokens import Concatenation, Opaque, Text, Token
from airflow_azureml.operators.pipeline import Pipeline
from airflow_azureml.operators.python_script import PythonScriptStep
from airflow_azureml.operators.sources import other_scripts, source_directory_of
from airflow_azureml.reuse.policy import ReusePolicy

GATE_SCHEMA = 1


class _Neighbour(BaseOperator):
    """Stands for another task of the DAG: the producer of an input, or a step that shares the source directory."""

    def __init__(
        self, *, script_name: str | None = None, source_directory: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.script_name = script_name
        self.source_directory = source_directory


def gate_document(step: PythonScriptStep) -> str:
    """Return a step as canonical JSON.

    It is part of what Airflow keeps of the DAG: nothing in it depends on when or where the DAG file was read, except for the
    place of the source directory, whose content is looked at when the step is decided about.
    """
    dag = step.dag
    document = {
        "schema": GATE_SCHEMA,
        "dag_id": dag.dag_id,
        "default_datastore": getattr(dag, "default_datastore", None),
        "workspace": getattr(getattr(dag, "workspace", None), "url", None),
        "native": bool(dag.render_template_as_native_obj),
        "step": _definition(step).to_document(),
        "params": _plain_params(step),
        "parameters": [parameter.to_document() for parameter in step.ports.parameters.values()],
        "policy": step.effective_policy.to_document(),
        "source": _source(step),
        "do_xcom_push": step.do_xcom_push,
    }
    return canonical_json(document).decode()


def step_of(gate: str) -> PythonScriptStep:
    """Return the step that a document describes, in a DAG of its own.

    :param gate: as :func:`gate_document` made it.
    """
    document = json.loads(gate)
    definition = StepDefinition.from_document(document["step"])
    dag = _dag(document)
    source = document["source"]
    ports = _pipeline(document, definition).ports()[definition.task_id]
    for number, name in enumerate(source.get("other_scripts", ())):
        _Neighbour(
            task_id=f"__script_{number}", dag=dag, script_name=name, source_directory=source["directory"]
        )
    producers = {
        task_id: _Neighbour(task_id=task_id, dag=dag)
        for task_id in sorted(set(definition.upstream().values()))
    }
    upstream = definition.upstream()
    for port in ports.inputs:
        if port.name in upstream:
            task_id = upstream[port.name]
            ports.input_origins()[port.name].claim(producers[task_id], f"task {task_id!r}")
    return PythonScriptStep(
        dag=dag,
        task_id=definition.task_id,
        name=definition.name,
        script_name=definition.script_name or "",
        arguments=[_text(token) for token in definition.arguments],
        step_params={**document["params"]} or None,
        ports=ports,
        source_directory=source.get("directory"),
        hash_paths=source.get("hash_paths"),
        snapshot=definition.snapshot,
        unrelated_files=source.get("unrelated_files"),
        environment=Environment.from_specification(definition.environment or {}),
        compute_target=definition.compute,
        allow_reuse=definition.allow_reuse,
        version=definition.version,
        reuse_policy=ReusePolicy.from_document(document["policy"]),
        do_xcom_push=document["do_xcom_push"],
    )


def _definition(step: PythonScriptStep) -> StepDefinition:
    target = step.compute
    return StepDefinition(
        type=type(step).__name__,
        name=step.name,
        task_id=step.task_id,
        script_name=step.script_name,
        snapshot=step.snapshot,
        environment=step.effective_environment.specification(),
        compute=str(getattr(target, "name", target)),
        allow_reuse=step.allow_reuse,
        version=step.version,
    ).with_ports(step.ports, lambda producer: str(producer.task_id))


def _plain_params(step: PythonScriptStep) -> dict[str, Any]:
    """Return v1's ``params`` that are no pipeline parameters, as Airflow renders them."""
    return {
        name: value
        for name, value in step.ports.environment_parameters.items()
        if not isinstance(value, PipelineParameter)
    }


def _source(step: PythonScriptStep) -> dict[str, Any]:
    if step.snapshot is not None:
        return {"unrelated_files": sorted(step.unrelated_files or ())}
    return {
        "directory": str(source_directory_of(step)),
        "hash_paths": list(step.hash_paths or ()),
        "other_scripts": sorted(set(other_scripts(step))),
    }


def _dag(document: Mapping[str, Any]) -> Pipeline:
    import jinja2

    dag = Pipeline(
        document["dag_id"],
        default_datastore=document["default_datastore"],
        render_template_as_native_obj=document["native"],
        # What only the DAG file knows must not turn into nothing.
        template_undefined=jinja2.StrictUndefined,
    )
    if document["workspace"] is not None:
        dag.workspace = SimpleNamespace(url=document["workspace"])  # type: ignore[assignment]  # its address is all
    return dag


def _pipeline(document: Mapping[str, Any], definition: StepDefinition) -> PipelineDefinition:
    """Return the step with as much of the steps before it as its inputs name."""
    outputs: dict[str, dict[str, OutputPort]] = {}
    for port in definition.inputs:
        if port.name in definition.upstream():
            source: Any = port.source
            written = outputs.setdefault(source.step, {})
            written.setdefault(source.output, OutputPort(source.output, "pipeline_data"))
    producers = [
        StepDefinition(type="task", name=task_id, task_id=task_id, outputs=tuple(written.values()))
        for task_id, written in outputs.items()
    ]
    parameters = tuple(PipelineParameter.from_document(item) for item in document["parameters"])
    return PipelineDefinition(document["dag_id"], (*producers, definition), parameters)


def _text(token: Token) -> str:
    """Return an argument as the operator was given it, as far as templates may be in it."""
    if isinstance(token, Concatenation):
        return "".join(_text(part) for part in token.parts)
    if isinstance(token, Text):
        return token.text
    return str(token.value) if isinstance(token, Opaque) else ""
