"""PipelineData promoted to datasets.

v1 source: ``azureml.pipeline.core.pipeline_output_dataset``. Every method returns a copy; all copies stand for the output
of the PipelineData they come from. Unlike in v1 it makes no difference whether the producer lists the PipelineData or
its promoted form, unless the promoted form registers a dataset.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Self

from airflow_azureml.model import names, reading
from airflow_azureml.model.output_dataset import registration
from airflow_azureml.runtime.exceptions import DefinitionError

if TYPE_CHECKING:
    from airflow_azureml.model.data import PipelineData
    from airflow_azureml.model.identity import OutputIdentity

__all__ = ["PipelineOutputDataset", "PipelineOutputFileDataset", "PipelineOutputTabularDataset"]


class PipelineOutputDataset:
    """What the file and the table form of a promoted PipelineData share.

    :param pipeline_data: the output.
    :param mode: how a step that reads it gets it.
    :param read: how its files are read.
    """

    def __init__(self, pipeline_data: PipelineData, mode: str, read: reading.Reading) -> None:
        self.pipeline_data = pipeline_data
        self.input_name: str | None = None
        self.input_mode = mode
        self.path_on_compute: str | None = None
        self.registration: dict[str, Any] | None = None
        self.read = read

    @property
    def origin(self) -> OutputIdentity:
        """The output it stands for."""
        return self.pipeline_data.origin

    @property
    def name(self) -> str:
        """The output's name."""
        return self.pipeline_data.output_name

    @property
    def arg_val(self) -> str:
        """Text that a step replaces by the path or the dataset's id, alone or inside a longer argument."""
        from airflow_azureml.model.paths import DATA_PLACEHOLDER

        return DATA_PLACEHOLDER + (self.input_name or self.name)

    def as_named_input(self, name: str) -> Self:
        """Return a copy that is an input of that name.

        :param name: name of the input.
        :raises DefinitionError: it is no valid name.
        """
        problem = names.dataset_name_problem(name)
        if problem is not None:
            raise DefinitionError(f"{self.origin.description}: as_named_input: argument name is {problem}")
        return self._copy(input_name=name)

    def register(self, name: str, create_new_version: bool = True) -> Self:
        """Return a copy that is registered when its step has succeeded; list it in that step's ``outputs``.

        :param name: the dataset's name.
        :param create_new_version: whether a taken name gets one version more.
        :raises DefinitionError: the name is empty.
        """
        wanted = registration(self.origin.description, name, create_new_version=create_new_version)
        return self._copy(registration=wanted)

    def _copy(self, **changes: Any) -> Self:
        clone = copy.copy(self)
        for attribute, value in changes.items():
            setattr(clone, attribute, value)
        return clone

    def __str__(self) -> str:
        """Return :attr:`arg_val`, so that text formatting works on it."""
        return self.arg_val


class PipelineOutputFileDataset(PipelineOutputDataset):
    """A PipelineData read as files; made by ``PipelineData.as_dataset()``.

    :param pipeline_data: the output.
    """

    def __init__(self, pipeline_data: PipelineData) -> None:
        super().__init__(pipeline_data, "mount", reading.as_files())

    def as_mount(self, path_on_compute: str | None = None) -> Self:
        """Return a copy that a reading step gets mounted.

        :param path_on_compute: where the script finds it.
        """
        return self._copy(input_mode="mount", path_on_compute=path_on_compute)

    def as_download(self, path_on_compute: str | None = None) -> Self:
        """Return a copy that a reading step gets downloaded.

        :param path_on_compute: where to.
        """
        return self._copy(input_mode="download", path_on_compute=path_on_compute)

    def as_direct(self) -> Self:
        """Return a copy that a reading step gets as a dataset object."""
        return self._copy(input_mode="direct", path_on_compute=None)

    def parse_delimited_files(
        self,
        include_path: bool = False,
        separator: str = ",",
        header: object = True,
        partition_format: str | None = None,
        file_extension: str = "",
        set_column_types: object = None,
        quoted_line_breaks: bool = False,
    ) -> PipelineOutputTabularDataset:
        """Return the same output read as a table from delimited text.

        :param include_path: whether a column holds the path of each row's file.
        :param separator: text between columns.
        :param header: True, False or a PromoteHeadersBehavior.
        :param partition_format: v1's pattern that makes columns out of paths.
        :param file_extension: only files whose names end so.
        :param set_column_types: column name to DataType.
        :param quoted_line_breaks: whether a quoted value may span lines.
        :raises UserErrorException: an option is wrong.
        """
        return PipelineOutputTabularDataset.of(
            self,
            reading.delimited(
                _with_extension(file_extension),
                include_path=include_path,
                separator=separator,
                header=header,
                partition_format=partition_format,
                set_column_types=set_column_types,
                support_multi_line=quoted_line_breaks,
            ),
        )

    def parse_parquet_files(
        self,
        include_path: bool = False,
        partition_format: str | None = None,
        file_extension: str = ".parquet",
        set_column_types: object = None,
    ) -> PipelineOutputTabularDataset:
        """Return the same output read as a table from Parquet files.

        :param include_path: whether a column holds the path of each row's file.
        :param partition_format: v1's pattern that makes columns out of paths.
        :param file_extension: only files whose names end so.
        :param set_column_types: column name to DataType.
        :raises UserErrorException: an option is wrong.
        """
        return PipelineOutputTabularDataset.of(
            self,
            reading.parquet(
                _with_extension(file_extension),
                include_path=include_path,
                partition_format=partition_format,
                set_column_types=set_column_types,
            ),
        )


class PipelineOutputTabularDataset(PipelineOutputDataset):
    """A PipelineData read as a table; made by ``PipelineOutputFileDataset.parse_…_files``. Always a direct input."""

    @classmethod
    def of(cls, files: PipelineOutputFileDataset, read: reading.Reading) -> PipelineOutputTabularDataset:
        """Return a promoted output read in another way.

        :param files: the output.
        :param read: how its files are read.
        """
        table = cls(files.pipeline_data, "direct", read)
        table.input_name = files.input_name
        table.registration = files.registration
        return table

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


def _with_extension(extension: str) -> str | None:
    return f"**/*{extension}" if extension else None
