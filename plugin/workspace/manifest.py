"""What a folder holds: file names, content digests, sizes and executable bits, and one digest over all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from airflow_azureml.model.canonical import digest_of
from airflow_azureml.runtime.exceptions import SnapshotException

SCHEMA = 1


class FileDigest(NamedTuple):
    """One file of a tree.

    :param path: relative POSIX path, spelled as found on disk: two Unicode forms of a name are two names.
    :param sha256: digest of its content, lower-case hex.
    :param size_bytes: its size.
    :param executable: whether its owner may execute it; no other permission counts.
    """

    path: str
    sha256: str
    size_bytes: int
    executable: bool


Contents = tuple[tuple[FileDigest, ...], tuple[str, ...]]


class TreeManifest:
    """The files of a folder in the order of their paths, the empty folders, and the digest of both.

    The digest is the SHA-256 of the canonical JSON of :meth:`to_document`. Lists frame every name and value, so
    no two different trees share a text. No time, owner, permission or absolute path is in it.

    :param files: in any order.
    :param empty_directories: folders that hold nothing and count nevertheless.
    :raises SnapshotException: two entries have one path.
    """

    __slots__ = ("_contents", "_digest", "_load", "_size_bytes")

    def __init__(self, files: Iterable[FileDigest], empty_directories: Iterable[str] = ()) -> None:
        self._contents: Contents | None = (tuple(sorted(files)), tuple(sorted(empty_directories)))
        self._load: Callable[[], Contents] | None = None
        self._digest: str | None = None
        self._size_bytes: int | None = None
        _refuse_repeated(item.path for item in self._contents[0])
        _refuse_repeated(self._contents[1])

    @classmethod
    def known(cls, digest: str, size_bytes: int, load: Callable[[], Contents]) -> TreeManifest:
        """Make a manifest whose digest is known and whose entries are read when somebody asks for them.

        Defining a step needs the digest alone; building ten thousand entries would cost more than finding
        that none of the files changed.

        :param load: returns the entries, sorted.
        """
        manifest = cls(())
        manifest._contents, manifest._load = None, load
        manifest._digest, manifest._size_bytes = digest, size_bytes
        return manifest

    @property
    def files(self) -> tuple[FileDigest, ...]:
        """The files, in the order of their paths."""
        return self._loaded()[0]

    @property
    def empty_directories(self) -> tuple[str, ...]:
        """The folders that hold nothing, in order."""
        return self._loaded()[1]

    @property
    def digest(self) -> str:
        """SHA-256 over all entries, lower-case hex."""
        if self._digest is None:
            self._digest = digest_of(self.to_document())
        return self._digest

    @property
    def size_bytes(self) -> int:
        """Bytes of all files together."""
        if self._size_bytes is None:
            self._size_bytes = sum(item.size_bytes for item in self.files)
        return self._size_bytes

    def to_document(self) -> dict[str, Any]:
        """Write the manifest as JSON data; :meth:`from_document` reads it back equal."""
        return {
            "schema": SCHEMA,
            "kind": "tree",
            "files": [list(item) for item in self.files],
            "directories": list(self.empty_directories),
        }

    @classmethod
    def from_document(cls, document: Any) -> TreeManifest:
        """Read what :meth:`to_document` wrote.

        Paths are taken as they are: whoever makes files of them checks that they stay inside.

        :raises SnapshotException: it isn't such a document, or of another schema.
        """
        if (
            not isinstance(document, dict)
            or document.get("kind") != "tree"
            or document.get("schema") != SCHEMA
        ):
            raise SnapshotException(
                f"not a tree manifest of schema {SCHEMA}; it was damaged or is of a later version"
            )
        files, folders = document.get("files"), document.get("directories")
        if not isinstance(files, list) or not isinstance(folders, list):
            raise SnapshotException("a tree manifest lacks its files or directories; it was damaged")
        return cls([_read_file(row) for row in files], [_read_text(row) for row in folders])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TreeManifest) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"TreeManifest({self.digest[:12]}…, {self.size_bytes} bytes)"

    def _loaded(self) -> Contents:
        if self._contents is None:
            if self._load is None:
                raise SnapshotException("a tree manifest has lost its entries")
            self._contents = self._load()
            self._load = None
        return self._contents


def _refuse_repeated(paths: Iterable[str]) -> None:
    previous = None
    for path in paths:
        if path == previous:
            raise SnapshotException(f"a tree manifest names {path!r} twice")
        previous = path


def _read_file(row: Any) -> FileDigest:
    if isinstance(row, list) and len(row) == 4:
        path, sha256, size_bytes, executable = row
        if (
            isinstance(path, str)
            and isinstance(sha256, str)
            and type(size_bytes) is int
            and size_bytes >= 0
            and isinstance(executable, bool)
        ):
            return FileDigest(path, sha256, size_bytes, executable)
    raise SnapshotException(f"a tree manifest has a bad entry {str(row)[:120]!r}; it was damaged")


def _read_text(row: Any) -> str:
    if not isinstance(row, str):
        raise SnapshotException(f"a tree manifest has a bad directory {str(row)[:120]!r}; it was damaged")
    return row
