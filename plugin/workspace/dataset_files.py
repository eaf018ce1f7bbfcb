"""The files of datasets, wherever they are: found by listing, and brought to this machine when they are wanted.

What a definition can name is a folder of this machine, a path on a datastore, a web address, or a query. All of them end as local
files, because that is what scripts read: remote ones in the :class:`~airflow_azureml.workspace.data_cache.DataCache`, results of
queries as Parquet. So a script needs neither drivers nor credentials.
"""

from __future__ import annotations

import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

from airflow_azureml.model.canonical import digest_of
from airflow_azureml.runtime.dataset.places import RemoteFile, RemoteFiles, ResolvedFile, StoredFile, WebPlace
from airflow_azureml.runtime.dataset.resolve import resolve_files
from airflow_azureml.runtime.exceptions import DatasetExecutionError, UserErrorException
from airflow_azureml.storage.files import FileInfo, FileStore
from airflow_azureml.workspace.query_files import QueryFiles

if TYPE_CHECKING:
    from airflow_azureml.storage.web_files import WebFiles
    from airflow_azureml.workspace.data_cache import DataCache, Source
    from airflow_azureml.workspace.datastores import DatastoreRegistry

_BLOB_HOST = re.compile(r"[a-z0-9-]+\.blob\.(?:core|storage)\.[a-z0-9.-]+")
_AZURE_SCHEMES = {"wasb": "http", "wasbs": "https", "abfs": "http", "abfss": "https"}

_RESULT = "query.parquet"

Document = dict[str, Any]
RemoteFileKey = tuple[str, str, str | None]


