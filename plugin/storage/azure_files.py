"""Files of an Azure file share, as a store.

A share has no files that appear whole: they are made, then filled. So what is written goes into a folder called
``.azureml-arriving`` first, which listings leave out, and is renamed over its final name by the service. Names are those of
Windows: upper and lower case are the same, and some characters are impossible.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from airflow_azureml.runtime.dataset.walking import ARRIVING
from airflow_azureml.runtime.exceptions import (
    AzureMLException,
    ObjectNotFound,
    StoreError,
    UserErrorException,
)
from airflow_azureml.storage.azure_share import RANGE_BYTES, Share
from airflow_azureml.storage.files import FileInfo, Folder, check_path, joined
from airflow_azureml.storage.ranges import read_ranges, write_ranges

if TYPE_CHECKING:
    from types import TracebackType

    from airflow_azureml.storage.credentials import AzureAccount

_READ_BYTES = 8 << 20
_ABANDONED_AFTER_S = 7 * 24 * 3600.0
_IMPOSSIBLE = frozenset('"\\:|<>*?') | {chr(code) for code in range(32)}
_MAX_NAME, _MAX_PATH = 255, 2048


class AzureShareFiles:
    """See ``FileStore``.

    :param account: the storage account, as its file service is reached.
    :param share: the share.
    :param path: folder in it that is the root.
    """

    has_folders = True
    local_root = None

    def __init__(self, account: AzureAccount, share: str, path: str = "") -> None:
        self._share = Share(account, share, path)
        self._swept = False

    def __repr__(self) -> str:
        return f"AzureShareFiles({self.uri!r})"

    @property
    def uri(self) -> str:
        """See ``FileStore.uri``."""
        return self._share.uri

    def stat(self, path: str) -> FileInfo | None:
        """See ``FileStore.stat``."""
        return self._share.look(path) if check_path(path) else None

    def is_folder(self, path: str) -> bool:
        """See ``FileStore.is_folder``."""
        return self._share.has_folder(path)

    def walk(self, folder: str = "") -> Iterator[FileInfo]:
        """See ``FileStore.walk``."""
        for name, found in self._entries(folder):
            if found is None:
                yield from self.walk(joined(folder, name))
            else:
                yield found

    def empty_folders(self, folder: str = "") -> Iterator[str]:
        """See ``FileStore.empty_folders``."""
        yield from self._empty_below(folder, self._entries(folder))

    def browse(self, folder: str = "") -> Folder:
        """See ``FileStore.browse``."""
        entries = self._entries(folder)
        return Folder(
            tuple(sorted(name for name, found in entries if found is None)),
            tuple(found for _, found in entries if found is not None),
        )

    def read(
        self, path: str, start: int = 0, size_bytes: int | None = None, *, etag: str | None = None
    ) -> bytes:
        """See ``FileStore.read``."""
        found = self._known(path, etag)
        end = found.size_bytes if size_bytes is None else min(found.size_bytes, start + size_bytes)
        places = range(start, end, _READ_BYTES)
        return b"".join(self._share.read(path, at, min(_READ_BYTES, end - at), found.etag) for at in places)

    def stream(self, path: str, *, etag: str | None = None) -> Iterator[bytes]:
        """See ``FileStore.stream``."""
        found = self._known(path, etag)
        for at in range(0, found.size_bytes, _READ_BYTES):
            yield self._share.read(path, at, min(_READ_BYTES, found.size_bytes - at), found.etag)

    def get_file(self, path: str, target: Path, *, etag: str | None = None) -> FileInfo:
        """See ``FileStore.get_file``."""
        found = self._known(path, etag)
        read_ranges(
            target,
            found.size_bytes,
            lambda at, size_bytes: self._share.read(path, at, size_bytes, found.etag),
            range_bytes=_READ_BYTES,
        )
        return found

    def put_file(self, path: str, source: Path, *, md5: str | None = None) -> FileInfo:
        """See ``FileStore.put_file``."""
        with self._drafting(path) as draft:
            size_bytes = source.stat().st_size
            self._share.create(draft, size_bytes, md5)
            write_ranges(
                source, size_bytes, lambda at, data: self._share.put(draft, at, data), range_bytes=RANGE_BYTES
            )
            return self._share.rename(draft, path)

    def writer(self, path: str) -> AzureShareWriter:
        """See ``FileStore.writer``."""
        return AzureShareWriter(self, self._share, path)

    def copy(self, source: str, target: str) -> FileInfo:
        """See ``FileStore.copy``."""
        _check_name(target)
        found = self._known(source, None)
        with self._drafting(target) as draft:
            if self._share.can_copy:
                self._share.copy(source, draft, found.size_bytes)
            else:
                self._share.create(draft, found.size_bytes, found.md5)
                for at in range(0, found.size_bytes, RANGE_BYTES):
                    size_bytes = min(RANGE_BYTES, found.size_bytes - at)
                    self._share.put(draft, at, self._share.read(source, at, size_bytes, found.etag))
            return self._share.rename(draft, target)

    def delete(self, path: str) -> None:
        """See ``FileStore.delete``."""
        if check_path(path):
            self._share.delete(path)

    def make_folder(self, path: str) -> None:
        """See ``FileStore.make_folder``."""
        _check_name(path)
        self._share.make_folders(path)

    def remove_folder(self, path: str) -> None:
        """See ``FileStore.remove_folder``."""
        if not path:
            raise UserErrorException(f"the root of {self.uri} is not removed as a folder; name one in it")
        for name, found in self._share.entries(path):
            if found is None:
                self.remove_folder(joined(path, name))
            else:
                self._share.delete(joined(path, name))
        self._share.delete_folder(path)

    def begin(self, path: str) -> str:
        """Return a place for a file that shall appear under a path.

        :raises UserErrorException: a share cannot have that path.
        """
        _check_name(path)
        self._sweep_once()
        self._share.make_folders(ARRIVING)
        return joined(ARRIVING, f"{secrets.token_hex(8)}.part")

    def discard(self, draft: str) -> None:
        """Remove a draft, without hiding what went wrong before."""
        with suppress(AzureMLException):
            self._share.delete(draft)

    @contextmanager
    def _drafting(self, path: str) -> Iterator[str]:
        draft = self.begin(path)
        try:
            yield draft
        except BaseException:
            self.discard(draft)
            raise

    def _known(self, path: str, etag: str | None) -> FileInfo:
        found = self.stat(path)
        if found is None:
            raise ObjectNotFound(path, f"there is no file {path!r} in {self.uri}")
        if etag is not None and etag != found.etag:
            raise self._share.changed(path)
        return found

    def _entries(self, folder: str) -> list[tuple[str, FileInfo | None]]:
        return [item for item in self._share.entries(folder) if item[0] != ARRIVING]

    def _empty_below(self, folder: str, entries: list[tuple[str, FileInfo | None]]) -> Iterator[str]:
        for name, found in entries:
            if found is not None:
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
        oldest = time.time() - _ABANDONED_AFTER_S
        with suppress(StoreError):
            for _, found in self._share.entries(ARRIVING):
                if found is not None and found.modified < oldest:
                    self._share.delete(found.path)


class AzureShareWriter:
    """See ``FileWriter``."""

    def __init__(self, store: AzureShareFiles, share: Share, path: str) -> None:
        self._share = share
        self._path = path
        self._store = store
        self._draft = store.begin(path)
        self._open = True
        self._waiting = bytearray()
        self._written = 0
        self._room = 0
        share.create(self._draft, 0)

    def write(self, data: bytes) -> None:
        """See ``FileWriter.write``."""
        self._waiting += data
        while len(self._waiting) >= RANGE_BYTES:
            self._send(bytes(self._waiting[:RANGE_BYTES]))
            del self._waiting[:RANGE_BYTES]

    def close(self) -> FileInfo:
        """See ``FileWriter.close``."""
        if self._waiting:
            self._send(bytes(self._waiting))
        if self._room != self._written:
            self._share.resize(self._draft, self._written)
        found = self._share.rename(self._draft, self._path)
        self._open = False
        return found

    def _send(self, data: bytes) -> None:
        end = self._written + len(data)
        if end > self._room:
            # In growing steps: the room costs nothing, each step a request.
            self._room = max(end, 2 * self._room, RANGE_BYTES)
            self._share.resize(self._draft, self._room)
        self._share.put(self._draft, self._written, data)
        self._written = end

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open:
            self._open = False
            self._store.discard(self._draft)


def _check_name(path: str) -> None:
    """Refuse a path that a share cannot have.

    :raises UserErrorException: says what is impossible.
    """
    if not check_path(path):
        raise UserErrorException("a file on a share needs a name")
    if not _IMPOSSIBLE.isdisjoint(path):
        found = sorted(_IMPOSSIBLE.intersection(path))
        raise UserErrorException(
            f"path {path[:200]!r}: a file share cannot have {found} in names; rename the file"
        )
    if len(path) > _MAX_PATH or any(len(name) > _MAX_NAME for name in path.split("/")):
        raise UserErrorException(
            f"path {path[:200]!r}…: a file share takes names up to {_MAX_NAME} characters and paths up to {_MAX_PATH}"
        )
