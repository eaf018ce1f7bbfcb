"""Files on a datastore, wherever that is: the one interface under uploads, downloads, transfers and outputs.

Paths are relative to the store's root, POSIX, without ``.``, ``..`` or empty parts; ``""`` is the root. A file that is written
appears whole under its path or not at all. Every back end passes one conformance suite (``tests/storage``).

Errors of every method: ``ObjectNotFound`` where there is no such file, :class:`StoreBusy` where another try may help (throttling,
time-outs, a service that is down), ``StoreError`` for the rest (no permission, no space, no such container).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from airflow_azureml.runtime.exceptions import StoreError, TransientError, UserErrorException


class StoreBusy(TransientError, StoreError):
    """A store could not answer now; another try may succeed."""


class FileChanged(TransientError, StoreError):
    """A file is not the one that was looked at any more; another look finds it at rest."""


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file as a listing shows it.

    :param path: relative to the store's root.
    :param size_bytes: its size.
    :param modified: when it was last written, seconds since the epoch.
    :param etag: changes with every write; None where a store has no such thing.
    :param md5: hex MD5 of its bytes, where the store keeps one and was asked for it.
    """

    path: str
    size_bytes: int
    modified: float
    etag: str | None = None
    md5: str | None = None

    @property
    def version(self) -> str:
        """Text that is another one after every write, as far as the store can tell."""
        return self.etag or f"{self.size_bytes}-{self.modified!r}"


@dataclass(frozen=True, slots=True)
class Folder:
    """One level of a store.

    :param folders: names of the folders, sorted, without slashes.
    :param files: the files, sorted by path.
    """

    folders: tuple[str, ...]
    files: tuple[FileInfo, ...]


class FileWriter(Protocol):
    """A file that is being written. As a context: leaving with an exception, or without :meth:`close`, leaves nothing behind."""

    def write(self, data: bytes) -> None:
        """Add bytes; memory stays bounded whatever is written."""
        ...

    def close(self) -> FileInfo:
        """Make the file appear, over one that is there, and return what it is."""
        ...

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take back what was written, unless it was closed."""
        ...


@runtime_checkable
class FileStore(Protocol):
    """Files below one root. Safe for several threads."""

    @property
    def uri(self) -> str:
        """What store it is, without credentials, such as ``azure://account/container/folder``; the same for the same store."""
        ...

    @property
    def local_root(self) -> Path | None:
        """The folder on this machine, of a store that is one."""
        ...

    @property
    def has_folders(self) -> bool:
        """Whether folders exist by themselves, also empty ones."""
        ...

    def stat(self, path: str) -> FileInfo | None:
        """Look at one file, with its ``md5`` where the store keeps one; None without such a file."""
        ...

    def is_folder(self, path: str) -> bool:
        """Tell whether anything lies below a path, or it is a folder."""
        ...

    def walk(self, folder: str = "") -> Iterator[FileInfo]:
        """Walk all files below a folder in the order of their paths as text; nothing for a folder that isn't there."""
        ...

    def empty_folders(self, folder: str = "") -> Iterator[str]:
        """Walk the folders below a folder that hold nothing; always none where ``has_folders`` is false."""
        ...

    def browse(self, folder: str = "") -> Folder:
        """Return one level."""
        ...

    def read(
        self, path: str, start: int = 0, size_bytes: int | None = None, *, etag: str | None = None
    ) -> bytes:
        """Read a range of a file.

        :param size_bytes: how much; to the end for None. Less comes back where the file ends.
        :raises FileChanged: the file has another etag.
        """
        ...

    def stream(self, path: str, *, etag: str | None = None) -> Iterator[bytes]:
        """Read a file in pieces; it stays the same one while it is read, or ``FileChanged`` is raised."""
        ...

    def get_file(self, path: str, target: Path, *, etag: str | None = None) -> FileInfo:
        """Copy a file into a local one, large ones in ranges at the same time; the target appears whole."""
        ...

    def put_file(self, path: str, source: Path, *, md5: str | None = None) -> FileInfo:
        """Copy a local file to the store, over one that is there.

        :param md5: hex MD5 to keep with the file, where the store can.
        """
        ...

    def writer(self, path: str) -> FileWriter:
        """Begin a file whose bytes come piece by piece."""
        ...

    def copy(self, source: str, target: str) -> FileInfo:
        """Copy a file within the store, by the service itself where it can."""
        ...

    def delete(self, path: str) -> None:
        """Remove a file; an absent one is no error."""
        ...

    def make_folder(self, path: str) -> None:
        """Make an empty folder; nothing happens where ``has_folders`` is false."""
        ...

    def remove_folder(self, path: str) -> None:
        """Remove a folder with all that is below it; an absent one is no error."""
        ...


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """Where a store of files is.

    :param type: v1's word for it (``AzureBlob``, ``AzureFile``, ``AzureDataLakeGen2``, ``DBFS``), or ``Local``, ``S3``,
        ``GoogleCloudStorage``.
    :param connection_id: Airflow connection to reach it; None for a folder.
    :param root: absolute path of a folder; None for anything else.
    :param container: container, file system, share or bucket.
    :param path: folder in it that is the root.
    """

    type: str
    connection_id: str | None = None
    root: str | None = None
    container: str | None = None
    path: str | None = None


def check_path(path: str) -> str:
    """Return a path when it is one of a store.

    :raises UserErrorException: it is absolute, or has ``..``, ``.``, empty parts or a NUL.
    """
    if "\0" in path or (path and not {"", ".", ".."}.isdisjoint(path.split("/"))):
        raise UserErrorException(
            f"path {path[:200]!r} is no path on a datastore; give one relative to its root, without '.', '..' and empty parts"
        )
    return path


def joined(folder: str, name: str) -> str:
    """Return the path of something in a folder; either may be empty."""
    return f"{folder}/{name}" if folder and name else folder or name
