"""Many files between this machine and a store at the same time, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from airflow_azureml.storage.files import FileInfo, FileStore

WORKERS = 16
"""Files at the same time. More helps only where every request takes long."""

_AHEAD = 4

Item = TypeVar("Item")
Result = TypeVar("Result")


def upload_many(
    store: FileStore,
    files: Iterable[tuple[Path, str]],
    *,
    overwrite: bool,
    workers: int = WORKERS,
    on_file: Callable[[str, FileInfo | None], None] | None = None,
) -> list[FileInfo | None]:
    """Copy local files to a store.

    :param files: each with its path in the store.
    :param overwrite: whether files that are there are replaced; else they stay as they are, which is no error (v1).
    :param on_file: told of each file in order: its path, and what was written or None for one that stayed.
    :returns: the same, in the order of ``files``.
    :raises FileNotFoundError: a local file isn't there.
    :raises StoreError: the first that fails; files before it are there, later ones may be.
    """

    def upload(item: tuple[Path, str]) -> tuple[str, FileInfo | None]:
        source, path = item
        if not overwrite and store.stat(path) is not None:
            return path, None
        return path, store.put_file(path, source)

    return _told(in_parallel(upload, files, workers), on_file)


def download_many(
    store: FileStore,
    files: Iterable[tuple[FileInfo, Path]],
    *,
    workers: int = WORKERS,
    on_file: Callable[[str, FileInfo], None] | None = None,
) -> list[FileInfo]:
    """Copy files of a store to local ones, over those that are there.

    :param files: each as it was listed, with its target; one that was written since is refused.
    :param on_file: told of each file in order.
    :returns: the files in their order.
    :raises FileChanged: a file isn't the one that was listed any more.
    :raises StoreError: the first that fails; targets before it are there, later ones may be.
    """

    def download(item: tuple[FileInfo, Path]) -> tuple[str, FileInfo]:
        info, target = item
        return info.path, store.get_file(info.path, target, etag=info.etag)

    return _told(in_parallel(download, files, workers), on_file)


def in_parallel(
    work: Callable[[Item], Result], items: Iterable[Item], workers: int = WORKERS
) -> Iterator[Result]:
    """Walk the results of a function in the order of its arguments, which are taken only a few ahead.

    After an error, or when the walk is left, nothing new is begun and what runs is waited for.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="azureml-files") as pool:
        running: deque[Future[Result]] = deque()
        try:
            for item in items:
                running.append(pool.submit(work, item))
                if len(running) >= workers * _AHEAD:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()


def _told(
    results: Iterator[tuple[str, Result]], on_file: Callable[[str, Result], None] | None
) -> list[Result]:
    kept = []
    for path, result in results:
        if on_file is not None:
            on_file(path, result)
        kept.append(result)
    return kept
