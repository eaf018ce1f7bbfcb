"""What transfers have done, file by file, so that the next one doesn't do it again.

An entry says: this version of a source's file was written as that version of the target's. As long as both are still what they
were, nothing has to be copied, after a crash as well as a week later. An entry is only ever an opinion that versions confirm;
a lost, old or doubled one costs a copy and nothing else.

Entries are objects of JSON lines, ``<prefix>/<time>-<random>``, written every second or so while a transfer runs and
gathered into few at its end.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from airflow_azureml.runtime.exceptions import ObjectNotFound
from airflow_azureml.workspace.local_store import LocalStore
from airflow_azureml.workspace.store import ObjectStore

ENTRIES_PER_OBJECT = 10_000
_TIDY_OBJECTS = 4


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One file that arrived.

    :param path: relative to the transfer's folders.
    :param source: version of the source's file.
    :param target: version of the target's file.
    :param md5: hex MD5 of its bytes, where it is known.
    """

    path: str
    source: str
    target: str
    md5: str | None


class Journal:
    """The journal of one transfer.

    :param store: where it is kept.
    :param prefix: folder in it, for this transfer alone.
    """

    def __init__(self, store: ObjectStore, prefix: str) -> None:
        self._store = store
        self._prefix = prefix.rstrip("/") + "/"

    @classmethod
    def in_folder(cls, folder: Path, key: str) -> Journal:
        """Return the journal that is kept in a folder of this machine under a transfer's key."""
        return cls(LocalStore(folder), key)

    def read(self) -> Iterator[JournalEntry]:
        """Walk the entries, older ones first; what cannot be read is left out."""
        for info in self._store.list(self._prefix):
            try:
                lines = self._store.get(info.key).data.splitlines()
            except ObjectNotFound:
                # Gathered by another transfer meanwhile.
                continue
            yield from filter(None, map(_entry, lines))

    def append(self, entries: Iterable[JournalEntry]) -> None:
        """Write entries down."""
        remaining = iter(entries)
        while part := list(islice(remaining, ENTRIES_PER_OBJECT)):
            # The time keeps the order; the random part keeps two writers of one moment apart.
            key = f"{self._prefix}{time.time_ns():020d}-{secrets.token_hex(4)}"
            self._store.put(key, b"".join(map(_line, part)), if_absent=True)

    def gather(self, entries: Iterable[JournalEntry], count: int) -> None:
        """Replace what was written down, when it has become many more objects than needed, by what is true now.

        :param entries: all files of the transfer.
        :param count: how many they are.
        """
        old = [info.key for info in self._store.list(self._prefix)]
        if len(old) <= _TIDY_OBJECTS + count // ENTRIES_PER_OBJECT:
            return
        self.append(entries)
        for key in old:
            self._store.delete(key)


def _line(entry: JournalEntry) -> bytes:
    return json.dumps([entry.path, entry.source, entry.target, entry.md5]).encode() + b"\n"


def _entry(line: bytes) -> JournalEntry | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return JournalEntry(*row) if isinstance(row, list) and len(row) == 4 else None
