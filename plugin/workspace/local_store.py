"""The object store over a folder: every object is the file of its key.

A write goes to a file of its own under ``.store/tmp/`` and is renamed onto its key, so a reader, a crash, a
full disk or a ``kill -9`` sees the object as it was before or as it is after. Conditions are checked and the
rename is done under an ``flock`` of the key's shard (``.store/locks/``), which every writer takes and the
kernel releases when a process dies.

Contents are fsynced before the rename, folders are not. Without the first, a power cut may leave a renamed
but empty file on common file systems, which would be a torn object. Without the second it can only undo the
last moment's renames, in order, which reads as "not yet committed"; it would double the price of a write.
"""

# Plain path text and os functions: path objects would add a third to the time of reading a small object.
# ruff: noqa: PTH103, PTH105, PTH106, PTH108, PTH113, PTH118, PTH120, PTH123

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import secrets
import shutil
import stat
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from airflow_azureml.runtime.exceptions import ConditionFailed, ObjectNotFound, StoreError
from airflow_azureml.workspace.store import (
    RESERVED_FOLDER,
    ObjectInfo,
    StoredObject,
    check_conditions,
    check_key,
    check_prefix,
    parent_folders,
)

_SHARDS = 64
_CHUNK_BYTES = 1 << 20
_ABANDONED_AFTER_S = 24 * 3600.0
# A folder that a deletion empties and removes may vanish under a writer; each time it is simply made again.
_MOVE_ATTEMPTS = 2000
_MOVES_IN_A_ROW = 20
_MOVE_PAUSE_S = 0.02
_NO_OBJECT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


@dataclass(frozen=True, slots=True)
class _Draft:
    """A complete, fsynced file that isn't an object yet."""

    path: str
    tag: str


