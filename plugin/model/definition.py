"""The definition of a pipeline: a JSON document from which the same DAG can be built again.

It holds all that the steps need where neither the DAG file nor the source directories are: ports, argument tokens,
parameters, environment specifications, digests of source snapshots, and what runs after what. ``definition.schema.json``
is its JSON Schema; a change that old readers can't follow raises :data:`DEFINITION_SCHEMA`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import Any

from airflow_azureml.model.canonical import canonical_json, digest_of
from airflow_azureml.model.graph import find_cycle
from airflow_azureml.model.identity import OutputIdentity
from airflow_azureml.model.parameters import PipelineParameter, merge_parameters
from airflow_azureml.model.port_types import (
    InputPort,
    OutputPort,
    OutputReference,
    OutputSource,
    ParameterSource,
)
from airflow_azureml.model.ports import Ports
from airflow_azureml.model.tokens import (
    Opaque,
    ParameterToken,
    Text,
    Token,
    parameters_of,
    token_from_document,
    token_to_document,
)
from airflow_azureml.runtime.exceptions import DefinitionError

__all__ = ["DEFINITION_SCHEMA", "PipelineDefinition", "StepDefinition", "definition_schema"]

DEFINITION_SCHEMA = 1
"""Version of the document's form."""


@dataclass(frozen=True, slots=True)
class StepDefinition:
    """One step of a pipeline.

    :param type: class name of the step (``PythonScriptStep``).
    :param name: name of the step.
    :param task_id: its address in the pipeline; unique there.
    :param script_name: script inside the snapshot, for steps that run one.
    :param arguments: the argument list.
    :param inputs: what the step reads; other steps' outputs as references.
    :param outputs: what the step writes.
    :param environment_parameters: v1's ``params``: name to a JSON scalar or a reference to a pipeline parameter.
    :param snapshot: digest of the source snapshot.
    :param environment: specification of the environment; None for the default of where the step runs.
    :param compute: name of the compute target, or a reference to the parameter that names it; None for the default.
    :param allow_reuse: whether a result may be reused.
    :param version: the user's version label.
    :param run_after: task ids of steps that come before without data.
    :param settings: what else the step's type needs to be built again, JSON.
    """

    type: str
    name: str
    task_id: str
    script_name: str | None = None
    arguments: tuple[Token, ...] = ()
    inputs: tuple[InputPort, ...] = ()
    outputs: tuple[OutputPort, ...] = ()
    environment_parameters: dict[str, Any] = field(default_factory=dict)
    snapshot: str | None = None
    environment: dict[str, Any] | None = None
    compute: str | ParameterToken | None = None
    allow_reuse: bool = True
    version: str | None = None
    run_after: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    def with_ports(self, ports: Ports, task_id_of: Callable[[Any], str]) -> StepDefinition:
        """Return the step with the ports of a declared one.

        :param ports: its ports.
        :param task_id_of: given the producer of an output, returns its task id.
        :raises DefinitionError: an input is never produced.
        """
        return replace(
            self,
            arguments=tuple(
                Text(str(token.value)) if isinstance(token, Opaque) else token for token in ports.arguments
            ),
            inputs=tuple(_detached(port, f"{self.type} {self.name!r}", task_id_of) for port in ports.inputs),
            outputs=ports.outputs,
            environment_parameters={
                name: _parameter_or_literal(value) for name, value in ports.environment_parameters.items()
            },
        )

    def parameter_names(self) -> set[str]:
        """Return the names of the pipeline parameters that the step uses."""
        sources = (port.source for port in self.inputs)
        values = (*self.environment_parameters.values(), self.compute)
        return {
            *parameters_of(self.arguments),
            *(source.parameter for source in sources if isinstance(source, ParameterSource)),
            *(value.name for value in values if isinstance(value, ParameterToken)),
        }

    def upstream(self) -> dict[str, str]:
        """Return input name to the task id of the step that writes it."""
        return {
            port.name: port.source.step for port in self.inputs if isinstance(port.source, OutputReference)
        }

    def to_document(self) -> dict[str, Any]:
        """Return the step as JSON."""
        return {
            "type": self.type,
            "name": self.name,
            "task_id": self.task_id,
            "script_name": self.script_name,
            "arguments": [token_to_document(token) for token in self.arguments],
            "inputs": [port.to_document() for port in self.inputs],
            "outputs": [port.to_document() for port in self.outputs],
            "environment_parameters": {
                name: _value_document(value) for name, value in self.environment_parameters.items()
            },
            "snapshot": self.snapshot,
            "environment": self.environment,
            "compute": None if self.compute is None else _value_document(self.compute),
            "allow_reuse": self.allow_reuse,
            "version": self.version,
            "run_after": list(self.run_after),
            "settings": self.settings,
        }

    @staticmethod
    def from_document(document: Mapping[str, Any]) -> StepDefinition:
        """Return the step that a document describes.

        :param document: as written by :meth:`to_document`.
        """
        values = dict(document)
        compute = document["compute"]
        return StepDefinition(
            **{
                **values,
                "arguments": tuple(token_from_document(token) for token in document["arguments"]),
                "inputs": tuple(InputPort.from_document(port) for port in document["inputs"]),
                "outputs": tuple(OutputPort.from_document(port) for port in document["outputs"]),
                "environment_parameters": {
                    name: _value_from(value) for name, value in document["environment_parameters"].items()
                },
                "compute": None if compute is None else _value_from(compute),
                "run_after": tuple(document["run_after"]),
            }
        )


