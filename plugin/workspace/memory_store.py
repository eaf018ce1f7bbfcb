"""The object store in memory: for tests and trials, gone with its process."""

from __future__ import annotations

import hashlib
import io
import threading
import time
from bisect import bisect_left, insort
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from airflow_azureml.runtime.exceptions import ConditionFailed, ObjectNotFound, StoreError
from airflow_azureml.workspace.local_store import write_whole
from airflow_azureml.workspace.store import (
    ObjectInfo,
    StoredObject,
    check_conditions,
    check_key,
    check_prefix,
    parent_folders,
)

_shared: dict[str, MemoryStore] = {}
_shared_lock = threading.Lock()


def shared_memory_store(name: str) -> MemoryStore:
    """Return this process's store of that name (``memory://name``), made at first use."""
    with _shared_lock:
        return _shared.setdefault(name, MemoryStore())


class MemoryStore:
    """Objects in this process's memory, safe for any number of threads (see ``ObjectStore``)."""

    def __init__(self) -> None:
        self._objects: dict[str, tuple[StoredObject, ObjectInfo]] = {}
        self._keys: list[str] = []
        self._lock = threading.Lock()

    def get(self, key: str) -> StoredObject:
        """See ``ObjectStore.get``."""
        found = self._objects.get(check_key(key))
        if found is None:
            raise ObjectNotFound(key)
        return found[0]

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ``ObjectStore.put``."""
        check_conditions(if_absent, if_match)
        check_key(key)
        # A copy: the caller may go on filling a bytearray.
        data = bytes(data)
        stored = StoredObject(data, hashlib.sha256(data).hexdigest())
        with self._lock:
            self._check(key, if_absent=if_absent, if_match=if_match)
            if key not in self._objects:
                self._refuse_folders(key)
                insort(self._keys, key)
            self._objects[key] = (stored, ObjectInfo(key, len(data), time.time()))
        return stored.tag

    def put_file(self, key: str, source: Path, *, if_absent: bool = False) -> str:
        """See ``ObjectStore.put_file``."""
        return self.put(key, Path(source).read_bytes(), if_absent=if_absent)

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        """See ``ObjectStore.delete``."""
        check_key(key)
        with self._lock:
            if key not in self._objects:
                return
            self._check(key, if_absent=False, if_match=if_match)
            del self._objects[key]
            del self._keys[bisect_left(self._keys, key)]

    def exists(self, key: str) -> bool:
        """See ``ObjectStore.exists``."""
        return check_key(key) in self._objects

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See ``ObjectStore.list``."""
        check_prefix(prefix)
        with self._lock:
            matching = self._starting_with(prefix)
            return iter([self._objects[key][1] for key in matching])

    def get_file(self, key: str, target: Path) -> None:
        """See ``ObjectStore.get_file``."""
        with self.open(key) as file:
            write_whole(target, file)

    def open(self, key: str) -> BinaryIO:
        """See ``ObjectStore.open``."""
        return io.BytesIO(self.get(key).data)

    def local_path(self, key: str) -> None:
        """See ``ObjectStore.local_path``: nothing here is on a disk."""
        check_key(key)

    def _check(self, key: str, *, if_absent: bool, if_match: str | None) -> None:
        found = self._objects.get(key)
        if if_absent and found is not None:
            raise ConditionFailed(key)
        if if_match is not None and (found is None or found[0].tag != if_match):
            raise ConditionFailed(key)

    def _refuse_folders(self, key: str) -> None:
        # As on a disk, so that what works on one back end works on the other.
        if self._starting_with(key + "/", limit=1):
            raise StoreError(f"object {key!r} is refused: {key + '/'!r} holds other objects")
        if any(folder in self._objects for folder in parent_folders(key)):
            raise StoreError(f"object {key!r} is refused: a part of its folder is an object itself")

    def _starting_with(self, prefix: str, limit: int | None = None) -> tuple[str, ...]:
        found: list[str] = []
        at = bisect_left(self._keys, prefix)
        while at < len(self._keys) and self._keys[at].startswith(prefix) and len(found) != limit:
            found.append(self._keys[at])
            at += 1
        return tuple(found)
