"""``dataset.*`` and ``datastore.*``: definitions, names, and files on datastores."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from airflow_azureml.model.canonical import digest_of
from airflow_azureml.runtime.dataset.locations import clean_datastore_path
from airflow_azureml.runtime.dataset.resolve import files_document
from airflow_azureml.runtime.exceptions import AzureMLException, UserErrorException
from airflow_azureml.workspace.datastores import LOCAL_TYPE, DatastoreRecord
from airflow_azureml.workspace.hashing import hash_file
from airflow_azureml.workspace.run_service_base import Family, Reply, document

Document = dict[str, Any]
_CHUNK_BYTES = 1 << 20


class DatasetMethods(Family):
    """Methods on datasets; definitions are documents of ``airflow_azureml.runtime.dataset``."""

    def files(self, definition: dict[str, Any]) -> Document:
        """Return the files a definition means, as they lie on this machine."""
        return self._files(definition)

    def save(self, definition: dict[str, Any]) -> str:
        """Keep a definition and return its id."""
        return self._workspace.datasets.save(definition)

    def get(self, id: str) -> Document:  # noqa: A002 - the parameter's name on the wire, v1's word
        """Return the definition of that id."""
        return self._workspace.datasets.get(id)

    def get_by_name(self, name: str, version: int | None = None) -> Document:
        """Return a version of a registered dataset; the newest when none is named."""
        return document(self._workspace.datasets.get_by_name(name, version, self._context.viewer))

    def list(self) -> Any:
        """Return the newest version of every registered dataset."""
        return [document(record) for record in self._workspace.datasets.list(self._context.viewer)]

    def versions(self, name: str) -> Any:
        """Return all versions of a registered dataset, oldest first."""
        return [document(record) for record in self._workspace.datasets.versions(name, self._context.viewer)]

    def register(
        self,
        name: str,
        definition: dict[str, Any],
        description: str | None = None,
        tags: dict[str, Any] | None = None,
        create_new_version: bool = False,
    ) -> Document:
        """Give a definition a name, with a digest of what its files contain now."""
        record = self._workspace.datasets.register(
            name,
            definition,
            fingerprint=self._fingerprint(definition),
            description=description,
            tags=tags,
            create_new_version=create_new_version,
            pending_run=self._state.pending_run,
        )
        self._state.add_registration("dataset", record.name, record.version, record.id)
        return document(record)

    def update(
        self,
        name: str,
        version: int | None = None,
        description: str | None = None,
        tags: dict[str, Any] | None = None,
        add_tags: dict[str, Any] | None = None,
        remove_tags: Any = (),
    ) -> Document:
        """Change description and tags of a version."""
        record = self._workspace.datasets.update(
            name,
            version,
            description=description,
            tags=tags,
            add_tags=add_tags,
            remove_tags=[str(tag) for tag in remove_tags],
            viewer_run=self._context.viewer,
        )
        return document(record)

    def unregister(self, name: str) -> None:
        """Forget all versions of a name; data and saved definitions stay."""
        self._workspace.datasets.unregister(name)

    def _files(self, definition: Document) -> Document:
        scratch = self._state.staging.folder("datasets")
        return files_document(definition, self._workspace.datastores.root, str(scratch))

    def _fingerprint(self, definition: Document) -> str | None:
        try:
            files = self._files(definition)["files"]
            return digest_of([[file["name"], hash_file(file["path"]).sha256] for file in files])
        except (AzureMLException, OSError):
            # Registering doesn't need the data: it may be remote, or not be there yet.
            return None


class DatastoreMethods(Family):
    """Methods on datastores. Paths are relative to a datastore and never leave it."""

    def get(self, name: str) -> Document:
        """Return a datastore."""
        return self._document(self._workspace.datastores.get(name))

    def default(self) -> Document:
        """Return the default datastore."""
        return self._document(self._workspace.datastores.default())

    def list(self) -> Any:
        """Return all datastores."""
        return [self._document(record) for record in self._workspace.datastores.list()]

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
        return self._document(self._workspace.datastores.register(record, overwrite=overwrite))

    def files(self, name: str, prefix: str = "") -> Any:
        """Return the paths of the files below a prefix, sorted."""
        root = self._workspace.datastores.root(name)
        clean = clean_datastore_path(prefix)
        start = _confined(root, clean)
        if start.is_file():
            return [clean]
        if not start.is_dir():
            start = start.parent
        return sorted(path for path in _walk(root, start) if path.startswith(clean))

    def exists(self, name: str, path: str) -> bool:
        """Tell whether there is a file."""
        return _confined(self._workspace.datastores.root(name), clean_datastore_path(path)).exists()

    def upload(self, payload: BinaryIO, name: str, path: str, overwrite: bool = False) -> bool:
        """Write a file, which appears whole; return whether it was written."""
        clean = clean_datastore_path(path)
        if not clean:
            raise UserErrorException("Datastore.upload: the file needs a name")
        target = _confined(self._workspace.datastores.root(name), clean)
        if target.exists() and not overwrite:
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".upload-{uuid.uuid4().hex}")
        try:
            with part.open("xb") as file:
                for chunk in iter(lambda: payload.read(_CHUNK_BYTES), b""):
                    file.write(chunk)
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return True

    def download(self, name: str, path: str) -> Reply:
        """Send a file."""
        target = _confined(self._workspace.datastores.root(name), clean_datastore_path(path))
        if not target.is_file():
            raise UserErrorException(f"datastore {name!r} has no file {path!r}")
        return Reply(None, target.open("rb"))

    def _document(self, record: DatastoreRecord) -> Document:
        return document(record)


def _confined(root: Path, path: str) -> Path:
    """Return a path below a datastore's folder.

    :raises UserErrorException: a link leads out of it.
    """
    target = root / path
    if not target.resolve().is_relative_to(root.resolve()):
        raise UserErrorException(f"{path!r} leads out of the datastore through a link")
    return target


def _walk(root: Path, start: Path) -> Iterator[str]:
    for folder, folders, names in os.walk(start):
        folders.sort()
        for name in names:
            yield Path(folder, name).relative_to(root).as_posix()
