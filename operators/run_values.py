"""What a step reads from Airflow while it runs: who it is, its parameters, what earlier steps wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_azureml import config
from airflow_azureml.compute.cancel import canceled
from airflow_azureml.compute.identity import StepIdentity
from airflow_azureml.compute.outputs import StoredOutput
from airflow_azureml.compute.request import StepRequest, Upstream
from airflow_azureml.operators.controls import is_regenerated, run_controls
from airflow_azureml.operators.services import workspace_of
from airflow_azureml.reuse.controls import CONTROL_NAMES, RunReuse
from airflow_azureml.runtime.exceptions import ObjectNotFound, StepCanceled, UserErrorException

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_azureml.model.identity import OutputIdentity
    from airflow_azureml.operators.step import PipelineStep

_USUAL = (None, False, "", RunReuse.READWRITE.value)


def step_request(step: PipelineStep, context: Context) -> StepRequest:
    """Return what an execution of a rendered step is asked for.

    :param context: Airflow's task context, or what stands in for it in a plan.
    """
    controls = run_controls(step, context)
    upstream = {
        name: upstream_outputs(step, name, origin, context) for name, origin in step.input_origins().items()
    }
    return StepRequest(
        identity=step_identity(step, context, config.deployment()),
        ports=step.ports,
        parameters=parameter_values(step, context),
        run_parameters=run_parameters(context),
        url=run_url(context),
        upstream=upstream,
        work=step.work(),
        default_datastore=getattr(step.dag, "default_datastore", None),
        allow_reuse=step.allow_reuse,
        regenerate=is_regenerated(step, controls),
        policy=step.effective_policy,
        controls=controls,
        version=step.version,
    )


def step_identity(step: PipelineStep, context: Context, deployment: str) -> StepIdentity:
    """Return who the running step is.

    :param step: the operator.
    :param context: Airflow's task context.
    :param deployment: name of this Airflow deployment.
    """
    ti = context["ti"]
    map_index = -1 if ti.map_index is None else int(ti.map_index)
    return StepIdentity(
        deployment=deployment,
        dag_id=ti.dag_id,
        run_id=ti.run_id,
        task_id=ti.task_id,
        map_index=map_index,
        try_number=ti.try_number,
        step_name=step.name,
        step_type=type(step).__name__,
        experiment=ti.dag_id,
        instance=str(ti.id),
    )


def parameter_values(step: PipelineStep, context: Context) -> dict[str, Any]:
    """Return the value of every pipeline parameter the step uses, in its declared type.

    :raises UserErrorException: a value cannot be converted without loss; the message names the parameter.
    """
    given: Mapping[str, Any] = context["params"]
    values = {
        name: parameter.convert(given[name]) if name in given else parameter.airflow_default()
        for name, parameter in step.ports.parameters.items()
    }
    for name in step.ports.parameters_by_name_only:
        if name not in given:
            raise UserErrorException(
                f"{step.title}: argument arguments names parameter {name!r}, which the pipeline does not have; "
                f"declare it: PipelineParameter({name!r}, default_value=…)"
            )
        values[name] = given[name]
    return values


def run_parameters(context: Context) -> dict[str, Any]:
    """Return all parameters of the DAG run with their values, for the record of the run."""
    return {
        str(name): value
        for name, value in context["params"].items()
        # A form sends the controls of reuse in any case; they say something where they differ from the usual.
        if name not in CONTROL_NAMES or value not in _USUAL
    }


def run_url(context: Context) -> str:
    """Return the address of the run in the Airflow UI."""
    ti = context["ti"]
    return f"{config.base_url()}/dags/{quote(ti.dag_id)}/runs/{quote(ti.run_id)}"


def upstream_outputs(step: PipelineStep, name: str, origin: OutputIdentity, context: Context) -> Upstream:
    """Return what the producer of input ``name`` wrote in this run.

    :raises UserErrorException: nobody produced it, or the producer left no result in this run.
    :raises StepCanceled: it left none because the run was stopped on purpose.
    """
    producer = origin.producer
    if producer is None:
        raise UserErrorException(
            f"{step.title}: input {name!r} is never produced; list {origin.description} in the outputs of the step that writes it"
        )
    ti = context["ti"]
    mapped = is_mapped_alone(producer, step)
    # Without indexes Airflow gives the values of all instances, in their order.
    which: dict[str, Any] = {} if mapped else {"map_indexes": [_index_at(producer, ti)]}
    documents = ti.xcom_pull(task_ids=[producer.task_id], **which)
    if not documents or not all(isinstance(item, Mapping) and "outputs" in item for item in documents):
        _refuse_canceled(step, context)
        raise UserErrorException(
            f"{step.title}: input {name!r} has no data because {producer.task_id!r} left no result in this run "
            "(it was skipped, failed, or was marked by hand); clear it to run it again"
        )
    # Instances of a mapped producer may write different outputs.
    writers = [item for item in documents if origin.port_name in item["outputs"]]
    return Upstream(
        [StoredOutput.from_document(item["outputs"][origin.port_name]) for item in writers],
        producer.task_id,
        mapped,
        [str(item.get("step_run_id", "")) for item in writers],
    )


def _refuse_canceled(step: PipelineStep, context: Context) -> None:
    """Raise when nothing was written because the run was stopped on purpose.

    :raises StepCanceled: with the reason.
    """
    run_id = step_identity(step, context, config.deployment()).pipeline_run_id
    try:
        cancel = canceled(workspace_of(step), run_id)
    except ObjectNotFound:
        return
    if cancel:
        raise StepCanceled(f"the pipeline run was stopped: {cancel['reason']}")


def is_mapped_alone(producer: Any, consumer: Any) -> bool:
    """Whether ``producer`` has many instances of which ``consumer`` reads all, rather than its own one."""
    if getattr(producer, "is_mapped", False):
        return True
    group, own = producer.get_closest_mapped_task_group(), consumer.get_closest_mapped_task_group()
    # By id: the two may be in different copies of one DAG.
    return group is not None and (own is None or group.group_id != own.group_id)


def _index_at(producer: Any, ti: Any) -> int:
    """Return the map index of the one instance to read: the consumer's own inside a mapped task group."""
    return int(ti.map_index) if producer.get_closest_mapped_task_group() is not None else -1
