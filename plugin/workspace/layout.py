"""Makes a folder out of a snapshot: whole or not at all, verified, and never outside the folder.

What is read may come from a store that others write to, so nothing in it is trusted: every path is checked before
a file is made under it, every content must have its digest, files are only ever created, and the links that could
lead elsewhere are never made. Contents are copied: hard links into a cache would let a step change what the next
step gets. Linking would take a third of the time (measured: 35 µs instead of 130 µs a file of 2 KB), which a
usual source directory of some dozen files doesn't notice.
"""

# Plain os functions: this runs before every step.
# ruff: noqa: PTH102, PTH103, PTH104

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from airflow_azureml.runtime.exceptions import ObjectNotFound, SnapshotException
from airflow_azureml.workspace.manifest import FileDigest
from airflow_azureml.workspace.packs import CHUNK_BYTES, pack_key

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class Placed(NamedTuple):
    """A file and where its content is.

    :param file: path, digest, size and executable bit.
    :param pack_id: the pack.
    :param offset: where its content begins in it.
    """

    file: FileDigest
    pack_id: str
    offset: int


class DamagedObject(SnapshotException):
    """An object of the workspace isn't what its name says.

    :param key: the object.
    """

    key: str = ""

    def __init__(self, message: object = "", *, key: str = "") -> None:
        super().__init__(message)
        self.key = key


def lay_out_files(
    placed: Iterable[Placed], folders: Iterable[str], target: Path, locate: Callable[[str], Path]
) -> None:
    """Make a folder with these files.

    :param placed: the files, with paths relative to the folder.
    :param folders: folders without content.
    :param target: the folder, absent or empty.
    :param locate: returns the local path of an object of the workspace.
    :raises DamagedObject: a content isn't what its digest says.
    :raises SnapshotException: a path would leave the folder, or the folder holds files already.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise SnapshotException(f"{str(target)!r} already holds files; a snapshot needs a folder of its own")
    os.makedirs(target.parent, exist_ok=True)
    draft = f"{target.parent}/.{target.name[:200]}.{secrets.token_hex(6)}"
    os.mkdir(draft)
    try:
        _fill(draft, placed, folders, locate)
        # Over an empty folder this is as atomic as over nothing; over one that was filled meanwhile it fails.
        os.rename(draft, target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _fill(
    draft: str, placed: Iterable[Placed], folders: Iterable[str], locate: Callable[[str], Path]
) -> None:
    made = {""}
    with ExitStack() as opened:
        packs: dict[str, int] = {}
        try:
            for item in sorted(placed, key=lambda item: (item.pack_id, item.offset)):
                path = _checked(item.file.path)
                _make_folder(draft, path.rpartition("/")[0], made)
                if item.pack_id not in packs:
                    packs[item.pack_id] = _open_pack(item.pack_id, locate)
                    opened.callback(os.close, packs[item.pack_id])
                _write_file(f"{draft}/{path}", item, packs[item.pack_id])
            for folder in folders:
                _make_folder(draft, _checked(folder), made)
        except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
            raise SnapshotException(
                f"the snapshot names one path twice or as both a file and a folder: {error.filename!r}"
            ) from error


def _checked(path: str) -> str:
    if path.startswith("/") or "\0" in path or not {"", ".", ".."}.isdisjoint(path.split("/")):
        raise SnapshotException(
            f"the snapshot holds a path that may leave the folder, {path!r}; it is refused"
        )
    return path


def _make_folder(draft: str, folder: str, made: set[str]) -> None:
    if folder not in made:
        _make_folder(draft, folder.rpartition("/")[0], made)
        os.mkdir(f"{draft}/{folder}")
        made.add(folder)


def _open_pack(pack_id: str, locate: Callable[[str], Path]) -> int:
    key = pack_key(pack_id)
    try:
        return os.open(locate(key), os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ObjectNotFound) as error:
        raise DamagedObject(
            f"object {key!r} of the workspace is gone; upload the source directory again", key=key
        ) from error


def _write_file(path: str, item: Placed, pack: int) -> None:
    sha256, size_bytes = item.file.sha256, item.file.size_bytes
    descriptor = os.open(path, _CREATE, 0o600)
    try:
        digest = hashlib.sha256()
        position, end = item.offset, item.offset + size_bytes
        while position < end and (chunk := os.pread(pack, min(CHUNK_BYTES, end - position), position)):
            digest.update(chunk)
            position += len(chunk)
            _write_all(descriptor, chunk)
        # Not left to the umask: the same snapshot looks the same on every machine.
        os.fchmod(descriptor, 0o755 if item.file.executable else 0o644)
    finally:
        os.close(descriptor)
    if position != end or digest.hexdigest() != sha256:
        key = pack_key(item.pack_id)
        raise DamagedObject(
            f"the content of {item.file.path!r} is damaged in object {key!r} of the workspace; "
            "upload the source directory again",
            key=key,
        )


def _write_all(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, memoryview(data)[written:])