@dataclass(frozen=True, slots=True)
class PipelineDefinition:
    """A pipeline as a value.

    :param name: name of the pipeline.
    :param steps: its steps, in order of declaration.
    :param parameters: its parameters, in order of declaration.
    :param description: free text.
    :param default_datastore: where outputs go that name no datastore; None for the workspace's default.
    :param experiment: the experiment that runs belong to, None for the pipeline's name.
    :param continue_on_step_failure: whether steps that don't depend on a failed one go on.
    :raises DefinitionError: steps or parameters contradict each other.
    """

    name: str
    steps: tuple[StepDefinition, ...]
    parameters: tuple[PipelineParameter, ...] = ()
    description: str | None = None
    default_datastore: str | None = None
    experiment: str | None = None
    continue_on_step_failure: bool = False

    def __post_init__(self) -> None:
        label = f"pipeline {self.name!r}"
        merge_parameters(label, {}, self.parameters)
        outputs = {step.task_id: {port.name for port in step.outputs} for step in self.steps}
        if len(outputs) != len(self.steps):
            raise DefinitionError(f"{label}: two steps have one task id; task ids are unique")
        known = {parameter.name for parameter in self.parameters}
        for step in self.steps:
            _check_step(label, step, outputs, known)
        _check_pipeline_outputs(label, self.steps)
        circle = find_cycle([(before, after) for before, after, _ in self.edges()])
        if circle is not None:
            raise DefinitionError(
                f"{label} runs in a circle: {' → '.join(circle)}; take one of these edges out"
            )

    def edges(self) -> tuple[tuple[str, str, str | None], ...]:
        """Return (before, after, input name), the name None for an edge without data; each once."""
        found: dict[tuple[str, str, str | None], None] = {}
        for step in self.steps:
            for name, before in step.upstream().items():
                found[before, step.task_id, name] = None
            for before in step.run_after:
                found[before, step.task_id, None] = None
        return tuple(found)

    def ports(self) -> dict[str, Ports]:
        """Return task id to the ports of a step, as declaring the steps anew would make them.

        Producer and consumers share identities again; nobody has claimed them yet.
        """
        origins = {
            (step.task_id, port.name): OutputIdentity(port.name, port.kind)
            for step in self.steps
            for port in step.outputs
        }
        parameters = {parameter.name: parameter for parameter in self.parameters}
        return {step.task_id: _attached(step, origins, parameters) for step in self.steps}

    @property
    def digest(self) -> str:
        """SHA-256 over the document: the same for the same pipeline."""
        return digest_of(self.to_document())

    def to_document(self) -> dict[str, Any]:
        """Return the definition as JSON data."""
        return {
            "schema": DEFINITION_SCHEMA,
            "kind": "pipeline",
            "name": self.name,
            "description": self.description,
            "experiment": self.experiment,
            "default_datastore": self.default_datastore,
            "continue_on_step_failure": self.continue_on_step_failure,
            "parameters": [parameter.to_document() for parameter in self.parameters],
            "steps": [step.to_document() for step in self.steps],
        }

    def to_json(self) -> bytes:
        """Return the definition as canonical JSON."""
        return canonical_json(self.to_document())

    @staticmethod
    def from_document(document: Any) -> PipelineDefinition:
        """Return the pipeline that JSON data describes.

        :param document: as written by :meth:`to_document`.
        :raises DefinitionError: it is no such document, one of a newer version, or contradicts itself.
        """
        _check_schema(document)
        return PipelineDefinition(
            name=document["name"],
            steps=tuple(StepDefinition.from_document(step) for step in document["steps"]),
            parameters=tuple(PipelineParameter.from_document(item) for item in document["parameters"]),
            description=document["description"],
            default_datastore=document["default_datastore"],
            experiment=document["experiment"],
            continue_on_step_failure=document["continue_on_step_failure"],
        )

    @staticmethod
    def from_json(text: bytes | str) -> PipelineDefinition:
        """Return the pipeline that JSON text describes.

        :param text: as written by :meth:`to_json`.
        :raises DefinitionError: see :meth:`from_document`.
        """
        try:
            document = json.loads(text)
        except ValueError as error:
            raise DefinitionError(f"this pipeline definition is no JSON: {error}") from error
        return PipelineDefinition.from_document(document)


