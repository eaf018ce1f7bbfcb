"""Data between steps, as a DAG file declares it.

v1 source: ``azureml.pipeline.core`` (PipelineData, InputPortBinding, OutputPortBinding). Nothing here touches data;
steps turn these objects into ports (:mod:`airflow_azureml.model.ports`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_azureml.model import names
from airflow_azureml.model.identity import OutputIdentity
from airflow_azureml.model.paths import (
    CONSUMPTION_MODES,
    DATA_PLACEHOLDER,
    DataPath,
    DataPathComputeBinding,
    DataReference,
    check_choice,
    datastore_name,
)
from airflow_azureml.runtime.exceptions import DefinitionError

if TYPE_CHECKING:
    from airflow_azureml.model.pipeline_dataset import PipelineOutputFileDataset

__all__ = [
    "DataPath",
    "DataPathComputeBinding",
    "DataReference",
    "InputPortBinding",
    "OutputPortBinding",
    "PipelineData",
]

_OUTPUT_MODES = ("mount", "upload")


class PipelineData:
    """Data that one step writes and others read.

    :param name: letters, digits and underscores.
    :param datastore: where it is kept; None for the pipeline's default datastore.
    :param output_name: name of the port and of the script's variable, ``name`` if not given.
    :param output_mode: ``mount``, or ``upload`` from ``output_path_on_compute``.
    :param output_path_on_compute: where the script writes in upload mode.
    :param output_overwrite: whether an upload replaces existing files.
    :param data_type: free label of the content.
    :param is_directory: whether it is a folder, None if the script decides.
    :param pipeline_output_name: name under which the pipeline run offers it.
    :param training_output: for v1's AutoML and HyperDrive steps only; must be None.
    :raises DefinitionError: bad name or mode. v1 source: ``azureml.pipeline.core.PipelineData``.
    """

    def __init__(
        self,
        name: str,
        datastore: object = None,
        output_name: str | None = None,
        output_mode: str = "mount",
        output_path_on_compute: str | None = None,
        output_overwrite: bool | None = None,
        data_type: str | None = None,
        is_directory: bool | None = None,
        pipeline_output_name: str | None = None,
        training_output: object = None,
    ) -> None:
        self.name = names.check_output_name("PipelineData", "name", name)
        owner = f"PipelineData {name!r}"
        self.output_name = names.check_output_name(owner, "output_name", output_name or name)
        self.output_mode = check_choice(owner, "output_mode", output_mode, _OUTPUT_MODES)
        if training_output is not None:
            raise DefinitionError(
                f"{owner}: argument training_output is for AutoML and HyperDrive steps, which don't exist here; leave it out"
            )
        self.datastore = datastore
        self.datastore_name = datastore_name(owner, datastore)
        self.output_path_on_compute = output_path_on_compute
        self.output_overwrite = output_overwrite
        self.data_type = data_type
        self.is_directory = is_directory
        self.pipeline_output_name = pipeline_output_name
        self.origin = OutputIdentity(self.output_name, "PipelineData")

    @property
    def arg_val(self) -> str:
        """Text that a step replaces by the local path, alone or inside a longer argument."""
        return DATA_PLACEHOLDER + self.output_name

    def get_env_variable_name(self) -> str:
        """Return the name of the environment variable that holds the path while a step runs."""
        return DATA_PLACEHOLDER[1:] + self.output_name

    def as_dataset(self) -> PipelineOutputFileDataset:
        """Return the same output as a file dataset, to register it, name it or parse its files."""
        from airflow_azureml.model.pipeline_dataset import PipelineOutputFileDataset

        return PipelineOutputFileDataset(self)

    def as_input(self, input_name: str) -> InputPortBinding:
        """Return an input of another name.

        :param input_name: name of the input port.
        """
        return self.create_input_binding(input_name)

    def as_mount(self, input_name: str | None = None) -> InputPortBinding:
        """Return an input that is mounted.

        :param input_name: name of the input port, this output's name if not given.
        """
        return self.create_input_binding(input_name, "mount")

    def as_download(
        self,
        input_name: str | None = None,
        path_on_compute: str | None = None,
        overwrite: bool | None = None,
    ) -> InputPortBinding:
        """Return an input that is downloaded.

        :param input_name: name of the input port, this output's name if not given.
        :param path_on_compute: where to.
        :param overwrite: whether files already there are replaced.
        """
        return self.create_input_binding(input_name, "download", path_on_compute, overwrite)

    def create_input_binding(
        self,
        input_name: str | None = None,
        mode: str | None = None,
        path_on_compute: str | None = None,
        overwrite: bool | None = None,
    ) -> InputPortBinding:
        """Return an input that reads this output.

        :param input_name: name of the input port, this output's name if not given.
        :param mode: ``mount`` (default), ``download`` or ``direct``.
        :param path_on_compute: where the script finds it.
        :param overwrite: whether files already there are replaced.
        """
        return InputPortBinding(
            input_name or self.output_name, self, mode or "mount", path_on_compute, overwrite
        )

    def __str__(self) -> str:
        """Return :attr:`arg_val`, so that text formatting works on it."""
        return self.arg_val

    def __repr__(self) -> str:
        """Return the constructor's call with the name."""
        return f"PipelineData({self.name!r})"


