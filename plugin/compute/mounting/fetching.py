"""Fetches blocks of remote files into the block cache, those first that somebody waits for."""

from __future__ import annotations

import itertools
import os
import queue
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_azureml.runtime.exceptions import StoreError
from airflow_azureml.storage.files import FileChanged, FileInfo, FileStore
from airflow_azureml.workspace.block_cache import BLOCK_BYTES, block_size, has_block, write_block

if TYPE_CHECKING:
    from airflow_azureml.workspace.data_cache import DataCache

WORKERS = 8
ROOM_BYTES = 64 << 20
"""After how much that was fetched the cache's limit is looked at."""

_END = 2
Order = tuple[int, int, int, int, int]
Answer = Callable[[int, int, int, Exception | None], None]
"""Is told what became of blocks: node, first block, number of blocks, what went wrong."""


@dataclass(frozen=True, slots=True)
class RangedFile:
    """A file whose ranges can be read.

    :param store: where it is.
    :param info: the file, as it was listed.
    """

    store: FileStore
    info: FileInfo


class BlockFetcher:
    """Reads ranges of files on a few threads.

    :param files: the files by node.
    :param cache: where the blocks go.
    :param answer: is told of every order, on those threads.
    """

    def __init__(
        self, files: Sequence[RangedFile], first_node: int, cache: DataCache, answer: Answer
    ) -> None:
        self._files = files
        self._first_node = first_node
        self._cache = cache
        self._answer = answer
        self._orders: queue.PriorityQueue[Order] = queue.PriorityQueue()
        self._serial = itertools.count()
        self._mutex = threading.Lock()
        self._running: set[tuple[int, int]] = set()
        self._since_room_bytes = 0
        self._name = uuid.uuid4().hex
        self.fetched_bytes = 0
        self._threads = [
            threading.Thread(target=self._work, args=(f"{self._name}-{number}",), name="mount", daemon=True)
            for number in range(WORKERS)
        ]
        for thread in self._threads:
            thread.start()

    def order(self, node: int, first: int, count: int, *, is_urgent: bool) -> None:
        """Have blocks fetched."""
        self._orders.put((0 if is_urgent else 1, next(self._serial), node, first, count))

    def close(self) -> None:
        """End; what is being read is read to its end by threads that nobody waits for."""
        while True:
            try:
                self._orders.get_nowait()
            except queue.Empty:
                break
        for _ in self._threads:
            self._orders.put((_END, 0, 0, 0, 0))

    def _work(self, writer: str) -> None:
        while True:
            priority, _, node, first, count = self._orders.get()
            if priority == _END:
                return
            blocks = {(node, number) for number in range(first, first + count)}
            if not self._begin(blocks):
                continue
            error: Exception | None = None
            try:
                self._fetch(self._files[node - self._first_node], first, count, writer)
            except Exception as problem:  # noqa: BLE001 - whatever it is, a read waits for an answer
                error = problem
            with self._mutex:
                self._running -= blocks
            self._answer(node, first, count, error)

    def _begin(self, blocks: set[tuple[int, int]]) -> bool:
        """Tell whether any of the blocks is not being read just now; whoever reads them all answers for both."""
        with self._mutex:
            if blocks <= self._running:
                return False
            self._running |= blocks
            return True

    def _fetch(self, file: RangedFile, first: int, count: int, writer: str) -> None:
        copy = str(self._cache.path_of(file.store, file.info))
        size = file.info.size_bytes
        if all(has_block(copy, number, block_size(size, number)) for number in range(first, first + count)):
            # Another process, or an order that was given twice.
            return
        data = memoryview(
            _read(file, first * BLOCK_BYTES, min(count * BLOCK_BYTES, size - first * BLOCK_BYTES))
        )
        self._make_room(len(data))
        try:
            for index in range(count):
                block = data[index * BLOCK_BYTES : (index + 1) * BLOCK_BYTES]
                write_block(copy, first + index, block, writer)
        except OSError as error:
            raise StoreError(
                f"no place for data in the cache {os.path.dirname(copy)}: {error.strerror}; make room on that disk, or put "  # noqa: PTH120
                "[azureml] cache_directory on another one"
            ) from error

    def _make_room(self, incoming_bytes: int) -> None:
        with self._mutex:
            self.fetched_bytes += incoming_bytes
            self._since_room_bytes += incoming_bytes
            if self._since_room_bytes < ROOM_BYTES:
                return
            self._since_room_bytes = 0
        self._cache.make_room(ROOM_BYTES)


def _read(file: RangedFile, start: int, size_bytes: int) -> bytes:
    """Read a range of the version that was listed, or fail."""
    store, info = file.store, file.info
    data = store.read(info.path, start, size_bytes, etag=info.etag)
    changed = len(data) != size_bytes
    if not changed and info.etag is None:
        # Nothing that a request could depend on: it is the same file when it still looks the same afterwards.
        found = store.stat(info.path)
        changed = found is None or found.version != info.version
    if changed:
        raise FileChanged(
            f"{info.path} of {store.uri} is not the file any more that was there when the step started"
        )
    return data
