"""Copies of remote files on this machine, shared by everything that runs here.

A file is kept under the store, the path and the version (ETag) it had, so a copy is never out of date; a file that changes
gets another place. Layout::

    files/<kk>/<key>/<name>      the copy, read-only; the folder's modification time says when it was last wanted
    arriving/<key>.lock, .part   who downloads it now, and what has arrived
    claims/<id>                  which files a process needs, one key per line; locked as long as the process lives
    lock                         held shared to claim, alone to evict

Processes coordinate by ``flock`` alone, which the kernel gives back when a process dies, however that happens. What a living
process has claimed is never evicted, so the limit gives way when running steps need more.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import threading
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Protocol, Self

from airflow_azureml.runtime.exceptions import StoreError
from airflow_azureml.storage.files import FileChanged, FileInfo
from airflow_azureml.workspace.cache_eviction import evict

WORKERS = 8
"""Files that are downloaded at the same time."""

_MAX_NAME_BYTES = 200
_READ_ONLY = 0o444
_PRIVATE = 0o700
_MIB = 1 << 20
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Source(Protocol):
    """What the cache needs of a store; every ``FileStore`` is one."""

    @property
    def uri(self) -> str:
        """What store it is, without credentials."""
        ...

    @property
    def local_root(self) -> Path | None:
        """The folder on this machine, of a store that is one."""
        ...

    def get_file(self, path: str, target: Path, *, etag: str | None = None) -> FileInfo:
        """Copy a file into a local one."""
        ...


class DataCache:
    """Files of remote stores, downloaded once per machine and version. Safe for threads and processes.

    :param folder: where it is; made when something is fetched, and only its user can look into it.
    :param limit_bytes: how much it may hold; None for no limit.
    """

    def __init__(self, folder: Path, limit_bytes: int | None) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._claims: _Claims | None = None
        self._mutex = threading.Lock()

    def path_of(self, store: Source, info: FileInfo) -> Path:
        """Return where the copy of a file is, or will be after :meth:`fetch`; a file of a local store is its own copy."""
        root = store.local_root
        if root is not None:
            return root / info.path
        key = _key(store, info)
        return self._files / key[:2] / key / _name(info.path)

    def fetch(
        self, store: Source, files: Sequence[FileInfo], *, tell: Callable[[str], None] | None = None
    ) -> list[Path]:
        """Make sure that copies of files are here, and stay until :meth:`close` or the end of the process.

        :param files: as a listing shows them; what changed since then is not fetched. A negative size is not known.
        :param tell: is told what is downloaded.
        :return: the copies, in the order of the files.
        :raises FileChanged: a file is another one by now.
        :raises StoreError: the store or the disk refuses.
        """
        paths = [self.path_of(store, info) for info in files]
        if store.local_root is not None:
            return paths
        absent = self._claim(paths)
        missing = {path: info for info, path in zip(files, paths, strict=True) if path in absent}
        if missing:
            self._download(store, missing, tell)
        return paths

    def make_room(self, incoming_bytes: int) -> None:
        """Let go of what was not wanted for longest, so that so much more keeps within the limit."""
        if self._limit_bytes is not None:
            evict(self._folder, max(0, self._limit_bytes - incoming_bytes))

    def close(self) -> None:
        """Stop needing what was fetched; it stays until its place is needed."""
        with self._mutex:
            claims, self._claims = self._claims, None
            if claims is not None:
                claims.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _files(self) -> Path:
        return self._folder / "files"

    def _claim(self, paths: Sequence[Path]) -> frozenset[Path]:
        """Keep files from being evicted, and return those that are missing."""
        with self._mutex, self._shared_lock():
            if self._claims is None or self._claims.process != os.getpid():
                # A forked child needs claims of its own: its parent may end first, or give up what the child needs.
                self._claims = _Claims(self._folder / "claims")
            self._claims.add(dict.fromkeys(path.parent.name for path in paths))
            return frozenset(path for path in paths if not _touch(path))

    @contextmanager
    def _shared_lock(self) -> Iterator[None]:
        self._folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        with (self._folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield

    def _download(
        self, store: Source, missing: dict[Path, FileInfo], tell: Callable[[str], None] | None
    ) -> None:
        size_bytes = sum(max(0, info.size_bytes) for info in missing.values())
        if tell is not None:
            tell(f"downloading {len(missing)} files, {size_bytes / _MIB:.1f} MiB, from {store.uri}")
        (self._folder / "arriving").mkdir(mode=_PRIVATE, exist_ok=True)
        self.make_room(size_bytes)
        try:
            with ThreadPoolExecutor(min(WORKERS, len(missing)), "data-cache") as pool:
                # A list, so that the first error is raised here.
                list(pool.map(lambda item: self._download_one(store, *item), missing.items()))
        except OSError as error:
            self._refuse(error, size_bytes)
        # Others may have downloaded at the same time, each within the limit.
        self.make_room(0)

    def _download_one(self, store: Source, target: Path, info: FileInfo) -> None:
        arriving = self._folder / "arriving" / target.parent.name
        with _alone(arriving.with_suffix(".lock")):
            if target.exists():
                return
            part = arriving.with_suffix(".part")
            try:
                store.get_file(info.path, part, etag=info.etag)
                _check(store, info, part)
                os.utime(part, (info.modified, info.modified))
                part.chmod(_READ_ONLY)
                target.parent.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)

    def _refuse(self, error: OSError, size_bytes: int) -> None:
        if error.errno not in _FULL:
            raise StoreError(f"the data cache {self._folder} cannot be written: {error}") from error
        raise StoreError(
            f"no space for {size_bytes / _MIB:.1f} MiB of data in the cache {self._folder}; make room on that disk, "
            "or put [azureml] cache_directory on another one"
        ) from error


class _Claims:
    """What a process needs, in a file that is locked as long as the process lives.

    :param folder: where the file is made; the caller holds the cache's lock.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=_PRIVATE, exist_ok=True)
        path = folder / uuid.uuid4().hex
        self.process = os.getpid()
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        self.end = weakref.finalize(self, _end_claims, self._descriptor, path, self.process)

    def add(self, keys: Iterable[str]) -> None:
        """Claim files by their keys."""
        data = "".join(f"{key}\n" for key in keys).encode()
        while data:
            data = data[os.write(self._descriptor, data) :]


