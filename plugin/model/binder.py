"""Collects a step's inputs, outputs and arguments, and decides what belongs together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

from airflow_azureml.model.data import InputPortBinding, PipelineData
from airflow_azureml.model.datasets import is_consumption
from airflow_azureml.model.identity import OutputIdentity
from airflow_azureml.model.input_binding import input_port, is_data_path_pair, refuse_unbound
from airflow_azureml.model.output_binding import output_port, overlaid
from airflow_azureml.model.output_dataset import OUTPUT_DATASET_PLACEHOLDER, OutputDatasetConfig
from airflow_azureml.model.parameters import PARAMETER_PLACEHOLDER, ParameterType, PipelineParameter
from airflow_azureml.model.paths import DATA_PLACEHOLDER, DataReference
from airflow_azureml.model.pipeline_dataset import PipelineOutputDataset
from airflow_azureml.model.port_types import InputPort, OutputPort, OutputSource
from airflow_azureml.model.tokens import (
    InputToken,
    Opaque,
    OutputToken,
    ParameterToken,
    Part,
    Text,
    Token,
    tokenise_text,
)
from airflow_azureml.runtime.exceptions import DefinitionError

__all__ = ["Binder"]

INPUT_PLACEHOLDER = "DatasetConsumptionConfig:"
"""Starts the text that stands for a named dataset input inside an argument."""

# One input asked for in two ways gets the way that promises more: an id, then a path, then a copy of one's own.
_STRENGTH = {"direct": 0, "mount": 1, "download": 2}


@dataclass(slots=True)
class _Input:
    """An input on its way; its name may still change, so tokens are made from it at the end."""

    port: InputPort
    asked_name: str
    argument_mode: str | None = None


@dataclass(slots=True)
class _Output:
    port: OutputPort
    asked_name: str


_Argument: TypeAlias = Callable[[], Token]


class Binder:
    """The ports of one step while they are being put together.

    :param label: the step, for messages: ``PythonScriptStep 'train'``.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._inputs: list[_Input] = []
        self._outputs: list[_Output] = []
        self._arguments: list[_Argument] = []
        self.parameters: list[PipelineParameter] = []
        """The parameters met on the way, repeats included."""

    def add_input(self, value: object, where: str) -> None:
        """Take an item of ``inputs``.

        :param value: the item.
        :param where: step and argument, for messages.
        :raises DefinitionError: it is no input, or its name is taken.
        """
        port = input_port(value, where, self.parameters)
        if any(known.asked_name == port.name for known in self._inputs):
            raise DefinitionError(
                f"{where} is named {port.name!r} like another input; give one of them another name"
            )
        self._inputs.append(_Input(port, port.name))

    def add_output(self, value: object, where: str) -> None:
        """Take an item of ``outputs``.

        :param value: the item.
        :param where: step and argument, for messages.
        :raises DefinitionError: it is no output, its name is taken, or the step reads it too.
        """
        port = output_port(value, where)
        if any(known.asked_name == port.name for known in self._outputs):
            raise DefinitionError(
                f"{where} is named {port.name!r} like another output; give one of them another name"
            )
        if self._input_of(port.origin) is not None:
            raise DefinitionError(
                f"{where} is {port.origin.description}, which the step reads too; declare another output for what it writes"
            )
        self._outputs.append(_Output(port, port.name))

    def add_argument(self, value: object, where: str) -> None:
        """Take an item of ``arguments``.

        :param value: the item.
        :param where: step and argument, for messages.
        :raises DefinitionError: it is an object that needs a place in ``inputs`` or ``outputs``, or another form.
        """
        self._arguments.append(self._argument(value, where))

    def settle_names(self) -> None:
        """Give names to what nobody named, and rename inputs called like an output, as v1 did."""
        taken = {output.port.name for output in self._outputs}
        for place, output in enumerate(self._outputs, 1):
            if output.port.generated_name:
                output.port = replace(output.port, name=_free(f"output_{place}", taken))
                output.port.origin.port_name = output.port.name
        inputs = {item.port.name for item in self._inputs}
        for place, item in enumerate(self._inputs, 1):
            if isinstance(item.port.source, OutputSource) and item.port.generated_name:
                item.port = replace(item.port, name=_free(f"input_{place}", inputs | taken))
            if item.port.name in taken:
                item.port = replace(item.port, name=self._renamed(item.port.name, inputs | taken))
            inputs.add(item.port.name)

    def _renamed(self, name: str, taken: Iterable[str]) -> str:
        renamed = f"INPUT_{name}"
        if renamed in taken:
            raise DefinitionError(
                f"{self._label}: input {name!r} is named like an output, and {renamed!r} is taken too; rename the input"
            )
        return renamed

    def input_ports(self) -> tuple[InputPort, ...]:
        """Return the inputs."""
        return tuple(item.port for item in self._inputs)

    def output_ports(self) -> tuple[OutputPort, ...]:
        """Return the outputs."""
        return tuple(output.port for output in self._outputs)

    def tokens(self) -> tuple[Token, ...]:
        """Return the arguments; to be asked for when the names are settled."""
        return tuple(make() for make in self._arguments)

    def _argument(self, value: object, where: str) -> _Argument:
        if isinstance(value, str):
            return self._text(str(value), where)
        if value is None or isinstance(value, bool | int | float):
            text = Text(str(value))
            return lambda: text
        if isinstance(value, PipelineParameter):
            return self._parameter(value, where)
        if isinstance(value, PipelineData):
            return self._port_argument(value.origin, where)
        if isinstance(value, PipelineOutputDataset):
            return self._promoted_argument(value, where)
        if isinstance(value, OutputDatasetConfig):
            return self._config_argument(value, where)
        if isinstance(value, InputPortBinding | DataReference) or is_data_path_pair(value):
            return self._input_argument(value, where, append=False)
        if is_consumption(value):
            return self._input_argument(value, where, append=True)
        refuse_unbound(value, where)
        opaque = Opaque(value)
        return lambda: opaque

    def _text(self, text: str, where: str) -> _Argument:
        if "\0" in text:
            raise DefinitionError(f"{where} has a NUL character in it; no program can be given that")
        return lambda: tokenise_text(text, self._placeholders, where)

    def _parameter(self, parameter: PipelineParameter, where: str) -> _Argument:
        if parameter.type in {ParameterType.DATAPATH, ParameterType.DATASET}:
            form = (
                "(parameter, DataPathComputeBinding())"
                if parameter.type is ParameterType.DATAPATH
                else f'DatasetConsumptionConfig("{parameter.name}", parameter)'
            )
            raise DefinitionError(
                f"{where} is PipelineParameter {parameter.name!r} of type {parameter.type}; bind it: {form}"
            )
        self.parameters.append(parameter)
        token = ParameterToken(parameter.name)
        return lambda: token

    def _port_argument(self, origin: OutputIdentity, where: str) -> _Argument:
        found = self._output_of(origin) or self._input_of(origin)
        if found is None:
            raise DefinitionError(
                f"{where} is {origin.description}, which is neither in inputs nor in outputs; "
                "add it to outputs if the step writes it, to inputs if it reads it"
            )
        return _token_of(found)

    def _promoted_argument(self, dataset: PipelineOutputDataset, where: str) -> _Argument:
        if dataset.input_name is None or self._output_of(dataset.origin) is not None:
            return self._port_argument(dataset.origin, where)
        return self._input_argument(dataset, where, append=False)

    def _config_argument(self, config: OutputDatasetConfig, where: str) -> _Argument:
        read = self._input_of(config.origin)
        if read is not None:
            return _token_of(read)
        port = output_port(config, where)
        known = self._output_of(config.origin)
        if known is None:
            self.add_output(config, where)
            known = self._outputs[-1]
        else:
            known.port = overlaid(known.port, port)
        return _token_of(known)

    def _input_argument(self, value: object, where: str, *, append: bool) -> _Argument:
        port = input_port(value, where, self.parameters)
        known = next((item for item in self._inputs if item.asked_name == port.name), None)
        if known is not None:
            _merge(known, port, where)
        elif append:
            self._refuse_own_output(port, where)
            known = _Input(port, port.name, argument_mode=port.mode)
            self._inputs.append(known)
        else:
            raise DefinitionError(
                f"{where} is the {type(value).__name__} {port.name!r}, which is not in inputs; add it there too"
            )
        return _token_of(known)

    def _refuse_own_output(self, port: InputPort, where: str) -> None:
        if isinstance(port.source, OutputSource) and self._output_of(port.source.origin) is not None:
            raise DefinitionError(
                f"{where} reads {port.source.origin.description}, which the step writes; "
                "pass the output itself, or declare another one"
            )

    def _input_of(self, origin: OutputIdentity) -> _Input | None:
        for item in self._inputs:
            if isinstance(item.port.source, OutputSource) and item.port.source.origin is origin:
                return item
        return None

    def _output_of(self, origin: OutputIdentity) -> _Output | None:
        return next((output for output in self._outputs if output.port.origin is origin), None)

    @cached_property
    def _placeholders(self) -> dict[str, Part]:
        """The text forms of all ports, once their names are settled."""
        found: dict[str, Part] = {}
        for item in self._inputs:
            token = InputToken(item.port.name)
            for name in (item.asked_name, item.port.name):
                found[DATA_PLACEHOLDER + name] = token
                found[INPUT_PLACEHOLDER + name] = token
            if isinstance(item.port.source, OutputSource):
                found.setdefault(OUTPUT_DATASET_PLACEHOLDER + item.port.source.origin.placeholder, token)
        # After the inputs: where an input was renamed, the name that both were called by is the output's.
        for output in self._outputs:
            for name in (output.asked_name, output.port.name):
                found[DATA_PLACEHOLDER + name] = OutputToken(output.port.name)
                found[OUTPUT_DATASET_PLACEHOLDER + name] = OutputToken(output.port.name)
        for parameter in self.parameters:
            found[PARAMETER_PLACEHOLDER + parameter.name] = ParameterToken(parameter.name)
        return found


def _token_of(found: _Input | _Output) -> _Argument:
    if isinstance(found, _Input):
        return lambda: InputToken(found.port.name)
    return lambda: OutputToken(found.port.name)


def _merge(known: _Input, port: InputPort, where: str) -> None:
    """Take what an argument says of an input that is known already."""
    if known.port.source != port.source:
        raise DefinitionError(
            f"{where} is named {port.name!r} like another input; give one of them another name"
        )
    if known.argument_mode not in {None, port.mode}:
        raise DefinitionError(
            f"{where} asks for input {port.name!r} by {port.mode}, another argument by {known.argument_mode}; "
            "give one of them another name"
        )
    known.argument_mode = port.mode
    known.port = replace(
        known.port,
        mode=max(known.port.mode, port.mode, key=_STRENGTH.__getitem__),
        path_on_compute=known.port.path_on_compute if port.path_on_compute is None else port.path_on_compute,
        overwrite=known.port.overwrite if port.overwrite is None else port.overwrite,
    )


def _free(name: str, taken: set[str]) -> str:
    """Return a name that isn't taken, and take it."""
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    taken.add(candidate)
    return candidate
