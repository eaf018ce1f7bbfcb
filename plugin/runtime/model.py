"""``Model``: a registered model and its files (``azureml.core.Model``)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Mapping, Sequence

from airflow_azureml.runtime import service
from airflow_azureml.runtime.exceptions import (
    ModelPathNotFoundException,
    UserErrorException,
    WebserviceException,
)
from airflow_azureml.runtime.files import download_to, files_below

if TYPE_CHECKING:
    from airflow_azureml.runtime.run import Run
    from airflow_azureml.runtime.workspace import Workspace

_DOWNLOADS = "azureml-models"


class Model:
    """A registered model.

    :param workspace: the workspace.
    :param name: its name; or
    :param id: its id, ``name:version``.
    :param tags: only a model that has these: names, or ``[name, value]`` pairs.
    :param properties: likewise.
    :param version: its version; default: the newest.
    :param run_id: only one that this run registered.
    :raises ModelNotFoundException: there is none; it is a ``WebserviceException``, which v1's scripts catch.
    """

    class Framework:
        """v1's names of frameworks."""

        CUSTOM = "Custom"
        ONNX = "Onnx"
        SCIKITLEARN = "ScikitLearn"
        TENSORFLOW = "TensorFlow"
        PYTORCH = "PyTorch"
        MULTI = "Multi"

    def __init__(
        self,
        workspace: Workspace | None,
        name: str | None = None,
        id: str | None = None,
        tags: Sequence[Any] | None = None,
        properties: Sequence[Any] | None = None,
        version: int | str | None = None,
        run_id: str | None = None,
        model_framework: str | None = None,
        **_: Any,
    ) -> None:
        if name is None and id is None:
            raise WebserviceException("Model: give a name or an id")
        if id is not None:
            name, _sep, version = id.rpartition(":")
        self._record: Mapping[str, Any] = service.call(
            "model.get",
            name=name,
            version=_version(version),
            tags=_pairs(tags),
            properties=_pairs(properties),
            run_id=run_id,
            framework=model_framework,
        )
        self._workspace = workspace

    @classmethod
    def from_record(cls, record: Mapping[str, Any], workspace: Workspace | None = None) -> Model:
        """Return the model that a service's record stands for."""
        model = cls.__new__(cls)
        model._record = record  # noqa: SLF001 - its own, without __init__
        model._workspace = workspace  # noqa: SLF001 - its own, without __init__
        return model

    def __repr__(self) -> str:
        return f"Model(name={self.name!r}, version={self.version})"

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Its name."""
        return str(self._record["name"])

    @property
    def version(self) -> int:
        """Its version, from 1 on."""
        return int(self._record["version"])

    @property
    def id(self) -> str:
        """``name:version``."""
        return str(self._record["id"])

    @property
    def url(self) -> str:
        """Where the model is kept."""
        return f"aml://asset/{self.id}"

    @property
    def tags(self) -> dict[str, Any]:
        """Its tags."""
        return dict(self._record.get("tags") or {})

    @property
    def properties(self) -> dict[str, Any]:
        """Its properties."""
        return dict(self._record.get("properties") or {})

    @property
    def description(self) -> str | None:
        """A text about it."""
        return self._record.get("description")

    @property
    def created_time(self) -> str | None:
        """When it was registered, UTC, ISO 8601."""
        return self._record.get("registered_at")

    @property
    def run_id(self) -> str | None:
        """The run that registered it."""
        return self._record.get("run_id")

    @property
    def run(self) -> Run | None:
        """The run that registered it."""
        if self.run_id is None:
            return None
        from airflow_azureml.runtime.run import Run

        return Run.get(self.workspace, self.run_id)

    @property
    def model_framework(self) -> str:
        """The framework given when it was registered."""
        return str(self._record.get("framework") or Model.Framework.CUSTOM)

    @property
    def model_framework_version(self) -> str | None:
        """The framework's version given when it was registered."""
        return self._record.get("framework_version")

    @property
    def workspace(self) -> Workspace:
        """The workspace."""
        if self._workspace is None:
            from airflow_azureml.runtime.workspace import Workspace

            self._workspace = Workspace.here()
        return self._workspace

    def serialize(self) -> dict[str, Any]:
        """Return it as a JSON document."""
        return {
            "id": self.id,
            "name": self.name,
            "version": self.version,
            "tags": self.tags,
            "properties": self.properties,
            "description": self.description,
            "createdTime": self.created_time,
            "runId": self.run_id,
            "framework": self.model_framework,
            "frameworkVersion": self.model_framework_version,
            "url": self.url,
        }

    # -- finding ------------------------------------------------------------------------------------------------

    @staticmethod
    def list(
        workspace: Workspace | None,
        name: str | None = None,
        tags: Sequence[Any] | None = None,
        properties: Sequence[Any] | None = None,
        run_id: str | None = None,
        latest: bool = False,
        **_: Any,
    ) -> list[Model]:
        """Return models, newest first.

        :param name: only of this name.
        :param tags: only those that have these: names, or ``[name, value]`` pairs; ``properties`` likewise.
        :param run_id: only those that this run registered.
        :param latest: only the newest of each name.
        """
        records = service.call(
            "model.list",
            name=name,
            tags=_pairs(tags),
            properties=_pairs(properties),
            run_id=run_id,
            latest=latest,
        )
        return [Model.from_record(record, workspace) for record in records]

    @staticmethod
    def get_model_path(
        model_name: str, version: int | str | None = None, _workspace: Workspace | None = None
    ) -> str:
        """Return a local path of a model, downloaded below ``azureml-models/`` when it isn't there yet.

        :raises ModelNotFoundException: there is no such model.
        """
        model = Model(_workspace, model_name, version=version)
        folder = os.path.join(_DOWNLOADS, model.name, str(model.version))
        target = os.path.join(folder, model._entry_name())
        if not os.path.exists(target):
            model.download(folder, exist_ok=True)
        return target

    # -- making and fetching ------------------------------------------------------------------------------------

    @staticmethod
    def register(
        workspace: Workspace | None,
        model_path: str | os.PathLike[str],
        model_name: str,
        tags: Mapping[str, Any] | None = None,
        properties: Mapping[str, Any] | None = None,
        description: str | None = None,
        datasets: Any = None,
        model_framework: str | None = None,
        model_framework_version: str | None = None,
        child_paths: Sequence[str] | None = None,
        sample_input_dataset: Any = None,
        sample_output_dataset: Any = None,
        resource_configuration: Any = None,
        **_: Any,
    ) -> Model:
        """Register a local file or folder as the next version of a model.

        Inside a step it becomes visible to others when the step has succeeded.

        :param model_path: the file or folder; a folder keeps its name.
        :param child_paths: only these files of the folder.
        :param datasets: accepted as in v1, as the samples and ``resource_configuration`` are.
        :raises ModelPathNotFoundException: there is no such file or folder.
        """
        files = _model_files(os.fspath(model_path), child_paths)
        uploads = []
        for name, path in files:
            with open(path, "rb") as file:
                uploads.append({"path": name, "upload": service.call("model.upload", file)})
        options = model_options(tags, properties, description, model_framework, model_framework_version)
        record = service.call("model.register", name=model_name, files=uploads, **options)
        return Model.from_record(record, workspace)

    def download(self, target_dir: str = ".", exist_ok: bool = False, exists_ok: bool | None = None) -> str:
        """Download the model's files.

        :param target_dir: folder to put them in.
        :param exist_ok: replace what is there.
        :param exists_ok: the same, as older scripts spell it.
        :return: path of the file, or of the folder when it is one.
        :raises WebserviceException: something of that name is there already.
        """
        replace = exist_ok or bool(exists_ok)
        target = os.path.join(target_dir, self._entry_name())
        if os.path.exists(target) and not replace:
            raise WebserviceException(f"Model.download: {target!r} exists; pass exist_ok=True to replace it")
        for file in self._record["files"]:
            path = os.path.join(target_dir, file["path"])
            download_to(path, "model.download", name=self.name, version=self.version, path=file["path"])
        return target

    def delete(self) -> None:
        """Refuse: versions of models are kept.

        :raises WebserviceException: always.
        """
        raise WebserviceException(
            f"model {self.id} cannot be deleted: versions are kept, because runs refer to them"
        )

    def update(
        self,
        tags: Mapping[str, Any] | None = None,
        description: str | None = None,
        properties: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Change what is written on the model.

        :param tags: all its tags from now on.
        :param description: a text about it.
        :param properties: added; existing ones cannot be changed.
        :raises UserErrorException: a property has another value already.
        """
        self._record = service.call(
            "model.update",
            name=self.name,
            version=self.version,
            tags=None if tags is None else _texts(tags),
            properties=None if properties is None else _texts(properties),
            description=description,
        )

    def add_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags; those not named stay."""
        self.update(tags={**self.tags, **tags})

    def remove_tags(self, tags: Sequence[str]) -> None:
        """Remove tags by name."""
        self.update(tags={key: value for key, value in self.tags.items() if key not in set(tags)})

    def add_properties(self, properties: Mapping[str, Any]) -> None:
        """Add properties, for good."""
        self.update(properties=properties)

    def _entry_name(self) -> str:
        # A model is one file or one folder: the first part of its files' paths.
        return str(self._record["files"][0]["path"].split("/")[0])


def model_options(
    tags: Mapping[str, Any] | None,
    properties: Mapping[str, Any] | None,
    description: str | None,
    framework: str | None,
    framework_version: str | None,
) -> dict[str, Any]:
    """Return what is written on a model that is being registered, as parameters of a call."""
    return {
        "tags": _texts(tags or {}),
        "properties": _texts(properties or {}),
        "description": description,
        "framework": framework,
        "framework_version": framework_version,
    }


def _model_files(path: str, child_paths: Sequence[str] | None) -> list[tuple[str, str]]:
    if os.path.isfile(path):
        return [(os.path.basename(path), path)]
    folder = os.path.basename(os.path.abspath(path))
    found = [(f"{folder}/{name}", file) for name, file in files_below(path)]
    if child_paths is not None:
        wanted = {os.path.abspath(os.path.join(path, child)) for child in child_paths}
        found = [(name, file) for name, file in found if os.path.abspath(file) in wanted]
    if not found:
        raise ModelPathNotFoundException(f"Model.register: no file or filled folder {path!r}")
    return found


def _pairs(wanted: Sequence[Any] | Mapping[str, Any] | None) -> list[Any]:
    """Return v1's filters, a list of names and ``[name, value]`` pairs, with texts as values."""
    if isinstance(wanted, Mapping):
        return [[str(key), str(value)] for key, value in wanted.items()]
    return [item if isinstance(item, str) else [str(item[0]), str(item[1])] for item in wanted or ()]


def _version(version: int | str | None) -> int | None:
    if version is None:
        return None
    try:
        return int(version)
    except ValueError as error:
        raise UserErrorException(f"Model: a version is a whole number, found {version!r}") from error


def _texts(values: Mapping[str, Any]) -> dict[str, str | None]:
    return {str(key): None if value is None else str(value) for key, value in values.items()}
