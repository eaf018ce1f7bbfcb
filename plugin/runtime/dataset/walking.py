"""Finding the files that a path with wildcards means: lazily, in the order of their path text, links under control.

``*`` stands for any text within one level, ``**`` for any number of levels. A path without wildcards is one file,
or a folder with all that is below it. The order is that of an object store's listing: by the whole path as text.
"""

from __future__ import annotations

import os
import re
from typing import Iterator, NamedTuple

from airflow_azureml.runtime.exceptions import DatasetValidationError

ARRIVING = ".azureml-arriving"
"""Folder of a datastore in which the new state of a shared folder is put together; never part of the data."""


class FoundFile(NamedTuple):
    """A file below a starting folder."""

    path: str
    """Where it is."""
    relative: str
    """Its path below the starting folder, with ``/``."""
    size_bytes: int
    modified: float
    """Seconds since the epoch."""


class Pattern(NamedTuple):
    """A path, cut before its first wildcard."""

    literal: str
    """The leading folders, or the whole path when it has no wildcard."""
    segments: tuple[str, ...]
    """What is left, by level; empty without a wildcard."""
    expression: re.Pattern[str]

    @staticmethod
    def of(path: str) -> Pattern:
        """Cut a path with ``/`` as separator."""
        parts = path.split("/")
        first = next((index for index, part in enumerate(parts) if "*" in part), len(parts))
        segments = tuple(parts[first:])
        return Pattern("/".join(parts[:first]), segments, re.compile(_expression(segments), re.DOTALL))

    def matches(self, relative: str) -> bool:
        """Tell whether a file below the literal part is meant."""
        return not self.segments or self.expression.fullmatch(relative) is not None

    def may_enter(self, relative: str) -> bool:
        """Tell whether a folder below the literal part may hold files that are meant."""
        if not self.segments:
            return True
        for index, name in enumerate(relative.split("/")):
            if index >= len(self.segments) - 1:
                return "**" in self.segments[-1]
            if "**" in self.segments[index]:
                return True
            if re.fullmatch(_segment(self.segments[index]), name, re.DOTALL) is None:
                return False
        return True


def _expression(segments: tuple[str, ...]) -> str:
    pieces = []
    for index, segment in enumerate(segments):
        last = index == len(segments) - 1
        if segment == "**":
            pieces.append(".+" if last else "(?:[^/]+/)*")
        else:
            pieces.append(_segment(segment) + ("" if last else "/"))
    return "".join(pieces)


def _segment(segment: str) -> str:
    wild = {"*": "[^/]*", "**": ".*"}
    return "".join(wild.get(piece) or re.escape(piece) for piece in re.split(r"(\*\*|\*)", segment))


def walk(start: str, pattern: Pattern, confined_to: str | None) -> Iterator[FoundFile]:
    """Yield the files below a folder that a pattern means, ordered by their path as text.

    :param start: the folder of the pattern's literal part.
    :param pattern: what is meant.
    :param confined_to: the real path of a folder that links must not lead out of; None follows links anywhere.
    :raises DatasetValidationError: a link leads out.
    """
    return _walk(start, "", pattern, confined_to, (os.path.realpath(start),))


def _walk(
    folder: str, prefix: str, pattern: Pattern, confined_to: str | None, entered: tuple[str, ...]
) -> Iterator[FoundFile]:
    for entry, is_folder in _entries(folder):
        relative = prefix + entry.name
        wanted = pattern.may_enter(relative) if is_folder else pattern.matches(relative)
        if not wanted:
            continue
        real = _real_path(entry, confined_to) if entry.is_symlink() else None
        if not is_folder:
            yield from _found(entry, relative)
        elif real is None:
            yield from _walk(entry.path, relative + "/", pattern, confined_to, entered)
        elif not any(_is_within(known, real) for known in entered):
            # A link to a folder that we stand in would go round for ever.
            yield from _walk(entry.path, relative + "/", pattern, confined_to, (*entered, real))


def _entries(folder: str) -> list[tuple[os.DirEntry[str], bool]]:
    with os.scandir(folder) as listing:
        found = [(entry, entry.is_dir()) for entry in listing if entry.name != ARRIVING]
    # A folder sorts as its files do, with the separator behind its name.
    return sorted(found, key=lambda item: item[0].name + "/" if item[1] else item[0].name)


def _found(entry: os.DirEntry[str], relative: str) -> Iterator[FoundFile]:
    try:
        if entry.is_file():
            status = entry.stat()
            yield FoundFile(entry.path, relative, status.st_size, status.st_mtime)
    except FileNotFoundError:
        return  # gone since it was listed


def _real_path(entry: os.DirEntry[str], confined_to: str | None) -> str:
    real = os.path.realpath(entry.path)
    if confined_to is not None and not _is_within(real, confined_to):
        raise DatasetValidationError(
            "the link %s leads out of its datastore; put the data itself there" % entry.path
        )
    return real


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def check_confined(path: str, folder: str) -> None:
    """Refuse a path whose real place is outside a folder.

    :param path: an existing path.
    :param folder: the real path of the folder.
    :raises DatasetValidationError: it is outside.
    """
    if not _is_within(os.path.realpath(path), folder):
        raise DatasetValidationError("%s lies outside its datastore; put the data itself there" % path)
