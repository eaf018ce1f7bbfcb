"""Snapshots of source directories in a workspace.

A snapshot is one document, ``snapshots/trees/<kk>/<digest>.json``: the manifest, and for each content the pack it
is in and where. So laying a snapshot out reads that document and a few packs, never one object per file. An upload
writes only what the workspace doesn't hold yet, as one pack; the document comes last and is what makes the
snapshot exist. All objects are named by content, so concurrent uploads of one tree need no lock.
"""

from __future__ import annotations

import itertools
import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_azureml.model.canonical import canonical_json
from airflow_azureml.runtime.exceptions import ConditionFailed, ObjectNotFound, SnapshotException
from airflow_azureml.workspace.hashing import mebibytes
from airflow_azureml.workspace.layout import DamagedObject, Placed, lay_out_files
from airflow_azureml.workspace.manifest import TreeManifest
from airflow_azureml.workspace.packs import INDEXES, Content, PackIndex, index_key, pack_key, write_pack
from airflow_azureml.workspace.sources import SNAPSHOT_LIMIT_BYTES, SourceTree, scan_source, source_digest
from airflow_azureml.workspace.store import ObjectInfo, ObjectStore

__all__ = [
    "SNAPSHOT_LIMIT_BYTES",
    "Snapshot",
    "SnapshotRecord",
    "SnapshotStore",
    "SourceTree",
    "scan_source",
]

_DIGEST = re.compile("[0-9a-f]{64}")
# How far back an upload looks for contents it can refer to. Older ones are uploaded again, into a recent pack.
_RECENT_PACKS = 200
_READ_AT_ONCE = 16
# A snapshot refers to few packs and to none of which it uses only a small part, so that laying it out on a new
# machine needs few reads and fetches at most four times what it needs.
_MAX_PACKS = 8
_WORTH_SHARING = 4
_WORTH_REPORTING_BYTES = 10 << 20