class DatasetFiles:
    """Finds and fetches the files of datasets; the ``Places`` of one run. Safe for threads.

    :param datastores: what the names of datastores stand for.
    :param cache: keeps what is fetched; or what opens it, when something is fetched.
    :param scratch: folder for what has to be made (files out of tables, results of queries that have no version).
    :param tell: is told what is downloaded.
    """

    def __init__(
        self,
        datastores: DatastoreRegistry,
        cache: DataCache | Callable[[], DataCache],
        scratch: Path,
        *,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._datastores = datastores
        self._given_cache = cache
        self._scratch = scratch
        self._tell = tell
        self._queries: dict[str, ResolvedFile] = {}
        self._pins: dict[str, tuple[ResolvedFile, ...]] = {}
        self._stores: dict[str, FileStore] = {}
        self._webs: dict[str, WebFiles] = {}
        self._mutex = threading.RLock()

    def list_files(self, definition: Document) -> list[ResolvedFile]:
        """Find the files of a dataset, without downloading them where their source tells a version.

        :param definition: the definition document.
        :raises DatasetValidationError: a path is missing, means no file, or leaves its datastore.
        :raises StoreError: a store or server doesn't answer or refuses.
        """
        return resolve_files(definition, self, str(self._scratch))

    def files(self, definition: Document) -> list[ResolvedFile]:
        """Find the files of a dataset and bring them to this machine."""
        return self.fetch(self.list_files(definition))

    def fetch(
        self, files: Iterable[ResolvedFile], *, tell: Callable[[str], None] | None = None
    ) -> list[ResolvedFile]:
        """Bring files to this machine, and return them with the sizes and times they have there.

        :param files: of :meth:`list_files`; those that are here already stay as they are.
        :param tell: is told what is downloaded, instead of the one who usually is.
        :raises FileChanged: a file is another one than when it was listed.
        """
        listed = list(files)
        groups: dict[str, list[RemoteFile]] = {}
        infos: dict[RemoteFileKey, FileInfo] = {}
        for file in listed:
            if file.remote is not None:
                groups.setdefault(self._group(file.remote), []).append(file.remote)
                infos[_key(file.remote)] = self._info(file)
        for remotes in groups.values():
            self._cache.fetch(
                self._source(remotes[0]), [infos[_key(remote)] for remote in remotes], tell=tell or self._tell
            )
        return [file if file.remote is None else _as_here(file) for file in listed]

    def ranged(self, file: ResolvedFile) -> tuple[FileStore, FileInfo] | None:
        """Return a file's store, and the file as it was listed, when parts of it can be read; None for what is fetched whole."""
        remote = file.remote
        if remote is None or remote.query is not None or not remote.datastore or file.size_bytes < 0:
            return None
        return self._store(remote.datastore), self._info(file)

    def pin(self, definition: Document, files: Sequence[ResolvedFile]) -> None:
        """Let later looks at the same data find these files, so that a script reads what its step was started with.

        :param definition: what was resolved. Of a file dataset with operations nothing is pinned: its files are what is left.
        :param files: what it was resolved to.
        """
        if definition["kind"] == "tabular" or not definition["operations"]:
            self._pins[digest_of(definition["source"])] = tuple(files)

    # -- what the names in a definition stand for -------------------------------------------------------------

    def pinned(self, source: Document) -> Sequence[ResolvedFile] | None:
        """Return the files that :meth:`pin` was given for a source."""
        return self._pins.get(digest_of(source)) if self._pins else None

    def datastore(self, name: str) -> str | os.PathLike[str] | RemoteFiles:
        """Return the folder of a datastore on this machine, or its files elsewhere."""
        if self._datastores.is_local(name):
            return self._datastores.root(name)
        return self._store(name)

    def web(self, url: str) -> WebPlace:
        """Return what a web address stands for.

        :raises UserErrorException: it cannot be read, such as an account of ADLS Gen1 that nothing replaces.
        """
        parts = urlsplit(url)
        if parts.scheme == "adl":
            record = self._datastores.replacement(url)
            path = unquote(parts.path).strip("/")
            return WebPlace(self._store(record.name), f"adl://{parts.netloc}", path, record.name)
        store, path = self._web_store(url)
        if "*" in path and not store.can_list:
            raise UserErrorException(
                f"{url} has a wildcard, but a web address names one file; list the addresses"
            )
        return WebPlace(store, store.uri, path)

    def query(self, source: Document) -> ResolvedFile:
        """Return the Parquet file with a query's result.

        Where the database tells whether the result is still the same, it isn't made before it is fetched. Otherwise it is made
        now, once for this object.
        """
        key = digest_of(source)
        with self._mutex:
            found = self._queries.get(key)
            if found is None:
                found = self._queries[key] = self._asked(source)
        return found

    def local_path(self, remote: RemoteFile, info: StoredFile) -> str:
        """Return where a remote file will be once it is fetched."""
        known = FileInfo(info.path, info.size_bytes, info.modified, info.etag)
        return str(self._cache.path_of(self._source(remote), known))

    @cached_property
    def _cache(self) -> DataCache:
        given = self._given_cache
        return given() if callable(given) else given

    # -- stores -----------------------------------------------------------------------------------------------

    def _store(self, name: str) -> FileStore:
        with self._mutex:
            if name not in self._stores:
                self._stores[name] = self._datastores.files(name)
            return self._stores[name]

    def _web_store(self, url: str) -> tuple[WebFiles, str]:
        """Return the store that a web address belongs to, and the path in it."""
        parts = urlsplit(url)
        if parts.scheme in _AZURE_SCHEMES:
            host, scheme = _blob_host(parts), _AZURE_SCHEMES[parts.scheme]
            return self._container(scheme, host, parts.username or "", parts.path)
        if _BLOB_HOST.fullmatch(parts.hostname or "") and not parts.query:
            container, _, path = parts.path.lstrip("/").partition("/")
            return self._container(parts.scheme, parts.netloc, container, path)
        path = parts.path.lstrip("/")
        store = self._web_files(f"{parts.scheme}://{parts.netloc}", is_container=False)
        return store, f"{path}?{parts.query}" if parts.query else path

    def _container(self, scheme: str, host: str, container: str, path: str) -> tuple[WebFiles, str]:
        if not container:
            raise UserErrorException(
                f"the address names no container; write wasbs://container@{host}/path or https://{host}/container/path"
            )
        store = self._web_files(f"{scheme}://{host}/{container}", is_container=True)
        return store, unquote(path).strip("/")

    def _web_files(self, base: str, *, is_container: bool) -> WebFiles:
        from airflow_azureml.storage.web_files import PublicContainer, WebFiles

        with self._mutex:
            if base not in self._webs:
                self._webs[base] = PublicContainer(base) if is_container else WebFiles(base)
            return self._webs[base]

    def _asked(self, source: Document) -> ResolvedFile:
        query = QueryFiles(self._datastores.database(source["datastore"]), source)
        info = query.find()
        origin = f"query on {source['datastore']}"
        if info.etag is not None:
            remote = RemoteFile(source["datastore"], info.path, info.etag, info.version, source)
            path = self.local_path(remote, info)
            return ResolvedFile(path, _RESULT, origin, info.size_bytes, info.modified, remote)
        target = self._scratch / f"query-{uuid.uuid4().hex}.parquet"
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = query.get_file(info.path, target)
        return ResolvedFile(str(target), _RESULT, origin, made.size_bytes, made.modified)

    def _group(self, remote: RemoteFile) -> str:
        if remote.query is not None:
            return f"query:{remote.datastore}/{remote.path}"
        return remote.datastore or self._web_store(remote.path)[0].uri

    def _source(self, remote: RemoteFile) -> Source:
        if remote.query is not None:
            return QueryFiles(self._datastores.database(remote.datastore), remote.query)
        return self._store(remote.datastore) if remote.datastore else self._web_store(remote.path)[0]

    def _info(self, file: ResolvedFile) -> FileInfo:
        remote = file.remote
        if remote is None:
            raise DatasetExecutionError(f"{file.origin} is a file of this machine")
        path = remote.path if remote.datastore else self._web_store(remote.path)[1]
        return FileInfo(path, file.size_bytes, file.modified, remote.etag)


def _key(remote: RemoteFile) -> RemoteFileKey:
    return (remote.datastore, remote.path, remote.etag)


def _as_here(file: ResolvedFile) -> ResolvedFile:
    status = Path(file.path).stat()
    modified = file.modified or status.st_mtime or time.time()
    return file._replace(size_bytes=status.st_size, modified=modified)


def _blob_host(parts: SplitResult) -> str:
    # Both interfaces of an account show the same files, and only the older one lets anonymous users list.
    host = (parts.hostname or "").replace(".dfs.", ".blob.", 1)
    return f"{host}:{parts.port}" if parts.port else host
