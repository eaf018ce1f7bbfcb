"""Files of a folder of this machine, as a store.

Links are followed as long as they stay below the root; one that leads out is refused, so that nobody who may write to a datastore
can make others read what he can't. A folder called ``.azureml-arriving``, at any level, belongs to writers: what is in it is seen
only by who names it.
"""

# Plain path text and os functions: path objects would be a third of the cost of a small file.
# ruff: noqa: PTH100, PTH103, PTH108, PTH112, PTH114, PTH116, PTH120

from __future__ import annotations

import errno
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from airflow_azureml.runtime.dataset.walking import ARRIVING
from airflow_azureml.runtime.exceptions import ObjectNotFound, StoreError, UserErrorException
from airflow_azureml.storage.drafts import Draft, copy_bytes, writing_local
from airflow_azureml.storage.files import FileChanged, FileInfo, Folder, StoreBusy, check_path

_PIECE_BYTES = 4 << 20
_ABANDONED_AFTER_S = 7 * 24 * 3600.0
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
# A network file system that isn't there just now.
_BUSY = {errno.EAGAIN, errno.EBUSY, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH}


class LocalFiles:
    """See ``FileStore``. A file's etag is its size and its time of change.

    :param root: the folder; made at the first write.
    """

    has_folders = True

    def __init__(self, root: Path) -> None:
        self.local_root = Path(os.path.abspath(root))
        self._root = str(self.local_root)
        self._drafts = f"{self._root}/{ARRIVING}/drafts"
        self._swept = False

    def __repr__(self) -> str:
        return f"LocalFiles({self._root!r})"

    @property
    def uri(self) -> str:
        """See ``FileStore.uri``."""
        return self.local_root.as_uri()

    def stat(self, path: str) -> FileInfo | None:
        """See ``FileStore.stat``."""
        with self._errors("look at", path):
            try:
                found = os.stat(self._place(path))
            except _ABSENT:
                return None
        return _info(path, found) if stat.S_ISREG(found.st_mode) else None

    def is_folder(self, path: str) -> bool:
        """See ``FileStore.is_folder``."""
        with self._errors("look at", path):
            return os.path.isdir(self._place(path))

    def walk(self, folder: str = "") -> Iterator[FileInfo]:
        """See ``FileStore.walk``."""
        for path, entry in self._descend(folder):
            # Gone since it was listed, or no file.
            with suppress(*_ABSENT):
                found = entry.stat()
                if stat.S_ISREG(found.st_mode):
                    yield _info(path, found)

    def empty_folders(self, folder: str = "") -> Iterator[str]:
        """See ``FileStore.empty_folders``."""
        with self._errors("list", folder):
            start = self._place(folder)
        for path, entries in self._levels(start, folder):
            if not entries and path != folder:
                yield path

    def browse(self, folder: str = "") -> Folder:
        """See ``FileStore.browse``."""
        with self._errors("list", folder):
            start = self._place(folder)
        prefix = f"{folder}/" if folder else ""
        entries = self._entries(start, folder)
        folders = sorted(name[:-1] for name, _ in entries if name.endswith("/"))
        files = []
        for name, entry in entries:
            with suppress(*_ABSENT):
                if not name.endswith("/") and stat.S_ISREG((found := entry.stat()).st_mode):
                    files.append(_info(prefix + name, found))
        return Folder(tuple(folders), tuple(files))

    def read(
        self, path: str, start: int = 0, size_bytes: int | None = None, *, etag: str | None = None
    ) -> bytes:
        """See ``FileStore.read``."""
        with self._open(path, etag) as (descriptor, found), self._errors("read", path):
            wanted = found.st_size - start if size_bytes is None else min(size_bytes, found.st_size - start)
            data = bytearray()
            while len(data) < wanted:
                piece = os.pread(descriptor, wanted - len(data), start + len(data))
                if not piece:
                    break
                data += piece
            self._check_same(path, descriptor, found)
            return bytes(data)

    def stream(self, path: str, *, etag: str | None = None) -> Iterator[bytes]:
        """See ``FileStore.stream``."""
        with self._open(path, etag) as (descriptor, found):
            while piece := os.read(descriptor, _PIECE_BYTES):
                self._check_same(path, descriptor, found)
                yield piece
            self._check_same(path, descriptor, found)

    def get_file(self, path: str, target: Path, *, etag: str | None = None) -> FileInfo:
        """See ``FileStore.get_file``."""
        with self._open(path, etag) as (descriptor, found), writing_local(target), Draft(target) as draft:
            copy_bytes(descriptor, draft.descriptor)
            self._check_same(path, descriptor, found)
            draft.publish()
            return _info(path, found)

    def put_file(self, path: str, source: Path, *, md5: str | None = None) -> FileInfo:  # noqa: ARG002 - kept nowhere
        """See ``FileStore.put_file``."""
        descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return self._write_from(descriptor, path, str(source))
        finally:
            os.close(descriptor)

    def writer(self, path: str) -> LocalWriter:
        """See ``FileStore.writer``."""
        return LocalWriter(self, path)

    def copy(self, source: str, target: str) -> FileInfo:
        """See ``FileStore.copy``."""
        check_path(target)
        with self._open(source, None) as (descriptor, _):
            return self._write_from(descriptor, target, source)

    def delete(self, path: str) -> None:
        """See ``FileStore.delete``."""
        with self._errors("delete", path), suppress(*_ABSENT):
            place = self._place(path, of_link=True)
            if not os.path.isdir(place) or os.path.islink(place):
                os.unlink(place)

    def make_folder(self, path: str) -> None:
        """See ``FileStore.make_folder``."""
        with self._errors("make", path):
            os.makedirs(self._place(path), exist_ok=True)

    def remove_folder(self, path: str) -> None:
        """See ``FileStore.remove_folder``."""
        if not path:
            raise UserErrorException(f"the root of {self._root} is not removed as a folder; name one in it")
        with self._errors("remove", path):
            place = self._place(path, of_link=True)
            if os.path.islink(place):
                os.unlink(place)
            elif os.path.isdir(place):
                shutil.rmtree(place)

    def draft(self, path: str) -> Draft:
        """Begin a file; raises ``OSError`` as the system does."""
        self._sweep_once()
        return Draft(self._place(path, of_link=True), self._drafts)

    @contextmanager
    def writing(self, path: str) -> Iterator[None]:
        """Turn the system's errors into those of a store."""
        with self._errors("write", path):
            yield

    def _write_from(self, descriptor: int, path: str, what: str) -> FileInfo:
        before = os.fstat(descriptor)
        with self._errors("write", path), self.draft(path) as draft:
            copy_bytes(descriptor, draft.descriptor)
            self._check_same(what, descriptor, before)
            return _info(path, draft.publish())

    def _place(self, path: str, *, of_link: bool = False) -> str:
        """Return the place of a path on the disk, when no link leads out of the root.

        :param of_link: whether a link at the end is meant itself.
        """
        if not check_path(path):
            return self._root
        place = f"{self._root}/{path}"
        real = os.path.realpath(os.path.dirname(place) if of_link else place)
        root = os.path.realpath(self._root)
        if real != root and not real.startswith(root.rstrip("/") + "/"):
            raise UserErrorException(
                f"a link in {path!r} leads out of the datastore in {self._root}; put the data itself there"
            )
        return place

    @contextmanager
    def _open(self, path: str, etag: str | None) -> Iterator[tuple[int, os.stat_result]]:
        with self._errors("read", path):
            descriptor = os.open(self._place(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise ObjectNotFound(path, f"{path!r} in {self._root} is no file")
            if etag is not None and etag != _etag(found):
                raise _changed(path, self._root)
            yield descriptor, found
        finally:
            os.close(descriptor)

    def _check_same(self, path: str, descriptor: int, before: os.stat_result) -> None:
        if _etag(os.fstat(descriptor)) != _etag(before):
            raise _changed(path, self._root)

    def _descend(self, folder: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Walk the entries that are no folders, by the text of their paths."""
        with self._errors("list", folder):
            start = self._place(folder)
        yield from self._below(start, folder, (os.path.realpath(start),))

    def _below(
        self, place: str, folder: str, entered: tuple[str, ...]
    ) -> Iterator[tuple[str, os.DirEntry[str]]]:
        prefix = f"{folder}/" if folder else ""
        for name, entry in self._entries(place, folder):
            path = prefix + name.rstrip("/")
            if entry.is_symlink():
                real = os.path.realpath(self._place(path))
                # A link to a folder that we stand in would go round for ever.
                if name.endswith("/") and any(
                    known == real or known.startswith(real + "/") for known in entered
                ):
                    continue
                inside = (*entered, real)
            else:
                inside = entered
            if name.endswith("/"):
                yield from self._below(entry.path, path, inside)
            else:
                yield path, entry

    def _levels(self, place: str, folder: str) -> Iterator[tuple[str, list[tuple[str, os.DirEntry[str]]]]]:
        entries = self._entries(place, folder)
        yield folder, entries
        for name, entry in entries:
            if name.endswith("/") and not entry.is_symlink():
                yield from self._levels(entry.path, f"{folder}/{name[:-1]}" if folder else name[:-1])

    def _entries(self, place: str, folder: str) -> list[tuple[str, os.DirEntry[str]]]:
        """Return what a folder holds, folders with a slash, in the order of their files' paths."""
        with self._errors("list", folder):
            try:
                with os.scandir(place) as entries:
                    named = [
                        (entry.name + "/" if entry.is_dir() else entry.name, entry)
                        for entry in entries
                        if entry.name != ARRIVING
                    ]
            except (FileNotFoundError, NotADirectoryError):
                return []
        named.sort(key=lambda item: item[0])
        return named

    @contextmanager
    def _errors(self, verb: str, path: str) -> Iterator[None]:
        try:
            yield
        except _ABSENT as error:
            if verb == "write":
                raise StoreError(
                    f"cannot write {path!r} in {self._root}: a part of its folder is a file, or it is a folder itself"
                ) from error
            raise ObjectNotFound(path, f"there is no file {path!r} in {self._root}") from None
        except OSError as error:
            kind = StoreBusy if error.errno in _BUSY else StoreError
            raise kind(f"cannot {verb} {path!r} in {self._root}: {error.strerror}") from error

    def _sweep_once(self) -> None:
        """Remove what killed writers left, once per store and process."""
        if self._swept:
            return
        self._swept = True
        oldest = time.time() - _ABANDONED_AFTER_S
        with suppress(OSError), os.scandir(self._drafts) as entries:
            for entry in entries:
                with suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_mtime < oldest:
                        os.unlink(entry.path)


class LocalWriter:
    """See ``FileWriter``."""

    def __init__(self, store: LocalFiles, path: str) -> None:
        self._store = store
        self._path = path
        with store.writing(path):
            self._draft = store.draft(path)

    def write(self, data: bytes) -> None:
        """See ``FileWriter.write``."""
        with self._store.writing(self._path):
            view = memoryview(data)
            while view:
                view = view[self._draft.file.write(view) :]

    def close(self) -> FileInfo:
        """See ``FileWriter.close``."""
        with self._store.writing(self._path):
            return _info(self._path, self._draft.publish())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._draft.discard()


def _info(path: str, found: os.stat_result) -> FileInfo:
    return FileInfo(path, found.st_size, found.st_mtime, _etag(found))


def _etag(found: os.stat_result) -> str:
    return f"{found.st_mtime_ns:x}-{found.st_size:x}"


def _changed(path: str, root: str) -> FileChanged:
    return FileChanged(
        f"file {path!r} in {root} changed while it was read; try again when nobody writes to it"
    )
