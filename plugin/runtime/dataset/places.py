"""Where the files of a definition are: folders of this machine, or stores that are reached over a network.

The runtime knows no store. Whoever resolves a definition says through :class:`Places` what a datastore's name, a web address and
a query stand for, and gets back what it has to download, if it wants to.
"""

from __future__ import annotations

import os
import posixpath
from typing import Any, Callable, Iterator, NamedTuple, Protocol, Sequence

from airflow_azureml.runtime.dataset.walking import ARRIVING, Pattern, check_confined, walk
from airflow_azureml.runtime.exceptions import DatasetExecutionError, DatasetValidationError


class RemoteFile(NamedTuple):
    """What identifies a file that isn't on this machine.

    A file dataset's or table's file is read from ``path`` of a datastore, a web address stands in ``path`` alone, and a query's
    result is made by running it.
    """

    datastore: str
    """Name of the datastore; empty for a web address."""
    path: str
    """Path on the datastore, or the address; empty for a query."""
    etag: str | None
    """What the store calls this version, to ask for it and no other."""
    version: str
    """Text that is another one when the content is."""
    query: dict[str, Any] | None = None
    """The ``source`` document of a query."""


class ResolvedFile(NamedTuple):
    """A file of a dataset."""

    path: str
    """Where it is on this machine; a remote one, where it will be once it has been fetched."""
    name: str
    """Its path below the dataset's root, with ``/``: below the part of the paths that has no wildcard."""
    origin: str
    """Its path as the user knows it: ``/…`` below the datastore's root, the absolute local path, or the web address."""
    size_bytes: int
    modified: float
    """Seconds since the epoch."""
    remote: RemoteFile | None = None
    """Where it comes from; None when it is here."""

    def to_document(self) -> dict[str, Any]:
        """Return the file as it travels over the run socket, when it is here."""
        return {name: getattr(self, name) for name in _TRAVELLING}

    @staticmethod
    def from_document(document: dict[str, Any]) -> ResolvedFile:
        """Read a file that came over the run socket."""
        return ResolvedFile(**{name: document[name] for name in _TRAVELLING})


_TRAVELLING = ("path", "name", "origin", "size_bytes", "modified")


class StoredFile(Protocol):
    """A file as a store lists it."""

    @property
    def path(self) -> str:
        """Its path in the store."""
        ...

    @property
    def size_bytes(self) -> int:
        """Its size."""
        ...

    @property
    def modified(self) -> float:
        """When it was last written, seconds since the epoch."""
        ...

    @property
    def etag(self) -> str | None:
        """What the store calls this version."""
        ...

    @property
    def version(self) -> str:
        """Text that is another one after every write."""
        ...


class RemoteFiles(Protocol):
    """What has to be known of a store to find files in it; ``storage.files.FileStore`` is one."""

    def stat(self, path: str) -> StoredFile | None:
        """Look at one file."""
        ...

    def walk(self, folder: str = ...) -> Iterator[StoredFile]:
        """Walk the files below a folder in the order of their paths."""
        ...


class WebPlace(NamedTuple):
    """What a web address stands for."""

    store: RemoteFiles
    """The files of that server or container."""
    label: str
    """What the paths of the store are relative to, such as ``https://example.com``."""
    path: str
    """The path in the store; it may have wildcards where the store can list."""
    datastore: str = ""
    """The datastore that the data of this address is on now."""


class Places(Protocol):
    """What the names in a definition stand for on this machine."""

    def datastore(self, name: str) -> str | os.PathLike[str] | RemoteFiles:
        """Return the folder of a datastore on this machine, or its files elsewhere."""
        ...

    def web(self, url: str) -> WebPlace:
        """Return what a web address stands for."""
        ...

    def query(self, source: dict[str, Any]) -> ResolvedFile:
        """Return the Parquet file with a query's result, remote when it isn't made yet."""
        ...

    def pinned(self, source: dict[str, Any]) -> Sequence[ResolvedFile] | None:
        """Return the files of a source that were found before, and are to stay the same; None to look for them."""
        ...

    def local_path(self, remote: RemoteFile, info: StoredFile) -> str:
        """Return where a remote file will be once it is fetched."""
        ...

    def fetch(self, files: Sequence[ResolvedFile]) -> list[ResolvedFile]:
        """Return the same files, all of them on this machine."""
        ...


