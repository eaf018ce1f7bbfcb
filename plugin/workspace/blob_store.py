"""The object store in a container of Azure Blob storage or a bucket of S3: every object is the blob of its key.

*Create if absent* and *replace if unchanged* are the service's own, by ETag; so are conditional deletes.

Blob storage itself lets ``a`` be beside ``a/b``, which this interface doesn't. Looking costs requests, so it is done only where
it can find something: not for keys that the package composes (:data:`COMPOSED`), where no name can become the folder of another;
not for keys that are known to be objects already. Elsewhere an object is written first, then its folders and what lies below it
are looked at, and it goes again when there is a clash. In this order two writers at the same time cannot both miss each other.
"""

from __future__ import annotations

import io
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

from airflow_azureml.runtime.exceptions import ConditionFailed, ObjectNotFound, StoreError
from airflow_azureml.storage.failures import Failure, exception_of, failure_of, is_of_client
from airflow_azureml.storage.files import FileChanged, StoreAddress
from airflow_azureml.storage.obstore_files import SMALL_BYTES, ObstoreFiles, plain_etag, quoted_etag
from airflow_azureml.storage.opening import open_files
from airflow_azureml.workspace.store import (
    ObjectInfo,
    StoredObject,
    check_conditions,
    check_key,
    check_prefix,
    parent_folders,
)

if TYPE_CHECKING:
    from airflow_azureml.storage.files import FileInfo

COMPOSED = (
    "actions/", "entries/", "environments/", "experiments/", "leases/", "manifests/", "models/", "registry/",
    "runs/", "snapshots/", "transfers/",
)  # fmt: skip
"""Folders whose keys the package composes of parts of fixed number and kind; names of users' files are compared before."""

_KNOWN_KEYS = 50_000
_CONFLICT_TRIES = 5
_ESCAPE = "\u201b"
# No name of a blob may have control characters, and some tools cut off dots at the end of a part.
_TO_ESCAPE = re.compile("[\x00-\x1f\x7f\u201b]|\\.(?=/|$)")
_ESCAPED = re.compile("\u201b(.)", re.DOTALL)
_OWN_ESCAPES = {_ESCAPE: _ESCAPE, "\x7f": "?", ".": "-"}
_OWN_MEANINGS = {mark: meant for meant, mark in _OWN_ESCAPES.items()}


class BlobStore:
    """Objects in a container, safe for any number of machines (see ``ObjectStore``). An object's tag is its ETag.

    :param address: the container; its connection is read when it is first used.
    """

    def __init__(self, address: StoreAddress) -> None:
        self.address = address
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"BlobStore({self.address.connection_id!r}, {self.address.container!r}, {self.address.path!r})"

    def get(self, key: str) -> StoredObject:
        """See ``ObjectStore.get``."""
        name = _name(check_key(key))
        with self._errors("read", key):
            found = self._files.client.get(self._files.key(name))
            return StoredObject(bytes(found.bytes()), plain_etag(found.meta["e_tag"]) or "")

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ``ObjectStore.put``."""
        check_conditions(if_absent, if_match)
        check_key(key)
        # A copy: the caller may go on filling a bytearray.
        data = bytes(data)
        for left in reversed(range(_CONFLICT_TRIES)):
            try:
                return self._put(key, data, _mode(if_absent=if_absent, if_match=if_match))
            except Exception as error:  # noqa: BLE001 - told apart below
                failure = failure_of(error)
                # Two writers at once: S3 then lets nobody through.
                if failure.code != "ConditionalRequestConflict" or not left:
                    return self._refused(
                        key, data, error, failure, conditional=if_absent or if_match is not None
                    )
        raise AssertionError  # the last try returns or raises

    def put_file(self, key: str, source: Path, *, if_absent: bool = False) -> str:
        """See ``ObjectStore.put_file``."""
        check_key(key)
        if if_absent or source.stat().st_size <= SMALL_BYTES:
            # A condition goes with a single request only.
            return self.put(key, source.read_bytes(), if_absent=if_absent)
        tag = self._files.put_file(_name(key), source).etag or ""
        self._refuse_clash(key, tag)
        return tag

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        """See ``ObjectStore.delete``."""
        name = _name(check_key(key))
        self._forget(key)
        if if_match is None:
            self._files.delete(name)
            return
        try:
            _delete_if(self._files, name, if_match)
        except FileChanged:
            raise ConditionFailed(key) from None

    def exists(self, key: str) -> bool:
        """See ``ObjectStore.exists``."""
        return self._stat(check_key(key)) is not None

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See ``ObjectStore.list``."""
        folder = check_prefix(prefix).rpartition("/")[0]
        infos = [
            ObjectInfo(key, info.size_bytes, info.modified)
            for info in self._files.listed(_name(folder) if folder else "")
            if (key := _key(info.path)).startswith(prefix) and _is_key(key)
        ]
        infos.sort(key=lambda info: info.key)
        return iter(infos)

    def get_file(self, key: str, target: Path) -> None:
        """See ``ObjectStore.get_file``."""
        name = _name(check_key(key))
        try:
            self._files.get_file(name, Path(target))
        except ObjectNotFound:
            raise ObjectNotFound(key) from None

    def open(self, key: str) -> BinaryIO:
        """See ``ObjectStore.open``; a large object is copied to a local file that goes when it is closed."""
        found = self._stat(check_key(key))
        if found is None:
            raise ObjectNotFound(key)
        if found.size_bytes <= SMALL_BYTES:
            return io.BytesIO(self.get(key).data)
        with tempfile.TemporaryDirectory(prefix="azureml-object-") as folder:
            copy = Path(folder) / "object"
            self.get_file(key, copy)
            # The open descriptor keeps the bytes.
            return copy.open("rb")

    def local_path(self, key: str) -> None:
        """See ``ObjectStore.local_path``: nothing here is on a disk."""
        check_key(key)

    @property
    def _files(self) -> ObstoreFiles:
        # Asked each time, so that a changed connection is noticed.
        found = open_files(self.address)
        if not isinstance(found, ObstoreFiles):
            raise StoreError(f"a workspace cannot be kept in a store of type {self.address.type!r}")
        return found

    def _put(self, key: str, data: bytes, mode: Any) -> str:
        files = self._files
        written = files.client.put(files.key(_name(key)), data, mode=mode, use_multipart=False)
        tag = plain_etag(written["e_tag"]) or ""
        if mode is None or mode == "create":
            self._refuse_clash(key, tag)
        return tag

    def _refused(
        self, key: str, data: bytes, error: Exception, failure: Failure, *, conditional: bool
    ) -> str:
        """Say what became of a write that the service refused; returns the tag when it had been done after all."""
        if not is_of_client(error):
            raise error
        lost = failure.is_unmet or failure.is_absent
        # The answer to a first try may have been lost, and the condition undone by our own write.
        if conditional and (failure.on_the_wire or (lost and failure.retried)):
            with suppress(ObjectNotFound):
                found = self.get(key)
                if found.data == data:
                    return found.tag
        if conditional and lost:
            raise ConditionFailed(key) from None
        raise exception_of(error, "write", key, self._files.uri) from None

    def _refuse_clash(self, key: str, tag: str) -> None:
        """Take back an object that lies under another one, or over others."""
        if key.startswith(COMPOSED) or key in self._known:
            return
        problem = self._clash(key)
        if problem is not None:
            _delete_if(self._files, _name(key), tag)
            raise StoreError(f"object {key!r} is refused: {problem}")
        with self._lock:
            if len(self._known) >= _KNOWN_KEYS:
                self._known.clear()
            self._known.add(key)

    def _clash(self, key: str) -> str | None:
        if next(self.list(key + "/"), None) is not None:
            return f"{key + '/'!r} holds other objects"
        if any(self._stat(folder) is not None for folder in parent_folders(key)):
            return "a part of its folder is an object itself"
        return None

    def _forget(self, key: str) -> None:
        with self._lock:
            self._known.discard(key)

    def _stat(self, key: str) -> FileInfo | None:
        return self._files.stat(_name(key))

    def _errors(self, verb: str, key: str) -> Any:
        return _Errors(verb, key, lambda: self._files.uri)


