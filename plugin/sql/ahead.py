"""Reads the next batches of rows while the last ones are being written, so that server and disk don't wait for each other."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from airflow_azureml.sql.database import Rows

_BATCHES_AHEAD = 2
_Queue = queue.Queue[tuple[Any, BaseException | None]]


@contextmanager
def read_ahead(rows: Rows) -> Iterator[Rows]:
    """Return the same rows, read by another thread. Leaving ends that thread, after the batch that it is reading."""
    waiting: _Queue = queue.Queue(_BATCHES_AHEAD)
    leaving = threading.Event()
    reader = threading.Thread(target=_read, args=(rows, waiting, leaving), name="sql-read-ahead", daemon=True)
    reader.start()
    try:
        yield Rows(rows.schema, _taken(waiting))
    finally:
        leaving.set()
        while reader.is_alive():
            # It may stand before a full queue.
            with suppress(queue.Empty):
                waiting.get(timeout=0.05)
        reader.join()


def _read(rows: Rows, waiting: _Queue, leaving: threading.Event) -> None:
    error: BaseException | None = None
    try:
        for batch in rows.batches:
            waiting.put((batch, None))
            if leaving.is_set():
                return
    except BaseException as raised:  # noqa: BLE001 -- raised again where the rows are taken
        error = raised
    waiting.put((None, error))


def _taken(waiting: _Queue) -> Iterator[Any]:
    while True:
        batch, error = waiting.get()
        if error is not None:
            raise error
        if batch is None:
            return
        yield batch
