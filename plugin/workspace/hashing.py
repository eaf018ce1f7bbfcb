"""Content digests of files and folders.

A digest holds what a file contains, what it is called and whether it is executable; nothing of when, where or by
whom it was written. So a laptop, a fresh CI checkout and a container agree about the same code and the same data.
"""

# Plain os functions: a folder of ten thousand files is read at the first sight of it.
# ruff: noqa: PTH100, PTH116

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from airflow_azureml.runtime.exceptions import SnapshotException
from airflow_azureml.workspace.ignore import IgnoreRules
from airflow_azureml.workspace.manifest import FileDigest, TreeManifest
from airflow_azureml.workspace.stat_cache import (
    UNTRUSTED,
    Stamp,
    StatCache,
    Table,
    is_racy,
    options_key,
    stamp_of,
    table_of,
)
from airflow_azureml.workspace.walk import Candidate, Links, Walk

__all__ = ["FileDigest", "StatCache", "TreeManifest", "hash_file", "hash_tree"]

_CHUNK_BYTES = 1 << 20
# Threads gain where hashing outweighs opening; with small files they only fight for the interpreter (measured:
# ten thousand files of 2 KB take 0.09 s in one thread, 0.15 s in two).
_WORTH_A_THREAD_BYTES = 1 << 20
_THREADS = min(4, os.cpu_count() or 1)
# Below this, reading a file again costs no more than asking the cache about it.
_WORTH_CACHING_BYTES = 256 << 10
_NAMED_IN_ERRORS = 5

Digest = tuple[str, int, Stamp]
"""SHA-256 and size of what was read, and the stamp it can be recognised by."""


def hash_tree(
    root: Path | str,
    *,
    ignore: IgnoreRules | None = None,
    cache: StatCache | None = None,
    keep_empty_directories: bool = False,
    limit_bytes: int | None = None,
    follow_links: Links = "inside",
) -> TreeManifest:
    """Hash a folder.

    :param root: the folder.
    :param ignore: what is left out; None leaves nothing out.
    :param cache: remembers files, so that only new and changed ones are read.
    :param keep_empty_directories: whether folders without content count.
    :param limit_bytes: refuse more than this, before anything is read.
    :param follow_links: which symbolic links are followed as content; others are refused.
    :raises SnapshotException: no such folder, over the limit, or something in it cannot be read or followed.
    """
    top = os.path.abspath(root)
    if not os.path.isdir(top):  # noqa: PTH112
        raise SnapshotException(f"there is no folder {top!r}")
    cache = cache or StatCache(None)
    table = cache.load(top)
    options = options_key(
        ignore.key if ignore else None,
        keep_empty_directories=keep_empty_directories,
        follow_links=follow_links,
    )
    same_options = table.options == options
    walk = Walk(top, ignore, known=table if same_options else Table(), links=follow_links)
    started_ns = time.time_ns()
    walk.run()
    empty = tuple(sorted(walk.empty_directories)) if keep_empty_directories else ()
    if same_options and _is_unchanged(walk, table, empty):
        manifest = table.manifest()
        check_limit(top, manifest.size_bytes, limit_bytes, lambda: _sizes(manifest.files))
        return manifest
    found = _Found(walk, table)
    check_limit(top, found.size_bytes(), limit_bytes, found.sizes)
    manifest, stamps = found.read(top, empty, started_ns)
    cache.save(top, table_of(manifest, stamps, options, frozenset(walk.ignored)))
    return manifest


