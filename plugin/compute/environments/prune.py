"""Removes environments that nobody uses, the longest unused first."""

from __future__ import annotations

import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from airflow_azureml.compute.environments.locks import FileLock

MARKER = ".azureml-environment.json"
"""The file that says an environment is complete; written last, removed first."""
LOCKS = ".locks"
TRASH = ".trash"


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What pruning did.

    :param removed: names of the removed environments' folders.
    :param kept: names of the ones that are left.
    :param in_use: the ones of these that would have gone, had nobody been using or building them.
    :param freed_bytes: size of the files removed. Files shared with uv's cache (hard links) stay there until
        ``uv cache prune``.
    """

    removed: tuple[str, ...]
    kept: tuple[str, ...]
    in_use: tuple[str, ...]
    freed_bytes: int


def lock_path(root: Path, name: str) -> Path:
    """The lock file of an environment's folder."""
    return root / LOCKS / f"{name}.lock"


def prune(root: Path, keep_bytes: int) -> PruneReport:
    """Remove the longest unused environments until the rest is within ``keep_bytes``, and all unfinished ones."""
    for leftover in (root / TRASH).glob("*"):  # not the folder itself: somebody may be moving into it
        shutil.rmtree(leftover, ignore_errors=True)
    removed, kept, in_use = [], [], []
    total = freed = 0
    for name in _latest_use_first(root):
        size = folder_bytes(root / name)
        complete = (root / name / MARKER).is_file()
        if complete and total + size <= keep_bytes:
            kept.append(name)
            total += size
        elif _remove(root, name):
            removed.append(name)
            freed += size
        else:
            kept.append(name)
            in_use.append(name)
            total += size
    return PruneReport(tuple(removed), tuple(kept), tuple(in_use), freed)


def discard(root: Path, name: str) -> None:
    """Remove a folder whose lock the caller holds alone. It disappears at once, its files a little later."""
    folder = root / name
    if not folder.exists():
        return
    trash = root / TRASH
    trash.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = trash / f"{name}-{uuid.uuid4().hex}"
    folder.rename(target)
    shutil.rmtree(target, ignore_errors=True)


def _remove(root: Path, name: str) -> bool:
    lock = FileLock(lock_path(root, name))
    try:
        if not lock.try_exclusive():
            return False
        discard(root, name)
        return True
    finally:
        lock.close()


def _latest_use_first(root: Path) -> list[str]:
    if not root.is_dir():
        return []
    names = [entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith(".")]
    return sorted(names, key=lambda name: _last_use(root, name), reverse=True)


def _last_use(root: Path, name: str) -> float:
    try:
        return lock_path(root, name).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def folder_bytes(folder: Path) -> int:
    """Size of all files below a folder on disk."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(path, name).lstat().st_blocks * 512
            except FileNotFoundError:
                pass
    return total