class InputPortBinding:
    """Something that a step reads, under a name and in a mode.

    :param name: name of the input port.
    :param bind_object: PipelineData, OutputPortBinding, DataReference or another input object.
    :param bind_mode: ``mount``, ``download`` or ``direct``.
    :param path_on_compute: where the script finds it.
    :param overwrite: whether files already there are replaced.
    :param is_resource: not supported, must be False: resource files belong into ``source_directory``.
    :param additional_transformations: v1's internal data preparation, must be None.
    :raises DefinitionError: bad name or mode, nothing bound. v1 source: ``azureml.pipeline.core.InputPortBinding``.
    """

    def __init__(
        self,
        name: str,
        bind_object: object = None,
        bind_mode: str = "mount",
        path_on_compute: str | None = None,
        overwrite: bool | None = None,
        is_resource: bool = False,
        additional_transformations: object = None,
    ) -> None:
        self.name = names.check_output_name("InputPortBinding", "name", name)
        owner = f"InputPortBinding {name!r}"
        if bind_object is None:
            raise DefinitionError(
                f"{owner}: argument bind_object is None; give a PipelineData or a DataReference"
            )
        if is_resource or additional_transformations is not None:
            raise DefinitionError(
                f"{owner}: arguments is_resource and additional_transformations are not supported; "
                "put resource files into source_directory"
            )
        self.bind_object = bind_object
        self.bind_mode = check_choice(owner, "bind_mode", bind_mode, CONSUMPTION_MODES)
        self.path_on_compute = path_on_compute
        self.overwrite = overwrite

    @property
    def arg_val(self) -> str:
        """Text that a step replaces by the local path, alone or inside a longer argument."""
        return DATA_PLACEHOLDER + self.name

    def get_env_variable_name(self) -> str:
        """Return the name of the environment variable that holds the path while a step runs."""
        return DATA_PLACEHOLDER[1:] + self.name

    def __str__(self) -> str:
        """Return :attr:`arg_val`, so that text formatting works on it."""
        return self.arg_val


class OutputPortBinding(PipelineData):
    """Something that a step writes: v1's lower-level form of PipelineData.

    :param name: letters, digits and underscores.
    :param datastore: where it is kept; None for the pipeline's default datastore.
    :param output_name: name of the port, ``name`` if not given.
    :param bind_mode: ``mount`` or ``upload``.
    :param path_on_compute: where the script writes in upload mode.
    :param is_directory: whether it is a folder, None if the script decides.
    :param overwrite: whether an upload replaces existing files.
    :param data_type: free label of the content.
    :param pipeline_output_name: name under which the pipeline run offers it.
    :param training_output: must be None.
    :raises DefinitionError: bad name or mode. v1 source: ``azureml.pipeline.core.OutputPortBinding``.
    """

    def __init__(
        self,
        name: str,
        datastore: object = None,
        output_name: str | None = None,
        bind_mode: str = "mount",
        path_on_compute: str | None = None,
        is_directory: bool | None = None,
        overwrite: bool | None = None,
        data_type: str | None = None,
        pipeline_output_name: str | None = None,
        training_output: object = None,
    ) -> None:
        super().__init__(
            name,
            datastore,
            output_name,
            bind_mode,
            path_on_compute,
            overwrite,
            data_type,
            is_directory,
            pipeline_output_name,
            training_output,
        )