@dataclass(frozen=True, slots=True)
class SnapshotRecord:
    """What an upload did.

    :param digest: the snapshot.
    :param size_bytes: of all its files.
    :param uploaded_files: files whose content the workspace didn't hold before.
    :param uploaded_bytes: of them.
    """

    digest: str
    size_bytes: int
    uploaded_files: int
    uploaded_bytes: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot's document.

    :param manifest: the files of the source directory.
    :param watched: the files of ``hash_paths``, None without any.
    :param packs: ids of the packs that hold the contents.
    :param places: number of the pack and offset for each content, in the order of their digests.
    """

    manifest: TreeManifest
    watched: TreeManifest | None
    packs: tuple[str, ...]
    places: tuple[tuple[int, int], ...]

    @property
    def digest(self) -> str:
        """The snapshot's identity."""
        return source_digest(self.manifest, self.watched)

    def placed(self) -> Iterator[Placed]:
        """Walk the files of the source directory with the places of their contents."""
        place_of = dict(zip(_digests(self.manifest, self.watched), self.places, strict=True))
        for item in self.manifest.files:
            pack, offset = place_of[item.sha256]
            yield Placed(item, self.packs[pack], offset)

    def to_document(self) -> dict[str, Any]:
        """Write it as JSON data."""
        return {
            "schema": 1,
            "kind": "snapshot",
            "tree": self.manifest.to_document(),
            "hash_paths": self.watched.to_document() if self.watched else None,
            "packs": list(self.packs),
            "places": [list(place) for place in self.places],
        }

    @classmethod
    def from_document(cls, document: Any) -> Snapshot:
        """Read what :meth:`to_document` wrote.

        :raises SnapshotException: it isn't such a document.
        """
        try:
            if document["schema"] != 1 or document["kind"] != "snapshot":
                raise SnapshotException("it is of another schema; a later version wrote it")
            watched = document["hash_paths"]
            snapshot = cls(
                TreeManifest.from_document(document["tree"]),
                None if watched is None else TreeManifest.from_document(watched),
                tuple(_checked_digest(pack) for pack in document["packs"]),
                tuple((int(pack), int(offset)) for pack, offset in document["places"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise SnapshotException(f"it isn't a snapshot's document: {error!r}") from error
        snapshot._check_places()
        return snapshot

    def _check_places(self) -> None:
        contents = _digests(self.manifest, self.watched)
        packs = len(self.packs)
        if len(contents) != len(self.places) or not all(0 <= n < packs and at >= 0 for n, at in self.places):
            raise SnapshotException("its contents have no place")


class SnapshotStore:
    """The snapshots of a workspace.

    :param store: the workspace's object store.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def exists(self, digest: str) -> bool:
        """Tell whether a snapshot has been uploaded."""
        return self._store.exists(_key(digest))

    def upload(
        self, tree: SourceTree, report: Callable[[str], None] | None = None, *, repair: bool = False
    ) -> SnapshotRecord:
        """Bring a source directory into the workspace, as far as it isn't there yet.

        :param tree: what :func:`scan_source` found.
        :param report: told what is going on when there is much to upload.
        :param repair: upload everything, for a snapshot that turned out to be damaged.
        :raises SnapshotException: a file changed since it was scanned, or can no longer be read.
        """
        if not repair and self.exists(tree.digest):
            return SnapshotRecord(tree.digest, tree.size_bytes, 0, 0)
        wanted = {item.sha256: Content(item.sha256, item.size_bytes) for item in tree.files()}
        places = {} if repair else _chosen(wanted, self._known_packs(wanted))
        missing = [content for sha256, content in wanted.items() if sha256 not in places]
        if missing:
            index = self._upload_pack(tree, missing, report)
            places |= {sha256: (index.pack_id, offset) for sha256, offset in index.offsets().items()}
        self._write_document(tree, places, overwrite=repair)
        return SnapshotRecord(tree.digest, tree.size_bytes, len(missing), sum(c.size_bytes for c in missing))

    def snapshot(self, digest: str) -> Snapshot:
        """Read a snapshot's document.

        :raises SnapshotException: there is none, or it is damaged.
        """
        try:
            data = self._store.get(_key(digest)).data
        except ObjectNotFound as error:
            raise _absent(digest) from error
        return _parse(digest, data)

    def manifest(self, digest: str) -> TreeManifest:
        """Return the files of a snapshot's source directory; errors as in :meth:`snapshot`."""
        return self.snapshot(digest).manifest

    def lay_out(self, digest: str, target: Path, cache_dir: Path | None = None) -> None:
        """Make a folder with the files of a snapshot; it appears whole or not at all.

        The files are copies: a step that writes into them changes nothing for others.

        :param digest: the snapshot.
        :param target: the folder, absent or empty.
        :param cache_dir: keeps what had to be fetched from a workspace that isn't on this machine.
        :raises SnapshotException: no such snapshot, something in the workspace is damaged (``upload`` with
            ``repair`` mends it), or the target holds files.
        """
        with ExitStack() as stack:
            folder = cache_dir or Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="azureml-snapshot-"))
            )
            copies = _LocalCopies(self._store, folder)
            try:
                self._lay_out(digest, target, copies)
            except DamagedObject as error:
                if not copies.drop(error.key):
                    raise
                self._lay_out(digest, target, copies)

    def _lay_out(self, digest: str, target: Path, copies: _LocalCopies) -> None:
        try:
            data = copies.locate(_key(digest)).read_bytes()
        except (ObjectNotFound, FileNotFoundError) as error:
            raise _absent(digest) from error
        snapshot = _parse(digest, data)
        lay_out_files(snapshot.placed(), snapshot.manifest.empty_directories, target, copies.locate)

    def _known_packs(self, wanted: Mapping[str, Content]) -> Iterator[PackIndex]:
        """Walk the indexes of recent packs, newest first, until every wanted content was seen."""
        infos = sorted(self._store.list(INDEXES), key=lambda info: (-info.modified, info.key))[:_RECENT_PACKS]
        missing = set(wanted)
        with ThreadPoolExecutor(_READ_AT_ONCE) as pool:
            for start in range(0, len(infos), _READ_AT_ONCE):
                for index in pool.map(self._read_index, infos[start : start + _READ_AT_ONCE]):
                    if index is not None:
                        missing.difference_update(content.sha256 for content in index.contents)
                        yield index
                if not missing:
                    return

    def _read_index(self, info: ObjectInfo) -> PackIndex | None:
        try:
            index = PackIndex.from_document(json.loads(self._store.get(info.key).data))
        except (ObjectNotFound, SnapshotException, ValueError):
            return None
        # A pack that is gone serves nobody: its contents are uploaded anew.
        return index if self._store.exists(pack_key(index.pack_id)) else None

    def _upload_pack(
        self, tree: SourceTree, missing: list[Content], report: Callable[[str], None] | None
    ) -> PackIndex:
        places = {item.sha256: tree.locate(item.path) for item in tree.files()}
        size_bytes = sum(content.size_bytes for content in missing)
        if report is not None and size_bytes >= _WORTH_REPORTING_BYTES:
            report(_announcement(tree, missing, size_bytes))
        with tempfile.TemporaryDirectory(prefix="azureml-upload-") as folder:
            draft = Path(folder) / "pack"
            with draft.open("wb") as file:
                index = write_pack(file, missing, places)
            # The name is the content: written over an equal one it changes nothing, over a damaged one it mends.
            self._store.put_file(pack_key(index.pack_id), draft)
        self._store.put(index_key(index.pack_id), canonical_json(index.to_document()))
        return index

    def _write_document(
        self, tree: SourceTree, places: Mapping[str, tuple[str, int]], *, overwrite: bool
    ) -> None:
        digests = _digests(tree.manifest, tree.watched)
        packs = tuple(sorted({places[sha256][0] for sha256 in digests}))
        numbers = {pack: number for number, pack in enumerate(packs)}
        snapshot = Snapshot(
            tree.manifest,
            tree.watched,
            packs,
            tuple((numbers[places[sha256][0]], places[sha256][1]) for sha256 in digests),
        )
        # Of two uploads of one tree the first stays; the places of the other are as good.
        with suppress(ConditionFailed):
            self._store.put(
                _key(tree.digest), canonical_json(snapshot.to_document()), if_absent=not overwrite
            )