def hash_file(path: Path | str, cache: StatCache | None = None) -> FileDigest:
    """Hash a single file; its ``path`` in the result is its name.

    :param path: the file, or a symbolic link to it.
    :param cache: remembers large files.
    :raises SnapshotException: it isn't a file, or cannot be read.
    """
    place = os.path.abspath(path)
    name = os.path.basename(place)  # noqa: PTH119
    started_ns = time.time_ns()
    try:
        status = os.stat(place)
    except OSError as error:
        raise SnapshotException(f"{place!r} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise SnapshotException(f"{place!r} is not a file")
    stamp, executable = stamp_of(status), bool(status.st_mode & stat.S_IXUSR)
    caching = cache if status.st_size >= _WORTH_CACHING_BYTES else None
    known = caching.load_file(place, stamp) if caching else None
    if known is not None:
        return FileDigest(name, known[0], status.st_size, known[1])
    try:
        sha256, size_bytes, seen = _read(Candidate(place, stamp, executable), started_ns)
    except OSError as error:
        raise SnapshotException(f"{place!r} cannot be read: {error.strerror}") from error
    if caching and seen == stamp:
        caching.save_file(place, stamp, sha256, executable)
    return FileDigest(name, sha256, size_bytes, executable)


def check_limit(
    root: str, size_bytes: int, limit_bytes: int | None, sizes: Callable[[], Mapping[str, int]]
) -> None:
    """Refuse a folder that is larger than allowed, naming its largest files.

    :param sizes: returns the size of each file by path; called only to write the error.
    """
    if limit_bytes is None or size_bytes <= limit_bytes:
        return
    by_path = sizes()
    largest = sorted(by_path.items(), key=lambda item: (-item[1], item[0]))[:_NAMED_IN_ERRORS]
    named = ", ".join(f"{path} ({mebibytes(size)})" for path, size in largest)
    raise SnapshotException(
        f"{root!r} holds {mebibytes(size_bytes)} in {len(by_path)} files, more than the {mebibytes(limit_bytes)} "
        f"allowed. Largest: {named}. Name what the step does not need in {root}/.amlignore, "
        "and pass data as an input instead"
    )


def mebibytes(size_bytes: int) -> str:
    """Write a size for people."""
    return f"{size_bytes / (1 << 20):.1f} MiB"


def _is_unchanged(walk: Walk, table: Table, empty: tuple[str, ...]) -> bool:
    return (
        not walk.candidates
        and len(walk.unchanged) == len(table.places)
        and walk.ignored == table.ignored
        and empty == table.empty_directories
    )


def _sizes(files: Iterable[FileDigest]) -> dict[str, int]:
    return {item.path: item.size_bytes for item in files}


class _Found:
    """What a walk found: files whose digest is known, and files to read."""

    def __init__(self, walk: Walk, table: Table) -> None:
        self._files = [table.file(path) for path in walk.unchanged]
        self._stamps = {path: table.stamp(table.places[path]) for path in walk.unchanged}
        self._candidates: dict[str, Candidate] = {}
        for path, candidate in walk.candidates.items():
            # Under other rules the walk could not use the table, the digests in it are good nevertheless.
            if path in table.places and table.stamp(table.places[path]) == candidate.stamp:
                self._files.append(table.file(path))
                self._stamps[path] = candidate.stamp
            else:
                self._candidates[path] = candidate

    def sizes(self) -> dict[str, int]:
        """Return the size of each file, by path."""
        return _sizes(self._files) | {path: item.stamp[2] for path, item in self._candidates.items()}

    def size_bytes(self) -> int:
        """Return the size of all files together."""
        return sum(item.size_bytes for item in self._files) + sum(
            c.stamp[2] for c in self._candidates.values()
        )

    def read(
        self, root: str, empty: tuple[str, ...], started_ns: int
    ) -> tuple[TreeManifest, dict[str, Stamp]]:
        """Read what has to be read and return the manifest, and the stamps of its files."""
        digests, unreadable = _read_all(self._candidates, started_ns)
        if unreadable:
            named = "; ".join(f"{path}: {why}" for path, why in list(unreadable.items())[:_NAMED_IN_ERRORS])
            more = len(unreadable) - _NAMED_IN_ERRORS
            raise SnapshotException(
                f"files in {root!r} cannot be read: {named}" + (f"; and {more} more" if more > 0 else "")
            )
        files, stamps = list(self._files), dict(self._stamps)
        for path, (sha256, size_bytes, stamp) in digests.items():
            files.append(FileDigest(path, sha256, size_bytes, self._candidates[path].executable))
            stamps[path] = stamp
        return TreeManifest(files, empty), stamps


def _read_all(
    candidates: Mapping[str, Candidate], started_ns: int
) -> tuple[dict[str, Digest], dict[str, str]]:
    """Read files; return their digests, and the reason by path for those that cannot be read."""
    digests: dict[str, Digest] = {}
    unreadable: dict[str, str] = {}
    large = [path for path, item in candidates.items() if item.stamp[2] >= _WORTH_A_THREAD_BYTES]

    def attempt(path: str) -> None:
        try:
            digests[path] = _read(candidates[path], started_ns)
        except FileNotFoundError:
            return  # removed since it was seen
        except OSError as error:
            unreadable[path] = error.strerror or str(error)

    if len(large) > 1 and _THREADS > 1:
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(attempt, large))
    else:
        large = []
    parallel = frozenset(large)
    for path in candidates:
        if path not in parallel:
            attempt(path)
    return digests, unreadable


def _read(candidate: Candidate, started_ns: int) -> Digest:
    descriptor = os.open(candidate.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        digest = hashlib.sha256()
        size_bytes = 0
        while chunk := os.read(descriptor, _CHUNK_BYTES):
            digest.update(chunk)
            size_bytes += len(chunk)
            if size_bytes >= candidate.stamp[2] and len(chunk) < _CHUNK_BYTES:
                break  # all that stat promised; the stamp below tells whether there is more by now
        after = stamp_of(os.fstat(descriptor))
    finally:
        os.close(descriptor)
    stable = after == candidate.stamp and not is_racy(after[0], started_ns)
    return digest.hexdigest(), size_bytes, after if stable else UNTRUSTED