class LocalPlaces:
    """Places of data that is all on this machine.

    :param root: returns a datastore's folder for its name.
    """

    def __init__(self, root: Callable[[str], str | os.PathLike[str]]) -> None:
        self._root = root

    def datastore(self, name: str) -> str | os.PathLike[str]:
        """Return the folder of a datastore."""
        return self._root(name)

    def web(self, url: str) -> WebPlace:
        """Refuse.

        :raises DatasetExecutionError: always.
        """
        raise DatasetExecutionError("%s is remote, and only files of this machine are read here" % url)

    def query(self, source: dict[str, Any]) -> ResolvedFile:
        """Refuse.

        :raises DatasetExecutionError: always.
        """
        raise DatasetExecutionError(
            "a query on datastore %s is remote, and only files of this machine are read here"
            % source["datastore"]
        )

    def pinned(self, source: dict[str, Any]) -> Sequence[ResolvedFile] | None:
        """Return None: files of this machine are always looked for."""
        return None

    def local_path(self, remote: RemoteFile, info: StoredFile) -> str:
        """Refuse.

        :raises DatasetExecutionError: always.
        """
        raise DatasetExecutionError(
            "%s is remote, and only files of this machine are read here" % remote.path
        )

    def fetch(self, files: Sequence[ResolvedFile]) -> list[ResolvedFile]:
        """Return the files as they are."""
        return list(files)


class FoundAt(NamedTuple):
    """A file of one path of a definition."""

    place: str
    """Its absolute path, on this machine or on its store, whose root is ``/``."""
    size_bytes: int
    modified: float
    local_path: str
    remote: RemoteFile | None


class Place(NamedTuple):
    """One path of a definition, found."""

    group: str
    """The datastore or server it is on; empty for this machine."""
    root: str
    """What origins are relative to; ``/`` for a store, empty for a local path."""
    folder: str
    """The folder that names are relative to, as ``place`` of the files spells it."""
    origin_prefix: str
    files: Callable[[], Iterator[FoundAt]]


def place_of(entry: dict[str, Any], places: Places) -> Place:
    """Find one path of a definition.

    :param entry: a path entry, see ``definition``.
    :raises DatasetValidationError: it is missing, means no file or leaves its datastore.
    """
    if "local" in entry:
        return _folder_place(entry["local"], "", "", None, entry["local"])
    if "url" in entry:
        web = places.web(entry["url"])
        origin = web.label + "/"
        return _store_place(web.store, web.path, web.datastore, web.label, origin, entry["url"], places)
    text = "%s on datastore %s" % (entry["path"] or "/", entry["datastore"])
    if ".." in entry["path"].split("/"):
        raise DatasetValidationError("the path %s leaves the datastore" % text)
    found = places.datastore(entry["datastore"])
    if isinstance(found, (str, os.PathLike)):
        root = os.path.abspath(os.fspath(found))
        return _folder_place(entry["path"], root, entry["datastore"], os.path.realpath(root), text)
    name = entry["datastore"]
    return _store_place(found, entry["path"], name, name, "/", text, places)


def _folder_place(path: str, root: str, datastore: str, confined_to: str | None, text: str) -> Place:
    pattern = Pattern.of(path)
    base = os.path.join(root, pattern.literal) if root else pattern.literal or "/"
    base = base.rstrip("/") or "/"
    if not os.path.exists(base):
        raise DatasetValidationError("the path %s does not exist (looked for %s)" % (text, base))
    if confined_to is not None:
        check_confined(base, confined_to)
    is_file = not os.path.isdir(base)
    if is_file and pattern.segments:
        raise DatasetValidationError("%s is a file; the path %s asks for files below it" % (base, text))

    def files() -> Iterator[FoundAt]:
        if is_file:
            status = os.stat(base)
            yield FoundAt(base, status.st_size, status.st_mtime, base, None)
            return
        empty = True
        for found in walk(base, pattern, confined_to):
            empty = False
            yield FoundAt(found.path, found.size_bytes, found.modified, found.path, None)
        if empty and pattern.segments:
            raise DatasetValidationError("the path %s means no file (looked below %s)" % (text, base))

    return Place(
        datastore, root if root != "/" else "", os.path.dirname(base) if is_file else base, "", files
    )


def _store_place(
    store: RemoteFiles, path: str, datastore: str, group: str, prefix: str, text: str, places: Places
) -> Place:
    pattern = Pattern.of(path)
    single = None if pattern.segments or not pattern.literal else store.stat(pattern.literal)

    def found_at(info: StoredFile) -> FoundAt:
        known_by = info.path if datastore else prefix + info.path
        remote = RemoteFile(datastore, known_by, info.etag, info.version)
        here = places.local_path(remote, info)
        return FoundAt("/" + info.path, info.size_bytes, info.modified, here, remote)

    def files() -> Iterator[FoundAt]:
        if single is not None:
            yield found_at(single)
            return
        start = len(pattern.literal) + 1 if pattern.literal else 0
        empty = True
        for info in store.walk(pattern.literal):
            if ARRIVING not in info.path.split("/") and pattern.matches(info.path[start:]):
                empty = False
                yield found_at(info)
        if empty:
            raise DatasetValidationError("the path %s does not exist or means no file" % text)

    folder = posixpath.dirname("/" + path) if single is not None else "/" + pattern.literal
    return Place(group, "", folder, "" if prefix == "/" else prefix.rstrip("/"), files)
