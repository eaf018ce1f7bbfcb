"""Pipeline parameters as parameters of the DAG."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import Param
from airflow.sdk.definitions._internal.types import is_arg_set

from airflow_azureml.runtime.exceptions import DefinitionError, UserErrorException

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from airflow_azureml.model.parameters import PipelineParameter


def declare_parameters(dag: DAG, label: str, parameters: Mapping[str, PipelineParameter]) -> None:
    """Make pipeline parameters parameters of the DAG, so that the trigger form and REST check them.

    A parameter that the DAG declares itself (``params=``) stays as it is, default and schema, if its default fits.

    :param dag: the DAG.
    :param label: the step, for messages.
    :param parameters: name to parameter.
    :raises DefinitionError: a step declared the parameter with another default, or the DAG with a default of another type.
    """
    declared = _declared(dag)
    for name, parameter in parameters.items():
        known = declared.get(name)
        if known is None:
            _declare(dag, label, parameter)
            declared[name] = parameter
        elif not known.same_as(parameter):
            raise DefinitionError(
                f"{label}: parameter {name!r} has default {parameter.airflow_default()!r} here and "
                f"{known.airflow_default()!r} elsewhere in the pipeline; use one PipelineParameter object for both"
            )


def _declare(dag: DAG, label: str, parameter: PipelineParameter) -> None:
    if parameter.name not in dag.params:
        dag.params[parameter.name] = Param(parameter.airflow_default(), **parameter.json_schema())
        return
    # Without a default every run has to give a value, and that is checked then.
    own: Any = dag.params.get_param(parameter.name).value
    if is_arg_set(own):
        try:
            parameter.convert(own)
        except UserErrorException as error:
            raise DefinitionError(
                f"{label}: {error}, but params of DAG {dag.dag_id!r} says otherwise; give both the same type"
            ) from None


def _declared(dag: DAG) -> dict[str, PipelineParameter]:
    """Return the pipeline parameters that steps of ``dag`` brought, kept on the DAG itself."""
    found: dict[str, PipelineParameter] | None = getattr(dag, "pipeline_parameters", None)
    if found is None:
        found = dag.pipeline_parameters = {}  # type: ignore[attr-defined]
    return found
