"""Files of a Databricks workspace (DBFS), as a store.

The service cannot replace a file by renaming another one over it. What is written goes into a folder called
``.azureml-arriving`` first, which listings leave out; then the old file is deleted and the new one renamed: for a moment there
is neither, and never half of one. There are no etags: a file's time (in milliseconds) and size stand for one.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from airflow_azureml.runtime.dataset.walking import ARRIVING
from airflow_azureml.runtime.exceptions import (
    AzureMLException,
    ObjectNotFound,
    StoreError,
    UserErrorException,
)
from airflow_azureml.storage.dbfs_client import BLOCK_BYTES, DbfsClient, DbfsEntry
from airflow_azureml.storage.files import FileChanged, FileInfo, Folder, check_path, joined
from airflow_azureml.storage.ranges import read_ranges

if TYPE_CHECKING:
    from types import TracebackType

    from airflow_azureml.storage.credentials import DatabricksAccount

_ABANDONED_AFTER_S = 7 * 24 * 3600.0


class DbfsFiles:
    """See ``FileStore``.

    :param account: the workspace.
    :param path: folder of DBFS that is the root.
    """

    has_folders = True
    local_root = None

    def __init__(self, account: DatabricksAccount, path: str = "") -> None:
        host = account.url.partition("://")[2]
        self.uri = f"dbfs://{joined(host, path)}"
        self._root = path.strip("/")
        self._client = DbfsClient(account)
        self._swept = False

    def __repr__(self) -> str:
        return f"DbfsFiles({self.uri!r})"

    def stat(self, path: str) -> FileInfo | None:
        """See ``FileStore.stat``."""
        found = self._client.status(self._place(path))
        return None if found is None or found.is_folder else _info(path, found)

    def is_folder(self, path: str) -> bool:
        """See ``FileStore.is_folder``."""
        found = self._client.status(self._place(path))
        return found is not None and found.is_folder

    def walk(self, folder: str = "") -> Iterator[FileInfo]:
        """See ``FileStore.walk``."""
        for name, found in self._entries(folder):
            if found.is_folder:
                yield from self.walk(joined(folder, name))
            else:
                yield _info(joined(folder, name), found)

    def empty_folders(self, folder: str = "") -> Iterator[str]:
        """See ``FileStore.empty_folders``."""
        yield from self._empty_below(folder, self._entries(folder))

    def browse(self, folder: str = "") -> Folder:
        """See ``FileStore.browse``."""
        entries = self._entries(folder)
        return Folder(
            tuple(sorted(name for name, found in entries if found.is_folder)),
            tuple(_info(joined(folder, name), found) for name, found in entries if not found.is_folder),
        )

    def read(
        self, path: str, start: int = 0, size_bytes: int | None = None, *, etag: str | None = None
    ) -> bytes:
        """See ``FileStore.read``."""
        found = self._known(path, etag)
        end = found.size_bytes if size_bytes is None else min(found.size_bytes, start + size_bytes)
        data = b"".join(self._blocks(path, start, end))
        self._check_same(path, found)
        return data

    def stream(self, path: str, *, etag: str | None = None) -> Iterator[bytes]:
        """See ``FileStore.stream``."""
        found = self._known(path, etag)
        yield from self._blocks(path, 0, found.size_bytes)
        self._check_same(path, found)

    def get_file(self, path: str, target: Path, *, etag: str | None = None) -> FileInfo:
        """See ``FileStore.get_file``."""
        found = self._known(path, etag)
        place = self._place(path)

        def read(at: int, size_bytes: int) -> bytes:
            data = self._client.read(place, at, size_bytes)
            if at + len(data) == found.size_bytes:
                # Before the last range is written and the file appears.
                self._check_same(path, found)
            return data

        read_ranges(target, found.size_bytes, read, range_bytes=BLOCK_BYTES)
        return found

    def put_file(self, path: str, source: Path, *, md5: str | None = None) -> FileInfo:  # noqa: ARG002 - kept nowhere
        """See ``FileStore.put_file``."""
        with source.open("rb") as file, self.writer(path) as writer:
            before = os.fstat(file.fileno())
            while data := file.read(BLOCK_BYTES):
                writer.write(data)
            after = os.fstat(file.fileno())
            if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
                raise FileChanged(
                    f"local file {source} was written while it was copied; try again when it is at rest"
                )
            return writer.close()

    def writer(self, path: str) -> DbfsWriter:
        """See ``FileStore.writer``."""
        if not check_path(path):
            raise UserErrorException("a file on DBFS needs a name")
        if self.is_folder(path):
            raise StoreError(f"cannot write {path!r} in {self.uri}: it is a folder")
        self._sweep_once()
        return DbfsWriter(self, self._client, path)

    def copy(self, source: str, target: str) -> FileInfo:
        """See ``FileStore.copy``."""
        with self.writer(target) as writer:
            for data in self.stream(source):
                writer.write(data)
            return writer.close()

    def delete(self, path: str) -> None:
        """See ``FileStore.delete``."""
        found = self._client.status(self._place(path))
        if found is not None and not found.is_folder:
            self._client.delete(self._place(path))

    def make_folder(self, path: str) -> None:
        """See ``FileStore.make_folder``."""
        self._client.make_folders(self._place(path))

    def remove_folder(self, path: str) -> None:
        """See ``FileStore.remove_folder``."""
        if not path:
            raise UserErrorException(f"the root of {self.uri} is not removed as a folder; name one in it")
        if self.is_folder(path):
            self._client.delete(self._place(path), recursive=True)

    def new_draft(self) -> str:
        """Return the place of a new draft."""
        return self._place(joined(ARRIVING, f"{secrets.token_hex(8)}.part"))

    def publish(self, draft: str, path: str) -> FileInfo:
        """Make a draft appear under its name."""
        place = self._place(path)
        self._client.make_folders(place.rpartition("/")[0] or "/")
        self._client.delete(place)
        self._client.move(draft, place)
        return self._known(path, None)

    def _place(self, path: str) -> str:
        return "/" + joined(self._root, check_path(path))

    def _known(self, path: str, etag: str | None) -> FileInfo:
        found = self.stat(path)
        if found is None:
            raise ObjectNotFound(path, f"there is no file {path!r} in {self.uri}")
        if etag is not None and etag != found.etag:
            raise self._changed(path)
        return found

    def _check_same(self, path: str, before: FileInfo) -> None:
        if self.stat(path) != before:
            raise self._changed(path)

    def _changed(self, path: str) -> FileChanged:
        return FileChanged(
            f"file {path!r} in {self.uri} is another one than the one that was looked at; try again"
        )

    def _blocks(self, path: str, start: int, end: int) -> Iterator[bytes]:
        place = self._place(path)
        for at in range(start, end, BLOCK_BYTES):
            wanted = min(BLOCK_BYTES, end - at)
            data = self._client.read(place, at, wanted)
            if len(data) != wanted:
                raise self._changed(path)
            yield data

    def _entries(self, folder: str) -> list[tuple[str, DbfsEntry]]:
        """Return what a folder holds in the order of its files' paths."""
        place = self._place(folder)
        named = [
            (found.path.rpartition("/")[2], found)
            for found in self._client.entries(place)
            # Asked for a file, the service lists that.
            if found.path != place
        ]
        shown = [item for item in named if item[0] != ARRIVING]
        return sorted(shown, key=lambda item: item[0] + "/" if item[1].is_folder else item[0])

    def _empty_below(self, folder: str, entries: list[tuple[str, DbfsEntry]]) -> Iterator[str]:
        for name, found in entries:
            if not found.is_folder:
                continue
            path = joined(folder, name)
            below = self._entries(path)
            if not below:
                yield path
            yield from self._empty_below(path, below)

    def _sweep_once(self) -> None:
        """Remove what killed writers left, once per store and process."""
        if self._swept:
            return
        self._swept = True
        oldest_ms = (time.time() - _ABANDONED_AFTER_S) * 1000
        for found in self._client.entries(self._place(ARRIVING)):
            if not found.is_folder and found.modified_ms < oldest_ms:
                self._client.delete(found.path)


