"""``model.*``: registered models and their files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

from airflow_azureml.runtime.exceptions import ModelNotFoundException, UserErrorException
from airflow_azureml.workspace.run_service_base import (
    Family,
    Reply,
    document,
    keep_model_file,
    model_file_key,
    open_key,
)
from airflow_azureml.workspace.run_state_files import file_name
from airflow_azureml.workspace.versions import VersionedRecords

if TYPE_CHECKING:
    from airflow_azureml.workspace.handle import WorkspaceHandle
    from airflow_azureml.workspace.models import ModelRecord

Document = dict[str, Any]
Labels = list[Any]
"""Tags or properties to look for: names, or ``[name, value]`` pairs."""


class ModelMethods(Family):
    """Methods on models. A step sees what it registered itself; others see it when the step is committed."""

    def get(
        self,
        name: str,
        version: int | None = None,
        tags: Labels | None = None,
        properties: Labels | None = None,
        run_id: str | None = None,
        framework: str | None = None,
    ) -> Document:
        """Return the newest version that meets all conditions."""
        if version is not None or not (tags or properties or run_id or framework):
            return document(self._workspace.models.get(name, version, self._context.viewer))
        found = self._workspace.models.list(name, tags, properties, run_id, viewer_run=self._context.viewer)
        matching = [record for record in found if framework in (None, record.framework)]
        if not matching:
            raise ModelNotFoundException(
                f"no version of model {name!r} in this workspace meets the conditions"
            )
        return document(max(matching, key=lambda record: record.version))

    def list(
        self,
        name: str | None = None,
        tags: Labels | None = None,
        properties: Labels | None = None,
        run_id: str | None = None,
        latest: bool = False,
    ) -> Any:
        """Return the versions that meet all conditions, newest first."""
        found = self._workspace.models.list(name, tags, properties, run_id, latest, self._context.viewer)
        return [document(record) for record in found]

    def upload(self, payload: BinaryIO) -> str:
        """Keep a file for a model to be registered, and return what to call it then."""
        sha256: str = keep_model_file(self._context, payload)["sha256"]
        return sha256

    def register(
        self,
        name: str,
        files: Any,
        tags: dict[str, Any] | None = None,
        properties: dict[str, Any] | None = None,
        description: str | None = None,
        framework: str | None = None,
        framework_version: str | None = None,
    ) -> Document:
        """Register uploaded files as the next version of a model.

        :param files: list of ``{"path": within the model, "upload": what model.upload returned}``.
        """
        if not isinstance(files, list) or not files:
            raise UserErrorException("a model has at least one file")
        record = self._workspace.models.register(
            name,
            [self._uploaded(file) for file in files],
            tags=tags,
            properties=properties,
            description=description,
            framework=framework,
            framework_version=framework_version,
            run_id=self._context.viewer,
            pending_run=self._state.pending_run,
        )
        self._state.add_registration("model", record.name, record.version, record.id)
        return document(record)

    def update(
        self,
        name: str,
        version: int,
        tags: dict[str, Any] | None = None,
        properties: dict[str, Any] | None = None,
        description: str | None = None,
    ) -> Document:
        """Change tags and description of a version, or add properties."""
        record = self._workspace.models.get(name, version, self._context.viewer)
        for key, value in (properties or {}).items():
            if record.properties.get(key, value) != value:
                raise UserErrorException(
                    f"property {key!r} of model {record.id} is {record.properties[key]!r} already; "
                    "properties cannot be changed, use a tag"
                )
        _annotate(self._workspace, record, tags, properties, description)
        return self.get(name, version)

    def download(self, name: str, version: int, path: str) -> Reply:
        """Send one file of a model."""
        record = self._workspace.models.get(name, version, self._context.viewer)
        key = next((file["key"] for file in record.files if file["path"] == path), None)
        if key is None:
            raise ModelNotFoundException(f"model {record.id} has no file {path!r}")
        return Reply(None, open_key(self._context, key))

    def _uploaded(self, file: Any) -> Document:
        if not isinstance(file, dict) or not isinstance(file.get("upload"), str):
            raise UserErrorException("a model's file is {path, upload}")
        sha256 = file["upload"]
        key = model_file_key(sha256)
        info = next((found for found in self._workspace.store.list(key) if found.key == key), None)
        if info is None:
            raise UserErrorException("no such upload")
        return {
            "path": file_name(file.get("path")),
            "key": key,
            "size_bytes": info.size_bytes,
            "sha256": sha256,
        }


def _annotate(
    workspace: WorkspaceHandle,
    record: ModelRecord,
    tags: Document | None,
    properties: Document | None,
    description: str | None,
) -> None:
    changes: Document = {"properties": {**record.properties, **(properties or {})}}
    if tags is not None:
        changes["tags"] = tags
    if description is not None:
        changes["description"] = description
    versions = VersionedRecords(workspace.store, "registry/models/", "model name", workspace.runs)
    versions.annotate(record.name, record.version, lambda notes: {**notes, **changes})
