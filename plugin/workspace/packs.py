"""Packs: the contents that one upload adds to a workspace, end to end in one object.

``snapshots/packs/<kk>/<id>`` holds the bytes, ``snapshots/indexes/<id>.json`` which contents they are. The id is
the digest of that list, so equal uploads write equal objects and writing one twice is harmless. The index is
written last: a pack without one was never finished and nothing refers to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from airflow_azureml.model.canonical import digest_of
from airflow_azureml.runtime.exceptions import SnapshotException

INDEXES = "snapshots/indexes/"
CHUNK_BYTES = 1 << 20


class Content(NamedTuple):
    """A file's bytes, wherever they are.

    :param sha256: their digest.
    :param size_bytes: their number.
    """

    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class PackIndex:
    """What a pack holds.

    :param contents: in the order of the pack.
    """

    contents: tuple[Content, ...]

    @cached_property
    def pack_id(self) -> str:
        """The name of the pack."""
        return digest_of(self.to_document())

    @property
    def size_bytes(self) -> int:
        """The size of the pack."""
        return sum(content.size_bytes for content in self.contents)

    def offsets(self) -> dict[str, int]:
        """Return where each content begins."""
        found, position = {}, 0
        for content in self.contents:
            found[content.sha256] = position
            position += content.size_bytes
        return found

    def to_document(self) -> dict[str, Any]:
        """Write the index as JSON data."""
        return {"schema": 1, "kind": "pack", "contents": [list(content) for content in self.contents]}

    @classmethod
    def from_document(cls, document: Any) -> PackIndex:
        """Read what :meth:`to_document` wrote.

        :raises SnapshotException: it isn't such a document.
        """
        try:
            if document["schema"] != 1 or document["kind"] != "pack":
                raise SnapshotException("not a pack index of schema 1; it is of a later version")
            return cls(tuple(Content(str(sha256), int(size)) for sha256, size in document["contents"]))
        except (KeyError, TypeError, ValueError) as error:
            raise SnapshotException(f"a pack index is damaged: {error}") from error


def pack_key(pack_id: str) -> str:
    """Return the object that holds a pack."""
    return f"snapshots/packs/{pack_id[:2]}/{pack_id}"


def index_key(pack_id: str) -> str:
    """Return the object that holds a pack's index."""
    return f"{INDEXES}{pack_id}.json"


def write_pack(target: BinaryIO, wanted: Iterable[Content], places: Mapping[str, Path]) -> PackIndex:
    """Write contents end to end.

    :param wanted: what to write.
    :param places: a file for each digest.
    :raises SnapshotException: a file isn't what it was when it was hashed.
    """
    contents = tuple(sorted(wanted))
    for content in contents:
        path = places[content.sha256]
        try:
            with path.open("rb") as source:
                same = _copy(source, target) == content
        except OSError as error:
            raise SnapshotException(f"{str(path)!r} cannot be read: {error.strerror}") from error
        if not same:
            raise SnapshotException(
                f"{str(path)!r} changed while its directory was being uploaded; start the step again"
            )
    return PackIndex(contents)


def _copy(source: BinaryIO, target: BinaryIO) -> Content:
    digest, size_bytes = hashlib.sha256(), 0
    while chunk := source.read(CHUNK_BYTES):
        digest.update(chunk)
        size_bytes += target.write(chunk)
    return Content(digest.hexdigest(), size_bytes)
