"""Remembers content digests by what ``stat`` says of a file, so that unchanged files are not read again.

A file is taken as unchanged when its modification time, change time, size and inode number are all what they
were, *and* it was not modified so close to the moment it was read that a second modification could carry the
same time (git's "racily clean" rule). The change time cannot be set by programs: restoring a modification time
does not fool it.

Nothing here decides anything: a cache that is missing, damaged, from another version or unwritable costs time only.
"""

# Plain os functions: they are on the path of every DAG file parse.
# ruff: noqa: PTH100, PTH118

from __future__ import annotations

import array
import hashlib
import itertools
import json
import logging
import os
import secrets
import sys
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_azureml.model.canonical import digest_of
from airflow_azureml.workspace.manifest import Contents, FileDigest, TreeManifest

log = logging.getLogger(__name__)

Stamp = tuple[int, int, int, int]
"""Modification and change time in nanoseconds, size, inode number."""

UNTRUSTED: Stamp = (0, 0, -1, 0)
"""Equal to the stamp of no file."""

_MAGIC = b"azureml-stat-1-%s\n" % sys.byteorder.encode()
# Times of common file systems move with the kernel's clock tick (at most 10 ms); FAT and some network file
# systems count whole seconds, FAT two of them.
_RACY_NS = 50_000_000
_RACY_COARSE_NS = 2_000_000_000
_SECOND_NS = 1_000_000_000
_INODE_BITS = (1 << 63) - 1


def stamp_of(status: os.stat_result) -> Stamp:
    """Return what a file is recognised by."""
    # Some network file systems use all 64 bits of an inode number, one more than a column of the cache has.
    return (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino & _INODE_BITS)


def is_racy(modified_ns: int, read_ns: int) -> bool:
    """Tell whether a file may change again without its modification time showing it.

    :param modified_ns: the modification time that was seen.
    :param read_ns: when reading began, by this machine's clock.
    """
    coarse = modified_ns % _SECOND_NS == 0
    return modified_ns >= read_ns - (_RACY_COARSE_NS if coarse else _RACY_NS)


@dataclass(slots=True)
class Table:
    """What is remembered of one folder: columns, because ten thousand row objects would take longer to make.

    :param options: digest of how it was walked; the answers below hold for the same options only.
    :param digest: of its manifest.
    :param size_bytes: of its files.
    :param places: number of each path, counting from 0, in the order of the paths.
    :param stamps: four numbers a file, as in ``Stamp``; those of ``UNTRUSTED`` for one that has to be read again.
    :param sha256: raw digests of the files, one after the other.
    :param executables: one byte per file.
    :param ignored: paths that the rules left out.
    :param empty_directories: folders without content, if they count.
    """

    options: str = ""
    digest: str = ""
    size_bytes: int = 0
    places: dict[str, int] = field(default_factory=dict)
    stamps: Sequence[int] = ()
    sha256: bytes = b""
    executables: bytes = b""
    ignored: frozenset[str] = frozenset()
    empty_directories: tuple[str, ...] = ()

    def manifest(self) -> TreeManifest:
        """Return the manifest as it was found last time; all files must be trusted."""
        return TreeManifest.known(self.digest, self.size_bytes, self._contents)

    def stamp(self, place: int) -> Stamp:
        """Return the stamp of a file by its number."""
        modified, changed, size, inode = self.stamps[4 * place : 4 * place + 4]
        return (modified, changed, size, inode)

    def file(self, path: str) -> FileDigest:
        """Return the entry of a trusted file."""
        place = self.places[path]
        sha256 = self.sha256[32 * place : 32 * place + 32].hex()
        return FileDigest(path, sha256, self.stamps[4 * place + 2], self.executables[place] == 1)

    def _contents(self) -> Contents:
        return tuple(map(self.file, self.places)), self.empty_directories


