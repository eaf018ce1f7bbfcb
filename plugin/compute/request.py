"""What is asked of an execution, what it works with, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_azureml.compute.identity import StepIdentity
from airflow_azureml.compute.limits import Limits
from airflow_azureml.compute.outputs import StoredOutput
from airflow_azureml.compute.staging import Place, find_places
from airflow_azureml.compute.work import StepWork
from airflow_azureml.model.ports import Ports
from airflow_azureml.reuse.controls import RunControls
from airflow_azureml.reuse.policy import ReusePolicy
from airflow_azureml.workspace.stat_cache import StatCache

if TYPE_CHECKING:
    from airflow_azureml.compute.environments import EnvironmentCache
    from airflow_azureml.compute.virtual_mount import MountMode
    from airflow_azureml.workspace.data_cache import DataCache
    from airflow_azureml.workspace.handle import WorkspaceHandle

DEFAULT_LEASE_S = 60.0


class Upstream(NamedTuple):
    """What the producer of an input wrote in this run.

    :param outputs: its output; one for each instance when the producer is mapped.
    :param producer: its task id.
    :param is_mapped: whether there is one output for each instance.
    :param step_run_ids: its step runs, in the order of the outputs.
    """

    outputs: Sequence[StoredOutput]
    producer: str
    is_mapped: bool = False
    step_run_ids: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class StepRequest:
    """One step of one run, with everything bound.

    :param identity: who the step run is.
    :param ports: inputs, outputs and arguments.
    :param parameters: values of the pipeline parameters the step uses, in their types.
    :param upstream: input name to what its producer wrote in this run.
    :param work: what the step does.
    :param default_datastore: datastore of outputs that name none; ``None`` for the workspace's.
    :param allow_reuse: the step's own switch.
    :param regenerate: run although there is a result: this run asked for it, for this step (v1 ``regenerate_outputs``).
    :param policy: what the step asks of reuse.
    :param controls: what this run asks of reuse, for all steps.
    :param version: the user's version label.
    :param run_parameters: all parameters of the pipeline run, for its record.
    :param url: address of the run in the Airflow UI, for its record.
    """

    identity: StepIdentity
    ports: Ports
    parameters: Mapping[str, Any]
    upstream: Mapping[str, Upstream]
    work: StepWork
    default_datastore: str | None = None
    allow_reuse: bool = True
    regenerate: bool = False
    policy: ReusePolicy = field(default_factory=ReusePolicy)
    controls: RunControls = field(default_factory=RunControls)
    version: str | None = None
    run_parameters: Mapping[str, Any] = field(default_factory=dict)
    url: str | None = None


@dataclass(frozen=True, slots=True)
class ExecutionServices:
    """What every step run of a machine works with.

    :param workspace: the workspace.
    :param environments: the interpreters on this machine.
    :param hashes: hashes of unchanged files.
    :param data: files of remote datastores on this machine.
    :param scratch: folder for working directories.
    :param cache: folder for snapshots and the runtime.
    :param limits: memory and processors of a step.
    :param grace_s: seconds between asking a script to end and ending it.
    :param inherit_variables: names of the worker's variables that steps see.
    :param read_results: whether earlier results may be used.
    :param keep_results: whether new results are remembered.
    :param deployment: name of the Airflow deployment, which results carry.
    :param accept_from: deployments whose results count, for steps whose policy names none; empty for all.
    :param clear_reuses: whether a task that is cleared after it had succeeded may take its result from reuse.
    :param lease_s: for how long nobody else computes a result after its computer was last heard of.
    :param salt: enters all keys; another one disowns all earlier results.
    :param redact: replaces secrets that the deployment knows in a text.
    :param mount: whether mounted inputs whose files are elsewhere are read on demand: ``auto``, ``download`` or ``fuse``.
    """

    workspace: WorkspaceHandle
    environments: EnvironmentCache
    hashes: StatCache
    data: DataCache
    scratch: Path
    cache: Path
    limits: Limits
    grace_s: float
    inherit_variables: tuple[str, ...] = ()
    read_results: bool = True
    keep_results: bool = True
    deployment: str = ""
    accept_from: tuple[str, ...] = ()
    clear_reuses: bool = False
    lease_s: float = DEFAULT_LEASE_S
    salt: str = ""
    redact: Callable[[str], str] = str
    mount: MountMode = "download"


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """How a step run ended well.

    :param document: ``step_run_id``, ``pipeline_run_id``, ``status``, ``reused_from``, ``outputs`` by name: what later steps and
        Airflow tasks read as the step's XCom.
    :param reuse: the reuse document.
    :param inputs: what it read, by name, as the run record has it.
    """

    document: dict[str, Any]
    reuse: dict[str, Any]
    inputs: Mapping[str, Any] = field(default_factory=dict)


def default_datastore(request: StepRequest, workspace: WorkspaceHandle) -> str:
    """Return the datastore of outputs that name none."""
    return request.default_datastore or workspace.datastores.default().name


def output_places(
    request: StepRequest, workspace: WorkspaceHandle, step_run_id: str | None = None
) -> list[Place]:
    """Return where the outputs of a step run go.

    :param step_run_id: another try of the same step; by default the one of the request.
    :raises UserErrorException: a destination can't be used.
    """
    run_id = step_run_id or request.identity.step_run_id
    return find_places(request.ports.outputs, run_id, default_datastore(request, workspace))
