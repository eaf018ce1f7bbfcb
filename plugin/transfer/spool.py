"""The files of a transfer in a temporary database on disk, so that a million of them cost no memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from airflow_azureml.storage.files import FileInfo
from airflow_azureml.transfer.journal import JournalEntry
from airflow_azureml.transfer.request import WrittenFile

_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -8000;
CREATE TABLE source (path BLOB PRIMARY KEY, size, modified, etag, md5) WITHOUT ROWID;
CREATE TABLE target (path BLOB PRIMARY KEY, size, modified, etag, md5) WITHOUT ROWID;
CREATE TABLE known (path BLOB PRIMARY KEY, source, target, md5) WITHOUT ROWID;
CREATE TABLE todo (path BLOB PRIMARY KEY, size) WITHOUT ROWID;
CREATE TABLE done (path BLOB PRIMARY KEY, size, source, target, md5, copied) WITHOUT ROWID;
"""
_PAIRS = """
SELECT s.path, s.size, s.modified, s.etag, s.md5, t.size, t.modified, t.etag, t.md5, k.source, k.target, k.md5
FROM {first} LEFT JOIN target t USING (path) LEFT JOIN known k USING (path) {where} ORDER BY path
"""


@dataclass(frozen=True, slots=True)
class Pair:
    """A file of the source, and what is known of it on the other side.

    :param path: relative to the transfer's folders.
    :param source: the file; its own ``path`` is ``path`` too.
    :param target: the file on the target; None without one.
    :param entry: what the journal says.
    """

    path: str
    source: FileInfo
    target: FileInfo | None
    entry: JournalEntry | None


class Spool:
    """Both manifests, the plan and what has been done. For one thread."""

    def __init__(self) -> None:
        # "" is a database in a file that SQLite makes when it needs one, and that has no name anybody else could open.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=True)
        self._database.executescript(_TABLES)
        self._database.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def add_source(self, files: Iterable[tuple[str, FileInfo]]) -> None:
        """Add files of the source, each with its path in the transfer."""
        self._add("source", files)

    def add_target(self, files: Iterable[tuple[str, FileInfo]]) -> None:
        """Add files of the target."""
        self._add("target", files)

    def add_known(self, entries: Iterable[JournalEntry]) -> None:
        """Add what the journal says; later entries count."""
        self._database.executemany(
            "INSERT OR REPLACE INTO known VALUES (?, ?, ?, ?)",
            ((_stored(entry.path), entry.source, entry.target, entry.md5) for entry in entries),
        )

    def add_todo(self, pair: Pair) -> None:
        """Add a file to those that need work."""
        self._database.execute("INSERT INTO todo VALUES (?, ?)", (_stored(pair.path), pair.source.size_bytes))

    def add_done(self, path: str, source: str, target: FileInfo, md5: str | None, *, copied: bool) -> None:
        """Add a file to those that are on the target as they should be.

        :param source: the version of the source's file.
        """
        row = (_stored(path), target.size_bytes, source, target.version, md5, copied)
        self._database.execute("INSERT OR REPLACE INTO done VALUES (?, ?, ?, ?, ?, ?)", row)

    def pairs(self) -> Iterator[Pair]:
        """Walk the source's files with what is known of each."""
        return map(_pair, self._database.execute(_PAIRS.format(first="source s", where="")))

    def todo(self, *, above: int, up_to: int | None = None) -> Iterator[Pair]:
        """Walk the files that need work, of certain sizes.

        :param above: larger than so many bytes; -1 for all.
        :param up_to: not larger than that.
        """
        where = "WHERE todo.size > ? AND (? IS NULL OR todo.size <= ?)"
        query = _PAIRS.format(first="todo JOIN source s USING (path)", where=where)
        return map(_pair, self._database.execute(query, (above, up_to, up_to)))

    def extra(self) -> Iterator[str]:
        """Walk the target's files that the source doesn't have."""
        query = "SELECT path FROM target WHERE path NOT IN (SELECT path FROM source) ORDER BY path DESC"
        return (_path(row[0]) for row in self._database.execute(query))

    def count(self, table: str) -> tuple[int, int]:
        """Return how many files ``source``, ``target``, ``todo`` or ``done`` has, and their bytes."""
        number, size_bytes = self._database.execute(
            f"SELECT count(*), coalesce(sum(size), 0) FROM {table}"  # noqa: S608 - one of our own names
        ).fetchone()
        return number, size_bytes

    def count_extra(self) -> int:
        """Return how many files :meth:`extra` has."""
        query = "SELECT count(*) FROM target WHERE path NOT IN (SELECT path FROM source)"
        number: int = self._database.execute(query).fetchone()[0]
        return number

    def entries(self) -> Iterator[JournalEntry]:
        """Walk what is done, for the journal."""
        for path, source, target, md5 in self._database.execute("SELECT path, source, target, md5 FROM done"):
            yield JournalEntry(_path(path), source, target, md5)

    def written(self) -> Iterator[WrittenFile]:
        """Walk what is done, for the result, with paths of the transfer."""
        rows = self._database.execute("SELECT path, size, target, md5, copied FROM done ORDER BY path")
        for path, size_bytes, version, md5, copied in rows:
            yield WrittenFile(_path(path), size_bytes, version, md5, bool(copied))

    def _add(self, table: str, files: Iterable[tuple[str, FileInfo]]) -> None:
        self._database.executemany(
            f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?, ?, ?)",  # noqa: S608 - one of our own names
            ((_stored(path), i.size_bytes, i.modified, i.etag, i.md5) for path, i in files),
        )


def _pair(row: tuple[Any, ...]) -> Pair:
    path = _path(row[0])
    return Pair(
        path,
        FileInfo(path, row[1], row[2], row[3], row[4]),
        None if row[5] is None else FileInfo(path, row[5], row[6], row[7], row[8]),
        None if row[9] is None else JournalEntry(path, row[9], row[10], row[11]),
    )


def _stored(path: str) -> bytes:
    # A local name that isn't UTF-8 has lone surrogates, which SQLite's text cannot hold.
    return path.encode("utf-8", "surrogateescape")


def _path(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogateescape")
