"""The plan of a transfer: both sides are listed and compared before anything is copied."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.storage.files import FileInfo, FileStore
from airflow_azureml.transfer.journal import Journal
from airflow_azureml.transfer.patterns import chooser
from airflow_azureml.transfer.request import TransferRequest
from airflow_azureml.transfer.spool import Pair, Spool

_FEW_FILES = 24


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    :param files: how many files the source has.
    :param todo: how many of them have to be copied, or looked at closely.
    :param todo_bytes: their size.
    :param extra: how many files of the target a mirror deletes.
    """

    files: int
    todo: int
    todo_bytes: int
    extra: int


def make_plan(request: TransferRequest, journal: Journal | None, spool: Spool) -> Plan:
    """List and compare.

    :raises UserErrorException: there is nothing at the source's path, or a mirror would delete more than it may.
    """
    spool.add_source(_source_files(request))
    files, _ = spool.count("source")
    if not files and request.source_type == "directory":
        _check_folder(request)
    spool.add_target(_target_files(request, spool, files))
    if journal is not None:
        spool.add_known(journal.read())
    for pair in spool.pairs():
        if _is_same(request, pair):
            _note_same(spool, pair)
        else:
            spool.add_todo(pair)
    todo, todo_bytes = spool.count("todo")
    return Plan(files, todo, todo_bytes, _count_extra(request, spool))


def same_by_journal(pair: Pair) -> bool:
    """Tell whether the target's file is what an earlier transfer wrote of the source's file as it still is."""
    return (
        pair.entry is not None
        and pair.target is not None
        and pair.entry.source == pair.source.version
        and pair.entry.target == pair.target.version
    )


def _is_same(request: TransferRequest, pair: Pair) -> bool:
    source, target = pair.source, pair.target
    if target is None or source.size_bytes != target.size_bytes:
        return False
    if same_by_journal(pair) or request.compare == "size":
        return True
    if source.md5 is not None and target.md5 is not None:
        return source.md5 == target.md5
    return request.compare == "time" and target.modified >= source.modified


def _note_same(spool: Spool, pair: Pair) -> None:
    if pair.target is None:
        return
    known = pair.entry.md5 if pair.entry is not None and same_by_journal(pair) else None
    target = pair.target
    spool.add_done(pair.path, pair.source.version, target, known or target.md5, copied=False)


def _source_files(request: TransferRequest) -> Iterator[tuple[str, FileInfo]]:
    if request.source_type == "file":
        info = request.source.stat(request.source_path)
        if info is None:
            raise UserErrorException(
                f"transfer: there is no file {request.source_path!r} on {request.source.uri}; "
                "check the path, or source_reference_type if it is a directory"
            )
        yield request.source_path.rpartition("/")[2], info
        return
    chosen = chooser(request.include, request.exclude)
    yield from _below(request.source, request.source_path, chosen)


def _target_files(request: TransferRequest, spool: Spool, files: int) -> Iterator[tuple[str, FileInfo]]:
    if request.mode == "copy" and files <= _FEW_FILES:
        # The target folder may hold a million others.
        for pair in list(spool.pairs()):
            info = request.target.stat(request.target_file(pair.path))
            if info is not None:
                yield pair.path, info
        return
    # What is excluded is no business of this transfer, on both sides.
    yield from _below(request.target, request.target_path, chooser(request.include, request.exclude))


def _below(store: FileStore, folder: str, chosen: Callable[[str], bool]) -> Iterator[tuple[str, FileInfo]]:
    beginning = len(folder) + 1 if folder else 0
    for info in store.walk(folder):
        path = info.path[beginning:]
        if chosen(path):
            yield path, info


def _check_folder(request: TransferRequest) -> None:
    store, path = request.source, request.source_path
    if path and not store.is_folder(path):
        hint = "it is a file: make source_reference_type 'file'" if store.stat(path) else "check the path"
        raise UserErrorException(f"transfer: there is no folder {path!r} on {store.uri}; {hint}")


def _count_extra(request: TransferRequest, spool: Spool) -> int:
    if request.mode != "mirror":
        return 0
    extra, (there, _) = spool.count_extra(), spool.count("target")
    limit = request.delete_limit
    most = limit * there if isinstance(limit, float) else limit
    if extra > most:
        raise UserErrorException(
            f"mirror of {request.name}: {extra} of {there} files of the destination would be deleted, which is more than "
            f"delete_limit={limit!r} allows; nothing was changed. If that is right, raise delete_limit"
        )
    return extra
