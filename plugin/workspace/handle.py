"""A workspace: one object store and everything that is kept in it."""

from __future__ import annotations

import threading
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_azureml.workspace.computes import ComputeRegistry
from airflow_azureml.workspace.datasets import DatasetRegistry
from airflow_azureml.workspace.datastores import DatastoreRegistry
from airflow_azureml.workspace.models import ModelRegistry
from airflow_azureml.workspace.runs import RunRecords
from airflow_azureml.workspace.store import open_store

if TYPE_CHECKING:
    from airflow_azureml.workspace.snapshots import SnapshotStore
    from airflow_azureml.workspace.store import ObjectStore

_opened: dict[str, WorkspaceHandle] = {}
_opened_lock = threading.Lock()


class WorkspaceHandle:
    """What is in a workspace. Making one reads and writes nothing.

    :param url: where it is.
    :param store: the store there.
    """

    def __init__(self, url: str, store: ObjectStore) -> None:
        self.url = url
        self.store = store
        self.name = _name_of(url) or "workspace"
        self.runs = RunRecords(store)
        self.datastores = DatastoreRegistry(store)
        self.datasets = DatasetRegistry(store, self.runs)
        self.models = ModelRegistry(store, self.runs)
        self.computes = ComputeRegistry(store)

    @cached_property
    def snapshots(self) -> SnapshotStore:
        """Source snapshots of the workspace."""
        # Here, because reading a dataset shouldn't load what hashing and packing need.
        from airflow_azureml.workspace.snapshots import SnapshotStore

        return SnapshotStore(self.store)

    def __repr__(self) -> str:
        return f"WorkspaceHandle({self.name!r}, {self.store!r})"


def open_workspace(url: str) -> WorkspaceHandle:
    """Return the workspace at a URL, the same object each time within a process.

    Cheap: nothing is read, and no folder is made until something is written.

    :param url: see :func:`airflow_azureml.workspace.store.open_store`.
    :raises UserErrorException: the URL names no store.
    """
    # Whole, because a relative path means another folder after a change of directory.
    whole = url if "://" in url else str(Path(url).expanduser().absolute())
    with _opened_lock:
        found = _opened.get(whole)
        if found is None:
            found = _opened[whole] = WorkspaceHandle(whole, open_store(url))
        return found


def _name_of(url: str) -> str:
    return url.partition("://")[2].rstrip("/").rpartition("/")[2] if "://" in url else Path(url).name
