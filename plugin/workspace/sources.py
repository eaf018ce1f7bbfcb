"""A source directory as a step's identity: what is in it, by content."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from airflow_azureml.model.canonical import digest_of
from airflow_azureml.runtime.exceptions import SnapshotException
from airflow_azureml.workspace.hashing import check_limit, hash_file, hash_tree
from airflow_azureml.workspace.ignore import IgnoreRules, load_rules
from airflow_azureml.workspace.manifest import FileDigest, TreeManifest
from airflow_azureml.workspace.stat_cache import StatCache

SNAPSHOT_LIMIT_BYTES = 300 << 20
"""v1's limit on a source directory."""


@dataclass(frozen=True, slots=True)
class SourceTree:
    """A source directory as it was when it was scanned.

    :param root: the directory.
    :param manifest: its files, without those that are left out.
    :param watched: the files of ``hash_paths``, named as there; None without any.
    :param digest: the snapshot's identity: the manifest's digest, and with ``hash_paths`` theirs too.
    """

    root: Path
    manifest: TreeManifest
    watched: TreeManifest | None
    digest: str

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return self.manifest.size_bytes + (self.watched.size_bytes if self.watched else 0)

    def files(self) -> Iterator[FileDigest]:
        """Walk all files, those of ``hash_paths`` last."""
        yield from self.manifest.files
        if self.watched:
            yield from self.watched.files

    def locate(self, path: str) -> Path:
        """Return where a file of either manifest is."""
        return self.root / path


def scan_source(
    directory: Path | str,
    *,
    hash_paths: Iterable[Path | str] = (),
    cache: StatCache | None = None,
    limit_bytes: int | None = SNAPSHOT_LIMIT_BYTES,
) -> SourceTree:
    """Hash a source directory.

    :param directory: the step's ``source_directory``.
    :param hash_paths: further files and folders whose content is part of the step's identity, relative to the
        directory, inside it (also where the ignore file leaves them out) or outside. They are kept with the
        snapshot; a step's working directory holds the source directory alone.
    :param cache: remembers files between calls.
    :param limit_bytes: refuse more than this.
    :raises SnapshotException: no such directory or path, too large (the largest files are named), a symbolic link
        that leaves the directory, or something that cannot be read.

    v1 source: ``source_directory`` and ``hash_paths`` of a step (``hash_paths`` only warned there).
    """
    root = Path(os.path.abspath(directory))  # noqa: PTH100 - resolving links would name another directory
    names = tuple(dict.fromkeys(_spelling(root, path) for path in hash_paths))
    cache = cache or StatCache(None)
    key = (str(root), names, limit_bytes)
    recent = cache.recall(key)
    if isinstance(recent, SourceTree):
        return recent
    if not root.is_dir():
        raise SnapshotException(f"source directory {str(root)!r} doesn't exist or isn't a directory")
    manifest = hash_tree(root, ignore=load_rules(root), cache=cache, limit_bytes=limit_bytes)
    watched = _watch(root, names, cache) if names else None
    tree = SourceTree(root, manifest, watched, source_digest(manifest, watched))
    check_limit(str(root), tree.size_bytes, limit_bytes, lambda: {f.path: f.size_bytes for f in tree.files()})
    cache.remember(key, tree)
    return tree


def source_digest(manifest: TreeManifest, watched: TreeManifest | None) -> str:
    """Return the identity of a snapshot."""
    if watched is None:
        return manifest.digest
    return digest_of({"schema": 1, "kind": "source", "tree": manifest.digest, "hash_paths": watched.digest})


def _spelling(root: Path, path: Path | str) -> str:
    # An absolute path would tie the digest to one machine.
    relative = os.path.relpath(path, root) if os.path.isabs(path) else os.path.normpath(path)  # noqa: PTH117
    return Path(relative).as_posix()


def _watch(root: Path, names: Iterable[str], cache: StatCache) -> TreeManifest:
    found: dict[str, FileDigest] = {}
    for name in names:
        place = root / name
        if place.is_dir():
            inside = hash_tree(place, ignore=IgnoreRules(), cache=cache)
            found |= {path: item._replace(path=path) for path, item in _named(name, inside)}
        elif place.is_file():
            found[name] = hash_file(place, cache)._replace(path=name)
        else:
            raise SnapshotException(
                f"hash_paths names {name!r}, but there is no file or folder {str(place)!r}; "
                "paths are relative to the source directory"
            )
    return TreeManifest(found.values())


def _named(name: str, manifest: TreeManifest) -> Iterator[tuple[str, FileDigest]]:
    for item in manifest.files:
        yield (item.path if name == "." else f"{name}/{item.path}"), item