@cache
def definition_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a pipeline definition."""
    text = resources.files("airflow_azureml.model").joinpath("definition.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def _check_schema(document: Any) -> None:
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped, unused-ignore]
    from jsonschema.exceptions import best_match  # type: ignore[import-untyped, unused-ignore]

    version = document.get("schema") if isinstance(document, Mapping) else None
    if isinstance(version, int) and version > DEFINITION_SCHEMA:
        raise DefinitionError(
            f"this pipeline definition has schema {version}, this version of airflow-azureml reads up to "
            f"{DEFINITION_SCHEMA}; update it"
        )
    error = best_match(Draft202012Validator(definition_schema()).iter_errors(document))
    if error is not None:
        raise DefinitionError(f"this is no pipeline definition: {error.json_path}: {error.message}")


def _check_step(
    label: str, step: StepDefinition, outputs: Mapping[str, set[str]], parameters: set[str]
) -> None:
    for port in step.inputs:
        source = port.source
        if isinstance(source, OutputReference) and source.output not in outputs.get(source.step, ()):
            raise DefinitionError(
                f"{label}: step {step.name!r}: input {port.name!r} reads output {source.output!r} of {source.step!r}, "
                "which no step of the pipeline writes"
            )
    for before in step.run_after:
        if before not in outputs:
            raise DefinitionError(
                f"{label}: step {step.name!r} runs after {before!r}, which is no step of the pipeline"
            )
    for name in sorted(step.parameter_names() - parameters):
        raise DefinitionError(
            f"{label}: step {step.name!r} uses parameter {name!r}, which the pipeline doesn't have; "
            "pass the PipelineParameter object to a step"
        )


def _check_pipeline_outputs(label: str, steps: Iterable[StepDefinition]) -> None:
    owners: dict[str, str] = {}
    for step in steps:
        for port in step.outputs:
            name = port.pipeline_output_name
            if name is not None and owners.setdefault(name, step.name) != step.name:
                raise DefinitionError(
                    f"{label}: steps {owners[name]!r} and {step.name!r} both have pipeline_output_name {name!r}; rename one"
                )


def _detached(port: InputPort, label: str, task_id_of: Callable[[Any], str]) -> InputPort:
    source = port.source
    if not isinstance(source, OutputSource):
        return port
    origin = source.origin
    if origin.producer is None or origin.port_name is None:
        raise DefinitionError(
            f"{label}: input {port.name!r} is {origin.description}, which no step writes; "
            "list it in the outputs of the step that does"
        )
    return replace(port, source=OutputReference(task_id_of(origin.producer), origin.port_name, source.read))


def _attached(
    step: StepDefinition,
    origins: Mapping[tuple[str, str], OutputIdentity],
    parameters: Mapping[str, PipelineParameter],
) -> Ports:
    inputs = [
        replace(port, source=OutputSource(origins[port.source.step, port.source.output], port.source.read))
        if isinstance(port.source, OutputReference)
        else port
        for port in step.inputs
    ]
    names = step.parameter_names()
    return Ports(
        inputs=tuple(inputs),
        outputs=tuple(replace(port, origin=origins[step.task_id, port.name]) for port in step.outputs),
        arguments=step.arguments,
        parameters={name: parameter for name, parameter in parameters.items() if name in names},
        environment_parameters={
            name: parameters[value.name] if isinstance(value, ParameterToken) else value
            for name, value in step.environment_parameters.items()
        },
    )


def _parameter_or_literal(value: object) -> object:
    if isinstance(value, PipelineParameter):
        return ParameterToken(value.name)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _value_document(value: object) -> dict[str, Any]:
    return {"parameter": value.name} if isinstance(value, ParameterToken) else {"value": value}


def _value_from(document: Mapping[str, Any]) -> Any:
    return ParameterToken(document["parameter"]) if "parameter" in document else document["value"]
