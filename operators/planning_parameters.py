"""The values a plan's run would be given: which parameters a pipeline has, and what text at a terminal means for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions._internal.types import is_arg_set
from airflow.sdk.definitions.param import process_params
from airflow.sdk.exceptions import ParamValidationError

from airflow_azureml.model.parameters import ParameterType, PipelineParameter
from airflow_azureml.reuse.controls import CONTROL_NAMES
from airflow_azureml.runtime.exceptions import UserErrorException

if TYPE_CHECKING:
    from airflow.sdk import DAG
    from airflow.sdk.types import Operator

_WORDS = {"integer": "int", "number": "float", "string": "str", "boolean": "bool", "null": "None"}
_WRITTEN_AS_JSON = {ParameterType.NONE, ParameterType.DATAPATH, ParameterType.DATASET}


class _NoParams:
    """A task without params of its own."""

    params = None


def check_parameters(dag: DAG, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values for a run of a pipeline, each in the type its parameter declares.

    :param given: parameter name to value; what controls reuse may be among them.
    :raises UserErrorException: there is no such parameter, or the value is of another type.
    """
    for name in given:
        _refuse_unknown(dag, name)
    declared = _declared(dag)
    return {
        name: declared[name].convert(value) if name in declared else value for name, value in given.items()
    }


def parameters_from_text(dag: DAG, given: Mapping[str, str]) -> dict[str, Any]:
    """Return the values that a command line names, each in the type its parameter declares.

    :param given: parameter name to text.
    :raises UserErrorException: there is no such parameter, or the text cannot be read as its type.
    """
    declared = _declared(dag)
    values: dict[str, Any] = {}
    for name, text in given.items():
        _refuse_unknown(dag, name)
        parameter = declared.get(name)
        if parameter is None:
            values[name] = _of_param(dag, name, text)
        else:
            values[name] = parameter.convert(
                _json_or_text(text) if parameter.type in _WRITTEN_AS_JSON else text
            )
    return values


def describe_parameters(dag: DAG) -> str:
    """Return the parameters of a pipeline as messages list them: ``alpha (float, default 0.5)``."""
    return ", ".join(_described(dag, name) for name in _names(dag))


def values_of_params(dag: DAG, task: Operator | None, conf: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``params`` of a task as Airflow makes it for a run.

    :param task: ``None`` for a task without params of its own.
    :param conf: what the run is given.
    :raises UserErrorException: a parameter has no value, or one that its schema refuses.
    """
    try:
        return dict(process_params(dag, task or _NoParams(), dict(conf), suppress_exception=False))  # type: ignore[arg-type]
    except ParamValidationError as error:
        # "Invalid input for param alpha: …"; the rest is the schema, line by line.
        said = str(error).splitlines()[0].removeprefix("Invalid input for param ")
        raise UserErrorException(f"parameter {said}; the pipeline takes {describe_parameters(dag)}") from None


def _names(dag: DAG) -> list[str]:
    declared = _declared(dag)
    return [name for name in dag.params if name not in CONTROL_NAMES or name in declared]


def _declared(dag: DAG) -> dict[str, PipelineParameter]:
    found: dict[str, PipelineParameter] = getattr(dag, "pipeline_parameters", None) or {}
    return found


def _refuse_unknown(dag: DAG, name: str) -> None:
    if name in dag.params or name in CONTROL_NAMES:
        return
    known = describe_parameters(dag)
    if not known:
        raise UserErrorException(f"parameter {name!r} is unknown: pipeline {dag.dag_id!r} has no parameters")
    raise UserErrorException(f"parameter {name!r} is not one of: {known}")


def _described(dag: DAG, name: str) -> str:
    parameter = _declared(dag).get(name)
    param = dag.params.get_param(name)
    word = parameter.type.value if parameter is not None else _type_words(param.schema.get("type"))
    default = f"default {param.value!r}" if is_arg_set(param.value) else "no default"
    return f"{name} ({word}, {default})" if word else f"{name} ({default})"


def _type_words(types: Any) -> str:
    named = [types] if isinstance(types, str) else list(types or ())
    return " or ".join(_WORDS.get(item, item) for item in named)


def _of_param(dag: DAG, name: str, text: str) -> Any:
    """Read text as a value of an Airflow param, which a JSON Schema describes."""
    types = dag.params.get_param(name).schema.get("type")
    if types in ("string", ["string"]):
        return text
    value = _json_or_text(text)
    if "string" in (types or ()) and isinstance(value, dict | list):
        return text
    return value


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
