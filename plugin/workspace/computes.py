"""Compute targets of a workspace: names for places where steps run.

Layout: ``registry/computes/<name>.json`` with ``schema``, ``name``, ``type`` (v1's word: ``AmlCompute``,
``Databricks``, …, or ``local``), ``properties`` (whatever the type needs; connection ids, never credentials).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_azureml.runtime.exceptions import ComputeTargetException
from airflow_azureml.workspace.documents import read_json, write_json
from airflow_azureml.workspace.names import encode_name
from airflow_azureml.workspace.secrecy import refuse_secrets

if TYPE_CHECKING:
    from airflow_azureml.workspace.store import ObjectStore

_FOLDER = "registry/computes/"
LOCAL = "local"
"""The compute target that every workspace has: the machine of the worker."""


@dataclass(frozen=True, slots=True)
class ComputeRecord:
    """A compute target.

    :param name: its name.
    :param type: what it is.
    :param properties: what its type needs.
    """

    name: str
    type: str
    properties: dict[str, Any] = field(default_factory=dict)


_LOCAL_RECORD = ComputeRecord(LOCAL, LOCAL)


class ComputeRegistry:
    """Compute targets of one workspace.

    :param store: the workspace's store.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def get(self, name: str) -> ComputeRecord:
        """Return a compute target.

        :raises ComputeTargetException: no such target (v1: the same class); names the ones there are.
        """
        if name == LOCAL:
            return _LOCAL_RECORD
        document = read_json(self._store, _key(name), None)
        if document is None:
            known = ", ".join(record.name for record in self.list())
            raise ComputeTargetException(f"no compute target {name!r} in this workspace; there are: {known}")
        return _from_document(document)

    def list(self) -> Sequence[ComputeRecord]:
        """Return all compute targets, by name, the built-in one included."""
        documents = (read_json(self._store, info.key, None) for info in self._store.list(_FOLDER))
        registered = [_from_document(document) for document in documents if document is not None]
        return sorted([_LOCAL_RECORD, *registered], key=lambda record: record.name)

    def register(self, name: str, type: str, properties: Mapping[str, Any] | None = None) -> ComputeRecord:  # noqa: A002 - v1's word
        """Register a compute target or change the one of that name (v1: attaching again updates).

        :raises ComputeTargetException: ``local``, which is built in.
        :raises UserErrorException: a property is or holds a credential.
        """
        _refuse_local(name)
        record = ComputeRecord(name, type, dict(properties or {}))
        refuse_secrets(record.properties, f"compute target {name!r}")
        document = {"schema": 1, "name": name, "type": type, "properties": record.properties}
        write_json(self._store, _key(name), document)
        return record

    def delete(self, name: str) -> None:
        """Remove a compute target's record.

        :raises ComputeTargetException: no such target, or ``local``.
        """
        _refuse_local(name)
        self.get(name)
        self._store.delete(_key(name))


def _key(name: str) -> str:
    return f"{_FOLDER}{encode_name(name, 'compute target name')}.json"


def _refuse_local(name: str) -> None:
    if name == LOCAL:
        raise ComputeTargetException(f"compute target {LOCAL!r} is built in; choose another name")


def _from_document(document: Mapping[str, Any]) -> ComputeRecord:
    return ComputeRecord(document["name"], document["type"], document["properties"])
