"""Datastores of a workspace: names for places where data lies.

Layout::

    registry/datastores/<name>.json    ``schema`` and the fields of :class:`DatastoreRecord`
    registry/default_datastore.json    {"schema", "name"}, when another one was made the default
    datastores/<name>/                 files of the two built-in datastores, when the workspace is a folder
"""

from __future__ import annotations

import re
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_azureml.runtime.exceptions import ConditionFailed, UserErrorException
from airflow_azureml.workspace.documents import read_json, write_json
from airflow_azureml.workspace.names import encode_name
from airflow_azureml.workspace.secrecy import refuse_secrets

if TYPE_CHECKING:
    from airflow_azureml.workspace.store import ObjectStore

BUILT_IN_NAMES = ("workspaceblobstore", "workspacefilestore")
"""What every v1 workspace has, too; the first one is the default datastore."""

LOCAL_TYPE = "Local"
"""Type of a datastore that is a folder; other types are v1's words (``AzureBlob``, ``AzureFile``, …)."""

_FOLDER = "registry/datastores/"
_DEFAULT_KEY = "registry/default_datastore.json"
_CONNECTION_ID = re.compile(r"(?!.*://)[\w#!()\-.:/\\]{1,250}")


@dataclass(frozen=True, slots=True)
class DatastoreRecord:
    """A datastore. Credentials are never part of it: they are in the Airflow connection.

    :param name: its name.
    :param type: what it is, v1's word, or ``Local``.
    :param connection_id: Airflow connection to reach it; None for a folder.
    :param root: absolute path of a folder; None for anything else.
    :param container: container, file system, file share or database in it.
    :param path: folder in the container that paths are relative to.
    :param description: free text.
    :param tags: free texts by name.
    """

    name: str
    type: str
    connection_id: str | None = None
    root: str | None = None
    container: str | None = None
    path: str | None = None
    description: str | None = None
    tags: dict[str, str] = field(default_factory=dict)

    def to_document(self) -> dict[str, Any]:
        """Return the record as it is stored."""
        return {"schema": 1, **asdict(self)}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> DatastoreRecord:
        """Read a record, ignoring fields this version doesn't know."""
        return cls(**{name: document[name] for name in cls.__dataclass_fields__})


class DatastoreRegistry:
    """Datastores of one workspace.

    :param store: the workspace's store; the built-in datastores are folders beside its objects, or temporary
        folders where its objects aren't on a disk.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._temporary: Path | None = None

    def get(self, name: str) -> DatastoreRecord:
        """Return a datastore.

        :raises UserErrorException: no such datastore (v1: the same class); names the ones there are.
        """
        if name in BUILT_IN_NAMES:
            return self._built_in(name)
        document = read_json(self._store, _key(name), None)
        if document is None:
            known = ", ".join(record.name for record in self.list())
            raise UserErrorException(f"no datastore {name!r} in this workspace; there are: {known}")
        return DatastoreRecord.from_document(document)

    def list(self) -> Sequence[DatastoreRecord]:
        """Return all datastores, by name, the built-in ones included."""
        documents = (read_json(self._store, info.key, None) for info in self._store.list(_FOLDER))
        registered = [DatastoreRecord.from_document(found) for found in documents if found is not None]
        built_in = [self._built_in(name) for name in BUILT_IN_NAMES]
        return sorted([*built_in, *registered], key=lambda record: record.name)

    def register(self, record: DatastoreRecord, *, overwrite: bool = False) -> DatastoreRecord:
        """Register a datastore.

        :param overwrite: whether a name that is taken gets this record (v1); the same again is no error.
        :raises UserErrorException: a built-in name; a name that is taken; a record that says neither or both
            of connection and folder, or holds what looks like a credential.
        """
        _check(record)
        if not overwrite:
            try:
                write_json(self._store, _key(record.name), record.to_document(), if_absent=True)
            except ConditionFailed:
                if self.get(record.name) != record:
                    raise UserErrorException(
                        f"datastore name {record.name!r} is taken by another one; "
                        "pass overwrite=True to replace it, or choose another name"
                    ) from None
        else:
            write_json(self._store, _key(record.name), record.to_document())
        return record

    def unregister(self, name: str) -> None:
        """Remove a datastore's record; its data stays.

        :raises UserErrorException: no such datastore, a built-in one, or the default.
        """
        _refuse_built_in(name)
        self.get(name)
        if name == self._default_name():
            raise UserErrorException(f"datastore {name!r} is the default; make another one the default first")
        self._store.delete(_key(name))

    def default(self) -> DatastoreRecord:
        """Return the default datastore."""
        return self.get(self._default_name())

    def set_default(self, name: str) -> None:
        """Make a datastore the default.

        :raises UserErrorException: no such datastore.
        """
        self.get(name)
        write_json(self._store, _DEFAULT_KEY, {"schema": 1, "name": name})

    def root(self, name: str) -> Path:
        """Return the folder of a local datastore, made when it isn't there yet.

        :raises UserErrorException: no such datastore, or one that isn't a folder.
        """
        record = self.get(name)
        if record.root is not None:
            folder = Path(record.root)
        elif name in BUILT_IN_NAMES:
            folder = self._temporary_folder() / name
        else:
            raise UserErrorException(
                f"datastore {name!r} ({record.type}) is reached through connection {record.connection_id!r} "
                "and has no folder on this machine"
            )
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _built_in(self, name: str) -> DatastoreRecord:
        # Never stored: a workspace's folder may be moved, and then its datastores move along.
        folder = self._store.local_path(f"datastores/{name}")
        return DatastoreRecord(name, LOCAL_TYPE, root=None if folder is None else str(folder))

    def _temporary_folder(self) -> Path:
        if self._temporary is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="azureml-datastores-"))
            weakref.finalize(self, shutil.rmtree, self._temporary, ignore_errors=True)
        return self._temporary

    def _default_name(self) -> str:
        name: str = read_json(self._store, _DEFAULT_KEY, {"name": BUILT_IN_NAMES[0]})["name"]
        return name


def _key(name: str) -> str:
    return f"{_FOLDER}{encode_name(name, 'datastore name')}.json"


def _refuse_built_in(name: str) -> None:
    if name in BUILT_IN_NAMES:
        raise UserErrorException(f"datastore {name!r} is built in and stays as it is; choose another name")


def _check(record: DatastoreRecord) -> None:
    _refuse_built_in(record.name)
    what = f"datastore {record.name!r}"
    if (record.connection_id is None) == (record.root is None):
        raise UserErrorException(f"{what}: give connection_id (an Airflow connection) or root (a folder)")
    # The shape of an Airflow connection id; a URI with a password in it hasn't got that shape.
    if record.connection_id is not None and not _CONNECTION_ID.fullmatch(record.connection_id):
        raise UserErrorException(
            f"{what}: connection_id is no id of an Airflow connection; create one and name it"
        )
    if record.root is not None and not Path(record.root).is_absolute():
        raise UserErrorException(f"{what}: root {record.root!r} must be an absolute path")
    refuse_secrets(asdict(record), what)
