"""What single files of inputs are known by: their bytes, or a store's word for them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from airflow_azureml.compute.input_identity import known_by_version
from airflow_azureml.compute.remote_outputs import hash_remote_file
from airflow_azureml.reuse.action import IdentityClass
from airflow_azureml.storage.files import FileInfo
from airflow_azureml.workspace.hashing import hash_file
from airflow_azureml.workspace.manifest import FileDigest

if TYPE_CHECKING:
    from airflow_azureml.runtime.dataset.places import RemoteFile, ResolvedFile
    from airflow_azureml.storage.files import FileStore
    from airflow_azureml.workspace.dataset_files import DatasetFiles
    from airflow_azureml.workspace.handle import WorkspaceHandle
    from airflow_azureml.workspace.stat_cache import StatCache


class InputDigests:
    """Looks at the files of inputs.

    :param workspace: gives datastores.
    :param cache: hashes of unchanged files.
    :param datasets: fetches files that have to be here to be looked at.
    :param minimum: how well remote files have to be known; asking for their content means reading them.
    """

    def __init__(
        self, workspace: WorkspaceHandle, cache: StatCache, datasets: DatasetFiles, minimum: IdentityClass
    ) -> None:
        self._workspace = workspace
        self._cache = cache
        self._datasets = datasets
        self._minimum = minimum

    def local(self, path: Path, name: str) -> FileDigest:
        """Return what a file on this machine is known by."""
        return hash_file(path, cache=self._cache)._replace(path=name)

    def of_dataset(self, item: ResolvedFile) -> FileDigest:
        """Return what a file of a dataset is known by, wherever it is."""
        if item.remote is None:
            return self.local(Path(item.path), item.name)
        if item.remote.query is not None or not item.remote.datastore:
            return self._elsewhere(item, item.remote)
        store = self._workspace.datastores.files(item.remote.datastore)
        info = FileInfo(item.remote.path, item.size_bytes, item.modified, item.remote.etag)
        return self.remote(store, info, item.name)

    def _elsewhere(self, item: ResolvedFile, remote: RemoteFile) -> FileDigest:
        """Return what a file on the web, or a query's result, is known by: its version, or its bytes once it is here."""
        if IdentityClass.ETAG.at_least(self._minimum):
            return known_by_version(item.name, item.size_bytes, remote.version, remote.datastore, remote.path)
        (here,) = self._datasets.fetch([item])
        return self.local(Path(here.path), item.name)

    def remote(self, store: FileStore, info: FileInfo, name: str) -> FileDigest:
        """Return what a remote file is known by: its version where that will do, else its bytes."""
        known = IdentityClass.ETAG if info.etag else IdentityClass.STAT
        if known.at_least(self._minimum):
            return known_by_version(name, info.size_bytes, info.version, store.uri, info.path, kind=known)
        return hash_remote_file(store, info, self._cache)._replace(path=name)
