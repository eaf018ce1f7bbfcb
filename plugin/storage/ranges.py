"""Files read and written in ranges, several at the same time, for stores whose clients don't do it themselves."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from airflow_azureml.storage.drafts import Draft, write_at, writing_local
from airflow_azureml.storage.files import FileChanged

_AT_ONCE = 4


def read_ranges(
    target: Path,
    size_bytes: int,
    read: Callable[[int, int], bytes],
    *,
    range_bytes: int,
    at_once: int = _AT_ONCE,
) -> None:
    """Write a local file out of ranges; it appears whole.

    :param read: takes where a range begins and its size, returns its bytes.
    :param at_once: how many requests are under way at most; memory is at most as many ranges.
    :raises FileChanged: a range is shorter than it was.
    """
    with writing_local(target), Draft(target) as draft:

        def fetch(at: int) -> None:
            wanted = min(range_bytes, size_bytes - at)
            data = read(at, wanted)
            if len(data) != wanted:
                raise FileChanged(
                    f"the source of {target.name!r} became shorter while it was read; try again"
                )
            write_at(draft.descriptor, data, at)

        _in_parallel(fetch, range(0, size_bytes, range_bytes), at_once)
        draft.publish()


def write_ranges(
    source: Path,
    size_bytes: int,
    write: Callable[[int, bytes], None],
    *,
    range_bytes: int,
    at_once: int = _AT_ONCE,
) -> None:
    """Hand out a local file in ranges.

    :param size_bytes: the size that it has.
    :param write: takes where a range begins, and its bytes.
    :param at_once: how many requests are under way at most; memory is at most as many ranges.
    :raises FileChanged: the file is written meanwhile.
    """
    with source.open("rb") as file:
        before = os.fstat(file.fileno())

        def send(at: int) -> None:
            data = os.pread(file.fileno(), min(range_bytes, size_bytes - at), at)
            write(at, data)

        _in_parallel(send, range(0, size_bytes, range_bytes), at_once)
        after = os.fstat(file.fileno())
    if before.st_size != size_bytes or (before.st_mtime_ns, before.st_size) != (
        after.st_mtime_ns,
        after.st_size,
    ):
        raise FileChanged(
            f"local file {source} was written while it was copied; try again when it is at rest"
        )


def _in_parallel(work: Callable[[int], None], places: Iterable[int], at_once: int) -> None:
    """Call for every place; the first error ends it, after what is under way."""
    todo = list(places)
    if len(todo) < 2:
        for at in todo:
            work(at)
        return
    with ThreadPoolExecutor(min(at_once, len(todo))) as threads:
        running: set[Future[None]] = set()
        try:
            for at in todo:
                if len(running) == at_once:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        future.result()
                running.add(threads.submit(work, at))
            for future in running:
                future.result()
        finally:
            for future in running:
                future.cancel()
