"""Ranges of remote files on this machine: blocks in the folder of the :class:`~airflow_azureml.workspace.data_cache.DataCache`.

A block stands beside the place of the file's whole copy, under the same key, so one limit and one eviction serve both; a folder
holds a segment of blocks, which is evicted as a whole. A block appears under its name complete or not at all, has the bytes of
the version that the key stands for, and may vanish at any time: who has it open keeps it, who comes later fetches it again.

Imports next to nothing: the process that serves a mount runs this code, too.
"""
# ruff: noqa: PTH103, PTH104, PTH116, PTH120

from __future__ import annotations

import os

BLOCK_BYTES = 1 << 20
SEGMENT_BLOCKS = 64

_PRIVATE = 0o700
_READ_ONLY = 0o444
_TRIES = 5


def block_size(file_size: int, number: int) -> int:
    """Return how many bytes a block of a file of some size has."""
    return max(0, min(BLOCK_BYTES, file_size - number * BLOCK_BYTES))


def block_path(copy: str, number: int) -> str:
    """Return where a block of a file is.

    :param copy: where a whole copy of that version would be (``DataCache.path_of``).
    """
    return f"{os.path.dirname(copy)}-{number // SEGMENT_BLOCKS:x}/{number % SEGMENT_BLOCKS:x}"


def open_block(copy: str, number: int, size_bytes: int) -> int | None:
    """Open a block and return its descriptor; None when it isn't here, or not whole (the machine stopped meanwhile)."""
    try:
        descriptor = os.open(block_path(copy, number), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    if os.fstat(descriptor).st_size == size_bytes:
        return descriptor
    os.close(descriptor)
    return None


def has_block(copy: str, number: int, size_bytes: int) -> bool:
    """Tell whether a block is here."""
    try:
        return os.stat(block_path(copy, number)).st_size == size_bytes
    except OSError:
        return False


def touch_segment(copy: str, number: int) -> None:
    """Note that the segment of a block is wanted."""
    try:
        os.utime(os.path.dirname(block_path(copy, number)))
    except OSError:
        pass


def write_block(copy: str, number: int, data: bytes | memoryview, writer: str) -> None:
    """Keep a block.

    :param writer: text that nobody else on this machine uses at this moment.
    :raises OSError: the disk refuses.
    """
    path = block_path(copy, number)
    arriving = f"{path}.{writer}"
    for left in reversed(range(_TRIES)):
        try:
            _write(path, arriving, data)
        except FileNotFoundError:
            # The segment was evicted at this moment.
            if not left:
                raise
        else:
            return


def _write(path: str, arriving: str, data: bytes | memoryview) -> None:
    os.makedirs(os.path.dirname(path), _PRIVATE, exist_ok=True)
    descriptor = os.open(arriving, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _READ_ONLY)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)
    os.rename(arriving, path)
