"""Files in a container or bucket, through obstore: Azure Blob storage, S3, Google Cloud Storage, memory."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_azureml.runtime.dataset.walking import ARRIVING
from airflow_azureml.runtime.exceptions import ObjectNotFound, UserErrorException
from airflow_azureml.storage.drafts import Draft, write_at, writing_local
from airflow_azureml.storage.failures import FORKS, exception_of, failure_of, is_of_client
from airflow_azureml.storage.files import FileChanged, FileInfo, Folder, StoreBusy, check_path, joined

if TYPE_CHECKING:
    from obstore import GetResult, ObjectMeta
    from obstore.store import ObjectStore as Client

    from airflow_azureml.storage.obstore_writer import ObstoreWriter

PART_BYTES = 8 << 20
"""Size of the ranges in which large files move."""

SMALL_BYTES = 4 << 20
"""Up to this size a file moves in one request."""

_CHUNK_BYTES = 1 << 20
_RANGES_AT_ONCE = 12
_PARTS_AT_ONCE = 4
_LARGE_UPLOADS_AT_ONCE = 3
_MAX_PARTS = 9_000
_DELETED_AT_ONCE = 200

# Shared by all files that this process moves, so that its memory stays bounded however many there are.
_uploading = threading.BoundedSemaphore(_LARGE_UPLOADS_AT_ONCE)
_pool_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None


class ObstoreFiles:
    """See ``FileStore``. An MD5 that is given is kept with the file, as the metadata ``md5``.

    A folder called ``.azureml-arriving``, at any level, belongs to writers: what is in it is seen only by who names it.

    :param client: the container or bucket.
    :param uri: what store it is, without credentials.
    :param prefix: folder in the container that is the root.
    """

    has_folders = False
    local_root = None

    def __init__(self, client: Client, uri: str, prefix: str = "") -> None:
        self._client = client
        self.uri = uri
        self.prefix = check_path(prefix.strip("/"))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.uri!r})"

    @property
    def client(self) -> Client:
        """The container, as obstore has it."""
        FORKS.check()
        return self._client

    def key(self, path: str) -> str:
        """Return the name of a file in the container."""
        if not check_path(path):
            raise UserErrorException(f"the root of {self.uri} is no file; name one in it")
        return joined(self.prefix, path)

    def stat(self, path: str) -> FileInfo | None:
        """See ``FileStore.stat``."""
        key = self.key(path)
        try:
            with self.errors("look at", path):
                found = self._get(key, {"head": True})
        except ObjectNotFound:
            return None
        return _info(path, found.meta, _text(found.attributes.get("md5")))

    def is_folder(self, path: str) -> bool:
        """See ``FileStore.is_folder``."""
        return next(self.walk(path), None) is not None

    def walk(self, folder: str = "") -> Iterator[FileInfo]:
        """See ``FileStore.walk``."""
        check_path(folder)
        start = len(folder) + 1 if folder else 0
        found = [info for info in self.listed(folder) if ARRIVING not in info.path[start:].split("/")]
        # The services promise the order for some kinds of accounts only.
        found.sort(key=lambda info: info.path)
        return iter(found)

    def empty_folders(self, folder: str = "") -> Iterator[str]:
        """See ``FileStore.empty_folders``."""
        check_path(folder)
        return iter(())

    def browse(self, folder: str = "") -> Folder:
        """See ``FileStore.browse``."""
        names, files = self.level(check_path(folder))
        return Folder(
            tuple(sorted(name for name in names if name != ARRIVING)),
            tuple(sorted(files, key=lambda info: info.path)),
        )

    def read(
        self, path: str, start: int = 0, size_bytes: int | None = None, *, etag: str | None = None
    ) -> bytes:
        """See ``FileStore.read``."""
        if size_bytes is None and not start:
            with self._got(path, etag) as found:
                return bytes(found.bytes())
        if size_bytes == 0:
            return b""
        wanted = {"offset": start} if size_bytes is None else (start, start + size_bytes)
        with self.errors("read", path):
            try:
                return bytes(self._get(self.key(path), {"range": wanted, **_unchanged(etag)}).bytes())
            except Exception as error:
                if failure_of(error).status not in (None, 416) or not self._ends_before(path, start, etag):
                    raise
                return b""

    def stream(self, path: str, *, etag: str | None = None) -> Iterator[bytes]:
        """See ``FileStore.stream``."""
        with self._got(path, etag) as found:
            info = _info(path, found.meta)
            first = bytes(found.bytes()) if info.size_bytes <= SMALL_BYTES else None
        if first is not None:
            if first:
                yield first
            return
        # Range by range, so that a slow reader keeps no request open and a broken one costs no more than itself.
        starts = range(0, info.size_bytes, SMALL_BYTES)
        ahead: Future[bytes] = _shared_pool().submit(self._range, path, info, 0)
        for start in starts:
            data = ahead.result()
            if start + SMALL_BYTES < info.size_bytes:
                ahead = _shared_pool().submit(self._range, path, info, start + SMALL_BYTES)
            yield data

    def get_file(self, path: str, target: Path, *, etag: str | None = None) -> FileInfo:
        """See ``FileStore.get_file``."""
        with self._got(path, etag) as found:
            info = _info(path, found.meta)
            data = found.bytes() if info.size_bytes <= SMALL_BYTES else None
        with writing_local(target), Draft(target) as draft:
            if data is not None:
                write_at(draft.descriptor, memoryview(data), 0)
            else:
                self._fill(path, info, draft.descriptor)
            draft.publish()
        return info

    def put_file(self, path: str, source: Path, *, md5: str | None = None) -> FileInfo:
        """See ``FileStore.put_file``; ``FileChanged`` when the source is written meanwhile."""
        key = self.key(path)
        with source.open("rb", buffering=0) as file:
            before = os.fstat(file.fileno())

            def unchanged() -> None:
                _same(before, os.fstat(file.fileno()), source)

            if before.st_size <= SMALL_BYTES:
                data = file.read(SMALL_BYTES + 1)
                unchanged()
                return self.put_bytes(path, data, md5=md5)
            part_bytes = max(PART_BYTES, -(-before.st_size // _MAX_PARTS))
            with _uploading, self.errors("write", path):
                self.put_parts(key, iter(lambda: file.read(part_bytes), b""), part_bytes, unchanged, md5)
        return self.written(path)

    def writer(self, path: str) -> ObstoreWriter:
        """See ``FileStore.writer``."""
        # Here, because the writer is written in terms of this class.
        from airflow_azureml.storage.obstore_writer import ObstoreWriter

        return ObstoreWriter(self, path)

    def copy(self, source: str, target: str) -> FileInfo:
        """See ``FileStore.copy``."""
        origin, key = self.key(source), self.key(target)
        with self.errors("copy", source):
            self.client.copy(origin, key)
        return self.written(target)

    def delete(self, path: str) -> None:
        """See ``FileStore.delete``."""
        self.remove([self.key(path)], path)

    def make_folder(self, path: str) -> None:
        """See ``FileStore.make_folder``: nothing is made."""
        check_path(path)

    def remove_folder(self, path: str) -> None:
        """See ``FileStore.remove_folder``."""
        if not check_path(path):
            raise UserErrorException(f"the root of {self.uri} is not removed as a folder; name one in it")
        keys = [joined(self.prefix, info.path) for info in self.listed(path)]
        for start in range(0, len(keys), _DELETED_AT_ONCE):
            self.remove(keys[start : start + _DELETED_AT_ONCE], path)

    def listed(self, folder: str) -> Iterator[FileInfo]:
        """Walk all files below a folder in the order in which the service tells them."""
        with self.errors("list", folder):
            for metas in self.client.list(joined(self.prefix, folder) or None, chunk_size=1000):
                yield from self._files(metas)

    def level(self, folder: str) -> tuple[Iterable[str], Iterable[FileInfo]]:
        """Return the folders and files of one level."""
        with self.errors("list", folder):
            found = self.client.list_with_delimiter(joined(self.prefix, folder) or None)
            names = [prefix.rstrip("/").rpartition("/")[2] for prefix in found["common_prefixes"]]
            return names, list(self._files(found["objects"]))

    def put_bytes(self, path: str, data: bytes, *, md5: str | None = None) -> FileInfo:
        """Write a small file in one request."""
        with self.errors("write", path):
            written = self.client.put(
                self.key(path), data, attributes={"md5": md5} if md5 else None, use_multipart=False
            )
        return FileInfo(path, len(data), time.time(), plain_etag(written["e_tag"]), md5)

    def put_parts(
        self,
        key: str,
        parts: Iterator[bytes],
        part_bytes: int,
        unchanged: Callable[[], None],
        md5: str | None,
    ) -> None:
        """Write a large file; it appears when all parts are there and ``unchanged()`` doesn't raise."""
        file = self.upload(key, part_bytes, _PARTS_AT_ONCE, md5)
        for part in parts:
            file.write(part)
        unchanged()
        file.close()

    def remove(self, keys: list[str], path: str) -> None:
        """Remove files by their names in the container; absent ones are no error."""
        try:
            with self.errors("delete", path):
                self.client.delete(keys)
        except ObjectNotFound:
            # Some services stop at the first that isn't there.
            if len(keys) > 1:
                for key in keys:
                    self.remove([key], path)

    @contextmanager
    def errors(self, verb: str, path: str) -> Iterator[None]:
        """Turn the client's errors into the package's."""
        try:
            yield
        except Exception as error:
            if is_of_client(error):
                # Without the cause: its text quotes the request, and with it a signature.
                raise exception_of(error, verb, path, self.uri) from None
            raise

    def _get(self, key: str, options: Any) -> GetResult:
        return self.client.get(key, options=options)

    @contextmanager
    def _got(self, path: str, etag: str | None) -> Iterator[GetResult]:
        with self.errors("read", path):
            yield self._get(self.key(path), _unchanged(etag))

    def _ends_before(self, path: str, start: int, etag: str | None) -> bool:
        found = self.stat(path)
        return found is not None and found.size_bytes <= start and etag in (None, found.etag)

    def _range(self, path: str, info: FileInfo, start: int) -> bytes:
        wanted = min(SMALL_BYTES, info.size_bytes - start)
        data = self.read(path, start, wanted, etag=info.etag)
        if len(data) != wanted:
            raise StoreBusy(f"{path!r} in {self.uri} came in part only; try again")
        return data

    def _fill(self, path: str, info: FileInfo, descriptor: int) -> None:
        """Fetch a large file in ranges at the same time."""
        pool = _shared_pool()
        futures = [
            pool.submit(self._fetch, path, info, start, descriptor)
            for start in range(0, info.size_bytes, PART_BYTES)
        ]
        try:
            for future in futures:
                future.result()
        finally:
            # The file is closed by the caller: no range may still be on its way into another one of that number.
            for future in futures:
                future.cancel()
            for future in futures:
                if not future.cancelled():
                    future.exception()

    def _fetch(self, path: str, info: FileInfo, start: int, descriptor: int) -> None:
        end = min(start + PART_BYTES, info.size_bytes)
        offset = start
        with self.errors("read", path):
            found = self._get(self.key(path), {"range": (start, end), **_unchanged(info.etag)})
            for piece in found.stream(_CHUNK_BYTES):
                write_at(descriptor, memoryview(piece), offset)
                offset += len(piece)
        if offset != end:
            raise StoreBusy(f"{path!r} in {self.uri} came in part only; try again")

    def _files(self, metas: Iterable[ObjectMeta]) -> Iterator[FileInfo]:
        cut = len(self.prefix) + 1 if self.prefix else 0
        for meta in metas:
            if meta["size"] or self._is_file(meta["path"]):
                yield _info(meta["path"][cut:], meta)

    def _is_file(self, key: str) -> bool:
        # Consoles make folders visible by empty objects whose names end with a slash, which the client cuts off.
        try:
            self.client.head(key)
        except FileNotFoundError:
            return False
        return True

    def upload(self, key: str, part_bytes: int, at_once: int, md5: str | None = None) -> Any:
        """Begin a large file, which appears when it is closed."""
        import obstore

        attributes: Any = {"md5": md5} if md5 else None
        return obstore.open_writer(
            self.client, key, buffer_size=part_bytes, max_concurrency=at_once, attributes=attributes
        )

    def written(self, path: str) -> FileInfo:
        """Look at a file that was just written."""
        found = self.stat(path)
        if found is None:
            raise FileChanged(
                f"file {path!r} in {self.uri} was removed by somebody right after it was written"
            )
        return found


def plain_etag(etag: str | None) -> str | None:
    """Return an etag without its quotes, which services set in answers and leave out in listings."""
    return None if etag is None else etag.strip('"')


def quoted_etag(etag: str) -> str:
    """Return an etag as a condition needs it."""
    return etag if etag.startswith(('"', "W/")) else f'"{etag}"'


def _unchanged(etag: str | None) -> dict[str, str]:
    return {} if etag is None else {"if_match": quoted_etag(etag)}


def _info(path: str, meta: ObjectMeta, md5: str | None = None) -> FileInfo:
    return FileInfo(path, meta["size"], meta["last_modified"].timestamp(), plain_etag(meta["e_tag"]), md5)


def _same(before: os.stat_result, after: os.stat_result, source: Path) -> None:
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise FileChanged(
            f"local file {source} changed while it was read; try again when nobody writes to it"
        )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _shared_pool() -> ThreadPoolExecutor:
    global _pool  # noqa: PLW0603 - one per process
    if _pool is None:
        with _pool_lock:
            if _pool is None:
                _pool = ThreadPoolExecutor(_RANGES_AT_ONCE, thread_name_prefix="azureml-ranges")
    return _pool
