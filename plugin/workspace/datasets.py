"""Datasets of a workspace: saved definitions, and names with versions over them.

Layout::

    registry/datasets/saved/<id>.json    {"schema", "id", "definition"}: a definition by its own content
    registry/datasets/named/<name>/…     versions, see ``versions``

Version record: ``schema``, ``name``, ``version`` (1, 2, …), ``id`` (of the saved definition), ``definition``,
``fingerprint`` (digest of the data's content when it was registered, or null), ``description``, ``tags``,
``registered_at``, ``run_id`` (step run that registered it, or null), ``pending_run`` (the same, when it
counts only once that run is committed).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_azureml.runtime.exceptions import ConditionFailed, UserErrorException
from airflow_azureml.workspace.documents import canonical_json, read_json, utc_now, write_json
from airflow_azureml.workspace.names import encode_name
from airflow_azureml.workspace.versions import VersionedRecords

if TYPE_CHECKING:
    from airflow_azureml.workspace.runs import RunRecords
    from airflow_azureml.workspace.store import ObjectStore

_SAVED = "registry/datasets/saved/"
_NAMED = "registry/datasets/named/"
_ID_NAMESPACE = uuid.UUID("b1b0f0c4-8f4e-5c39-9d8e-0c1f6a2f7d11")

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DatasetRecord:
    """A version of a registered dataset.

    :param name: registered name.
    :param version: 1 for the first one.
    :param id: id of the saved definition (v1 ``dataset.id``).
    :param definition: the definition document.
    :param fingerprint: digest of the data's content at registration, when it was known.
    :param description: free text.
    :param tags: free texts by name.
    :param registered_at: time, ISO 8601, UTC.
    :param run_id: the step run that registered it.
    """

    name: str
    version: int
    id: str
    definition: Document
    fingerprint: str | None
    description: str | None
    tags: dict[str, str]
    registered_at: str
    run_id: str | None

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> DatasetRecord:
        """Read a version record, ignoring fields this version doesn't know."""
        return cls(**{name: document[name] for name in cls.__dataclass_fields__})


def id_of(definition: Mapping[str, Any]) -> str:
    """Return the id of a dataset definition, which is made of its content alone.

    :raises TypeError, ValueError: the definition isn't JSON data.
    """
    return str(uuid.uuid5(_ID_NAMESPACE, canonical_json(definition).decode()))