class StatCache:
    """Tables of folders and digests of large single files, in a folder that any number of processes may share.

    Each folder that is hashed has a file of its own, replaced as a whole; of two writers the last one stays.

    :param path: the cache's folder, made at the first write; None remembers nothing on disk.
    :param remember_s: how long :meth:`recall` answers. A DAG file with a hundred steps over one source directory
        looks at the directory once instead of a hundred times.
    """

    def __init__(self, path: Path | str | None, *, remember_s: float = 0.0) -> None:
        self._folder = None if path is None else os.path.abspath(path)
        self._remember_s = remember_s
        self._recent: dict[Any, tuple[float, Any]] = {}

    def load(self, root: str) -> Table:
        """Return what is remembered of a folder, an empty table when nothing is.

        :param root: its absolute path.
        """
        data = self._read("trees", root)
        if data is not None:
            with suppress(ValueError, KeyError, TypeError, UnicodeError, zlib.error):
                return _unpack(data)
            log.debug("the cached table of %s is damaged and is ignored", root)
        return Table()

    def save(self, root: str, table: Table) -> None:
        """Remember a folder.

        :param root: its absolute path.
        """
        if self._folder is not None:
            self._write("trees", root, _pack(table))

    def load_file(self, path: str, stamp: Stamp) -> tuple[str, bool] | None:
        """Return the digest and executable bit of a single file if it is unchanged.

        :param path: its absolute path.
        :param stamp: what it is like now.
        """
        data = self._read("files", path)
        with suppress(ValueError, TypeError):
            found, sha256, executable = json.loads(data or b"null")
            if tuple(found) == stamp:
                return str(sha256), bool(executable)
        return None

    def save_file(self, path: str, stamp: Stamp, sha256: str, executable: bool) -> None:
        """Remember a single file; see :meth:`load_file`."""
        if self._folder is not None:
            self._write("files", path, json.dumps([stamp, sha256, executable]).encode())

    def prime(self, root: Path, manifest: TreeManifest) -> None:
        """Remember a folder whose manifest the caller has just made sure of, such as outputs moved into place.

        A file that isn't as the manifest says is read when the folder is hashed next.

        :param root: where the files of the manifest are now.
        """
        now_ns = time.time_ns()
        top = os.path.abspath(root)
        stamps = {item.path: _primed(os.path.join(top, item.path), item, now_ns) for item in manifest.files}
        self.save(top, table_of(manifest, stamps, options_key(None, keep_empty_directories=True)))

    def recall(self, key: Any) -> Any:
        """Return what was remembered in this process under a key less than ``remember_s`` ago, else None."""
        found = self._recent.get(key)
        if found is None or time.monotonic() - found[0] > self._remember_s:
            return None
        return found[1]

    def remember(self, key: Any, value: Any) -> None:
        """Keep a value in this process for :meth:`recall`."""
        if self._remember_s > 0:
            self._recent[key] = (time.monotonic(), value)

    def _path(self, kind: str, name: str) -> str:
        digest = hashlib.sha256(os.fsencode(name)).hexdigest()
        return os.path.join(self._folder or "", kind, digest[:2], digest[2:])

    def _read(self, kind: str, name: str) -> bytes | None:
        if self._folder is None:
            return None
        try:
            with open(self._path(kind, name), "rb", buffering=0) as file:  # noqa: PTH123
                return file.readall()
        except OSError:
            return None

    def _write(self, kind: str, name: str, data: bytes) -> None:
        path = self._path(kind, name)
        draft = f"{path}.{os.getpid()}.{secrets.token_hex(4)}"
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
            with open(draft, "wb", buffering=0) as file:  # noqa: PTH123
                file.write(data)
            os.replace(draft, path)  # noqa: PTH105
        except OSError as error:
            log.debug("the stat cache cannot be written: %s", error)
            with suppress(OSError):
                os.unlink(draft)  # noqa: PTH108


def options_key(rules_key: str | None, *, keep_empty_directories: bool, follow_links: str = "inside") -> str:
    """Return the ``Table.options`` of a way to walk a folder."""
    return digest_of([rules_key, keep_empty_directories, follow_links])


def table_of(
    manifest: TreeManifest, stamps: dict[str, Stamp], options: str, ignored: frozenset[str] = frozenset()
) -> Table:
    """Make the table of a folder from its manifest.

    :param stamps: of the manifest's files, by path.
    """
    return Table(
        options=options,
        digest=manifest.digest,
        size_bytes=manifest.size_bytes,
        places={item.path: place for place, item in enumerate(manifest.files)},
        stamps=list(itertools.chain.from_iterable(stamps[item.path] for item in manifest.files)),
        sha256=bytes.fromhex("".join(item.sha256 for item in manifest.files)),
        executables=bytes(item.executable for item in manifest.files),
        ignored=ignored,
        empty_directories=manifest.empty_directories,
    )


def _primed(path: str, item: FileDigest, now_ns: int) -> Stamp:
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return UNTRUSTED
    executable = bool(status.st_mode & 0o100)
    if (status.st_size, executable) != (item.size_bytes, item.executable) or is_racy(
        status.st_mtime_ns, now_ns
    ):
        return UNTRUSTED
    return stamp_of(status)


def _pack(table: Table) -> bytes:
    """Write a table: checksum, JSON header, then columns, which load several times faster than rows."""
    header = json.dumps(
        {
            "options": table.options,
            "digest": table.digest,
            "size_bytes": table.size_bytes,
            "count": len(table.places),
            "ignored": sorted(table.ignored),
            "empty_directories": table.empty_directories,
        }
    ).encode()
    stamps = array.array("q", table.stamps).tobytes()
    names = "\0".join(table.places).encode("utf-8", "surrogateescape")
    body = b"".join((b"%d\n" % len(header), header, stamps, table.sha256, table.executables, names))
    return _MAGIC + b"%d\n" % zlib.crc32(body) + body


def _unpack(data: bytes) -> Table:
    magic, checksum, body = data.split(b"\n", 2)
    if magic + b"\n" != _MAGIC or int(checksum) != zlib.crc32(body):
        raise ValueError("damaged or of another version")
    length, rest = body.split(b"\n", 1)
    start = int(length)
    header = json.loads(rest[:start])
    count = header["count"]
    digests, executables, names = start + 32 * count, start + 64 * count, start + 65 * count
    paths = rest[names:].decode("utf-8", "surrogateescape").split("\0") if count else []
    return Table(
        options=header["options"],
        digest=header["digest"],
        size_bytes=header["size_bytes"],
        places=dict(zip(paths, range(count), strict=True)),
        stamps=array.array("q", rest[start:digests]).tolist(),
        sha256=rest[digests:executables],
        executables=rest[executables:names],
        ignored=frozenset(header["ignored"]),
        empty_directories=tuple(header["empty_directories"]),
    )
