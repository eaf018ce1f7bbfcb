"""What a transfer is asked for, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from airflow_azureml.model.canonical import digest_of
from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.storage.files import FileStore, check_path, joined
from airflow_azureml.transfer.patterns import chooser

ReferenceType = Literal["file", "directory"]
Compare = Literal["content", "time", "size"]
Mode = Literal["copy", "mirror"]
Verify = Literal["checksum", "size"]

_CHOICES = {
    "source_type": ("file", "directory"),
    "target_type": ("file", "directory"),
    "compare": ("content", "time", "size"),
    "mode": ("copy", "mirror"),
    "verify": ("checksum", "size"),
}
MAX_WORKERS = 256


@dataclass(frozen=True, slots=True)
class TransferRequest:
    """One transfer of files from one store to another.

    :param source: store that is read.
    :param source_path: file or folder in it; ``""`` is all of it.
    :param target: store that is written.
    :param target_path: file or folder in it.
    :param source_type: what ``source_path`` names.
    :param target_type: what ``target_path`` names; a file that goes to a directory keeps its name.
    :param include: globs of the files to take, relative to the source folder; all for none. ``*`` stays in a folder, ``**``
        doesn't, a glob without a slash is one for names in any folder.
    :param exclude: globs of files to leave out; they are not deleted by a mirror either.
    :param compare: when a file that is there already counts as the same. ``content``: an earlier transfer wrote it from the
        source as it still is, or both have the same MD5. ``time``: also when the size is the same and the target's isn't older.
        ``size``: also when the size is the same.
    :param mode: ``mirror`` also deletes files of the target folder that the source doesn't have.
    :param delete_limit: a mirror that would delete more stops before it does anything: a number of files (int), or a share
        of those in the target folder (float up to 1.0).
    :param overwrite: replace files that are there with another content; if not, they stay as they are and are counted.
    :param dry_run: only say what would be done.
    :param bandwidth_bytes_s: upper limit for the bytes that go through this machine.
    :param workers: how many small files at once.
    :param verify: ``checksum`` makes sure that the bytes of the target are those of the source; ``size`` looks at sizes alone.
    :raises UserErrorException: an argument is none of those, or source and target overlap.
    """

    source: FileStore
    source_path: str
    target: FileStore
    target_path: str
    source_type: ReferenceType = "directory"
    target_type: ReferenceType = "directory"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    compare: Compare = "content"
    mode: Mode = "copy"
    delete_limit: int | float = 0.25
    overwrite: bool = True
    dry_run: bool = False
    bandwidth_bytes_s: int | None = None
    workers: int = 24
    verify: Verify = "checksum"

    def __post_init__(self) -> None:
        check_path(self.source_path)
        check_path(self.target_path)
        check_options({name: getattr(self, name) for name in self.__dataclass_fields__})
        _check_types(self)
        _check_overlap(self)

    @property
    def name(self) -> str:
        """Source and target in words, for messages."""
        return f"{_shown(self.source, self.source_path)} to {_shown(self.target, self.target_path or '')}"

    @property
    def key(self) -> str:
        """The same for every transfer between the same two places: under this name its journal is kept."""
        return digest_of(
            {
                "source": [_place(self.source), self.source_path, self.source_type],
                "target": [_place(self.target), self.target_path, self.target_type],
            }
        )

    def source_file(self, path: str) -> str:
        """Return the path on the source of a file that the transfer calls ``path``."""
        return self.source_path if self.source_type == "file" else joined(self.source_path, path)

    def target_file(self, path: str) -> str:
        """Return the path on the target of a file that the transfer calls ``path``."""
        return self.target_path if self.target_type == "file" else joined(self.target_path, path)


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file as the transfer left it on the target.

    :param path: relative to the target store's root.
    :param size_bytes: its size.
    :param version: its etag, or what the store has instead (``FileInfo.version``).
    :param md5: hex MD5 of its bytes, where it is known.
    :param copied: False where it was there already.
    """

    path: str
    size_bytes: int
    version: str
    md5: str | None
    copied: bool


