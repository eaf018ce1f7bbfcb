"""Reading a file in pieces, large remote ones in ranges at the same time but in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from airflow_azureml.storage.files import FileChanged, FileInfo, FileStore

PIECE_BYTES = 8 << 20
RANGES_AHEAD = 4


class RangeReader:
    """Reads large files of one store; threads are shared by all files that are read at the same time.

    :param threads: how many ranges at once.
    """

    def __init__(self, store: FileStore, threads: int) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="transfer-range")

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)

    def pieces(self, path: str, info: FileInfo) -> Iterator[bytes]:
        """Read a file in pieces of at most :data:`PIECE_BYTES`.

        :param path: where it is.
        :param info: what it was when it was looked at.
        :raises FileChanged: it is another one now.
        """
        if self._store.local_root is not None:
            yield from self._store.stream(path, etag=info.etag)
        elif info.size_bytes == 0:
            # An empty range cannot be asked for.
            self._check_empty(path, info)
        elif info.size_bytes <= PIECE_BYTES:
            yield self._range(path, info, 0)
        else:
            yield from self._ordered_ranges(path, info)

    def _ordered_ranges(self, path: str, info: FileInfo) -> Iterator[bytes]:
        waiting: deque[Future[bytes]] = deque()
        starts = iter(range(0, info.size_bytes, PIECE_BYTES))
        try:
            for start in starts:
                waiting.append(self._pool.submit(self._range, path, info, start))
                if len(waiting) == RANGES_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _range(self, path: str, info: FileInfo, start: int) -> bytes:
        size_bytes = min(PIECE_BYTES, info.size_bytes - start)
        data = self._store.read(path, start, size_bytes, etag=info.etag)
        if len(data) != size_bytes:
            raise self._changed(path)
        return data

    def _check_empty(self, path: str, info: FileInfo) -> None:
        now = self._store.stat(path)
        if now is None or now.version != info.version:
            raise self._changed(path)

    def _changed(self, path: str) -> FileChanged:
        return FileChanged(f"{path!r} on {self._store.uri} changed while it was read")
