"""Looking at outputs on stores that are no folders on this machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_azureml.compute.listings import ListedFile, Listing
from airflow_azureml.storage.files import FileInfo, FileStore, joined
from airflow_azureml.storage.moving import in_parallel
from airflow_azureml.workspace.manifest import FileDigest, TreeManifest
from airflow_azureml.workspace.stat_cache import Stamp, StatCache

if TYPE_CHECKING:
    from airflow_azureml.compute.outputs import StoredOutput

GONE = "is gone"
ALTERED = "is not what was written"

_WORTH_A_LISTING = 64
"""More files than this are found by listing their folder, which others may have filled as well, and fewer one by one."""


@dataclass(frozen=True, slots=True)
class StoredFiles:
    """What a look at a stored output found.

    :param manifest: the files that belong to it, named from its group.
    :param problem: what is wrong with them as the end of a sentence, or ``None`` when they are what was written; with
        a problem there may be nothing in the manifest.
    :param files: the same files as their store showed them; nothing for an output that is in a folder on this machine.
    """

    manifest: TreeManifest
    problem: str | None = None
    files: Mapping[str, FileInfo] = field(default_factory=dict)


def look_at(
    store: FileStore, output: StoredOutput, listing: Listing, cache: StatCache, *, afresh: bool = False
) -> StoredFiles:
    """Find out whether an output is what was written.

    A file in the version that was listed has the content that was listed. Of any other one the bytes are read.

    :param store: its datastore.
    :param listing: what was written.
    :param cache: knows the content of versions that were read before.
    :param afresh: read every byte, whatever is remembered.
    """
    found = _present(store, output, listing, StatCache(None) if afresh else cache)
    problem = _difference(output, listing, found)
    if problem is not None:
        return StoredFiles(TreeManifest([]), problem)
    doubtful = [
        (item, found[name])
        for name, item in listing.files.items()
        if afresh or not item.is_version(found[name])
    ]
    if not all(in_parallel(lambda pair: _has_content(store, *pair, cache, afresh=afresh), doubtful)):
        return StoredFiles(TreeManifest([]), ALTERED)
    if output.span.digest(listing.manifest) != output.digest:
        # What the list was made for is another output, or the list was damaged.
        return StoredFiles(TreeManifest([]), ALTERED)
    return StoredFiles(output.span.belonging(listing.manifest), None, found)


def missing(store: FileStore, output: StoredOutput) -> str | None:
    """Tell whether an output's own file or folder isn't there; return what is wrong as the end of a sentence."""
    if output.type == "absent":
        return None
    file = store.stat(output.path) if output.path else None
    if output.type == "file":
        if file is not None:
            return None
        return ALTERED if store.is_folder(output.path) else GONE
    if file is not None and not store.is_folder(output.path):
        return ALTERED
    # An empty folder leaves no trace on a store without folders.
    return None if not output.file_count or store.is_folder(output.path) else GONE


def resized(store: FileStore, output: StoredOutput, listing: Listing, cache: StatCache) -> str | None:
    """Compare names and sizes of an output's files with what was written."""
    return _difference(output, listing, _present(store, output, listing, cache))


def hash_remote_file(
    store: FileStore, info: FileInfo, cache: StatCache, *, afresh: bool = False
) -> FileDigest:
    """Read a file on a store as it is and return what it is known by.

    :param info: the file as the store showed it.
    :param cache: remembers the content of versions.
    :param afresh: read it also when its content is remembered.
    :raises FileChanged: it is another one by now; one may look again.
    """
    place, stamp = f"{store.uri}/{info.path}", _stamp(info)
    known = None if afresh else cache.load_file(place, stamp)
    if known is not None:
        return FileDigest(info.path, known[0], info.size_bytes, False)
    sha256 = _read(store, info, hashlib.sha256())
    cache.save_file(place, stamp, sha256, False)
    return FileDigest(info.path, sha256, info.size_bytes, False)


def files_at(store: FileStore, folder: str, names: Iterable[str]) -> dict[str, FileInfo]:
    """Return those of some files that are there.

    :param folder: the folder that others may write to as well.
    :param names: the files' names in it.
    """
    wanted = list(names)
    if len(wanted) > _WORTH_A_LISTING:
        present = _listed(store, folder)
        return {name: present[name] for name in wanted if name in present}
    found = in_parallel(lambda name: store.stat(joined(folder, name)), wanted)
    return {name: info for name, info in zip(wanted, found, strict=True) if info is not None}


def _present(
    store: FileStore, output: StoredOutput, listing: Listing, cache: StatCache
) -> Mapping[str, FileInfo]:
    """Return the files that belong to an output now, by name."""
    if not output.exclusive:
        return files_at(store, output.group, listing.files)
    span = output.span
    group = _own_group(store, output.group, cache)
    return {name: info for name, info in group.items() if span.is_own(name) or span.is_beside(name)}


def _own_group(store: FileStore, group: str, cache: StatCache) -> Mapping[str, FileInfo]:
    """List the folder of one step run; its outputs share one listing."""
    key = ("listing", store.uri, group)
    found: Mapping[str, FileInfo] | None = cache.recall(key)
    if found is None:
        found = _listed(store, group)
        cache.remember(key, found)
    return found


def _listed(store: FileStore, folder: str) -> dict[str, FileInfo]:
    start = len(folder) + 1 if folder else 0
    return {info.path[start:]: info for info in store.walk(folder)}


def _difference(output: StoredOutput, listing: Listing, found: Mapping[str, FileInfo]) -> str | None:
    """Tell what shows without reading anything: files that are gone, files too many, other sizes."""
    if found.keys() == listing.files.keys():
        sizes = all(info.size_bytes == listing.files[name].size_bytes for name, info in found.items())
        return None if sizes else ALTERED
    is_there = any(output.span.is_own(name) for name in found)
    return GONE if output.file_count and not is_there else ALTERED


def _has_content(
    store: FileStore, item: ListedFile, info: FileInfo, cache: StatCache, *, afresh: bool
) -> bool:
    if item.sha256 is not None:
        return hash_remote_file(store, info, cache, afresh=afresh).sha256 == item.sha256
    if item.md5 is not None:
        return _read(store, info, hashlib.md5(usedforsecurity=False)) == item.md5
    # Nobody ever read the bytes: only the version tells.
    return item.is_version(info)


def _read(store: FileStore, info: FileInfo, digest: hashlib._Hash) -> str:
    for piece in store.stream(info.path, etag=info.etag):
        digest.update(piece)
    return digest.hexdigest()


def _stamp(info: FileInfo) -> Stamp:
    """Return a file's version in the form in which the cache recognises files."""
    first, second = (
        int.from_bytes(hashlib.sha256(f"{part}{info.version}".encode()).digest()[:7]) for part in "12"
    )
    return (first, second, info.size_bytes, 0)
