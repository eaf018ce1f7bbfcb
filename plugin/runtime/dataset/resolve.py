"""From a definition to its files, on the machine that holds them.

This is the service's half of a dataset: a step's process asks for ``dataset.files`` and gets the answer of
:func:`files_document`. Files are found lazily and in one order everywhere: the paths as they were given, the files of each
by their path as text. A file that two paths mean counts once.
"""

from __future__ import annotations

import datetime
import itertools
import os
from typing import Any, Callable, Iterable, Iterator, NamedTuple

from airflow_azureml.runtime.dataset.definition import check_definition
from airflow_azureml.runtime.dataset.expressions import holds
from airflow_azureml.runtime.dataset.partitions import PartitionFormat
from airflow_azureml.runtime.dataset.sampling import choices
from airflow_azureml.runtime.dataset.walking import FoundFile, Pattern, check_confined, walk
from airflow_azureml.runtime.exceptions import DatasetExecutionError, DatasetValidationError

_EPOCH = datetime.datetime.fromisoformat("1970-01-01")


class ResolvedFile(NamedTuple):
    """A file of a dataset."""

    path: str
    """Where it is on this machine."""
    name: str
    """Its path below the dataset's root, with ``/``: below the part of the paths that has no wildcard."""
    origin: str
    """Its path as the user knows it: ``/…`` below the datastore's root, or the absolute local path."""
    size_bytes: int
    modified: float
    """Seconds since the epoch."""

    def to_document(self) -> dict[str, Any]:
        """Return the file as it travels over the run socket."""
        return dict(self._asdict())

    @staticmethod
    def from_document(document: dict[str, Any]) -> ResolvedFile:
        """Read a file that came over the run socket."""
        return ResolvedFile(**{name: document[name] for name in ResolvedFile._fields})


class _Place(NamedTuple):
    """One path of a definition, on this machine."""

    pattern: Pattern
    base: str
    """The literal part: a folder, or one file."""
    is_file: bool
    confined_to: str | None
    root: str
    """The datastore's folder; empty for a local path."""
    datastore: str
    text: str
    """The path for messages."""

    @property
    def folder(self) -> str:
        return os.path.dirname(self.base) if self.is_file else self.base


def resolve_files(
    definition: dict[str, Any],
    datastore_root: Callable[[str], str | os.PathLike[str]],
    scratch: str | None = None,
) -> list[ResolvedFile]:
    """Find the files of a dataset: of a file dataset after all its operations, of a tabular one its sources.

    :param definition: the definition document.
    :param datastore_root: returns a datastore's folder on this machine for its name.
    :param scratch: folder for files that have to be written first (``to_csv_files``); a private one by default.
    :raises DatasetValidationError: a path is missing, means no file, leaves its datastore, or doesn't fit
        ``partition_format``.
    :raises DatasetExecutionError: the data is remote.
    """
    return list(iter_files(definition, datastore_root, scratch))


def iter_files(
    definition: dict[str, Any],
    datastore_root: Callable[[str], str | os.PathLike[str]],
    scratch: str | None = None,
) -> Iterator[ResolvedFile]:
    """Yield the files that :func:`resolve_files` returns, without holding them all."""
    source = check_definition(definition)["source"]
    files = _source_files(source, datastore_root, scratch)
    if definition["kind"] == "tabular":
        return files
    for operation in definition["operations"]:
        files = _applied(operation, files)
    return files


def files_document(
    definition: dict[str, Any],
    datastore_root: Callable[[str], str | os.PathLike[str]],
    scratch: str | None = None,
) -> dict[str, Any]:
    """Return the answer to ``dataset.files``.

    ``{"files": [{path, name, origin, size_bytes, modified}, …], "is_single_file": bool}``
    """
    files = resolve_files(definition, datastore_root, scratch)
    return {
        "files": [file.to_document() for file in files],
        "is_single_file": is_single_file(definition, files),
    }


def is_single_file(definition: dict[str, Any], files: list[ResolvedFile]) -> bool:
    """Tell whether a file dataset's path is one file itself: mounted or downloaded it is that file, not a folder (v1).

    :param definition: the definition document.
    :param files: what it was resolved to.
    """
    paths = definition["source"].get("paths", ())
    if definition["kind"] != "file" or len(paths) != 1 or len(files) != 1:
        return False
    path: str = paths[0].get("local", "/" + paths[0].get("path", ""))
    return files[0].origin == path


