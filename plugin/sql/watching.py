"""Ends work on a database from outside, when it is asked to stop or has taken too long, and tells its errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from airflow_azureml.runtime.exceptions import DatasetExecutionError, StepCanceled
from airflow_azureml.sql.database import Job, Rows
from airflow_azureml.sql.errors import Place, explained, is_driver_error

_LOOKS_EVERY_S = 0.2


class Watch:
    """Looks at a job's limits while it works.

    :param job: the limits.
    :param what: what is done, for messages.
    :param place: where, for messages.
    """

    def __init__(self, job: Job, what: str, place: Place) -> None:
        self.job = job
        self._what = what
        self._place = place
        self._until = None if job.timeout_s is None else time.monotonic() + job.timeout_s

    def check(self) -> None:
        """Raise when the work shall end.

        :raises StepCanceled: it was asked to stop.
        :raises DatasetExecutionError: its time is over.
        """
        if self.stopped:
            raise StepCanceled(f"{self._what} on {self._place.uri} was stopped", reason="asked to stop")
        if self.late:
            raise DatasetExecutionError(
                f"{self._what} on {self._place.uri} took longer than its time limit of {self.job.timeout_s:g} s; "
                "raise the limit, or read less"
            )

    @property
    def stopped(self) -> bool:
        """Whether the work was asked to stop."""
        return self.job.stopping is not None and self.job.stopping.is_set()

    @property
    def late(self) -> bool:
        """Whether the time is over."""
        return self._until is not None and time.monotonic() > self._until

    @property
    def remaining_s(self) -> float | None:
        """How much time is left; None without a limit."""
        return None if self._until is None else max(0.001, self._until - time.monotonic())

    @contextmanager
    def canceling(self, cancel: Callable[[], object]) -> Iterator[None]:
        """Call ``cancel`` from another thread once the work shall end, until it has; tell errors of the driver as ours."""
        done = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(cancel, done), name="sql-watch", daemon=True)
        if self.job.stopping is not None or self._until is not None:
            watcher.start()
        try:
            with self.telling():
                yield
        finally:
            done.set()
            if watcher.is_alive():
                watcher.join()

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Tell errors of the driver as ours; when the work was to end, that is the reason."""
        try:
            yield
        except Exception as error:
            if not is_driver_error(error):
                raise
            self.check()
            raise explained(error, self._place, self._what, self.job.timeout_s) from None

    def counted(self, rows: Rows) -> Rows:
        """Return rows that look at the limits, tell how many there were, and raise errors of ours."""
        return Rows(rows.schema, self._counting(rows))

    def _counting(self, rows: Rows) -> Iterator[object]:
        count = 0
        while True:
            with self.telling():
                batch = next(rows.batches, None)
            if batch is None:
                return
            self.check()
            count += batch.num_rows
            yield batch
            if self.job.told is not None:
                self.job.told(count)

    def _watch(self, cancel: Callable[[], object], done: threading.Event) -> None:
        while not done.wait(_LOOKS_EVERY_S):
            if not (self.late or self.stopped):
                continue
            try:
                cancel()
            except Exception as error:
                # There may be nothing to cancel just now; the next look tries again.
                if not is_driver_error(error):
                    raise
