"""Making room in a :class:`~airflow_azureml.workspace.data_cache.DataCache`: what nobody has wanted for longest goes first."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_MANY_CLAIMS = 200
"""How many files of claims may lie there before those of dead processes are looked for."""


class _Copy(NamedTuple):
    wanted_ns: int
    folder: str
    size_bytes: int


def evict(folder: Path, limit_bytes: int) -> int:
    """Remove copies until the cache holds at most so much, but none that a living process has claimed.

    :param folder: the cache's folder.
    :return: the bytes that it holds afterwards; more than the limit when more is claimed.
    """
    # Looked at without the lock: when everything fits, as nearly always, nobody has to wait for it.
    size_bytes = sum(copy.size_bytes for copy in _copies(folder))
    if size_bytes <= limit_bytes and len(_entries(folder / "claims")) < _MANY_CLAIMS:
        return size_bytes
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _remove_remains(folder / "arriving")
        claimed = _claimed(folder / "claims")
        copies = sorted(_copies(folder))
        size_bytes = sum(copy.size_bytes for copy in copies)
        for copy in copies:
            if size_bytes <= limit_bytes:
                break
            if Path(copy.folder).name not in claimed:
                shutil.rmtree(copy.folder, ignore_errors=True)
                size_bytes -= copy.size_bytes
    return size_bytes


def _copies(folder: Path) -> Iterator[_Copy]:
    for shard in _entries(folder / "files"):
        for copy in _entries(Path(shard.path)):
            with suppress(FileNotFoundError):
                size_bytes = sum(file.stat().st_size for file in _entries(Path(copy.path)))
                yield _Copy(copy.stat().st_mtime_ns, copy.path, size_bytes)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as listing:
            return list(listing)
    except FileNotFoundError:
        return []


def _claimed(folder: Path) -> set[str]:
    """Return the keys that living processes need, and forget about the others."""
    keys: set[str] = set()
    for entry in _entries(folder):
        path = Path(entry.path)
        with suppress(FileNotFoundError), path.open() as claims:
            if _is_free(claims.fileno()):
                path.unlink()
            else:
                keys.update(claims.read().split())
    return keys


def _remove_remains(folder: Path) -> None:
    """Remove what downloads left whose process died."""
    for entry in _entries(folder):
        path = Path(entry.path)
        if path.suffix != ".lock":
            continue
        with suppress(FileNotFoundError), path.open() as lock:
            if _is_free(lock.fileno()):
                path.with_suffix(".part").unlink(missing_ok=True)
                path.unlink()


def _is_free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
