"""What is read of the files of a mount: which blocks are here, which are asked for, and which will be wanted next.

Runs in the process that serves a mount, so it imports little.
"""
# ruff: noqa: PTH110

from __future__ import annotations

import mmap
import os

from airflow_azureml.compute.mounting.nodes import FIRST_FILE, File
from airflow_azureml.workspace.block_cache import (
    BLOCK_BYTES,
    block_size,
    has_block,
    open_block,
    touch_segment,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

OPEN_BLOCKS = 256
"""Blocks that are mapped into this process at the same time. A mapped one survives its eviction."""
REQUEST_BLOCKS = 8
"""Blocks that are fetched by one request."""
WINDOW_BLOCKS = 32
"""How far ahead of a script that reads a file from front to back its blocks are fetched."""
WINDOW_FILES = 32
"""The same for a script that reads one small file after the other."""
_WHOLE = -1


class _Progress:
    """How a file has been read so far.

    ``expected`` is the block after the last one that was read, ``ahead`` the block up to which was asked ahead of the reader,
    ``pending`` what has been asked for, and whether somebody waits for it.
    """

    __slots__ = ("ahead", "expected", "pending", "window")

    def __init__(self) -> None:
        self.expected = 0
        self.window = 0
        self.ahead = 0
        self.pending: dict[int, bool] = {}


class Ranges:
    """The bytes of a mount's files.

    :param files: the files.
    :param ask: asks for blocks: node, first block, number of blocks, whether somebody waits for them.
    """

    def __init__(self, files: list[File], ask: Callable[[int, int, int, bool], None]) -> None:
        self._files = files
        self._ask = ask
        self._progress: dict[int, _Progress] = {}
        self._maps: dict[tuple[int, int], memoryview] = {}
        self._last_file = -1
        self._file_window = 0

    def read(self, node: int, start: int, end: int) -> list[memoryview] | None:
        """Return the bytes of a range; None when they aren't here, and then they are asked for."""
        numbers = range(start // BLOCK_BYTES, -(-end // BLOCK_BYTES))
        views = [self._view(node, number) for number in numbers]
        missing = [number for number, view in zip(numbers, views, strict=True) if view is None]
        if missing:
            self._want(node, missing, is_urgent=True)
            return None
        parts = []
        for number, view in zip(numbers, views, strict=True):
            if view is not None:
                first = number * BLOCK_BYTES
                parts.append(view[max(0, start - first) : end - first])
        return parts

    @staticmethod
    def touches(first: int, count: int, start: int, end: int) -> bool:
        """Tell whether a range needs any of some blocks."""
        return start < (first + count) * BLOCK_BYTES and first * BLOCK_BYTES < end

    def look_ahead(self, node: int, start: int, end: int) -> None:
        """Ask for what will probably be read after a range."""
        progress = self._of(node)
        first, after = start // BLOCK_BYTES, -(-end // BLOCK_BYTES)
        if first not in {progress.expected, progress.expected - 1}:
            # Somewhere else: nobody knows what comes next.
            progress.window, progress.ahead = 0, 0
        elif after > progress.expected > 0:
            progress.window = min(WINDOW_BLOCKS, max(1, 4 * progress.window))
        progress.expected = after
        if progress.ahead - after < progress.window / 2:
            self._ahead(node, max(progress.ahead, after), after + progress.window)
            progress.ahead = after + progress.window
        if node != self._last_file:
            self._look_at_next_files(node)

    def arrived(self, node: int, first: int, count: int) -> None:
        """Note that blocks have been answered, well or badly."""
        pending = self._of(node).pending
        for number in range(first, first + count):
            pending.pop(number, None)

    def _look_at_next_files(self, node: int) -> None:
        is_next = node == self._last_file + 1
        self._last_file = node
        self._file_window = min(WINDOW_FILES, max(1, 2 * self._file_window)) if is_next else 0
        for other in range(node + 1, node + 1 + self._file_window):
            file = self._file(other)
            if file is None or file.size_bytes > BLOCK_BYTES:
                return
            self._ahead(other, 0, 1)

    def _ahead(self, node: int, first: int, after: int) -> None:
        file = self._file(node)
        if file is None or (first < after and os.path.exists(file.copy)):
            return
        sizes = ((number, block_size(file.size_bytes, number)) for number in range(first, after))
        missing = [number for number, size in sizes if size and not has_block(file.copy, number, size)]
        self._want(node, missing, is_urgent=False)

    def _want(self, node: int, missing: list[int], *, is_urgent: bool) -> None:
        pending = self._of(node).pending
        # What was asked for ahead is asked for again when somebody waits for it: that comes first.
        wanted = [number for number in missing if pending.get(number) is not True]
        if not is_urgent:
            wanted = [number for number in wanted if number not in pending]
        pending.update(dict.fromkeys(wanted, is_urgent))
        run: list[int] = []
        for number in wanted:
            if run and (number != run[-1] + 1 or len(run) == REQUEST_BLOCKS):
                self._ask(node, run[0], len(run), is_urgent)
                run = []
            run.append(number)
        if run:
            self._ask(node, run[0], len(run), is_urgent)

    def _view(self, node: int, number: int) -> memoryview | None:
        file = self._files[node - FIRST_FILE]
        whole = self._opened((node, _WHOLE), lambda: _map_whole(file))
        if whole is not None:
            return whole[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES]
        return self._opened((node, number), lambda: _map_block(file, number))

    def _opened(self, key: tuple[int, int], open_now: Callable[[], memoryview | None]) -> memoryview | None:
        view = self._maps.pop(key, None) or open_now()
        if view is not None:
            # At the end, so that the one that wasn't read for longest comes first.
            self._maps[key] = view
            if len(self._maps) > OPEN_BLOCKS:
                del self._maps[next(iter(self._maps))]
        return view

    def _of(self, node: int) -> _Progress:
        progress = self._progress.get(node)
        if progress is None:
            progress = self._progress[node] = _Progress()
        return progress

    def _file(self, node: int) -> File | None:
        index = node - FIRST_FILE
        return self._files[index] if 0 <= index < len(self._files) else None


def _map_whole(file: File) -> memoryview | None:
    """Return the bytes of a file that was downloaded as a whole, for a step that needed that."""
    try:
        descriptor = os.open(file.copy, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    if os.fstat(descriptor).st_size != file.size_bytes:
        os.close(descriptor)
        return None
    return _map(descriptor, file.size_bytes)


def _map_block(file: File, number: int) -> memoryview | None:
    size = block_size(file.size_bytes, number)
    descriptor = open_block(file.copy, number, size)
    if descriptor is None:
        return None
    touch_segment(file.copy, number)
    return _map(descriptor, size)


def _map(descriptor: int, size: int) -> memoryview:
    try:
        return memoryview(mmap.mmap(descriptor, size, prot=mmap.PROT_READ))
    finally:
        os.close(descriptor)