class LocalStore:
    """Objects as files under a folder, safe for any number of processes on it (see ``ObjectStore``).

    An object's tag is the SHA-256 of its bytes: it cannot tell bytes that were replaced and put back from
    bytes never touched, so documents for which that matters carry a counter or an owner of their own.

    :param root: the folder; made at the first write, never by reading.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).absolute()
        self._root = str(self.root)
        self._drafts = os.path.join(self._root, RESERVED_FOLDER, "tmp")
        self._locks = os.path.join(self._root, RESERVED_FOLDER, "locks")
        self._swept = False

    def __repr__(self) -> str:
        return f"LocalStore({self._root!r})"

    def get(self, key: str) -> StoredObject:
        """See ``ObjectStore.get``."""
        path = self._path(key)
        with self._read_errors(key), open(path, "rb", buffering=0) as file:
            data = file.readall()
        return StoredObject(data, hashlib.sha256(data).hexdigest())

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ``ObjectStore.put``."""
        check_conditions(if_absent, if_match)
        path = self._path(key)
        # Where a create has lost already, not even the draft is written.
        if if_absent and os.path.isfile(path):
            raise ConditionFailed(key)
        with self._write_errors(key):
            draft = self._draft((data,))
        self._publish(key, draft, if_absent=if_absent, if_match=if_match)
        return draft.tag

    def put_file(self, key: str, source: Path, *, if_absent: bool = False) -> str:
        """See ``ObjectStore.put_file``."""
        path = self._path(key)
        if if_absent and os.path.isfile(path):
            raise ConditionFailed(key)
        with open(source, "rb", buffering=0) as file, self._write_errors(key):
            draft = self._draft(iter(lambda: file.read(_CHUNK_BYTES), b""))
        self._publish(key, draft, if_absent=if_absent, if_match=None)
        return draft.tag

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        """See ``ObjectStore.delete``."""
        path = self._path(key)
        if not os.path.isfile(path):
            return
        with self._write_errors(key), self._lock(key):
            if not os.path.isfile(path):
                return
            if if_match is not None and self.get(key).tag != if_match:
                raise ConditionFailed(key)
            os.unlink(path)
            self._remove_empty_parents(path)

    def exists(self, key: str) -> bool:
        """See ``ObjectStore.exists``."""
        return os.path.isfile(self._path(key))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See ``ObjectStore.list``."""
        folder = check_prefix(prefix).rpartition("/")[0]
        return self._walk(folder + "/" if folder else "", prefix)

    def get_file(self, key: str, target: Path) -> None:
        """See ``ObjectStore.get_file``."""
        with self.open(key) as file:
            write_whole(target, file)

    def open(self, key: str) -> BinaryIO:
        """See ``ObjectStore.open``."""
        path = self._path(key)
        with self._read_errors(key):
            return open(path, "rb")

    def local_path(self, key: str) -> Path:
        """See ``ObjectStore.local_path``."""
        return Path(self._path(key))

    def _path(self, key: str) -> str:
        return f"{self._root}/{check_key(key)}"

    def _draft(self, chunks: Iterator[bytes] | tuple[bytes, ...]) -> _Draft:
        self._sweep_once()
        path = f"{self._drafts}/{os.getpid()}-{secrets.token_hex(8)}"
        digest = hashlib.sha256()
        try:
            with open(_create(path), "wb") as file:
                for chunk in chunks:
                    digest.update(chunk)
                    file.write(chunk)
                file.flush()
                # An empty file cannot be torn.
                if file.tell():
                    os.fsync(file.fileno())
        except BaseException:
            _unlink(path)
            raise
        return _Draft(path, digest.hexdigest())

    def _publish(self, key: str, draft: _Draft, *, if_absent: bool, if_match: str | None) -> None:
        try:
            with self._write_errors(key), self._lock(key):
                self._check(key, if_absent=if_absent, if_match=if_match)
                self._move(draft.path, key)
        except BaseException:
            _unlink(draft.path)
            raise

    def _check(self, key: str, *, if_absent: bool, if_match: str | None) -> None:
        if if_absent and os.path.isfile(self._path(key)):
            raise ConditionFailed(key)
        if if_match is None:
            return
        try:
            present = self.get(key).tag
        except ObjectNotFound:
            raise ConditionFailed(key) from None
        if present != if_match:
            raise ConditionFailed(key)

    def _move(self, draft: str, key: str) -> None:
        path = self._path(key)
        for attempt in range(_MOVE_ATTEMPTS):
            if attempt >= _MOVES_IN_A_ROW:
                # Others that come and go in step with this one fall out of it.
                time.sleep(random.random() * _MOVE_PAUSE_S)  # noqa: S311 - no secret
            try:
                return os.replace(draft, path)
            except (FileNotFoundError, NotADirectoryError):
                self._make_folder_of(key)
            except IsADirectoryError:
                if _holds_files(path):
                    raise StoreError(
                        f"object {key!r} is refused: {key + '/'!r} holds other objects"
                    ) from None
                _remove_empty_folders(path)
        raise StoreError(f"cannot write object {key!r} in {self._root}: its folder keeps vanishing")

    def _make_folder_of(self, key: str) -> None:
        # What fails because a deletion removed a level just made is tried again by the caller.
        with suppress(FileNotFoundError, FileExistsError, NotADirectoryError):
            os.makedirs(os.path.dirname(self._path(key)), exist_ok=True)
            return
        if any(os.path.isfile(self._path(folder)) for folder in parent_folders(key)):
            raise StoreError(f"object {key!r} is refused: a part of its folder is an object itself")

    def _remove_empty_parents(self, path: str) -> None:
        # Leases and pending records come and go: without this their folders would slow down every listing.
        parent = os.path.dirname(path)
        with suppress(OSError):
            while parent != self._root:
                os.rmdir(parent)
                parent = os.path.dirname(parent)

    def _walk(self, folder: str, prefix: str) -> Iterator[ObjectInfo]:
        for name, entry in _entries(f"{self._root}/{folder}"):
            key = folder + name
            if not key.startswith(prefix) or not _is_key(key.rstrip("/")):
                continue
            if name.endswith("/"):
                yield from self._walk(key, prefix)
                continue
            with suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(found.st_mode):
                    yield ObjectInfo(key, found.st_size, found.st_mtime)

    @contextmanager
    def _lock(self, key: str) -> Iterator[None]:
        descriptor = _open_lock(f"{self._locks}/{zlib.crc32(key.encode()) % _SHARDS:02x}")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            try:
                yield
            finally:
                # Said aloud, because a process forked meanwhile still holds a copy of the descriptor.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            os.close(descriptor)

    @contextmanager
    def _read_errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except _NO_OBJECT:
            raise ObjectNotFound(key) from None
        except OSError as error:
            raise StoreError(f"cannot read object {key!r} in {self._root}: {error.strerror}") from error

    @contextmanager
    def _write_errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"cannot write object {key!r} in {self._root}: {error.strerror}") from error

    def _sweep_once(self) -> None:
        """Remove what killed writers left, once per store and process."""
        if self._swept:
            return
        self._swept = True
        oldest = time.time() - _ABANDONED_AFTER_S
        with suppress(FileNotFoundError), os.scandir(self._drafts) as entries:
            for entry in entries:
                with suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_mtime < oldest:
                        os.unlink(entry.path)


def write_whole(target: Path, source: BinaryIO) -> None:
    """Copy a stream into a file that appears whole, making its folders.

    It is not fsynced: it is a copy of what a store keeps.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = f"{target.parent}/.{secrets.token_hex(8)}.part"
    try:
        with open(_create(partial), "wb") as file:
            shutil.copyfileobj(source, file, _CHUNK_BYTES)
        os.replace(partial, target)
    except BaseException:
        _unlink(partial)
        raise


def _create(path: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    # 0o666 under the umask: other accounts of a shared workspace read it as they would read any file.
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return os.open(path, flags, 0o666)


def _open_lock(path: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return os.open(path, flags, 0o666)


def _unlink(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)


def _entries(folder: str) -> list[tuple[str, os.DirEntry[str]]]:
    """Return a folder's entries in key order, folders with a slash; none when it is gone or no folder."""
    try:
        with os.scandir(folder) as entries:
            named = [(e.name + "/" if e.is_dir(follow_symlinks=False) else e.name, e) for e in entries]
    except (FileNotFoundError, NotADirectoryError):
        return []
    # "a/…" sorts after "a-" and before "a0": only with its slash does a folder stand where its keys belong.
    named.sort(key=lambda item: item[0])
    return named


def _is_key(path: str) -> bool:
    # Other programs may leave files in the folder whose names no key can have, and .store/ is ours.
    try:
        check_key(path)
    except StoreError:
        return False
    return True


def _holds_files(folder: str) -> bool:
    return any(files for _, _, files in os.walk(folder))


def _remove_empty_folders(folder: str) -> None:
    for path, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):
            os.rmdir(path)
