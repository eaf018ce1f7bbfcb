"""Outputs that become datasets.

v1 source: ``azureml.data.output_dataset_config`` (OutputFileDatasetConfig, OutputTabularDatasetConfig). Every method
returns a copy; all copies stand for the same output of the same step.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Self

from airflow_azureml.model import names, reading
from airflow_azureml.model.datasets import consume
from airflow_azureml.model.identity import OutputIdentity
from airflow_azureml.model.paths import datastore_name, relative_path
from airflow_azureml.runtime.exceptions import DefinitionError

__all__ = [
    "OUTPUT_DATASET_PLACEHOLDER",
    "OutputDatasetConfig",
    "OutputFileDatasetConfig",
    "OutputTabularDatasetConfig",
    "registration",
    "render_destination",
]

OUTPUT_DATASET_PLACEHOLDER = "DatasetOutputConfig:"
"""Starts the text that stands for the folder of such an output inside an argument."""

DEFAULT_DESTINATION = "dataset/{run-id}/{output-name}"


def render_destination(template: str | None, *, run_id: str, output_name: str) -> str:
    """Return the path on the datastore that a destination means for one step run.

    :param template: the destination's path; None for v1's default, a folder of the run's own. Only ``{run-id}`` and
        ``{output-name}`` are replaced; a path without them is fixed, and later runs overwrite it.
    :param run_id: id of the step run.
    :param output_name: the output's name at its step.
    """
    path = DEFAULT_DESTINATION if template is None else template
    return path.replace("{run-id}", run_id).replace("{output-name}", output_name)


def registration(
    owner: str,
    name: object,
    *,
    description: str | None = None,
    tags: Mapping[str, str] | None = None,
    create_new_version: bool = True,
) -> dict[str, Any]:
    """Return what is kept about registering an output when its step has succeeded.

    :param owner: what is registered, for the message.
    :param name: the dataset's name.
    :param description: free text.
    :param tags: text to text.
    :param create_new_version: whether a taken name gets one version more.
    :raises DefinitionError: the name is empty.
    """
    if not isinstance(name, str) or not name.strip():
        raise DefinitionError(f"{owner}: the name to register is {name!r}; give it a name")
    return {
        "name": name,
        "description": description,
        "tags": {str(key): str(value) for key, value in (tags or {}).items()},
        "create_new_version": create_new_version,
    }


class OutputDatasetConfig:
    """What OutputFileDatasetConfig and OutputTabularDatasetConfig share: one output of one step.

    :param name: letters, digits and underscores; None for a name by its place among the step's outputs.
    :param destination: ``(datastore, path)``, a datastore, or None for the default one.
    :param source: where the script writes, None for a place of the run's choosing.
    :param read: how the files are read as a dataset.
    """

    def __init__(
        self, name: str | None, destination: object, source: str | None, read: reading.Reading
    ) -> None:
        kind = type(self).__name__
        if name is not None:
            names.check_output_name(kind, "name", name)
        self.origin = OutputIdentity(name, kind)
        self.destination = destination
        self.datastore_name, self.path_on_datastore = _destination(self.origin.description, destination)
        self.source = None if source is None else str(source)
        self.mode = "mount"
        self.overwrite: bool | None = None
        self.source_globs: list[str] | None = None
        self.register: dict[str, Any] | None = None
        self.read = read

    @property
    def name(self) -> str | None:
        """The output's name; an unnamed one gets its name from its place among the outputs of its step."""
        return self.origin.port_name

    @property
    def arg_val(self) -> str:
        """Text that a step replaces by the local folder, alone or inside a longer argument."""
        return OUTPUT_DATASET_PLACEHOLDER + self.origin.placeholder

    def as_mount(self, disable_metadata_cache: bool = False) -> Self:
        """Return a copy that is written in place.

        :param disable_metadata_cache: v1's file system had such a cache; nothing to switch off here.
        """
        del disable_metadata_cache
        return self._copy(mode="mount", overwrite=None, source_globs=None)

    def as_upload(self, overwrite: bool = False, source_globs: str | list[str] | None = None) -> Self:
        """Return a copy whose files are uploaded when the script has ended.

        :param overwrite: whether files already at the destination are replaced.
        :param source_globs: which files, relative to the source; None for all.
        """
        globs = [source_globs] if isinstance(source_globs, str) else source_globs
        return self._copy(
            mode="upload", overwrite=overwrite, source_globs=None if globs is None else list(globs)
        )

    def register_on_complete(
        self, name: str, description: str | None = None, tags: Mapping[str, str] | None = None
    ) -> Self:
        """Return a copy that is registered as a new version of a dataset when its step has succeeded.

        :param name: the dataset's name.
        :param description: free text.
        :param tags: text to text.
        :raises DefinitionError: the name is empty.
        """
        return self._copy(
            register=registration(self.origin.description, name, description=description, tags=tags)
        )

    def _as_input(self, name: str | None, mode: str) -> Any:
        # Without a name the input is called like the output: the same in every process. v1 drew a random one, and
        # its steps were never reused.
        return consume(name or self.origin.placeholder, self, mode)

    def _copy(self, **changes: Any) -> Self:
        clone = copy.copy(self)
        for attribute, value in changes.items():
            setattr(clone, attribute, value)
        return clone

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a copy of the declaration; the output it stands for stays the same."""
        return self._copy(source_globs=copy.deepcopy(self.source_globs, memo))

    def __str__(self) -> str:
        """Return :attr:`arg_val`, so that text formatting works on it."""
        return self.arg_val

    def serialize(self) -> str:
        """Return how Airflow shows it among a step's arguments: the same whenever the file is read, named or not."""
        return OUTPUT_DATASET_PLACEHOLDER + (self.origin.port_name or type(self).__name__)

    def __repr__(self) -> str:
        """Return the constructor's call with the name."""
        return f"{type(self).__name__}({self.origin.name!r})"


