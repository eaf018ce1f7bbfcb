"""A file of a container that is written piece by piece."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from airflow_azureml.storage.obstore_files import PART_BYTES, SMALL_BYTES

if TYPE_CHECKING:
    from airflow_azureml.storage.files import FileInfo
    from airflow_azureml.storage.obstore_files import ObstoreFiles

_PARTS_AT_ONCE = 2


class ObstoreWriter:
    """See ``FileWriter``. What is never closed leaves parts that no one sees and that the service removes after a while."""

    def __init__(self, store: ObstoreFiles, path: str) -> None:
        self._store = store
        self._path = path
        self._key = store.key(path)
        self._held = bytearray()
        self._file: Any = None

    def write(self, data: bytes) -> None:
        """See ``FileWriter.write``."""
        self._held += data
        if len(self._held) <= SMALL_BYTES:
            return
        with self._store.errors("write", self._path):
            if self._file is None:
                self._file = self._store.upload(self._key, PART_BYTES, _PARTS_AT_ONCE)
            self._file.write(bytes(self._held))
        self._held.clear()

    def close(self) -> FileInfo:
        """See ``FileWriter.close``."""
        if self._file is None:
            return self._store.put_bytes(self._path, bytes(self._held))
        with self._store.errors("write", self._path):
            self._file.write(bytes(self._held))
            self._file.close()
        return self._store.written(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.clear()
        self._file = None
