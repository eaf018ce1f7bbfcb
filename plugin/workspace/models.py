"""Models of a workspace: names with versions over stored files.

Layout: ``registry/models/<name>/…``, versions as in ``versions``.

Version record: ``schema``, ``name``, ``version`` (1, 2, …), ``files`` (list of ``path`` within the model,
``key`` of the object, ``size_bytes``, ``sha256``), ``tags``, ``properties``, ``description``, ``framework``,
``framework_version``, ``registered_at``, ``run_id`` (step run it came from, or null), ``pending_run`` (step
run whose commit makes it count, or null).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_azureml.runtime.exceptions import ModelNotFoundException
from airflow_azureml.workspace.documents import utc_now
from airflow_azureml.workspace.versions import VersionedRecords

if TYPE_CHECKING:
    from airflow_azureml.workspace.runs import RunRecords
    from airflow_azureml.workspace.store import ObjectStore

Document = dict[str, Any]
LabelFilter = Mapping[str, str] | Iterable[str | Sequence[str]]
"""Tags or properties that must be there: ``["key", ["key", "value"]]`` as in v1, or a dict."""


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """A version of a registered model.

    :param name: registered name.
    :param version: 1 for the first one.
    :param files: ``path`` within the model, ``key`` in the store, ``size_bytes``, ``sha256`` of each file.
    :param tags: free texts by name.
    :param properties: the same, but never changed.
    :param description: free text.
    :param framework: what it was made with (v1 ``model_framework``).
    :param framework_version: that one's version.
    :param registered_at: time, ISO 8601, UTC.
    :param run_id: the step run it came from.
    """

    name: str
    version: int
    files: tuple[Document, ...]
    tags: dict[str, str]
    properties: dict[str, str]
    description: str | None
    framework: str | None
    framework_version: str | None
    registered_at: str
    run_id: str | None

    @property
    def id(self) -> str:
        """``name:version``, as in v1."""
        return f"{self.name}:{self.version}"

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> ModelRecord:
        """Read a version record, ignoring fields this version doesn't know."""
        fields = {name: document[name] for name in cls.__dataclass_fields__}
        return cls(**{**fields, "files": tuple(document["files"])})


class ModelRegistry:
    """Registered models of one workspace.

    :param store: the workspace's store.
    :param runs: says which step runs are committed.
    """

    def __init__(self, store: ObjectStore, runs: RunRecords) -> None:
        self._versions = VersionedRecords(store, "registry/models/", "model name", runs)

    def register(
        self,
        name: str,
        files: Iterable[Mapping[str, Any]],
        *,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        description: str | None = None,
        framework: str | None = None,
        framework_version: str | None = None,
        run_id: str | None = None,
        pending_run: str | None = None,
    ) -> ModelRecord:
        """Register a new version of a model (v1: every registration is one).

        :param files: see :class:`ModelRecord`; the objects are in the store already.
        :param run_id: step run the model came from.
        :param pending_run: step run that registers; until it is committed only it sees the version.
        """
        listed = [dict(file) for file in files]

        def make(number: int, _: Document | None) -> Document:
            return {
                "schema": 1,
                "name": name,
                "version": number,
                "files": listed,
                "tags": dict(tags or {}),
                "properties": dict(properties or {}),
                "description": description,
                "framework": framework,
                "framework_version": framework_version,
                "registered_at": utc_now(),
                "run_id": run_id,
                "pending_run": pending_run,
            }

        return _record(name, None, self._versions.add(name, make, pending_run))

    def get(self, name: str, version: int | None = None, viewer_run: str | None = None) -> ModelRecord:
        """Return a version of a model.

        :param version: its number; None for the latest.
        :param viewer_run: step run that asks: it also sees what it registered itself.
        :raises ModelNotFoundException: no such name or version (v1: ``WebserviceException``, its base).
        """
        if version is None:
            return _record(name, None, self._versions.latest(name, viewer_run))
        return _record(name, version, self._versions.get(name, version, viewer_run))

    def list(
        self,
        name: str | None = None,
        tags: LabelFilter | None = None,
        properties: LabelFilter | None = None,
        run_id: str | None = None,
        latest: bool = False,
        viewer_run: str | None = None,
    ) -> Sequence[ModelRecord]:
        """Return the versions that meet all conditions, newest first (v1 ``Model.list``).

        :param name: of this name only.
        :param tags: with these tags.
        :param properties: with these properties.
        :param run_id: from this step run only.
        :param latest: only the latest version of each name that meets the other conditions.
        :param viewer_run: step run that asks: it also sees what it registered itself.
        """
        names = self._versions.names() if name is None else [name]
        found: list[ModelRecord] = []
        for each in names:
            documents = self._versions.all(each, viewer_run)
            records = [ModelRecord.from_document(document) for document in documents]
            matching = [
                record
                for record in records
                if _has(record.tags, tags)
                and _has(record.properties, properties)
                and run_id in (None, record.run_id)
            ]
            found.extend(matching[-1:] if latest else matching)
        return sorted(found, key=lambda record: (record.registered_at, record.version), reverse=True)


def _has(labels: Mapping[str, str], wanted: LabelFilter | None) -> bool:
    if wanted is None:
        return True
    if isinstance(wanted, Mapping):
        return all(labels.get(key) == value for key, value in wanted.items())
    return all(_has_one(labels, item) for item in wanted)


def _has_one(labels: Mapping[str, str], wanted: str | Sequence[str]) -> bool:
    if isinstance(wanted, str):
        return wanted in labels
    key, *value = wanted
    return key in labels and (not value or labels[key] == value[0])


def _record(name: str, version: int | None, document: Document | None) -> ModelRecord:
    if document is None:
        wanted = f"model {name!r}" if version is None else f"version {version} of model {name!r}"
        raise ModelNotFoundException(f"{wanted} isn't registered in this workspace")
    return ModelRecord.from_document(document)
