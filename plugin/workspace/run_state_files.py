"""Files of runs that aren't committed: staged uploads, and what a script has left in ``./outputs`` and ``./logs``."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from airflow_azureml.runtime.exceptions import AzureMLException, StoreError, UserErrorException
from airflow_azureml.workspace.store import check_key

WATCHED_FOLDERS = ("outputs", "logs")
"""Folders of the working directory whose files belong to the run (v1)."""

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A file on this machine that will be a file of a run.

    :param name: its name among the run's files, POSIX.
    :param path: where its bytes are.
    :param size_bytes: its size.
    :param sha256: its content, hex.
    """

    name: str
    path: Path
    size_bytes: int
    sha256: str


def file_name(name: object) -> str:
    """Return the one spelling of a run file's name: ``/`` between parts, no ``.`` parts.

    :raises UserErrorException: empty, with ``..``, or otherwise no name of an object.
    """
    if not isinstance(name, str):
        raise UserErrorException(f"a file's name is a text, found {name!r}")
    clean = "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))
    try:
        return check_key(clean)
    except StoreError as error:
        raise UserErrorException(f"{name!r} cannot be the name of a run's file: {error}") from None


def check_no_folder_clash(name: str, names: Mapping[str, object]) -> None:
    """Refuse a name that is the folder of another name, or lies below one: no store can hold both.

    :raises UserErrorException: it is.
    """
    for other in names:
        if other.startswith(name + "/") or name.startswith(other + "/"):
            raise UserErrorException(f"the run has a file {other!r}; a file {name!r} cannot be beside it")


class Staging:
    """A folder that holds the bytes of uploads under names of its own, so that no name of a script meets the disk.

    :param folder: made when the first file comes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, *below: str) -> Path:
        """Return where a folder below it is, or would be."""
        return self._folder.joinpath(*below)

    def folder(self, *below: str) -> Path:
        """Return the folder, or one below it, made for its owner alone."""
        # What is staged may be anything a script has read; others on this machine have no business with it.
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = self._folder.joinpath(*below)
        folder.mkdir(exist_ok=True)
        return folder

    def store(self, name: str, stream: BinaryIO) -> StagedFile:
        """Copy a stream to the disk.

        :param name: the name it will have.
        :raises AzureMLException: the disk refuses.
        """
        path = self.folder() / os.urandom(16).hex()
        digest = hashlib.sha256()
        size_bytes = 0
        try:
            with path.open("xb") as file:
                for chunk in iter(lambda: stream.read(_CHUNK_BYTES), b""):
                    digest.update(chunk)
                    size_bytes += len(chunk)
                    file.write(chunk)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise AzureMLException(f"{name!r} cannot be kept: {error.strerror or error}") from error
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return StagedFile(name, path, size_bytes, digest.hexdigest())


def open_watched(working_directory: Path, name: str) -> BinaryIO | None:
    """Open a file that the script has left in a watched folder, or return None.

    Links that lead out of the working directory are not followed: the script could name any file of the worker.
    """
    if name.partition("/")[0] not in WATCHED_FOLDERS:
        return None
    path = _confined(working_directory, working_directory / name)
    if path is None:
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return os.fdopen(descriptor, "rb")


def watched_files(working_directory: Path) -> Iterator[str]:
    """Yield the names of the files in the watched folders, sorted within each."""
    for watched in WATCHED_FOLDERS:
        top = working_directory / watched
        for folder, folders, names in os.walk(top):
            folders.sort()
            for name in sorted(names):
                path = Path(folder, name)
                if _confined(working_directory, path) is not None:
                    yield path.relative_to(working_directory).as_posix()


def _confined(root: Path, path: Path) -> Path | None:
    try:
        real = path.resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        return None
    if not real.is_relative_to(root.resolve()) or not real.is_file():
        return None
    return real