@dataclass(frozen=True, slots=True)
class TransferResult:
    """What a transfer did, or with ``dry_run`` would do.

    :param copied: files that were copied.
    :param skipped: files that were there already, the same.
    :param kept: files that were there with another content, and stay because of ``overwrite=False``.
    :param deleted: files that a mirror deleted.
    :param verified: files among the copied ones whose bytes are known to be the source's, not only their size.
    :param repeated: how often a file was copied again: after damage on the way, a change of the source or a busy store.
    :param size_bytes: bytes of the files that were copied.
    :param seconds: how long all of it took.
    :param written: the files that the target now has of the source, by path; without those kept.
    """

    copied: int
    skipped: int
    kept: int
    deleted: int
    verified: int
    repeated: int
    size_bytes: int
    seconds: float
    written: tuple[WrittenFile, ...]


def _place(store: FileStore) -> str:
    return str(store.local_root) if store.local_root is not None else store.uri


def _shown(store: FileStore, path: str) -> str:
    return f"{store.uri.rstrip('/')}/{path}" if path else store.uri


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options that no transfer can have; for those who know the options before the stores.

    :param options: fields of a :class:`TransferRequest`, all or some.
    :raises UserErrorException: a value is none of those that are possible.
    """
    for name, allowed in _CHOICES.items():
        if name in options and options[name] not in allowed:
            raise UserErrorException(
                f"transfer: {name} is {options[name]!r}; give one of {', '.join(allowed)}"
            )
    limit, workers, bandwidth = (
        options.get(name) for name in ("delete_limit", "workers", "bandwidth_bytes_s")
    )
    if limit is not None and (limit < 0 or (isinstance(limit, float) and limit > 1)):
        raise UserErrorException(
            f"transfer: delete_limit is {limit!r}; give a number of files, or a share from 0.0 to 1.0"
        )
    if workers is not None and not 1 <= workers <= MAX_WORKERS:
        raise UserErrorException(f"transfer: workers is {workers!r}; give a number from 1 to {MAX_WORKERS}")
    if bandwidth is not None and bandwidth < 1:
        raise UserErrorException(
            f"transfer: bandwidth_bytes_s is {bandwidth!r}; give bytes per second, at least 1, or nothing"
        )
    chooser(options.get("include", ()), options.get("exclude", ()))


def _check_types(request: TransferRequest) -> None:
    if request.source_type == "directory" and request.target_type == "file":
        raise UserErrorException(
            f"transfer of {request.name}: a directory cannot be copied into a file; "
            "make destination_reference_type 'directory', or name a single file as the source"
        )
    if request.mode == "mirror" and request.source_type == "file":
        raise UserErrorException(f"transfer of {request.name}: only a directory can be mirrored")
    for argument, kind, path in (
        ("source", request.source_type, request.source_path),
        ("target", request.target_type, request.target_path),
    ):
        if kind == "file" and not path:
            raise UserErrorException(f"transfer: {argument}_type is 'file' and {argument}_path is empty")


def _check_overlap(request: TransferRequest) -> None:
    source = _full(request.source, request.source_path)
    target = request.target_path
    if request.source_type == "file" and request.target_type == "directory":
        target = joined(target, request.source_path.rpartition("/")[2])
    target = _full(request.target, target)
    inside = (target + "/").startswith(source + "/") or (source + "/").startswith(target + "/")
    if source == target or (inside and request.source_type == "directory"):
        raise UserErrorException(
            f"transfer of {request.name}: source and destination overlap; choose a destination outside of the source"
        )


def _full(store: FileStore, path: str) -> str:
    if store.local_root is not None:
        return str((store.local_root / path).resolve())
    return f"{store.uri.rstrip('/')}/{path}".rstrip("/")
