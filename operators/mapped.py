"""Mapped steps: ``PythonScriptStep.partial(...).expand(...)`` with data edges.

Airflow builds the step once for each instance, while it runs; the edges are needed before. They are drawn from what is given to
``partial`` and from the values that
are written down in ``expand``. A step that reads the output of a mapped step sees one folder for each instance: ``0``, ``1``, ….
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk.bases.decorator import get_unique_task_id
from airflow.sdk.bases.operator import partial as airflow_partial
from airflow.sdk.definitions.mappedoperator import MappedOperator, OperatorPartial

from airflow_azureml.operators.declared import declare_parameters
from airflow_azureml.operators.graph import draw_edge
from airflow_azureml.operators.step import PipelineStep, StepMeta, with_step_params
from airflow_azureml.runtime.exceptions import DefinitionError

if TYPE_CHECKING:
    from airflow.sdk.definitions._internal.expandinput import ExpandInput
    from airflow.sdk.types import Operator


class StepPartial(OperatorPartial):
    """What ``partial`` returns; ``expand`` makes a mapped step with its data edges."""

    def _expand(self, expand_input: ExpandInput, *, strict: bool) -> MappedOperator:
        expand_input.value = _with_step_params(expand_input.value)
        mapped = super()._expand(expand_input, strict=strict)
        wire_mapped(mapped)
        return mapped


def _with_step_params(mapped: Any) -> Any:
    if isinstance(mapped, Mapping):
        return {"step_params" if name == "params" else name: values for name, values in mapped.items()}
    if isinstance(mapped, list | tuple):
        return [with_step_params(dict(item)) if isinstance(item, Mapping) else item for item in mapped]
    return mapped


def partial_step(cls: type[PipelineStep], **kwargs: Any) -> StepPartial:
    """Return the partial of a step class; see ``BaseOperator.partial``."""
    # As when the step is made directly: a task id is needed only where nothing else names the step.
    if not kwargs.get("task_id"):
        kwargs["task_id"] = get_unique_task_id(
            cls.task_id_of(kwargs), kwargs.get("dag"), kwargs.get("task_group")
        )
    made = airflow_partial(cls, **with_step_params(kwargs))
    # Or Airflow would complain that this one, which nobody has seen, was never expanded.
    made._expand_called = True  # noqa: SLF001
    return StepPartial(operator_class=made.operator_class, kwargs=made.kwargs, params=made.params)


def instances_of(task: Operator) -> list[PipelineStep]:
    """Return the instances of a mapped step that are known when the DAG file is read; of any other task, none.

    There is one for each combination of the values that are written down; those that come from XCom are left out of it.

    :raises DefinitionError: an argument is wrong.
    """
    if not isinstance(task, MappedOperator) or not isinstance(task.operator_class, StepMeta):
        return []
    try:
        return [cast("PipelineStep", task.unmap(given)) for given in _written_down(task.expand_input.value)]
    except TypeError as error:
        raise DefinitionError(
            f"{task.operator_class.__name__} {task.task_id!r}: {error}; give it to partial(), or as a list to expand()"
        ) from None


def _written_down(mapped: Any) -> list[Mapping[str, Any]]:
    if isinstance(mapped, Mapping):
        lists = {name: values for name, values in mapped.items() if isinstance(values, list | tuple)}
        return [dict(zip(lists, values, strict=True)) for values in product(*lists.values())]
    known: list[Mapping[str, Any]] = []
    if isinstance(mapped, list | tuple):
        known = [item for item in mapped if isinstance(item, Mapping)]
    return known or [{}]


def says(mapped: MappedOperator, argument: str, value: object) -> bool:
    """Whether the value of an argument stands in the DAG file, rather than having come from XCom.

    :param value: what one instance of the mapped step was given.
    """
    given: Any = mapped.expand_input.value
    if isinstance(given, Mapping):
        known = given.get(argument)
    else:
        known = (
            [item.get(argument) for item in given if isinstance(item, Mapping)]
            if isinstance(given, list)
            else []
        )
    return value is mapped.partial_kwargs.get(argument) or (
        isinstance(known, list | tuple) and any(value is item for item in known)
    )


def wire_mapped(mapped: MappedOperator) -> None:
    """Draw the data edges of a mapped step and declare its parameters.

    :raises DefinitionError: an argument is wrong, or an output has another producer already.
    """
    title = f"{mapped.operator_class.__name__} {mapped.task_id!r}"
    if mapped.dag is None:
        raise DefinitionError(
            f'{title}: a mapped step is declared inside its pipeline: with Pipeline("…"): …'
        )
    for step in instances_of(mapped):
        declare_parameters(mapped.dag, title, step.ports.parameters)
        for port in step.ports.outputs:
            port.origin.claim(mapped, title)
            for consumer in port.origin.consumers:
                draw_edge(mapped, consumer)
        for origin in step.input_origins().values():
            origin.add_consumer(mapped)
            if origin.producer is not None:
                draw_edge(origin.producer, mapped)