def _source_files(
    source: dict[str, Any], datastore_root: Callable[[str], Any], scratch: str | None
) -> Iterator[ResolvedFile]:
    if source["format"] == "converted":
        from airflow_azureml.runtime.dataset.engine.conversion import converted_file

        return iter([converted_file(source, resolve_files(source["tabular"], datastore_root), scratch)])
    places = [_place(entry, datastore_root) for entry in source["paths"]]
    files = _named(places)
    text = source.get("partition_format")
    return files if text is None else _fitting(files, PartitionFormat.parse(text))


def _place(entry: dict[str, Any], datastore_root: Callable[[str], Any]) -> _Place:
    if "url" in entry:
        raise DatasetExecutionError(
            "%s is remote: reading URLs is not supported yet; copy the data to a datastore or a local folder"
            % entry["url"]
        )
    if "local" in entry:
        return _found_place(entry["local"], "", "", None, entry["local"])
    root = os.path.abspath(os.fspath(datastore_root(entry["datastore"])))
    text = "%s on datastore %s" % (entry["path"] or "/", entry["datastore"])
    if ".." in entry["path"].split("/"):
        raise DatasetValidationError("the path %s leaves the datastore" % text)
    return _found_place(entry["path"], root, entry["datastore"], os.path.realpath(root), text)


def _found_place(path: str, root: str, datastore: str, confined_to: str | None, text: str) -> _Place:
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
    return _Place(pattern, base, is_file, confined_to, root, datastore, text)


def _named(places: list[_Place]) -> Iterator[ResolvedFile]:
    datastores = sorted({place.datastore for place in places})
    roots = {
        name: os.path.commonpath([place.folder for place in places if place.datastore == name])
        for name in datastores
    }
    seen: set[str] | None = set() if len(places) > 1 else None
    for place in places:
        prefix = place.datastore + "/" if len(datastores) > 1 else ""
        for found in _place_files(place):
            if seen is not None and found.path in seen:
                continue
            if seen is not None:
                seen.add(found.path)
            name = prefix + found.path[len(roots[place.datastore]) :].lstrip("/")
            origin = found.path[len(place.root) :] if place.root != "/" else found.path
            yield ResolvedFile(found.path, name, origin, found.size_bytes, found.modified)


def _place_files(place: _Place) -> Iterator[FoundFile]:
    if place.is_file:
        status = os.stat(place.base)
        yield FoundFile(place.base, os.path.basename(place.base), status.st_size, status.st_mtime)
        return
    empty = True
    for found in walk(place.base, place.pattern, place.confined_to):
        empty = False
        yield found
    if empty and place.pattern.segments:
        raise DatasetValidationError("the path %s means no file (looked below %s)" % (place.text, place.base))


def _fitting(files: Iterable[ResolvedFile], partition: PartitionFormat) -> Iterator[ResolvedFile]:
    for file in files:
        if partition.values(file.origin) is None:
            raise DatasetValidationError(
                "%s doesn't fit partition_format %r, which has to begin at the first column and reach "
                "to the end of the path" % (file.origin, partition.text)
            )
        yield file


def _applied(operation: dict[str, Any], files: Iterator[ResolvedFile]) -> Iterator[ResolvedFile]:
    name = operation["op"]
    if name == "skip":
        return itertools.islice(files, operation["count"], None)
    if name == "take":
        return itertools.islice(files, operation["count"])
    if name == "filter":
        expression = operation["expression"]
        return (file for file in files if holds(expression, metadata(file)))
    return itertools.compress(files, choices(operation))


def metadata(file: ResolvedFile) -> dict[str, Any]:
    """Return what ``FileDataset.file_metadata`` names: Size, LastModifiedTime (UTC) and Extension."""
    return {
        "Size": file.size_bytes,
        "LastModifiedTime": _EPOCH + datetime.timedelta(seconds=file.modified),
        "Extension": os.path.splitext(file.name)[1],
    }