class OutputFileDatasetConfig(OutputDatasetConfig):
    """A folder that a step writes, known as a file dataset afterwards.

    Put it into ``outputs`` or ``arguments`` of the step that writes it, and itself or its :meth:`as_input` into
    ``inputs`` of steps that read it.

    :param name: letters, digits and underscores; None for a name by its place among the step's outputs.
    :param destination: ``(datastore, path)``, a datastore, or None for the default datastore. ``{run-id}`` and
        ``{output-name}`` in the path are replaced; a path without them is fixed and later runs overwrite it.
    :param source: where the script writes, None for a place of the run's choosing.
    :param partition_format: v1's pattern that makes columns out of paths.
    :raises DefinitionError: bad name or destination.
    """

    def __init__(
        self,
        name: str | None = None,
        destination: object = None,
        source: str | None = None,
        partition_format: str | None = None,
    ) -> None:
        super().__init__(name, destination, source, reading.as_files(partition_format))

    def as_input(self, name: str | None = None) -> Any:
        """Return an input that mounts this output: a DatasetConsumptionConfig.

        :param name: name of the input, this output's name if not given.
        """
        return self._as_input(name, "mount")

    def read_delimited_files(
        self,
        include_path: bool = False,
        separator: str = ",",
        header: object = True,
        partition_format: str | None = None,
        path_glob: str | None = None,
        set_column_types: object = None,
    ) -> OutputTabularDatasetConfig:
        """Return the same output read as a table from delimited text.

        :param include_path: whether a column holds the path of each row's file.
        :param separator: text between columns.
        :param header: True, False or a PromoteHeadersBehavior.
        :param partition_format: v1's pattern that makes columns out of paths.
        :param path_glob: which files, relative to the output.
        :param set_column_types: column name to DataType.
        :raises UserErrorException: an option is wrong.
        """
        options = {"separator": separator, "header": header}
        common = _common(include_path, partition_format, set_column_types)
        return OutputTabularDatasetConfig.of(self, reading.delimited(path_glob, **options, **common))

    def read_parquet_files(
        self,
        include_path: bool = False,
        partition_format: str | None = None,
        path_glob: str | None = None,
        set_column_types: object = None,
    ) -> OutputTabularDatasetConfig:
        """Return the same output read as a table from Parquet files.

        :param include_path: whether a column holds the path of each row's file.
        :param partition_format: v1's pattern that makes columns out of paths.
        :param path_glob: which files, relative to the output.
        :param set_column_types: column name to DataType.
        :raises UserErrorException: an option is wrong.
        """
        common = _common(include_path, partition_format, set_column_types)
        return OutputTabularDatasetConfig.of(self, reading.parquet(path_glob, **common))


class OutputTabularDatasetConfig(OutputDatasetConfig):
    """A folder that a step writes, read as a table; made by ``OutputFileDatasetConfig.read_…_files``."""

    def __init__(self) -> None:
        raise DefinitionError(
            "OutputTabularDatasetConfig: has no constructor of its own; "
            "use OutputFileDatasetConfig(…).read_delimited_files() or read_parquet_files()"
        )

    @classmethod
    def of(cls, files: OutputFileDatasetConfig, read: reading.Reading) -> OutputTabularDatasetConfig:
        """Return an output read in another way.

        :param files: the output.
        :param read: how its files are read.
        """
        table = cls.__new__(cls)
        vars(table).update(vars(files))
        table.read = read
        return table

    def as_input(self, name: str | None = None) -> Any:
        """Return an input that opens this output as a table: a DatasetConsumptionConfig in direct mode.

        :param name: name of the input, this output's name if not given.
        """
        return self._as_input(name, "direct")

    def keep_columns(self, columns: str | list[str]) -> Self:
        """Return a copy of some columns.

        :param columns: a column's name or a list of them.
        """
        return self._copy(read=reading.keeping(self.read, columns))

    def drop_columns(self, columns: str | list[str]) -> Self:
        """Return a copy without some columns.

        :param columns: a column's name or a list of them.
        """
        return self._copy(read=reading.dropping(self.read, columns))

    def random_split(self, percentage: float, seed: int | None = None) -> tuple[Self, Self]:
        """Return two copies that share the rows between them.

        :param percentage: about how much the first one gets, 0 to 1.
        :param seed: None for one that follows from the reading, the same at every parse.
        """
        first, second = reading.splitting(self.read, percentage, seed)
        return self._copy(read=first), self._copy(read=second)


def _common(include_path: bool, partition_format: str | None, set_column_types: object) -> dict[str, Any]:
    return {
        "include_path": include_path,
        "partition_format": partition_format,
        "set_column_types": set_column_types,
    }


def _destination(owner: str, destination: object) -> tuple[str | None, str | None]:
    """Return datastore name and path template, None where the default holds."""
    if not isinstance(destination, tuple):
        return datastore_name(owner, destination), None
    if len(destination) != 2:
        raise DefinitionError(f"{owner}: argument destination is {destination!r}; give (datastore, path)")
    datastore, path = destination
    return datastore_name(owner, datastore), relative_path(owner, "destination", path) or None
