"""``datastore.*``: datastores and the files on them."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from airflow_azureml.runtime.dataset.locations import clean_datastore_path
from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.storage.files import FileStore
from airflow_azureml.workspace.datastore_registration import register
from airflow_azureml.workspace.datastores import LOCAL_TYPE, DatastoreRecord
from airflow_azureml.workspace.run_service_base import Family, Reply, document

Document = dict[str, Any]
_CHUNK_BYTES = 1 << 20


class DatastoreMethods(Family):
    """Methods on datastores. Paths are relative to a datastore and never leave it."""

    def get(self, name: str) -> Document:
        """Return a datastore."""
        return document(self._workspace.datastores.get(name))

    def default(self) -> Document:
        """Return the default datastore."""
        return document(self._workspace.datastores.default())

    def list(self) -> Any:
        """Return all datastores."""
        return [document(record) for record in self._workspace.datastores.list()]

    def set_default(self, name: str) -> None:
        """Make a datastore the default; not inside a step."""
        self._context.refuse_in_step("changing the default datastore")
        self._workspace.datastores.set_default(name)

    def unregister(self, name: str) -> None:
        """Forget a datastore; not inside a step."""
        self._context.refuse_in_step("unregistering a datastore")
        self._workspace.datastores.unregister(name)

    def register_local_folder(
        self,
        name: str,
        root: str,
        overwrite: bool = False,
        description: str | None = None,
        tags: dict[str, Any] | None = None,
    ) -> Document:
        """Register a folder; not inside a step, which could make any folder of the worker readable by it."""
        self._context.refuse_in_step("registering a datastore")
        record = DatastoreRecord(name, LOCAL_TYPE, root=root, description=description, tags=tags or {})
        return document(self._workspace.datastores.register(record, overwrite=overwrite))

    def register(
        self,
        name: str,
        kind: str,
        connection_id: str | None = None,
        container: str | None = None,
        path: str | None = None,
        account: str | None = None,
        claims: dict[str, Any] | None = None,
        overwrite: bool = False,
        create_container: bool = False,
        validate: bool = False,
    ) -> Document:
        """Register a datastore behind a connection; not inside a step, which could reach any connection by it."""
        self._context.refuse_in_step("registering a datastore")
        record = DatastoreRecord(
            name,
            kind,
            connection_id=connection_id,
            container=container,
            path=clean_datastore_path(path or "") or None,
            account=account,
        )
        registered = register(
            self._workspace.datastores,
            record,
            {claim: str(value) for claim, value in (claims or {}).items() if value is not None},
            overwrite=overwrite,
            create_container=create_container,
            validate=validate,
        )
        return document(registered)

    def browse(self, name: str, path: str = "") -> Document:
        """Return one level of a datastore: names of folders, and its files."""
        clean = clean_datastore_path(path)
        level = self._store(name, clean).browse(clean)
        return {"folders": [*level.folders], "files": [asdict(file) for file in level.files]}

    def files(self, name: str, prefix: str = "") -> Any:
        """Return the paths of the files below a prefix, sorted."""
        clean = clean_datastore_path(prefix)
        store = self._store(name, clean)
        if clean and store.stat(clean) is not None:
            return [clean]
        folder = clean if store.is_folder(clean) else clean.rpartition("/")[0]
        return sorted(info.path for info in store.walk(folder) if info.path.startswith(clean))

    def exists(self, name: str, path: str) -> bool:
        """Tell whether there is a file, or a folder where folders exist by themselves."""
        clean = clean_datastore_path(path)
        return _exists(self._store(name, clean), clean)

    def upload(self, payload: BinaryIO, name: str, path: str, overwrite: bool = False) -> bool:
        """Write a file, which appears whole; return whether it was written."""
        clean = clean_datastore_path(path)
        if not clean:
            raise UserErrorException("Datastore.upload: the file needs a name")
        store = self._store(name, clean)
        if not overwrite and _exists(store, clean):
            return False
        with store.writer(clean) as writer:
            for chunk in iter(lambda: payload.read(_CHUNK_BYTES), b""):
                writer.write(chunk)
            writer.close()
        return True

    def download(self, name: str, path: str) -> Reply:
        """Send a file."""
        clean = clean_datastore_path(path)
        store = self._store(name, clean)
        if store.stat(clean) is None:
            raise UserErrorException(f"datastore {name!r} has no file {path!r}")
        if store.local_root is not None:
            return Reply(None, (store.local_root / clean).open("rb"))
        # A whole file first: what sends it needs its size, and a transfer that breaks off must not look like its end.
        part = self._state.staging.folder("downloads") / uuid.uuid4().hex
        try:
            store.get_file(clean, part)
            return Reply(None, part.open("rb"))
        finally:
            # The descriptor keeps the bytes.
            part.unlink(missing_ok=True)

    def _store(self, name: str, path: str) -> FileStore:
        store = self._workspace.datastores.files(name)
        if store.local_root is not None:
            _refuse_to_leave(store.local_root, path)
        return store


def _exists(store: FileStore, path: str) -> bool:
    return store.stat(path) is not None or (store.has_folders and store.is_folder(path))


def _refuse_to_leave(root: Path, path: str) -> None:
    """Refuse a path that leaves a datastore's folder.

    :raises UserErrorException: a link leads out of it.
    """
    if not (root / path).resolve().is_relative_to(root.resolve()):
        raise UserErrorException(f"{path!r} leads out of the datastore through a link")
