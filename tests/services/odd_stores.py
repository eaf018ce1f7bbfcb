"""Stores for tests of what is written on top of ``FileStore``: a folder that counts as remote and fails when told to, and one of
any size that is nowhere.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from airflow_azureml.storage.files import FileInfo, Folder
from airflow_azureml.storage.local_files import LocalFiles

Fault = Callable[[str, str], None]


class RemoteFolder:
    """A folder as a remote store: no path on this machine, read in ranges.

    :param root: the folder.
    :param has_folders: whether empty folders exist.
    """

    local_root = None

    def __init__(self, root: Path, *, has_folders: bool = False) -> None:
        self._files = LocalFiles(root)
        self.has_folders = has_folders
        self.uri = f"remote://{root.name}"
        self.calls: Counter[str] = Counter()
        self.faults: list[Fault] = []
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._files, name)

        def call(path: str = "", *arguments: Any, **options: Any) -> Any:
            self.meet(name, path)
            return found(path, *arguments, **options)

        return call

    def meet(self, method: str, path: str) -> None:
        with self._lock:
            self.calls[method] += 1
        for fault in self.faults:
            fault(method, path)

    def empty_folders(self, folder: str = "") -> Iterator[str]:
        return self._files.empty_folders(folder) if self.has_folders else iter(())

    def make_folder(self, path: str) -> None:
        if self.has_folders:
            self._files.make_folder(path)

    def writer(self, path: str) -> Any:
        self.meet("writer", path)
        return _Writer(self, path, self._files.writer(path))


class _Writer:
    def __init__(self, store: RemoteFolder, path: str, inner: Any) -> None:
        self._store, self._path, self._inner = store, path, inner

    def write(self, data: bytes) -> None:
        self._store.meet("write", self._path)
        self._inner.write(data)

    def close(self) -> FileInfo:
        self._store.meet("close", self._path)
        info: FileInfo = self._inner.close()
        return info

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._inner.__exit__(*error)


class Nowhere:
    """A store whose files are made up as they are read, and forgotten as they are written, but for size and checksum.

    :param files: sizes by path.
    """

    local_root = None
    has_folders = False

    def __init__(self, name: str, files: dict[str, int] | None = None) -> None:
        self.uri = f"nowhere://{name}"
        self._files = {path: FileInfo(path, size, 1.0, f"e{size}") for path, size in (files or {}).items()}
        self._lock = threading.Lock()
        self.sums: dict[str, int] = {}

    def stat(self, path: str) -> FileInfo | None:
        return self._files.get(path)

    def is_folder(self, path: str) -> bool:
        return any(known.startswith(f"{path}/") for known in self._files)

    def walk(self, folder: str = "") -> Iterator[FileInfo]:
        prefix = f"{folder}/" if folder else ""
        yield from (self._files[path] for path in sorted(self._files) if path.startswith(prefix))

    def empty_folders(self, folder: str = "") -> Iterator[str]:
        return iter(())

    def browse(self, folder: str = "") -> Folder:
        return Folder((), tuple(self.walk(folder)))

    def read(
        self, path: str, start: int = 0, size_bytes: int | None = None, *, etag: str | None = None
    ) -> bytes:
        size = self._files[path].size_bytes
        end = size if size_bytes is None else min(size, start + size_bytes)
        return bytes(max(0, end - start))

    def writer(self, path: str) -> Any:
        return _Counting(self, path)

    def delete(self, path: str) -> None:
        self._files.pop(path, None)

    def make_folder(self, path: str) -> None:
        """There are none."""

    def added(self, path: str, size: int, crc: int) -> FileInfo:
        with self._lock:
            self.sums[path] = crc
            info = self._files[path] = FileInfo(path, size, time.time(), f"e{size}")
            return info


class _Counting:
    def __init__(self, store: Nowhere, path: str) -> None:
        self._store, self._path = store, path
        self._size = self._crc = 0

    def write(self, data: bytes) -> None:
        self._size += len(data)
        self._crc = zlib.crc32(data, self._crc)

    def close(self) -> FileInfo:
        return self._store.added(self._path, self._size, self._crc)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing was kept."""
