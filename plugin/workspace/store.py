"""The object store: the one small interface under everything a workspace keeps.

An object is bytes under a key. Two operations carry all coordination between processes and machines:
*create if absent* and *replace if unchanged*. Every back end passes one conformance suite
(``tests/workspace/test_store_conformance.py``); what is written on top of :class:`ObjectStore` relies on what
that suite states and on nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable
from urllib.parse import SplitResult, unquote, urlsplit

from airflow_azureml.runtime.exceptions import StoreError, UserErrorException

MAX_KEY_BYTES = 900
"""Longest key in UTF-8 bytes: under the 1,024 of Azure, S3 and Google, with room for a prefix."""

MAX_SEGMENT_BYTES = 250
"""Longest part between two slashes: under the 255 bytes of a file name, which a local store makes of it."""

RESERVED_FOLDER = ".store"
"""First segment that no key may have: a local store keeps its locks and half-written files there."""

_PLACES = "a folder path, file:///folder or memory://name, or azure://connection/container or s3://connection/bucket"
_REMOTE_TYPES = {"azure": "AzureBlob", "s3": "S3"}
_FORBIDDEN_CHARACTERS = frozenset("\0\\")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What :meth:`ObjectStore.get` returns.

    :param data: all bytes of the object.
    :param tag: opaque version of exactly these bytes, for ``if_match``.
    """

    data: bytes
    tag: str


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One line of a listing.

    :param key: the object's key.
    :param size_bytes: its size.
    :param modified: when it was last written, seconds since the epoch.
    """

    key: str
    size_bytes: int
    modified: float


@runtime_checkable
class ObjectStore(Protocol):
    """Bytes under keys, with conditional writes.

    Keys are relative POSIX paths that pass :func:`check_key`; every method raises ``StoreError`` for others.
    A key cannot be the folder of another key (``a`` beside ``a/b``): the second of the two is refused with
    ``StoreError``. A reader sees an object whole, old or new, never a mixture. A write that fails changes
    nothing. Trouble of the back end itself (disk full, no permission) is ``StoreError``.
    """

    def get(self, key: str) -> StoredObject:
        """Read an object; ``ObjectNotFound`` without one."""
        ...

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """Write an object and return its tag.

        :param if_absent: write only where there is nothing; of several writers exactly one succeeds.
        :param if_match: write only over the object that has this tag.
        :raises ConditionFailed: the condition doesn't hold; an absent object matches no tag.
        :raises ValueError: both conditions are given.
        """
        ...

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        """Remove an object; an absent one is no error.

        :raises ConditionFailed: the object there has another tag than ``if_match``.
        """
        ...

    def exists(self, key: str) -> bool:
        """Tell whether there is an object under the key (a folder is none)."""
        ...

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Walk the objects whose keys start with ``prefix``, in the order of their keys.

        :param prefix: ``""`` for all, ``"folder/"`` for a folder at any depth, or any beginning of a key.
            What is written or deleted during the walk may or may not be seen.
        """
        ...

    def put_file(self, key: str, source: Path, *, if_absent: bool = False) -> str:
        """Write a file's content as an object, streamed, and return its tag.

        :raises ConditionFailed: ``if_absent`` and the object exists.
        """
        ...

    def get_file(self, key: str, target: Path) -> None:
        """Copy an object into a file, streamed; the file appears whole and its folders are made.

        :raises ObjectNotFound: no such object; the target stays as it was.
        """
        ...

    def open(self, key: str) -> BinaryIO:
        """Open an object for reading; what is open stays the same when the object is replaced."""
        ...

    def local_path(self, key: str) -> Path | None:
        """Return where the bytes are, or would be, on a disk of this machine; None without one."""
        ...


def check_key(key: str) -> str:
    """Return the key when it is one, so that nothing outside the store can be named.

    :raises StoreError: empty or too long, absolute, with empty, ``.`` or ``..`` segments, NUL, backslash or
        text that isn't Unicode, or inside the store's own folder.
    """
    problem = _key_problem(key)
    if problem is not None:
        raise StoreError(f"object key {key[:120]!r} is refused: it {problem}")
    return key


