"""The files of a run, and models made of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, BinaryIO, Mapping, Sequence

from airflow_azureml.runtime import service
from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.runtime.files import download_to, files_below
from airflow_azureml.runtime.run_base import RunBase

if TYPE_CHECKING:
    from airflow_azureml.runtime.model import Model


class RunFiles(RunBase):
    """Uploading, listing and downloading (``azureml.core.Run``).

    What a script leaves in ``./outputs`` and ``./logs`` becomes files of the run without being uploaded, and counts as
    such from the moment it is there. Uploading a name again replaces the file.
    """

    def upload_file(
        self, name: str, path_or_stream: str | os.PathLike[str] | BinaryIO, datastore_name: str | None = None
    ) -> None:
        """Upload a file.

        :param name: its name among the run's files, with ``/`` for folders.
        :param path_or_stream: a file, or a binary stream.
        :param datastore_name: accepted as in v1; files of a run are kept with the run.
        :raises UserErrorException: no such file, or a name that cannot be.
        """
        if not isinstance(path_or_stream, (str, os.PathLike)):
            self._call("upload", path_or_stream, name=name)
            return
        path = os.fspath(path_or_stream)
        if not os.path.isfile(path):
            raise UserErrorException(f"upload_file {name!r}: no file {path!r}")
        with open(path, "rb") as file:
            self._call("upload", file, name=name)

    def upload_files(
        self,
        names: Sequence[str],
        paths: Sequence[str],
        return_artifacts: bool = False,
        timeout_seconds: int | None = None,
        datastore_name: str | None = None,
    ) -> None:
        """Upload several files.

        :param names: a name for each path.
        :param return_artifacts: accepted as in v1, as ``timeout_seconds`` and ``datastore_name`` are.
        :raises TypeError: not as many names as paths.
        """
        if len(names) != len(paths):
            raise TypeError(f"upload_files: {len(names)} names for {len(paths)} paths")
        for name, path in zip(names, paths):
            self.upload_file(name, path)

    def upload_folder(self, name: str, path: str, datastore_name: str | None = None) -> None:
        """Upload all files of a folder under ``name/``.

        :raises UserErrorException: no such folder.
        """
        if not os.path.isdir(path):
            raise UserErrorException(f"upload_folder {name!r}: no folder {path!r}")
        for relative, file in files_below(path):
            self.upload_file(f"{name.rstrip('/')}/{relative}", file)

    def get_file_names(self) -> list[str]:
        """Return the names of the run's files."""
        names: list[str] = self._call("list_files")
        return names

    def download_file(self, name: str, output_file_path: str | None = None) -> None:
        """Download one file; it appears whole.

        :param output_file_path: where to; a folder keeps the file's own name; default: the current folder.
        :raises UserErrorException: the run has no such file.
        """
        target = os.path.basename(name) if output_file_path is None else os.fspath(output_file_path)
        if os.path.isdir(target):
            target = os.path.join(target, os.path.basename(name))
        download_to(target, "run.download", run=self._id, name=name)

    def download_files(
        self,
        prefix: str | None = None,
        output_directory: str | None = None,
        output_paths: Sequence[str] | None = None,
        batch_size: int = 100,
        append_prefix: bool = True,
        timeout_seconds: int | None = None,
    ) -> None:
        """Download all files, or those below a prefix.

        :param prefix: only files whose names start with it.
        :param output_directory: folder to put them in; default: the current one.
        :param output_paths: a path for each file instead, in the order of ``get_file_names``.
        :param append_prefix: False leaves the prefix out of the paths.
        :raises UserErrorException: not as many ``output_paths`` as files.
        """
        names = [name for name in self.get_file_names() if prefix is None or name.startswith(prefix)]
        if output_paths is not None and len(output_paths) != len(names):
            raise UserErrorException(
                f"download_files: {len(output_paths)} output_paths for {len(names)} files"
            )
        for index, name in enumerate(names):
            kept = name if append_prefix or prefix is None else name[len(prefix) :].lstrip("/")
            relative = kept or os.path.basename(name)
            path = output_paths[index] if output_paths is not None else relative
            download_to(os.path.join(output_directory or ".", path), "run.download", run=self._id, name=name)

    def register_model(
        self,
        model_name: str,
        model_path: str | None = None,
        tags: Mapping[str, Any] | None = None,
        properties: Mapping[str, Any] | None = None,
        model_framework: str | None = None,
        model_framework_version: str | None = None,
        description: str | None = None,
        datasets: Any = None,
        sample_input_dataset: Any = None,
        sample_output_dataset: Any = None,
        resource_configuration: Any = None,
        **kwargs: Any,
    ) -> Model:
        """Register a file or folder of the run as a model, as the next version of that name.

        Inside a step the model becomes visible to others when the step has succeeded.

        :param model_name: name of the model.
        :param model_path: name among the run's files, of a file or a folder; default: the model's name.
        :param datasets: accepted as in v1, as the samples and ``resource_configuration`` are.
        :raises ModelPathNotFoundException: the run has no such file or folder.
        """
        from airflow_azureml.runtime.model import Model, model_options

        record = service.call(
            "run.register_model",
            run=self._id,
            name=model_name,
            path=model_path or model_name,
            **model_options(tags, properties, description, model_framework, model_framework_version),
        )
        return Model.from_record(record)
