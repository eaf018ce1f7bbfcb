"""Mapped steps: ``PythonScriptStep.partial(...).expand(...)`` with data edges.

Airflow builds the step once for each instance, while it runs; the edges are needed before. They are drawn from what is given to
``partial``. A step that reads the output of a mapped step sees one folder for each instance: ``0``, ``1``, ….
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.decorator import get_unique_task_id
from airflow.sdk.bases.operator import partial as airflow_partial
from airflow.sdk.definitions.mappedoperator import MappedOperator, OperatorPartial

from airflow_azureml.model.ports import Ports, bind_ports

if TYPE_CHECKING:
    from airflow.sdk.definitions._internal.expandinput import ExpandInput

    from airflow_azureml.operators.step import PipelineStep


class StepPartial(OperatorPartial):
    """What ``partial`` returns; ``expand`` makes a mapped step with its data edges."""

    def _expand(self, expand_input: ExpandInput, *, strict: bool) -> MappedOperator:
        mapped = super()._expand(expand_input, strict=strict)
        wire_mapped(mapped)
        return mapped


def partial_step(cls: type[PipelineStep], **kwargs: Any) -> StepPartial:
    """Return the partial of a step class; see ``BaseOperator.partial``."""
    # As when the step is made directly: a task id is needed only where nothing else names the step.
    if not kwargs.get("task_id"):
        kwargs["task_id"] = get_unique_task_id(cls.task_id_of(kwargs), kwargs.get("dag"), kwargs.get("task_group"))
    made = airflow_partial(cls, **kwargs)
    made._expand_called = True
    return StepPartial(operator_class=made.operator_class, kwargs=made.kwargs, params=made.params)


def ports_of_mapped(mapped: MappedOperator) -> Ports:
    """Return the ports of a mapped step as far as ``partial`` gives them."""
    given = mapped.partial_kwargs
    return bind_ports(
        mapped.operator_class.__name__,
        mapped.task_id,
        inputs=given.get("inputs"),
        outputs=given.get("outputs"),
        arguments=given.get("arguments") if isinstance(given.get("arguments"), list | tuple) else None,
    )


def wire_mapped(mapped: MappedOperator) -> None:
    """Draw the data edges of a mapped step and declare its parameters.

    :raises DefinitionError: an argument is wrong, or an output has another producer already.
    """
    from airflow_azureml.operators.step import declare_parameters

    ports = ports_of_mapped(mapped)
    label = f"{mapped.operator_class.__name__} {mapped.task_id!r}"
    declare_parameters(mapped.dag, label, ports.parameters)
    for port in ports.outputs:
        port.origin.claim(mapped, label)
        for consumer in port.origin.consumers:
            if consumer.has_dag():
                consumer.set_upstream(mapped)
    for origin in ports.input_origins().values():
        origin.add_consumer(mapped)
        if origin.producer is not None:
            mapped.set_upstream(origin.producer)
