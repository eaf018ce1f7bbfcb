"""Places on datastores that somebody refers to."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from airflow_azureml.runtime.exceptions import AzureMLException
from airflow_azureml.storage.files import FileStore
from airflow_azureml.workspace.handle import WorkspaceHandle

_WILDCARD = re.compile(r"[*?\[]")


class Folders:
    """Where datastores are.

    Two names may mean one folder, or one container, so places are compared by where they are: a path on this machine, or the
    store's URI and a path on it.

    :param workspace: knows the datastores.
    """

    def __init__(self, workspace: WorkspaceHandle) -> None:
        self._workspace = workspace
        self._known: dict[str, Path | FileStore | None] = {}
        self._present: dict[str, frozenset[str] | None] = {}

    def root(self, datastore: str) -> Path | None:
        """Return a datastore's folder; ``None`` when it isn't a folder on this machine, or isn't known."""
        found = self._find(datastore)
        return found if isinstance(found, Path) else None

    def store(self, datastore: str) -> FileStore | None:
        """Return a datastore that is on a store elsewhere; ``None`` for any other one."""
        found = self._find(datastore)
        return None if isinstance(found, Path) else found

    def place(self, document: Mapping[str, Any], field: str) -> str | None:
        """Return the place that a document with a datastore and a path means.

        :param field: name of the field with the path.
        """
        found = self._find(str(document.get("datastore", "")))
        path = document.get(field)
        if found is None or not isinstance(path, str):
            return None
        if isinstance(found, Path):
            return os.path.normpath(f"{found}/{path}")
        return f"{found.uri.rstrip('/')}{posixpath.normpath('/' + path.lstrip('/'))}".rstrip("/")

    def has(self, document: Mapping[str, Any]) -> bool:
        """Whether the folder of an output is there; also when a store can't tell now, so that nobody takes it for gone."""
        store = self.store(str(document.get("datastore", "")))
        if store is None:
            place = self.place(document, "group")
            return place is not None and os.path.lexists(place)
        parent, _, name = str(document.get("group", "")).rpartition("/")
        present = self.folders(store, parent)
        return present is None or name in present

    def folders(self, store: FileStore, parent: str) -> frozenset[str] | None:
        """Return the names of the folders in a folder of a store, asked for once; ``None`` when it can't tell now."""
        key = f"{store.uri}/{parent}"
        if key not in self._present:
            try:
                self._present[key] = frozenset(store.browse(parent).folders)
            except (AzureMLException, OSError):
                self._present[key] = None
        return self._present[key]

    def roots(self) -> Iterator[tuple[str, Path]]:
        """Walk name and folder of the datastores that are folders on this machine, each folder once."""
        seen = set()
        for record in self._workspace.datastores.list():
            root = self.root(record.name)
            if root is not None and root not in seen:
                seen.add(root)
                yield record.name, root

    def stores(self) -> Iterator[tuple[str, FileStore]]:
        """Walk name and store of the datastores that are elsewhere, each store once."""
        seen = set()
        for record in self._workspace.datastores.list():
            store = self.store(record.name)
            if store is not None and store.uri not in seen:
                seen.add(store.uri)
                yield record.name, store

    def _find(self, datastore: str) -> Path | FileStore | None:
        if datastore not in self._known:
            try:
                self._known[datastore] = self._open(datastore)
            except (AzureMLException, OSError):
                self._known[datastore] = None
        return self._known[datastore]

    def _open(self, datastore: str) -> Path | FileStore | None:
        datastores = self._workspace.datastores
        if datastores.is_local(datastore):
            return datastores.root(datastore).resolve()
        return None if datastores.is_database(datastore) else datastores.files(datastore)


class Places:
    """What is referred to on datastores.

    :param folders: where datastores are.
    """

    def __init__(self, folders: Folders) -> None:
        self.folders = folders
        self._groups: set[str] = set()
        self._paths: set[str] = set()
        self._patterns: set[str] = set()

    def add_outputs(self, documents: Iterator[Mapping[str, Any]] | list[Mapping[str, Any]]) -> None:
        """Refer to outputs, by their documents."""
        for document in documents:
            place = self.folders.place(document, "group")
            if place is not None:
                self._groups.add(place)

    def add_path(self, datastore: str, path: str) -> None:
        """Refer to a file or folder; wildcards may be in the path."""
        place = self.folders.place({"datastore": datastore, "path": path}, "path")
        if place is None:
            return
        if self.folders.root(datastore) is None:
            self._add(place)
        else:
            self.add_local(place)

    def add_local(self, path: str) -> None:
        """Refer to a file or folder by its absolute path; wildcards may be in it."""
        self._add(path)
        if _WILDCARD.search(path) is None:
            # Also by where its links lead: folders of datastores are compared that way.
            self._paths.add(os.path.realpath(path))

    def add_definition(self, definition: Any) -> None:
        """Refer to everything that a dataset's definition reads, whatever it is nested in."""
        if isinstance(definition, Mapping):
            if isinstance(definition.get("datastore"), str) and isinstance(definition.get("path"), str):
                self.add_path(definition["datastore"], definition["path"])
            elif isinstance(definition.get("local"), str):
                self.add_local(definition["local"])
            for value in definition.values():
                self.add_definition(value)
        elif isinstance(definition, list | tuple):
            for value in definition:
                self.add_definition(value)

    def cover(self, group: str) -> bool:
        """Whether anything refers to a folder, to something in it, or to something that it is in.

        :param group: its place, see :meth:`Folders.place`.
        """
        if group in self._groups:
            return True
        inside = f"{group}/"
        if any(
            path == group or path.startswith(inside) or group.startswith(f"{path}/") for path in self._paths
        ):
            return True
        return any(inside.startswith(start) or start.startswith(inside) for start in self._patterns)

    def _add(self, place: str) -> None:
        wildcard = _WILDCARD.search(place)
        if wildcard is None:
            self._paths.add(place.rstrip("/"))
        else:
            self._patterns.add(place[: wildcard.start()])