class _Errors:
    """Turns the client's errors into the store's; a class, because it is in the way of every read."""

    def __init__(self, verb: str, key: str, uri: Callable[[], str]) -> None:
        self._verb, self._key, self._uri = verb, key, uri

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, Exception) or isinstance(error, StoreError):
            return
        if failure_of(error).is_absent:
            raise ObjectNotFound(self._key) from None
        if is_of_client(error):
            raise exception_of(error, self._verb, self._key, self._uri()) from None


def _delete_if(files: ObstoreFiles, name: str, etag: str) -> None:
    """Remove a blob that has an etag; ``FileChanged`` when it has another one, and no error when it is gone."""
    from airflow_azureml.storage.azure_blob_files import AzureBlobFiles

    if isinstance(files, AzureBlobFiles):
        files.remove_if(files.key(name), name, etag)
    else:
        _delete_signed(files, name, etag)


def _delete_signed(files: ObstoreFiles, name: str, etag: str) -> None:
    """Do it with a request of our own that the client signs: it has none with a condition."""
    from datetime import timedelta

    import httpx
    import obstore

    from airflow_azureml.storage.azure_rest import keep_signatures_out_of_logs

    keep_signatures_out_of_logs()
    client: Any = files.client
    url = obstore.sign(client, "DELETE", files.key(name), timedelta(minutes=5))
    try:
        answer = httpx.delete(url, headers={"if-match": quoted_etag(etag)}, timeout=60.0)
    except httpx.TransportError:
        raise Failure(None, on_the_wire=True).exception("delete", name, files.uri) from None
    if not answer.is_success and answer.status_code != 404:
        code = re.search(r"<Code>([A-Za-z]+)</Code>", answer.text)
        failure = Failure(answer.status_code, code[1] if code else None)
        raise failure.exception("delete", name, files.uri) from None


def _mode(*, if_absent: bool, if_match: str | None) -> Any:
    if if_absent:
        return "create"
    return None if if_match is None else {"e_tag": quoted_etag(if_match)}


def _name(key: str) -> str:
    """Return the name of a key's blob."""
    return _TO_ESCAPE.sub(lambda found: _ESCAPE + _escaped(found[0]), key)


def _escaped(character: str) -> str:
    return _OWN_ESCAPES.get(character) or chr(ord(character) + 0x40)


def _key(name: str) -> str:
    """Return the key of a blob."""
    return _ESCAPED.sub(lambda found: _OWN_MEANINGS.get(found[1]) or chr(max(0, ord(found[1]) - 0x40)), name)


def _is_key(text: str) -> bool:
    # Other programs may leave blobs in the container whose names no key can have.
    try:
        check_key(text)
    except StoreError:
        return False
    return True