class DbfsWriter:
    """See ``FileWriter``."""

    def __init__(self, store: DbfsFiles, client: DbfsClient, path: str) -> None:
        self._store = store
        self._client = client
        self._path = path
        self._waiting = bytearray()
        self._draft = store.new_draft()
        self._client.make_folders(self._draft.rpartition("/")[0])
        self._handle = client.create(self._draft)
        self._open = True

    def write(self, data: bytes) -> None:
        """See ``FileWriter.write``."""
        self._waiting += data
        while len(self._waiting) >= BLOCK_BYTES:
            self._client.add_block(self._handle, bytes(self._waiting[:BLOCK_BYTES]))
            del self._waiting[:BLOCK_BYTES]

    def close(self) -> FileInfo:
        """See ``FileWriter.close``."""
        if self._waiting:
            self._client.add_block(self._handle, bytes(self._waiting))
            self._waiting.clear()
        self._client.close_file(self._handle)
        found = self._store.publish(self._draft, self._path)
        self._open = False
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open:
            self._open = False
            # Without hiding what went wrong before.
            with suppress(AzureMLException):
                self._client.close_file(self._handle)
            with suppress(AzureMLException):
                self._client.delete(self._draft)


def _info(path: str, found: DbfsEntry) -> FileInfo:
    etag = f"{found.modified_ms:x}-{found.size_bytes:x}"
    return FileInfo(path, found.size_bytes, found.modified_ms / 1000, etag)
