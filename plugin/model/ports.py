"""The one place that turns a step's constructor arguments into ports.

v1 source: the constructor of ``azureml.pipeline.core.PipelineStep`` and its graph builder. Differences on purpose: the caller's
lists are never changed; an input named twice for the same data is one input (v1 raised); names that nobody chose
follow from the place in the list (v1 drew random ones, and such steps were never reused).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_azureml.model.binder import Binder
from airflow_azureml.model.identity import OutputIdentity
from airflow_azureml.model.names import kind_of, parameter_variable
from airflow_azureml.model.parameters import ParameterType, PipelineParameter, merge_parameters
from airflow_azureml.model.port_types import (
    DatasetSource,
    InputPort,
    OutputPort,
    OutputReference,
    OutputSource,
    ParameterSource,
    PathSource,
)
from airflow_azureml.model.tokens import (
    Concatenation,
    InputToken,
    Opaque,
    OutputToken,
    ParameterToken,
    Text,
    Token,
    map_tokens,
    parameters_of,
    render_arguments,
)
from airflow_azureml.runtime.exceptions import DefinitionError

__all__ = [
    "Concatenation",
    "DatasetSource",
    "InputPort",
    "InputToken",
    "Opaque",
    "OutputPort",
    "OutputReference",
    "OutputSource",
    "OutputToken",
    "ParameterSource",
    "ParameterToken",
    "PathSource",
    "Ports",
    "Text",
    "Token",
    "bind_ports",
    "map_tokens",
    "render_arguments",
]


@dataclass(frozen=True, slots=True)
class Ports:
    """What a step reads and writes, and the arguments it hands to its script.

    :param inputs: what it reads, in order.
    :param outputs: what it writes, in order.
    :param arguments: the argument list as tokens.
    :param parameters: the pipeline parameters it uses, by name.
    :param environment_parameters: v1's ``params``: name to a literal or a pipeline parameter.
    """

    inputs: tuple[InputPort, ...]
    outputs: tuple[OutputPort, ...]
    arguments: tuple[Token, ...]
    parameters: Mapping[str, PipelineParameter]
    environment_parameters: Mapping[str, Any]

    def input_origins(self) -> dict[str, OutputIdentity]:
        """Return input name to the output it reads, for inputs that other steps produce."""
        return {
            port.name: port.source.origin for port in self.inputs if isinstance(port.source, OutputSource)
        }

    @property
    def parameters_by_name_only(self) -> tuple[str, ...]:
        """Parameters that arguments name in their text while no object of that name came along.

        They have to be parameters of the pipeline.
        """
        return tuple(name for name in parameters_of(self.arguments) if name not in self.parameters)

    def parameter_variables(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Return the ``AML_PARAMETER_…`` variables of a run; a parameter whose value is None has none.

        :param values: parameter name to the value of this run.
        """
        found = {
            name: values[name] for name in self.parameters if self.parameters[name].type not in _NOT_TEXT
        }
        found |= {name: values[name] for name in self.parameters_by_name_only}
        for name, value in self.environment_parameters.items():
            found[name] = values[value.name] if isinstance(value, PipelineParameter) else str(value)
        return {parameter_variable(name): str(value) for name, value in found.items() if value is not None}


_NOT_TEXT = frozenset({ParameterType.DATAPATH, ParameterType.DATASET})


def bind_ports(
    step_type: str,
    step_name: str,
    *,
    inputs: Sequence[Any] | None = None,
    outputs: Sequence[Any] | None = None,
    arguments: Sequence[Any] | None = None,
    params: Mapping[str, Any] | None = None,
) -> Ports:
    """Turn a step's constructor arguments into ports.

    :param step_type: class name of the step, for messages.
    :param step_name: name of the step, for messages.
    :param inputs: what the step reads.
    :param outputs: what the step writes.
    :param arguments: the argument list: text, numbers, data objects, parameters, anything with a text.
    :param params: name to value or PipelineParameter, for ``AML_PARAMETER_<name>`` variables.
    :raises DefinitionError: something in them is wrong; one line that names step, argument and remedy.
    """
    label = f"{step_type} {step_name!r}"
    binder = Binder(label)
    for place, value in enumerate(_listed(label, "inputs", inputs)):
        binder.add_input(value, f"{label}: argument inputs[{place}]")
    for place, value in enumerate(_listed(label, "outputs", outputs)):
        binder.add_output(value, f"{label}: argument outputs[{place}]")
    for place, value in enumerate(_listed(label, "arguments", arguments)):
        binder.add_argument(value, f"{label}: argument arguments[{place}]")
    variables = _checked_params(label, params)
    binder.parameters += [value for value in variables.values() if isinstance(value, PipelineParameter)]
    binder.settle_names()
    tokens = binder.tokens()
    parameters: dict[str, PipelineParameter] = {}
    merge_parameters(label, parameters, binder.parameters)
    _refuse_variable_clash(label, [*parameters_of(tokens), *_texts(parameters)], variables)
    return Ports(
        inputs=binder.input_ports(),
        outputs=binder.output_ports(),
        arguments=tokens,
        parameters=parameters,
        environment_parameters=variables,
    )


def _texts(parameters: Mapping[str, PipelineParameter]) -> list[str]:
    return [name for name, parameter in parameters.items() if parameter.type not in _NOT_TEXT]


def _listed(label: str, argument: str, values: Sequence[Any] | None) -> Sequence[Any]:
    if values is None:
        return ()
    if not isinstance(values, list | tuple):
        raise DefinitionError(f"{label}: argument {argument} is {kind_of(values)}; give a list")
    return values


def _checked_params(label: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
    if params is None:
        return {}
    if not isinstance(params, Mapping):
        raise DefinitionError(f"{label}: argument params is {kind_of(params)}; give a dict of name to value")
    for name, value in params.items():
        if not name or name != str(name):
            raise DefinitionError(f"{label}: argument params has the key {name!r}; use text")
        if isinstance(value, PipelineParameter) and value.type in _NOT_TEXT:
            raise DefinitionError(
                f"{label}: argument params[{name!r}] is a {value.type} parameter; put it into inputs, with a binding"
            )
    return dict(params)


def _refuse_variable_clash(label: str, parameters: Iterable[str], variables: Mapping[str, Any]) -> None:
    """Raise if two different values would share one ``AML_PARAMETER_…`` variable."""
    owners: dict[str, tuple[str, str]] = {}
    wanted = [(name, ("pipeline parameter", name)) for name in dict.fromkeys(parameters)]
    for name, value in variables.items():
        is_parameter = isinstance(value, PipelineParameter)
        wanted.append((name, ("pipeline parameter", value.name) if is_parameter else ("params entry", name)))
    for name, owner in wanted:
        known = owners.setdefault(parameter_variable(name), owner)
        if known != owner:
            raise DefinitionError(
                f"{label}: argument params: {known[0]} {known[1]!r} and {owner[0]} {owner[1]!r} both become the variable "
                f"{parameter_variable(name)}; rename one"
            )