class _LocalCopies:
    """Objects as files on this machine: the store's own, or copies fetched once into a folder."""

    def __init__(self, store: ObjectStore, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self._reused: set[str] = set()

    def locate(self, key: str) -> Path:
        """Return the path of an object; ``ObjectNotFound``, or a path that doesn't exist, without one."""
        path = self._store.local_path(key)
        if path is not None:
            return path
        copy = self._folder / key
        if copy.exists():
            self._reused.add(key)
        else:
            self._store.get_file(key, copy)
        return copy

    def drop(self, key: str) -> bool:
        """Remove a copy that was made by an earlier call of somebody; False when fetching again cannot help."""
        if key not in self._reused:
            return False
        self._reused.discard(key)
        (self._folder / key).unlink(missing_ok=True)
        return True


def _key(digest: str) -> str:
    return f"snapshots/trees/{digest[:2]}/{_checked_digest(digest)}.json"


def _checked_digest(digest: Any) -> str:
    # It becomes a part of object keys and file names.
    if not isinstance(digest, str) or _DIGEST.fullmatch(digest) is None:
        raise SnapshotException(f"{digest!r} isn't the digest of a snapshot")
    return digest


def _digests(manifest: TreeManifest, watched: TreeManifest | None) -> list[str]:
    return sorted({item.sha256 for item in itertools.chain(manifest.files, watched.files if watched else ())})


def _absent(digest: str) -> SnapshotException:
    return SnapshotException(
        f"snapshot {digest} isn't in the workspace; run the step once from its source directory"
    )


def _parse(digest: str, data: bytes) -> Snapshot:
    try:
        snapshot = Snapshot.from_document(json.loads(data))
    except (SnapshotException, ValueError) as error:
        raise DamagedObject(
            f"snapshot {digest} is damaged in the workspace: {error}", key=_key(digest)
        ) from error
    if snapshot.digest != digest:
        raise DamagedObject(f"snapshot {digest} holds another tree, {snapshot.digest}", key=_key(digest))
    return snapshot


def _chosen(wanted: Mapping[str, Content], packs: Iterable[PackIndex]) -> dict[str, tuple[str, int]]:
    """Choose the packs to refer to, and return pack and offset for each content found in them."""
    candidates: list[tuple[int, str, dict[str, int]]] = []
    taken: set[str] = set()
    for index in packs:
        offsets = {
            key: offset for key, offset in index.offsets().items() if key in wanted and key not in taken
        }
        used_bytes = sum(wanted[sha256].size_bytes for sha256 in offsets)
        if offsets and used_bytes * _WORTH_SHARING >= index.size_bytes:
            taken.update(offsets)
            candidates.append((used_bytes, index.pack_id, offsets))
    candidates.sort(key=lambda candidate: (-candidate[0], candidate[1]))
    return {
        sha256: (pack_id, offset)
        for _, pack_id, offsets in candidates[: _MAX_PACKS - 1]
        for sha256, offset in offsets.items()
    }


def _announcement(tree: SourceTree, missing: list[Content], size_bytes: int) -> str:
    new = {content.sha256 for content in missing}
    files = [item for item in tree.files() if item.sha256 in new]
    largest = sorted(files, key=lambda item: (-item.size_bytes, item.path))[:3]
    named = ", ".join(f"{item.path} ({mebibytes(item.size_bytes)})" for item in largest)
    return (
        f"uploading {len(files)} new or changed files, {mebibytes(size_bytes)}, of {tree.root}; largest: {named}. "
        f"What the step doesn't need can be left out with {tree.root}/.amlignore"
    )
