"""The action of a step: what of its definition and of this run decides about its result."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow_azureml.compute.environment_identity import EnvironmentIdentity
from airflow_azureml.compute.request import ExecutionServices, StepRequest, default_datastore
from airflow_azureml.model.parameters import ParameterType, PipelineParameter
from airflow_azureml.model.port_types import OutputPort
from airflow_azureml.model.ports import Ports
from airflow_azureml.model.tokens import token_to_document
from airflow_azureml.reuse.action import Action, InputIdentity, build_action
from airflow_azureml.reuse.policy import Scope
from airflow_azureml.reuse.secrecy import Secrecy, workspace_key

STEP_VERSION = 1
"""Raised when the same definition of a script step would do something else than before."""

_KNOWN_BY_CONTENT = frozenset({ParameterType.DATAPATH, ParameterType.DATASET})
"""Parameters that say where data lies: the data is among the inputs, and its place changes nothing."""


def secrecy_of(services: ExecutionServices, *, create: bool = True) -> Secrecy:
    """Return what finds and hides the secrets that the deployment knows.

    :param create: give the workspace a key when it has none yet; not for who only looks.
    """
    store = services.workspace.store
    return Secrecy(services.redact, lambda: workspace_key(store, create=create))


def step_action(
    request: StepRequest,
    inputs: Iterable[InputIdentity],
    *,
    services: ExecutionServices,
    code: str,
    environment: EnvironmentIdentity,
    secrecy: Secrecy,
) -> Action:
    """Build the action of a step of this run.

    :param inputs: what the inputs hold.
    :param services: workspace and salt.
    :param code: digest of the source files that count.
    :param environment: what the environment is known by.
    :param secrecy: hides secrets.
    """
    ports, policy = request.ports, request.policy
    datastore = default_datastore(request, services.workspace)
    parameters = {
        name: value
        for name, value in request.parameters.items()
        if name not in ports.parameters or ports.parameters[name].type not in _KNOWN_BY_CONTENT
    }
    return build_action(
        step_type=request.identity.step_type,
        step_version=STEP_VERSION,
        script=request.work.script,
        settings=request.work.settings,
        code=code,
        arguments=[token_to_document(token) for token in ports.arguments],
        parameters={name: value for name, value in parameters.items() if name not in policy.ignore_params},
        ignored={name: value for name, value in parameters.items() if name in policy.ignore_params},
        variables={name: _variable(value) for name, value in ports.environment_parameters.items()},
        outputs=[_output(port, datastore) for port in ports.outputs],
        inputs=inputs,
        environment=environment.digest,
        specification=environment.specification,
        version=request.version,
        scope=_scope(request),
        salt=services.salt,
        aliases=_aliases(ports),
        secrecy=secrecy,
    )


def _scope(request: StepRequest) -> dict[str, str] | None:
    """Return among whose results the step looks for one; ``None`` for all of the workspace."""
    if request.policy.scope == Scope.PIPELINE:
        return {"pipeline": request.identity.dag_id}
    if request.policy.scope == Scope.RUN:
        return {"run": request.identity.pipeline_run_id}
    return None


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
