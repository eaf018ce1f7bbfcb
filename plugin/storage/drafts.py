"""Local files that appear whole: written under another name, and renamed when they are complete.

They are not fsynced. After a power cut a file may be missing or, on some file systems, empty; whoever keeps a journal or checks
sizes finds that, and everybody else would pay a disk's latency per file.
"""

# Plain path text and os functions: path objects would be a third of the cost of a small file.
# ruff: noqa: PTH103, PTH105, PTH106, PTH108, PTH116, PTH120, PTH123

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from airflow_azureml.runtime.exceptions import StoreError

_COPY_BYTES = 8 << 20
_ATTEMPTS = 100
_NO_KERNEL_COPY = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EXDEV, errno.EPERM, errno.EBADF}


class Draft:
    """A file that isn't under its name yet. As a context: what isn't published when it is left is removed.

    :param target: where it will appear; its folders are made.
    :param folder: where it is written, on the same file system; removed when it is empty again, with the one
        that it lies in. Beside the target for None.
    """

    def __init__(self, target: Path | str, folder: str | None = None) -> None:
        self._target = str(target)
        beside = os.path.dirname(self._target) or "."
        self._folder = folder
        self._path = f"{folder or beside}/.{secrets.token_hex(8)}.part"
        os.makedirs(beside, exist_ok=True)
        self.file: BinaryIO = _create(self._path)
        self._published = False

    @property
    def descriptor(self) -> int:
        """The open file's descriptor, for reading and writing at any place."""
        return self.file.fileno()

    def publish(self) -> os.stat_result:
        """Make the file appear, over one that is there; returns what it is."""
        self.file.flush()
        found = self._newer_than(os.fstat(self.descriptor))
        self.file.close()
        try:
            os.replace(self._path, self._target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            # A part of the tree is another file system.
            found = self._across()
        self._published = True
        self._tidy()
        return found

    def discard(self) -> None:
        """Remove it, unless it was published."""
        if not self._published:
            self.file.close()
            _unlink(self._path)
            self._tidy()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def _newer_than(self, found: os.stat_result) -> os.stat_result:
        """Give the file another time than the one it replaces, which a clock of milliseconds may not do."""
        with suppress(OSError):
            old = os.stat(self._target)
            if old.st_size == found.st_size and old.st_mtime_ns >= found.st_mtime_ns:
                os.utime(self.descriptor, ns=(found.st_atime_ns, old.st_mtime_ns + 1_000))
                return os.fstat(self.descriptor)
        return found

    def _tidy(self) -> None:
        if self._folder is not None:
            with suppress(OSError):
                os.rmdir(self._folder)
                os.rmdir(os.path.dirname(self._folder))

    def _across(self) -> os.stat_result:
        beside = f"{os.path.dirname(self._target)}/.{secrets.token_hex(8)}.part"
        try:
            shutil.copyfile(self._path, beside)
            os.replace(beside, self._target)
        except BaseException:
            _unlink(beside)
            raise
        _unlink(self._path)
        return os.stat(self._target)


@contextmanager
def writing_local(target: Path | str) -> Iterator[None]:
    """Turn the system's errors into ``StoreError`` that names a local file."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot write the local file {target}: {error.strerror}") from error


def copy_bytes(source: int, target: int) -> None:
    """Copy all of a file into another one, both open, within the kernel where it can."""
    offset = 0
    try:
        while sent := os.sendfile(target, source, offset, _COPY_BYTES):
            offset += sent
    except OSError as error:
        if offset or error.errno not in _NO_KERNEL_COPY:
            raise
        while data := os.pread(source, _COPY_BYTES, offset):
            write_at(target, data, offset)
            offset += len(data)


def write_at(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of some bytes at a place of a file."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view = view[written:]
        offset += written


def _create(path: str) -> BinaryIO:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    # Another writer may remove the folder, which is empty to it, before this file is in it.
    for _ in range(_ATTEMPTS):
        with suppress(FileNotFoundError):
            return open(os.open(path, flags, 0o666), "r+b", buffering=0)
        with suppress(FileNotFoundError, FileExistsError):
            os.makedirs(os.path.dirname(path), exist_ok=True)
    return open(os.open(path, flags, 0o666), "r+b", buffering=0)


def _unlink(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)
