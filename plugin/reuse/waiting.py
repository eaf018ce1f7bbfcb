"""Waiting for a result that somebody else is computing."""

from __future__ import annotations

import time
from enum import StrEnum

from airflow_azureml.reuse.entries import EntryStore
from airflow_azureml.reuse.leases import LeaseStore, LeaseView
from airflow_azureml.runtime.exceptions import AzureMLException


class ResultInProgress(AzureMLException):
    """Somebody else is computing the result that a step needs; nothing was done.

    :param key: the action key.
    :param lease: who computes it.
    :param refused: generation of a result that is there and doesn't count for the step, or ``None``.
    """

    def __init__(self, key: str, lease: LeaseView, refused: int | None = None) -> None:
        holder = lease.holder
        who = f"run {holder.run_id} of {holder.dag_id}" if holder else "another run"
        super().__init__(f"waits for {who}, which is computing the same result")
        self.key = key
        self.lease = lease
        self.refused = refused


class Found(StrEnum):
    """What somebody who waits for a result finds."""

    AVAILABLE = "available"
    FREE = "free"
    HELD = "held"


class ResultWatch:
    """Looks, again and again, whether there is a result or nobody computes it any more.

    A lease that isn't renewed for its whole length by this process's own clock has expired, whatever the clocks of other
    machines say.

    :param entries: the remembered results.
    :param leases: who computes them.
    :param key: the action key.
    :param refused: generation of a result that is there and doesn't count; the next one is waited for.
    """

    def __init__(self, entries: EntryStore, leases: LeaseStore, key: str, refused: int | None = None) -> None:
        self._entries = entries
        self._leases = leases
        self._key = key
        self._refused = refused
        self._tag: str | None = None
        self._unchanged_since = 0.0
        self.seen_expired: str | None = None
        """Tag of a lease that was seen to expire; :meth:`LeaseStore.take` takes it over."""

    def look(self) -> Found:
        """Look once.

        :raises StoreError: the store can't be read now.
        """
        if self._is_there():
            return Found.AVAILABLE
        view = self._leases.read(self._key)
        if view is None or view.is_free(time.time()):
            # Between the two looks the result may have come, and the lease been given back.
            return Found.AVAILABLE if self._is_there() else Found.FREE
        now = time.monotonic()
        if view.tag != self._tag:
            self._tag, self._unchanged_since = view.tag, now
        elif now - self._unchanged_since > view.ttl_s:
            self.seen_expired = view.tag
            return Found.FREE
        return Found.HELD

    def _is_there(self) -> bool:
        entry = self._entries.find(self._key)
        return entry is not None and entry.generation != self._refused