class DatasetRegistry:
    """Saved and registered datasets of one workspace.

    :param store: the workspace's store.
    :param runs: says which step runs are committed.
    """

    def __init__(self, store: ObjectStore, runs: RunRecords) -> None:
        self._store = store
        self._versions = VersionedRecords(store, _NAMED, "dataset name", runs)

    def save(self, definition: Mapping[str, Any]) -> str:
        """Keep a definition and return its id, which is made of its content alone.

        :raises TypeError, ValueError: the definition isn't JSON data.
        """
        dataset_id = id_of(definition)
        document = {"schema": 1, "id": dataset_id, "definition": definition}
        # Where there is one already it is the same: the id is made of the content.
        with suppress(ConditionFailed):
            write_json(self._store, _saved_key(dataset_id), document, if_absent=True)
        return dataset_id

    def get(self, dataset_id: str) -> Document:
        """Return a saved definition.

        :raises UserErrorException: no dataset of that id was saved (v1: the same class).
        """
        saved = read_json(self._store, _saved_key(dataset_id), None)
        if saved is None:
            raise UserErrorException(f"no dataset with id {dataset_id!r} in this workspace")
        definition: Document = saved["definition"]
        return definition

    def register(
        self,
        name: str,
        definition: Mapping[str, Any],
        *,
        fingerprint: str | None = None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        create_new_version: bool = False,
        pending_run: str | None = None,
    ) -> DatasetRecord:
        """Give a definition a name, or a name a new version.

        Where the latest version is the same definition with the same content already, that version is
        returned and nothing is written, so a script may register at every run.

        :param fingerprint: digest of the data's content; None (not known) counts as unchanged.
        :param create_new_version: whether a name that is taken gets another version (v1).
        :param pending_run: step run that registers; until it is committed only it sees the version.
        :raises UserErrorException: the name is taken and ``create_new_version`` is false (v1).
        """
        dataset_id = self.save(definition)
        present: Document | None = None

        def make(number: int, latest: Document | None) -> Document | None:
            nonlocal present
            present = latest
            if latest is not None and _is_same(latest, dataset_id, fingerprint):
                return None
            if latest is not None and not create_new_version:
                raise UserErrorException(
                    f"dataset name {name!r} is taken by version {latest['version']}, which differs; "
                    "pass create_new_version=True to add a version, or choose another name"
                )
            return {
                "schema": 1,
                "name": name,
                "version": number,
                "id": dataset_id,
                "definition": definition,
                "fingerprint": fingerprint,
                "description": description,
                "tags": dict(tags or {}),
                "registered_at": utc_now(),
                "run_id": pending_run,
                "pending_run": pending_run,
            }

        document = self._versions.add(name, make, pending_run) or present
        return _record(name, None, document)

    def get_by_name(
        self, name: str, version: int | None = None, viewer_run: str | None = None
    ) -> DatasetRecord:
        """Return a version of a registered dataset.

        :param version: its number; None for the latest.
        :param viewer_run: step run that asks: it also sees what it registered itself.
        :raises UserErrorException: no such name or version (v1: the same class).
        """
        if version is None:
            return _record(name, None, self._versions.latest(name, viewer_run))
        return _record(name, version, self._versions.get(name, version, viewer_run))

    def list(self, viewer_run: str | None = None) -> Sequence[DatasetRecord]:
        """Return the latest version of every registered dataset, by name."""
        found = [self._versions.latest(name, viewer_run) for name in sorted(self._versions.names())]
        return [DatasetRecord.from_document(document) for document in found if document is not None]

    def versions(self, name: str, viewer_run: str | None = None) -> Sequence[DatasetRecord]:
        """Return all versions of a registered dataset, oldest first; empty when the name isn't registered."""
        return [DatasetRecord.from_document(found) for found in self._versions.all(name, viewer_run)]

    def update(
        self,
        name: str,
        version: int | None = None,
        *,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        add_tags: Mapping[str, str] | None = None,
        remove_tags: Iterable[str] = (),
        viewer_run: str | None = None,
    ) -> DatasetRecord:
        """Change description and tags of a version; nothing else ever changes.

        v1: ``update``, ``add_tags`` and ``remove_tags`` of a dataset.

        :param description: replaces the description, unless None.
        :param tags: replace all tags, unless None.
        :param add_tags: are set beside the tags there.
        :param remove_tags: names of tags to remove; absent ones are no error.
        :raises UserErrorException: no such name or version.
        """
        record = self.get_by_name(name, version, viewer_run)
        removed = set(remove_tags)

        def change(notes: Document) -> Document:
            kept = notes.get("tags", record.tags) if tags is None else tags
            merged = {**kept, **(add_tags or {})}
            notes["tags"] = {key: value for key, value in merged.items() if key not in removed}
            if description is not None:
                notes["description"] = description
            return notes

        self._versions.annotate(name, record.version, change)
        return self.get_by_name(name, record.version, viewer_run)

    def unregister(self, name: str) -> None:
        """Take a name and all its versions out of the registry; saved definitions and data stay.

        :raises UserErrorException: no such name.
        """
        self.get_by_name(name)
        self._versions.unregister(name)


def _saved_key(dataset_id: str) -> str:
    return f"{_SAVED}{encode_name(dataset_id, 'dataset id')}.json"


def _is_same(latest: Document, dataset_id: str, fingerprint: str | None) -> bool:
    return latest["id"] == dataset_id and fingerprint in (None, latest["fingerprint"])


def _record(name: str, version: int | None, document: Document | None) -> DatasetRecord:
    if document is None:
        wanted = f"dataset {name!r}" if version is None else f"version {version} of dataset {name!r}"
        raise UserErrorException(f"{wanted} isn't registered in this workspace")
    return DatasetRecord.from_document(document)
