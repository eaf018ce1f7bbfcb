"""What may stand in a step's ``outputs``, turned into an output port."""

from __future__ import annotations

from dataclasses import replace

from airflow_azureml.model import names
from airflow_azureml.model.data import InputPortBinding, PipelineData
from airflow_azureml.model.datasets import is_consumption, is_dataset
from airflow_azureml.model.output_dataset import OutputDatasetConfig
from airflow_azureml.model.paths import DataReference
from airflow_azureml.model.pipeline_dataset import PipelineOutputDataset
from airflow_azureml.model.port_types import OutputPort
from airflow_azureml.model.transfer_output import TransferOutput
from airflow_azureml.runtime.exceptions import DefinitionError

__all__ = ["output_port", "overlaid"]


def output_port(value: object, where: str) -> OutputPort:
    """Return the output that an object in a step's ``outputs`` or ``arguments`` declares.

    :param value: the object.
    :param where: step and argument, for the message: ``PythonScriptStep 'train': argument outputs[0]``.
    :raises DefinitionError: it can't be an output; the message says what to write instead.
    """
    if isinstance(value, TransferOutput):
        port = replace(_pipeline_data(value), kind="transfer", path=value.path_on_datastore)
    elif isinstance(value, PipelineData):
        port = _pipeline_data(value)
    elif isinstance(value, PipelineOutputDataset):
        port = replace(_pipeline_data(value.pipeline_data), register=value.registration, read=value.read)
    elif isinstance(value, OutputDatasetConfig):
        port = _output_dataset(value)
    else:
        raise DefinitionError(_refusal(value, where))
    problem = names.port_name_problem(port.name)
    if problem is not None:
        raise DefinitionError(f"{where} has the name {problem}")
    return port


def overlaid(port: OutputPort, again: OutputPort) -> OutputPort:
    """Return a port with what a second mention of the same output says beyond it.

    ``outputs=[out], arguments=["--out", out.as_upload()]`` is one output in upload mode, as its author reads it.

    :param port: the output as ``outputs`` has it.
    :param again: the output as ``arguments`` has it.
    """
    blank = OutputPort(again.name, again.kind)
    said = {
        name: getattr(again, name)
        for name in ("mode", "source", "source_globs", "overwrite", "register")
        if getattr(again, name) != getattr(blank, name)
    }
    # A reading as a table says more than the reading as files that every such output starts with.
    if again.read is not None and again.read["kind"] == "tabular":
        said["read"] = again.read
    return replace(port, **said)


def _pipeline_data(data: PipelineData) -> OutputPort:
    return OutputPort(
        name=data.output_name,
        kind="pipeline_data",
        datastore=data.datastore_name,
        mode=data.output_mode,
        path_on_compute=data.output_path_on_compute,
        overwrite=data.output_overwrite,
        is_directory=data.is_directory,
        pipeline_output_name=data.pipeline_output_name,
        origin=data.origin,
    )


def _output_dataset(config: OutputDatasetConfig) -> OutputPort:
    return OutputPort(
        name=config.origin.placeholder,
        kind="file_dataset",
        datastore=config.datastore_name,
        path=config.path_on_datastore,
        mode=config.mode,
        source=config.source,
        register=config.register,
        source_globs=None if config.source_globs is None else tuple(config.source_globs),
        overwrite=config.overwrite,
        read=config.read,
        is_directory=True,
        generated_name=config.origin.name is None,
        origin=config.origin,
    )


def _refusal(value: object, where: str) -> str:
    found = f"the text {value!r}" if isinstance(value, str) else names.kind_of(value)
    advice = "give a PipelineData or an OutputFileDatasetConfig"
    if is_dataset(value) or is_consumption(value) or isinstance(value, InputPortBinding | DataReference):
        advice = f"that is something to read; put it into inputs, and {advice} here"
    return f"{where} is {found}; {advice}"
