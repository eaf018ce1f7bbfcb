"""The action of a step: what of its definition and of this run decides about its result."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow_azureml.compute.request import StepRequest
from airflow_azureml.model.parameters import ParameterType, PipelineParameter
from airflow_azureml.model.port_types import OutputPort
from airflow_azureml.model.ports import Ports
from airflow_azureml.model.tokens import token_to_document
from airflow_azureml.reuse.action import Action, InputIdentity, build_action

STEP_VERSION = 1
"""Raised when the same definition of a script step would do something else than before."""

_KNOWN_BY_CONTENT = frozenset({ParameterType.DATAPATH, ParameterType.DATASET})
"""Parameters that say where data lies: the data is among the inputs, and its place changes nothing."""


def step_action(
    request: StepRequest,
    inputs: Iterable[InputIdentity],
    *,
    code: str,
    environment: str,
    default_datastore: str,
) -> Action:
    """Build the action of a step of this run.

    :param inputs: what the inputs hold.
    :param code: digest of the source files that count.
    :param environment: identity of the environment.
    :param default_datastore: datastore of outputs that name none.
    """
    ports = request.ports
    return build_action(
        step_type=request.identity.step_type,
        step_version=STEP_VERSION,
        script=request.script,
        code=code,
        arguments=[token_to_document(token) for token in ports.arguments],
        parameters={
            name: value
            for name, value in request.parameters.items()
            if name not in ports.parameters or ports.parameters[name].type not in _KNOWN_BY_CONTENT
        },
        variables={name: _variable(value) for name, value in ports.environment_parameters.items()},
        outputs=[_output(port, default_datastore) for port in ports.outputs],
        inputs=inputs,
        environment=environment,
        version=request.version,
        aliases=_aliases(ports),
    )


def _variable(value: Any) -> dict[str, str]:
    return {"parameter": value.name} if isinstance(value, PipelineParameter) else {"text": str(value)}


def _output(port: OutputPort, default_datastore: str) -> dict[str, Any]:
    """Return what of an output decides about its bytes; what it is registered as afterwards does not."""
    return {
        "name": port.name,
        "kind": port.kind,
        "datastore": port.datastore or default_datastore,
        "path": port.path,
        "source": port.path_on_compute or port.source,
        "source_globs": None if port.source_globs is None else list(port.source_globs),
    }


def _aliases(ports: Ports) -> dict[str, str]:
    """Return, for ports whose names nobody chose, the name under which they enter the key: their place."""
    aliases = {port.name: f"#in{place}" for place, port in enumerate(ports.inputs) if port.generated_name}
    aliases.update(
        {port.name: f"#out{place}" for place, port in enumerate(ports.outputs) if port.generated_name}
    )
    return aliases
