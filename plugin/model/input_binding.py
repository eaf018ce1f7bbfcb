"""What may stand in a step's ``inputs``, turned into an input port."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from airflow_azureml.model import names
from airflow_azureml.model.data import InputPortBinding, PipelineData
from airflow_azureml.model.datasets import Consumption, is_consumption, is_dataset
from airflow_azureml.model.identity import OutputIdentity
from airflow_azureml.model.output_dataset import OutputDatasetConfig, OutputTabularDatasetConfig
from airflow_azureml.model.parameters import ParameterType, PipelineParameter
from airflow_azureml.model.paths import CONSUMPTION_MODES, DataPath, DataPathComputeBinding, DataReference
from airflow_azureml.model.pipeline_dataset import PipelineOutputDataset
from airflow_azureml.model.port_types import (
    DatasetSource,
    InputPort,
    OutputSource,
    ParameterSource,
    PathSource,
)
from airflow_azureml.model.sql_reference import SqlDataReference
from airflow_azureml.runtime.dataset.definition import auto_input_name
from airflow_azureml.runtime.exceptions import DefinitionError

__all__ = ["input_port", "is_data_path_pair", "refuse_unbound"]


def is_data_path_pair(value: object) -> bool:
    """Tell whether something is v1's pair of a DataPath, or a parameter of that type, and its binding.

    :param value: anything.
    """
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], DataPathComputeBinding)


def input_port(value: object, where: str, parameters: list[PipelineParameter]) -> InputPort:
    """Return the input that an object in a step's ``inputs`` or ``arguments`` asks for.

    :param value: the object.
    :param where: step and argument, for the message: ``PythonScriptStep 'train': argument inputs[0]``.
    :param parameters: gets the pipeline parameters that the input depends on.
    :raises DefinitionError: it can't be an input; the message says what to write instead.
    """
    port = _port_of(value, where, parameters)
    problem = (names.dataset_name_problem if port.kind == "dataset" else names.port_name_problem)(port.name)
    if problem is not None:
        raise DefinitionError(f"{where} has the name {problem}")
    return port


def refuse_unbound(value: object, where: str) -> None:
    """Raise for objects that people put where their bound form belongs: datasets, paths.

    :param value: the object.
    :param where: step and argument, for the message.
    :raises DefinitionError: it is one of them.
    """
    if is_dataset(value):
        raise DefinitionError(
            f"{where} is {names.kind_of(value)}; give it a name for the script: "
            f'dataset.as_named_input("{_example_name(value.kind)}")'
        )
    if isinstance(value, DataPath):
        raise DefinitionError(
            f"{where} is a DataPath; pair it with its binding: (path, DataPathComputeBinding())"
        )


def _example_name(kind: str) -> str:
    return "raw" if kind == "tabular" else "files"


def _port_of(value: object, where: str, parameters: list[PipelineParameter]) -> InputPort:
    if isinstance(value, PipelineData):
        return InputPort(value.output_name, "mount", OutputSource(value.origin))
    if isinstance(value, InputPortBinding):
        return _bound(value, where, parameters)
    if isinstance(value, PipelineOutputDataset):
        return InputPort(
            value.input_name or value.name,
            value.input_mode,
            OutputSource(value.origin, value.read),
            value.path_on_compute,
            kind="dataset",
        )
    if isinstance(value, OutputDatasetConfig):
        mode = "direct" if isinstance(value, OutputTabularDatasetConfig) else "mount"
        return _output_dataset(value, value.origin.placeholder, mode, None)
    if isinstance(value, DataReference):
        return _reference(value, where)
    if isinstance(value, tuple):
        return _data_path(value, where, parameters)
    if is_consumption(value):
        return _consumption(value, where, parameters)
    refuse_unbound(value, where)
    raise DefinitionError(_refusal(value, where))


def _bound(binding: InputPortBinding, where: str, parameters: list[PipelineParameter]) -> InputPort:
    port = _port_of(binding.bind_object, f"{where}.bind_object", parameters)
    return replace(
        port,
        name=binding.name,
        mode=binding.bind_mode,
        path_on_compute=binding.path_on_compute,
        overwrite=binding.overwrite,
        generated_name=False,
    )


def _output_dataset(
    config: OutputDatasetConfig, name: str, mode: str, path_on_compute: str | None
) -> InputPort:
    return InputPort(
        name,
        mode,
        OutputSource(config.origin, config.read),
        path_on_compute,
        kind="dataset",
        generated_name=_is_placeholder(config.origin, name),
    )


def _is_placeholder(origin: OutputIdentity, name: str) -> bool:
    return origin.name is None and name == origin.placeholder


def _reference(reference: DataReference, where: str) -> InputPort:
    if isinstance(reference, SqlDataReference):
        raise DefinitionError(
            f"{where} is a SqlDataReference, which is for DataTransferStep; read a query as a table: "
            'Dataset.Tabular.from_sql_query((datastore, "select …")).as_named_input("rows")'
        )
    if reference.mode == "upload":
        raise DefinitionError(
            f"{where} is a DataReference in mode 'upload'; an input is mounted or downloaded"
        )
    return InputPort(
        reference.name,
        reference.mode,
        PathSource(reference.datastore_name, reference.path_on_datastore),
        reference.path_on_compute,
        reference.overwrite,
        generated_name=reference.has_generated_name,
    )


def _data_path(pair: tuple[Any, ...], where: str, parameters: list[PipelineParameter]) -> InputPort:
    path, binding = pair if is_data_path_pair(pair) else (None, None)
    if isinstance(path, DataPath):
        return InputPort(
            path.name,
            binding.mode,
            PathSource(path.datastore_name, path.path_on_datastore),
            binding.path_on_compute,
            binding.overwrite,
            generated_name=path.has_generated_name,
        )
    if isinstance(path, PipelineParameter) and path.type is ParameterType.DATAPATH:
        parameters.append(path)
        return InputPort(
            path.name, binding.mode, ParameterSource(path.name), binding.path_on_compute, binding.overwrite
        )
    raise DefinitionError(
        f"{where} is a tuple of {', '.join(type(part).__name__ for part in pair) or 'nothing'}; give (DataPath or "
        "PipelineParameter with a DataPath as default, DataPathComputeBinding)"
    )


def _consumption(config: Consumption, where: str, parameters: list[PipelineParameter]) -> InputPort:
    if config.mode not in CONSUMPTION_MODES:
        raise DefinitionError(
            f"{where} has mode {config.mode!r}; use one of {', '.join(map(repr, CONSUMPTION_MODES))}"
        )
    dataset = config.dataset
    if isinstance(dataset, OutputDatasetConfig):
        port = _output_dataset(dataset, config.name, config.mode, config.path_on_compute)
    else:
        source = _dataset_source(dataset, where, parameters)
        port = InputPort(
            config.name,
            config.mode,
            source,
            config.path_on_compute,
            kind="dataset",
            generated_name=_is_generated(config.name, source),
        )
    if port.dataset_kind == "tabular" and port.mode != "direct":
        raise DefinitionError(
            f"{where} is a tabular dataset in mode {port.mode!r}; a table is opened by the script, leave the mode out"
        )
    return port


def _dataset_source(
    dataset: object, where: str, parameters: list[PipelineParameter]
) -> DatasetSource | ParameterSource:
    if isinstance(dataset, PipelineParameter):
        if dataset.type is not ParameterType.DATASET:
            raise DefinitionError(
                f"{where} reads PipelineParameter {dataset.name!r} of type {dataset.type}; give one with a dataset as default"
            )
        parameters.append(dataset)
        return ParameterSource(dataset.name)
    if is_dataset(dataset):
        return DatasetSource(dict(dataset.definition), _registered(dataset))
    if isinstance(dataset, tuple) and len(dataset) in {2, 3} and isinstance(dataset[1], str):
        reference: dict[str, Any] = {"dataset_name": dataset[1]}
        if len(dataset) == 3 and dataset[2] not in {None, "latest"}:
            reference["version"] = int(dataset[2])
        return DatasetSource(None, reference)
    raise DefinitionError(
        f"{where} reads {names.kind_of(dataset)}; give a dataset, an output or a dataset parameter"
    )


def _registered(dataset: object) -> dict[str, Any] | None:
    name = getattr(dataset, "name", None)
    if not isinstance(name, str):
        return None
    version = getattr(dataset, "version", None)
    return {"dataset_name": name, "version": version} if isinstance(version, int) else {"dataset_name": name}


def _is_generated(name: str, source: DatasetSource | ParameterSource) -> bool:
    if isinstance(source, ParameterSource) or source.definition is None:
        return False
    return name == auto_input_name(source.definition)


def _refusal(value: object, where: str) -> str:
    found = names.kind_of(value) if not isinstance(value, str) else f"the text {value!r}"
    advice = "give a PipelineData, an OutputFileDatasetConfig, a named dataset or a DataReference"
    if isinstance(value, PipelineParameter):
        found = f"PipelineParameter {value.name!r}"
        advice = (
            "a value goes into arguments, a DataPath is paired with a DataPathComputeBinding, "
            "a dataset is named by DatasetConsumptionConfig"
        )
    return f"{where} is {found}; {advice}"