def check_prefix(prefix: str) -> str:
    """Return the prefix when its whole folders are valid, else raise ``StoreError``.

    :param prefix: ``""``, a folder with its slash, or any beginning of a key.
    """
    folder, slash, _ = prefix.rpartition("/")
    if slash:
        check_key(folder)
    return prefix


def check_conditions(if_absent: bool, if_match: str | None) -> None:
    """Refuse a write with both conditions, which no state of the store could meet."""
    if if_absent and if_match is not None:
        raise ValueError("put takes if_absent or if_match, not both")


def parent_folders(key: str) -> Iterator[str]:
    """Walk the folders a key lies in, innermost first, without their slashes."""
    folder = key.rpartition("/")[0]
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]


def open_store(url: str) -> ObjectStore:
    """Make the store that a workspace URL names; touches no disk.

    :param url: a folder (``/data/ws``, ``~/ws``, relative to the current directory), ``file:///data/ws``,
        ``azure://connection/container/folder`` or ``s3://connection/bucket/folder`` (``connection`` is the id of an
        Airflow connection, the folder may be left out), or ``memory://name`` (one store per name and process, for
        tests and trials).
    :raises UserErrorException: anything else.
    """
    # Here and not at module level: the back ends import this module.
    from airflow_azureml.workspace.local_store import LocalStore
    from airflow_azureml.workspace.memory_store import shared_memory_store

    if "://" not in url:
        return LocalStore(_folder(url))
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return LocalStore(_folder(unquote(parts.path)))
    if parts.scheme == "memory" and parts.netloc:
        return shared_memory_store(parts.netloc + parts.path.rstrip("/"))
    if parts.scheme in _REMOTE_TYPES:
        return _remote_store(parts, url)
    raise UserErrorException(f"workspace {_without_credentials(url)!r} cannot be opened: give {_PLACES}")


def _remote_store(parts: SplitResult, url: str) -> ObjectStore:
    from airflow_azureml.storage.files import StoreAddress
    from airflow_azureml.workspace.blob_store import BlobStore

    connection, (container, _, folder) = unquote(parts.netloc), unquote(parts.path).strip("/").partition("/")
    if not connection or not container or "@" in connection or parts.query:
        raise UserErrorException(
            f"workspace {_without_credentials(url)!r} cannot be opened: give "
            f"{parts.scheme}://connection/container/folder, where connection is the id of an Airflow connection"
        )
    kind = _REMOTE_TYPES[parts.scheme]
    return BlobStore(StoreAddress(kind, connection, container=container, path=folder or None))


def _folder(text: str) -> Path:
    if not text.strip() or "\0" in text:
        raise UserErrorException(f"the workspace's folder is empty: give {_PLACES}")
    return Path(text).expanduser().absolute()


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _key_problem(key: str) -> str | None:
    if not key:
        return "is empty"
    if not _FORBIDDEN_CHARACTERS.isdisjoint(key):
        return "contains a NUL or a backslash"
    # ASCII text needs no encoding to be measured, and nearly every key is ASCII.
    size_bytes = len(key) if key.isascii() else _utf8_size(key)
    if size_bytes is None:
        return "isn't valid Unicode"
    if size_bytes > MAX_KEY_BYTES:
        return f"is longer than {MAX_KEY_BYTES} bytes"
    return _segments_problem(key.split("/"), short=size_bytes <= MAX_SEGMENT_BYTES)


def _segments_problem(segments: list[str], *, short: bool) -> str | None:
    if segments[0] == RESERVED_FOLDER:
        return f"lies in {RESERVED_FOLDER}/, which belongs to the store"
    for segment in segments:
        if segment in ("", ".", ".."):
            return f"has a segment {segment!r}; keys are relative paths such as 'runs/r1/record.json'"
        if not short and len(segment.encode()) > MAX_SEGMENT_BYTES:
            return f"has a segment longer than {MAX_SEGMENT_BYTES} bytes"
    return None


def _utf8_size(text: str) -> int | None:
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return None
