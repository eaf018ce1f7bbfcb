"""Places on datastores that somebody refers to."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from airflow_azureml.runtime.exceptions import AzureMLException
from airflow_azureml.workspace.handle import WorkspaceHandle

_WILDCARD = re.compile(r"[*?\[]")


class Folders:
    """Where datastores are on this machine.

    Two names may mean one folder, so places are compared by where they are.

    :param workspace: knows the datastores.
    """

    def __init__(self, workspace: WorkspaceHandle) -> None:
        self._workspace = workspace
        self._known: dict[str, Path | None] = {}

    def root(self, datastore: str) -> Path | None:
        """Return a datastore's folder; ``None`` when it isn't a folder on this machine, or isn't known."""
        if datastore not in self._known:
            try:
                self._known[datastore] = self._workspace.datastores.root(datastore).resolve()
            except (AzureMLException, OSError):
                self._known[datastore] = None
        return self._known[datastore]

    def place(self, document: Mapping[str, Any], field: str) -> str | None:
        """Return the absolute path that a document with a datastore and a path means.

        :param field: name of the field with the path.
        """
        root = self.root(str(document.get("datastore", "")))
        path = document.get(field)
        if root is None or not isinstance(path, str):
            return None
        return os.path.normpath(f"{root}/{path}")

    def roots(self) -> Iterator[tuple[str, Path]]:
        """Walk name and folder of the datastores that are folders on this machine, each folder once."""
        seen = set()
        for record in self._workspace.datastores.list():
            root = self.root(record.name)
            if root is not None and root not in seen:
                seen.add(root)
                yield record.name, root


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
        if place is not None:
            self.add_local(place)

    def add_local(self, path: str) -> None:
        """Refer to a file or folder by its absolute path; wildcards may be in it."""
        wildcard = _WILDCARD.search(path)
        if wildcard is None:
            # Also by where its links lead: folders of datastores are compared that way.
            self._paths |= {path.rstrip("/"), os.path.realpath(path)}
        else:
            self._patterns.add(path[: wildcard.start()])

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

        :param group: absolute path.
        """
        if group in self._groups:
            return True
        inside = f"{group}/"
        if any(
            path == group or path.startswith(inside) or group.startswith(f"{path}/") for path in self._paths
        ):
            return True
        return any(inside.startswith(start) or start.startswith(inside) for start in self._patterns)
