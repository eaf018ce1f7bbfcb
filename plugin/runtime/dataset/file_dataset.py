"""``FileDataset``: files, wherever they are (v1: ``azureml.data.FileDataset``)."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import TYPE_CHECKING, Any

from airflow_azureml.runtime.dataset import expressions, operations, service_calls
from airflow_azureml.runtime.dataset.abstract import AbstractDataset
from airflow_azureml.runtime.dataset.definition import auto_input_name
from airflow_azureml.runtime.dataset.mounting import MountContext
from airflow_azureml.runtime.exceptions import DatasetValidationError, UserErrorException

if TYPE_CHECKING:
    from airflow_azureml.runtime.dataset.consumption import DatasetConsumptionConfig
    from airflow_azureml.runtime.dataset.resolve import ResolvedFile

_METADATA = ("Size", "LastModifiedTime", "Extension")


class FileDataset(AbstractDataset):
    """One or many files of any kind; made by ``Dataset.File.from_files``."""

    kind = "file"

    def as_mount(self, path_on_compute: str | None = None) -> DatasetConsumptionConfig:
        """Return this dataset as a step's input whose files are shown read-only.

        The input gets a name that follows from the dataset; ``as_named_input`` chooses one.

        :param path_on_compute: where the files appear.
        """
        return self.as_named_input(auto_input_name(self._definition)).as_mount(path_on_compute)

    def as_download(self, path_on_compute: str | None = None) -> DatasetConsumptionConfig:
        """Return this dataset as a step's input whose files are copied; see :meth:`as_mount`."""
        return self.as_named_input(auto_input_name(self._definition)).as_download(path_on_compute)

    def as_hdfs(self) -> DatasetConsumptionConfig:
        """Refuse: there is no HDFS here.

        :raises UserErrorException: always.
        """
        return self.as_named_input(auto_input_name(self._definition)).as_hdfs()

    def to_path(self) -> list[str]:
        """Return the files' paths below the dataset's root, each with a leading ``/``, in order.

        :raises DatasetValidationError: a path is missing or means no file.
        """
        return ["/" + file.name for file in service_calls.listed(self._definition)]

    def download(
        self, target_path: str | None = None, overwrite: bool = False, ignore_not_found: bool = False
    ) -> list[str]:
        """Copy the files and return the absolute paths of the copies, in order.

        :param target_path: the folder; a new temporary one for None.
        :param overwrite: replace files that are there.
        :param ignore_not_found: copy nothing, rather than fail, where there is nothing.
        :raises UserErrorException: a file is there already.
        :raises DatasetValidationError: a path is missing or means no file.
        """
        try:
            files = service_calls.files(self._definition)
        except DatasetValidationError:
            if not ignore_not_found:
                raise
            files = []
        folder = os.path.abspath(tempfile.mkdtemp() if target_path is None else os.fspath(target_path))
        targets = [os.path.join(folder, file.name) for file in files]
        taken = None if overwrite else next(filter(os.path.lexists, targets), None)
        if taken is not None:
            raise UserErrorException("%s exists already; overwrite=True replaces it" % taken)
        os.makedirs(folder, exist_ok=True)
        return [target for file, target in zip(files, targets) if _copied(file, target, ignore_not_found)]

    def mount(self, mount_point: str | None = None) -> MountContext:
        """Return a context manager that shows the files in a folder, read-only.

        ::

            with dataset.mount() as mounted:
                os.listdir(mounted.mount_point)

        :param mount_point: the folder, empty or not there yet; a temporary one for None.
        :raises UserErrorException: the folder holds something.
        """
        return MountContext(lambda: service_calls.files(self._definition), mount_point)

    def filter(self, expression: Any) -> FileDataset:
        """Keep the files whose metadata satisfy a condition: ``ds.filter(ds.file_metadata("Size") > 0)``.

        :raises UserErrorException: it is no condition on :meth:`file_metadata`.
        """
        document = expressions.condition_document(expression)
        unknown = expressions.columns_of(document) - set(_METADATA)
        if unknown:
            raise UserErrorException(
                "files are filtered by %s, not by %r" % (", ".join(_METADATA), sorted(unknown)[0])
            )
        return self._with(operations.filter_items(document))

    def file_metadata(self, col: str) -> expressions.Expression:
        """Return a piece of the files' metadata, for :meth:`filter`.

        :param col: ``Size`` (bytes), ``LastModifiedTime`` (UTC) or ``Extension`` (with its dot).
        :raises UserErrorException: there is no such metadata here.
        """
        if col not in _METADATA:
            raise UserErrorException("the metadata of files are %s, not %r" % (", ".join(_METADATA), col))
        return expressions.column(col)


def _copied(file: ResolvedFile, target: str, ignore_not_found: bool) -> bool:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    # Beside the target and renamed, so that nobody finds half a file there.
    arriving = os.path.join(os.path.dirname(target), ".%s.arriving" % os.path.basename(target))
    try:
        shutil.copyfile(file.path, arriving)
        os.replace(arriving, target)
    except FileNotFoundError as error:
        if not ignore_not_found:
            raise DatasetValidationError("%s is gone" % file.origin) from error
        return False
    return True
