"""From the inputs a step declares to the data of this run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from airflow_azureml.compute.inputs import InputResolver, ResolvedInput
from airflow_azureml.compute.request import ExecutionServices, StepRequest
from airflow_azureml.model.port_types import (
    DatasetSource,
    InputPort,
    OutputReference,
    OutputSource,
    ParameterSource,
    PathSource,
)
from airflow_azureml.model.reading import definition_at
from airflow_azureml.reuse.action import IdentityClass
from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.workspace.handle import WorkspaceHandle


def resolve_inputs(
    request: StepRequest, services: ExecutionServices, only: Callable[[str], bool] | None = None
) -> list[ResolvedInput]:
    """Find the data behind every input of a step.

    :param only: tells of a file below a referred folder whether it is read; all are for None.
    :raises UserErrorException: data is missing or was altered; the message names the input.
    """
    resolver = InputResolver(
        services.workspace,
        services.hashes,
        services.data,
        services.cache / "converted",
        IdentityClass(request.policy.min_identity),
        only,
    )
    return [_resolve(port, request, resolver, services.workspace) for port in request.ports.inputs]


def _resolve(
    port: InputPort, request: StepRequest, resolver: InputResolver, workspace: WorkspaceHandle
) -> ResolvedInput:
    source = port.source
    if isinstance(source, OutputSource | OutputReference):
        return _produced(port, source.read, request, resolver)
    if isinstance(source, PathSource):
        return resolver.reference(port, source.datastore, source.path)
    if isinstance(source, ParameterSource):
        return _from_parameter(port, request.parameters[source.parameter], resolver, workspace)
    return _from_dataset(port, source, resolver, workspace)


def _produced(
    port: InputPort, read: Mapping[str, Any] | None, request: StepRequest, resolver: InputResolver
) -> ResolvedInput:
    outputs, producer, is_mapped, _ = request.upstream[port.name]
    if port.mode != "direct":
        return resolver.produced(port, outputs, producer=producer, is_mapped=is_mapped)
    if read is None:
        raise UserErrorException(
            f"input {port.name!r}: a bare path cannot be used directly; mount or download it"
        )
    if is_mapped:
        raise UserErrorException(
            f"input {port.name!r}: the outputs of a mapped step cannot be read as one dataset; mount them"
        )
    output = outputs[0]
    definition = definition_at(read, {"datastore": output.datastore, "path": output.path})
    return resolver.produced_dataset(port, definition, output, producer=producer)


def _from_parameter(
    port: InputPort, value: Mapping[str, Any], resolver: InputResolver, workspace: WorkspaceHandle
) -> ResolvedInput:
    if "datastore" in value:
        return resolver.reference(port, value["datastore"], value["path"])
    if "dataset_id" in value:
        return resolver.dataset(port, workspace.datasets.get(value["dataset_id"]))
    if "dataset_name" in value:
        return _from_dataset(port, DatasetSource(None, dict(value)), resolver, workspace)
    return resolver.dataset(port, value)


def _from_dataset(
    port: InputPort, source: DatasetSource, resolver: InputResolver, workspace: WorkspaceHandle
) -> ResolvedInput:
    if source.reference is None:
        return resolver.dataset(port, source.definition or {})
    version = source.reference.get("version")
    wanted = None if version in (None, "latest") else int(version)
    record = workspace.datasets.get_by_name(source.reference["dataset_name"], wanted)
    registered = {"dataset_name": record.name, "version": record.version}
    # A pinned definition has been looked at already; the newest one is looked up in every run.
    definition = record.definition if wanted is None or source.definition is None else source.definition
    return resolver.dataset(port, definition, registered=registered, fingerprint=record.fingerprint)
