"""From a definition to its files, on the machine that holds them.

This is the service's half of a dataset: a step's process asks for ``dataset.files`` and gets the answer of
:func:`files_document`. Files are found lazily and in one order everywhere: the paths as they were given, the files of each
by their path as text. A file that two paths mean counts once.
"""

from __future__ import annotations

import datetime
import itertools
import os
from typing import Any, Callable, Iterable, Iterator, Sequence, Union

from airflow_azureml.runtime.dataset.definition import check_definition
from airflow_azureml.runtime.dataset.expressions import holds
from airflow_azureml.runtime.dataset.partitions import PartitionFormat
from airflow_azureml.runtime.dataset.places import (
    LocalPlaces,
    Place,
    Places,
    RemoteFile,
    ResolvedFile,
    place_of,
)
from airflow_azureml.runtime.dataset.sampling import choices
from airflow_azureml.runtime.exceptions import DatasetValidationError

__all__ = [
    "RemoteFile",
    "ResolvedFile",
    "files_document",
    "is_single_file",
    "iter_files",
    "metadata",
    "resolve_files",
]

Where = Union[Places, Callable[[str], Union[str, "os.PathLike[str]"]]]
"""What names stand for, or for data of this machine alone what returns a datastore's folder for its name."""

_EPOCH = datetime.datetime.fromisoformat("1970-01-01")


def resolve_files(
    definition: dict[str, Any],
    where: Where,
    scratch: str | None = None,
) -> list[ResolvedFile]:
    """Find the files of a dataset: of a file dataset after all its operations, of a tabular one its sources.

    :param definition: the definition document.
    :param where: what the names in it stand for. Remote files are only listed; ``Places.fetch`` brings them here.
    :param scratch: folder for files that have to be written first (``to_csv_files``); a private one by default.
    :raises DatasetValidationError: a path is missing, means no file, leaves its datastore, or doesn't fit
        ``partition_format``.
    :raises DatasetExecutionError: the data is remote, and ``where`` knows only this machine.
    """
    return list(iter_files(definition, where, scratch))


def iter_files(
    definition: dict[str, Any],
    where: Where,
    scratch: str | None = None,
) -> Iterator[ResolvedFile]:
    """Yield the files that :func:`resolve_files` returns, without holding them all."""
    source = check_definition(definition)["source"]
    files = _source_files(source, LocalPlaces(where) if callable(where) else where, scratch)
    if definition["kind"] == "tabular":
        return files
    for operation in definition["operations"]:
        files = _applied(operation, files)
    return files


def files_document(
    definition: dict[str, Any],
    where: Where,
    scratch: str | None = None,
    *,
    fetch: bool = True,
    first: int | None = None,
) -> dict[str, Any]:
    """Return the answer to ``dataset.files``.

    ``{"files": [{path, name, origin, size_bytes, modified}, …], "is_single_file": bool}``

    :param fetch: whether remote files are brought here.
    :param first: only so many, and none that is empty.
    """
    places = LocalPlaces(where) if callable(where) else where
    files = resolve_files(definition, places, scratch)
    is_single = is_single_file(definition, files)
    if first is not None:
        files = [file for file in files if file.size_bytes][:first]
    if fetch:
        files = places.fetch(files)
    return {"files": [file.to_document() for file in files], "is_single_file": is_single}


def is_single_file(definition: dict[str, Any], files: list[ResolvedFile]) -> bool:
    """Tell whether a file dataset's path is one file itself: mounted or downloaded it is that file, not a folder (v1).

    :param definition: the definition document.
    :param files: what it was resolved to.
    """
    paths = definition["source"].get("paths", ())
    if definition["kind"] != "file" or len(paths) != 1 or len(files) != 1:
        return False
    (entry,) = paths
    return bool(files[0].origin == (entry.get("local") or entry.get("url") or "/" + entry["path"]))


def _source_files(source: dict[str, Any], places: Places, scratch: str | None) -> Iterator[ResolvedFile]:
    known = places.pinned(source)
    if known is not None:
        return iter(known)
    if source["format"] == "converted":
        from airflow_azureml.runtime.dataset.engine.conversion import converted_file

        tables = places.fetch(resolve_files(source["tabular"], places))
        return iter([converted_file(source, tables, scratch)])
    if source["format"] == "sql":
        return iter([places.query(source)])
    files = _named([place_of(entry, places) for entry in source["paths"]])
    text = source.get("partition_format")
    return files if text is None else _fitting(files, PartitionFormat.parse(text))


def _named(found: Sequence[Place]) -> Iterator[ResolvedFile]:
    groups = sorted({place.group for place in found})
    roots = {
        name: os.path.commonpath([place.folder for place in found if place.group == name]) for name in groups
    }
    seen: set[tuple[str, str]] | None = set() if len(found) > 1 else None
    for place in found:
        prefix = place.group.replace("://", "/") + "/" if len(groups) > 1 else ""
        for file in place.files():
            key = (place.group, file.place)
            if seen is not None and key in seen:
                continue
            if seen is not None:
                seen.add(key)
            name = prefix + file.place[len(roots[place.group]) :].lstrip("/")
            origin = place.origin_prefix + file.place[len(place.root) :]
            yield ResolvedFile(file.local_path, name, origin, file.size_bytes, file.modified, file.remote)


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
