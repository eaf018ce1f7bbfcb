"""``Datastore``: a named place for data (``azureml.core.Datastore``)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, List, Mapping, NamedTuple, Optional, Sequence

from airflow_azureml.runtime import service
from airflow_azureml.runtime.datastore_registration import DatastoreRegistration
from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.runtime.files import download_to, files_below

if TYPE_CHECKING:
    from airflow_azureml.runtime.workspace import Workspace


class DatastoreFile(NamedTuple):
    """A file on a datastore.

    :param path: relative to the datastore.
    :param size_bytes: its size.
    :param modified: when it was last written, seconds since the epoch.
    :param etag: changes with every write; None where a store has no such thing.
    """

    path: str
    size_bytes: int
    modified: float
    etag: Optional[str]


class DatastoreFolder(NamedTuple):
    """One level of a datastore.

    :param folders: names of the folders.
    :param files: the files.
    """

    folders: List[str]
    files: List[DatastoreFile]


class Datastore(DatastoreRegistration):
    """A datastore of the workspace.

    :param workspace: the workspace.
    :param name: its name; None for the default one.
    :raises UserErrorException: it doesn't exist.
    """

    def __init__(self, workspace: Workspace | None, name: str | None = None) -> None:
        self._record: Mapping[str, Any] = _lookup(name)
        self._workspace = workspace

    def __repr__(self) -> str:
        return f"Datastore(name={self.name!r}, type={self.datastore_type!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Datastore) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    @classmethod
    def from_record(cls, record: Mapping[str, Any], workspace: Workspace | None = None) -> Datastore:
        """Return the datastore that a service's record stands for."""
        store = cls.__new__(cls)
        store._record = record  # noqa: SLF001 - its own, without __init__
        store._workspace = workspace  # noqa: SLF001 - its own, without __init__
        return store

    @staticmethod
    def get(workspace: Workspace | None, datastore_name: str) -> Datastore:
        """Return a datastore by its name.

        :raises UserErrorException: it doesn't exist; the message names those that do.
        """
        return Datastore(workspace, datastore_name)

    @staticmethod
    def get_default(workspace: Workspace | None) -> Datastore:
        """Return the datastore that is used where none is named."""
        return Datastore(workspace)

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Its name."""
        return str(self._record["name"])

    @property
    def datastore_type(self) -> str:
        """Its type, in v1's words where v1 had one, such as ``AzureBlob``."""
        return str(self._record["type"])

    @property
    def container_name(self) -> str | None:
        """The container, file share, file system or bucket, of a datastore that has one."""
        return None if self._is_database else self._record.get("container")

    @property
    def database_name(self) -> str | None:
        """The database, of a datastore that is one."""
        return self._record.get("container") if self._is_database else None

    @property
    def account_name(self) -> str | None:
        """The storage account, as it was registered."""
        return None if self._is_database else self._record.get("account")

    @property
    def server_name(self) -> str | None:
        """The server of a database, as it was registered."""
        return self._record.get("account") if self._is_database else None

    @property
    def connection_id(self) -> str | None:
        """The Airflow connection behind it; None for a folder."""
        return self._record.get("connection_id")

    @property
    def workspace(self) -> Workspace:
        """The workspace."""
        if self._workspace is None:
            from airflow_azureml.runtime.workspace import Workspace

            self._workspace = Workspace.here()
        return self._workspace

    @property
    def tags(self) -> dict[str, Any]:
        """Tags given when it was registered."""
        return dict(self._record.get("tags") or {})

    @property
    def description(self) -> str | None:
        """Text given when it was registered."""
        return self._record.get("description")

    def set_as_default(self) -> None:
        """Make it the datastore that is used where none is named."""
        service.call("datastore.set_default", name=self.name)

    def unregister(self) -> None:
        """Forget it; its data stay."""
        service.call("datastore.unregister", name=self.name)

    @property
    def _is_database(self) -> bool:
        return self.datastore_type in ("AzureSqlDatabase", "AzurePostgreSql", "AzureMySql")

    # -- paths on it --------------------------------------------------------------------------------------------

    def path(self, path: str | None = None, data_reference_name: str | None = None) -> Any:
        """Return a reference to a path on this datastore, for a step's inputs or for a dataset.

        :param path: relative to the datastore; None for all of it.
        :param data_reference_name: name of the reference.
        """
        try:
            from airflow_azureml.model.data import DataReference
        except ModuleNotFoundError:
            # Inside a step only the runtime is there, and there a reference is only a place to read from.
            return DatastorePath(self, path, data_reference_name)
        return DataReference(self, data_reference_name=data_reference_name, path_on_datastore=path)

    def as_mount(self) -> Any:
        """Return a reference to all of this datastore, mounted."""
        return self.path().as_mount()

    def as_download(self, path_on_compute: str | None = None) -> Any:
        """Return a reference to all of this datastore, downloaded."""
        return self.path().as_download(path_on_compute)

    def as_upload(self, path_on_compute: str | None = None) -> Any:
        """Return a reference that uploads to this datastore."""
        return self.path().as_upload(path_on_compute)

    # -- files --------------------------------------------------------------------------------------------------

    def browse(self, path: str | None = None) -> DatastoreFolder:
        """Return one level of the datastore.

        :param path: folder on the datastore; default: its root.
        """
        found = service.call("datastore.browse", name=self.name, path=_relative(path))
        files = [
            DatastoreFile(file["path"], file["size_bytes"], file["modified"], file.get("etag"))
            for file in found["files"]
        ]
        return DatastoreFolder(list(found["folders"]), files)

    def upload(
        self,
        src_dir: str,
        target_path: str | None = None,
        overwrite: bool = False,
        show_progress: bool = True,
    ) -> Any:
        """Upload all files of a folder.

        :param src_dir: the folder.
        :param target_path: folder on the datastore; default: its root.
        :param overwrite: replace files that are there; else they stay as they are.
        :param show_progress: print each file.
        :return: a reference to ``target_path``.
        :raises UserErrorException: no such folder.
        """
        if not os.path.isdir(src_dir):
            raise UserErrorException(f"Datastore.upload: no folder {src_dir!r}")
        target = _relative(target_path)
        for name, file in files_below(src_dir):
            self._upload(file, _joined(target, name), overwrite, show_progress)
        return self.path(target or None)

    def upload_files(
        self,
        files: Sequence[str],
        relative_root: str | None = None,
        target_path: str | None = None,
        overwrite: bool = False,
        show_progress: bool = True,
    ) -> Any:
        """Upload files.

        :param files: their paths.
        :param relative_root: what is left out of their paths; default: the folder they have in common.
        :param target_path: folder on the datastore; default: its root.
        :param overwrite: replace files that are there; else they stay as they are.
        :param show_progress: print each file.
        :return: a reference to ``target_path``.
        :raises UserErrorException: something that is no file, or not below ``relative_root``.
        """
        paths = [os.path.abspath(os.fspath(file)) for file in files]
        for given, path in zip(files, paths):
            if not os.path.isfile(path):
                raise UserErrorException(f"Datastore.upload_files: {given!r} is no file")
        root = _common_root(paths) if relative_root is None else os.path.abspath(relative_root)
        target = _relative(target_path)
        for path in paths:
            if os.path.commonpath([root, path]) != root:
                raise UserErrorException(
                    f"Datastore.upload_files: {path!r} isn't below relative_root {root!r}"
                )
            name = os.path.relpath(path, root).replace(os.sep, "/")
            self._upload(path, _joined(target, name), overwrite, show_progress)
        return self.path(target or None)

    def download(
        self, target_path: str, prefix: str | None = None, overwrite: bool = False, show_progress: bool = True
    ) -> int:
        """Download files; their paths on the datastore are kept below the target.

        :param target_path: folder to put them in.
        :param prefix: only the file or folder of this path on the datastore.
        :param overwrite: replace files that are there; else they stay as they are.
        :param show_progress: print each file.
        :return: the number of files downloaded.
        """
        count = 0
        for name in service.call("datastore.files", name=self.name, prefix=_relative(prefix)):
            path = os.path.join(target_path, name)
            if os.path.exists(path) and not overwrite:
                _say(show_progress, f"kept {path}, which exists")
                continue
            download_to(path, "datastore.download", name=self.name, path=name)
            _say(show_progress, f"downloaded {name}")
            count += 1
        return count

    def _upload(self, path: str, name: str, overwrite: bool, show_progress: bool) -> None:
        # The service is asked first, so that a file that stays isn't sent for nothing.
        if not overwrite and service.call("datastore.exists", name=self.name, path=name):
            _say(show_progress, f"kept {name}, which exists on {self.name}")
            return
        with open(path, "rb") as file:
            service.call("datastore.upload", file, name=self.name, path=name, overwrite=overwrite)
        _say(show_progress, f"uploaded {name} to {self.name}")


class DatastorePath:
    """A path on a datastore, where the objects of pipelines aren't installed.

    :param datastore: the datastore.
    :param path_on_datastore: relative to it; None for all of it.
    :param data_reference_name: name of the reference.
    """

    def __init__(
        self, datastore: Datastore, path_on_datastore: str | None, data_reference_name: str | None
    ) -> None:
        self.datastore = datastore
        self.path_on_datastore = path_on_datastore
        self.data_reference_name = data_reference_name or datastore.name


def _lookup(name: str | None) -> Mapping[str, Any]:
    record: Mapping[str, Any] = (
        service.call("datastore.default") if name is None else service.call("datastore.get", name=name)
    )
    return record


def _relative(path: str | None) -> str:
    # v1 strips what leads elsewhere rather than refusing it.
    parts = (path or "").replace("\\", "/").split("/")
    while parts and parts[0] in ("", ".", ".."):
        parts.pop(0)
    return "/".join(parts).rstrip("/")


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _common_root(paths: Sequence[str]) -> str:
    return os.path.commonpath([os.path.dirname(path) for path in paths]) if paths else os.sep


def _say(show: bool, text: str) -> None:
    if show:
        print(text, flush=True)  # noqa: T201 - shown on purpose