def _end_claims(descriptor: int, path: Path, process: int) -> None:
    # A forked child has inherited the descriptor, but the file is its parent's.
    if process == os.getpid():
        path.unlink(missing_ok=True)
    os.close(descriptor)


def _key(store: Source, info: FileInfo) -> str:
    # Framed: none of the parts holds a NUL.
    text = "\0".join((store.uri, info.path, info.version, str(info.size_bytes)))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _name(path: str) -> str:
    """Return the name of the copy: the file's own, because scripts look at endings, where a file can have it."""
    name = path.rpartition("/")[2]
    return name if 0 < len(name.encode("utf-8", "surrogateescape")) <= _MAX_NAME_BYTES else "data"


def _touch(path: Path) -> bool:
    """Note that a copy is wanted, and tell whether it is there."""
    if not path.exists():
        return False
    # The folder's time and not the file's: steps tell by a file's times that nobody has changed it.
    with suppress(OSError):
        os.utime(path.parent)
    return True


def _check(store: Source, info: FileInfo, part: Path) -> None:
    size_bytes = part.stat().st_size
    if size_bytes != info.size_bytes >= 0:
        raise FileChanged(
            f"{info.path} of {store.uri} has {size_bytes} bytes and had {info.size_bytes} when it was listed; "
            "another try reads it as it is now"
        )


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock file of this name, which is removed afterwards."""
    while True:
        with path.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_still(path, lock):
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _is_still(path: Path, lock: IO[str]) -> bool:
    """Tell whether the file that was locked is the one of that name; who held it before has removed it."""
    try:
        return os.path.samestat(path.stat(), os.fstat(lock.fileno()))
    except FileNotFoundError:
        return False
