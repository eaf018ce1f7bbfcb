"""Leases: who is computing the result of a key, so that nobody computes it at the same time.

One small document for each key, ``leases/<kk>/<key>``, moved by conditional writes only. Its holder renews it; when it stops
doing so, whoever waits takes over with a greater *fencing counter*. The counter also goes into the head of the key's entry, so
that a holder that was only asleep finds out when it comes back, and its late result does not count.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Self

from airflow_azureml.model.canonical import canonical_json
from airflow_azureml.runtime.exceptions import ConditionFailed, ObjectNotFound, StoreError
from airflow_azureml.workspace.store import ObjectStore

LEASE_SCHEMA = 1
PREFIX = "leases/"
RENEWALS = 3
"""How often a lease is renewed within its length."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who computes a result.

    :param owner: the step run.
    :param dag_id: its DAG.
    :param run_id: its run, as Airflow calls it.
    :param task_id: its task.
    :param deployment: its Airflow deployment.
    """

    owner: str
    dag_id: str = ""
    run_id: str = ""
    task_id: str = ""
    deployment: str = ""


@dataclass(frozen=True, slots=True)
class LeaseView:
    """A lease as somebody else sees it.

    :param tag: the version of the document; it changes with every renewal.
    :param fence: the fencing counter.
    :param expires: when it ends unless it is renewed, seconds since the epoch by its holder's clock.
    :param ttl_s: its length.
    :param since: when it was taken, as ``expires``.
    :param holder: who has it; ``None`` when it was given back.
    """

    tag: str
    fence: int
    expires: float
    ttl_s: float
    since: float
    holder: Holder | None

    def has_expired(self, now: float) -> bool:
        """Whether the holder has failed to renew it for so long that no difference of clocks explains that.

        :param now: seconds since the epoch by the own clock.
        """
        return now > self.expires + self.ttl_s

    def is_free(self, now: float) -> bool:
        """Whether anybody may take it."""
        return self.holder is None or self.has_expired(now)


class LeaseStore:
    """Reads, takes and keeps leases.

    :param store: the workspace's object store.
    :param ttl_s: for how long a lease holds without being renewed.
    """

    def __init__(self, store: ObjectStore, ttl_s: float) -> None:
        self._store = store
        self.ttl_s = ttl_s

    def read(self, key: str) -> LeaseView | None:
        """Return the lease on a key, or ``None`` when nobody ever had one."""
        try:
            stored = self._store.get(lease_key(key))
        except ObjectNotFound:
            return None
        return _view(stored.data, stored.tag)

    def take(
        self, key: str, holder: Holder, *, seen_expired: str | None = None, least_fence: int = 0
    ) -> Lease | None:
        """Take the lease on a key unless somebody has it.

        :param holder: who wants it; one who has it already gets it again.
        :param seen_expired: tag of a lease that was seen unrenewed for its whole length, whatever the clocks say.
        :param least_fence: the counter found in the entry's head; the new one is greater.
        :return: the lease, or ``None`` when somebody else has it, or was faster.
        """
        view = self.read(key)
        now = time.time()
        is_own = view is not None and view.holder is not None and view.holder.owner == holder.owner
        if view is not None and not view.is_free(now) and view.tag != seen_expired and not is_own:
            return None
        fence = max(view.fence if view else 0, least_fence) + 1
        lease = Lease(
            self._store,
            key,
            holder,
            fence,
            self.ttl_s,
            took_over=view is not None and view.holder is not None,
        )
        return lease if lease.write_over(view.tag if view else None) else None

    def keys(self) -> Iterator[str]:
        """Return the keys that have or had a lease; a scan."""
        for info in self._store.list(PREFIX):
            yield info.key.rpartition("/")[2]

    def forget(self, key: str, view: LeaseView) -> bool:
        """Remove a free lease that nobody took meanwhile; its counter lives on in the entry's head."""
        try:
            self._store.delete(lease_key(key), if_match=view.tag)
        except ConditionFailed:
            return False
        return True


class Lease:
    """A lease that is held.

    :param fence: its fencing counter.
    :param took_over: whether its last holder never gave it back.
    """

    def __init__(
        self, store: ObjectStore, key: str, holder: Holder, fence: int, ttl_s: float, *, took_over: bool
    ) -> None:
        self._store = store
        self._key = key
        self._holder = holder
        self._tag = ""
        self._lock = threading.Lock()
        self._since = time.time()
        self._is_over = False
        self.fence = fence
        self.ttl_s = ttl_s
        self.took_over = took_over
        self.is_lost = False
        """Whether somebody else has taken it; found out at the next renewal."""

    def write_over(self, tag: str | None) -> bool:
        """Write it in place of an earlier one, or of none; return whether that worked."""
        try:
            self._tag = self._store.put(
                lease_key(self._key), self._document(), if_absent=tag is None, if_match=tag
            )
        except ConditionFailed:
            return False
        return True

    def renew(self) -> bool:
        """Hold it for its whole length again; return False when it was lost.

        :raises StoreError: nobody can tell now.
        """
        with self._lock:
            if self.is_lost or self._is_over:
                return not self.is_lost
            if not self.write_over(self._tag) and not self._was_written():
                self.is_lost = True
            return not self.is_lost

    def release(self) -> None:
        """Give it back. One that was lost belongs to somebody else and stays."""
        with self._lock:
            self._is_over = True
            if self.is_lost:
                return
            free = {**self._fields(), "owner": None}
            try:
                self._store.put(lease_key(self._key), canonical_json(free), if_match=self._tag)
            except ConditionFailed:
                self.is_lost = True

    def _was_written(self) -> bool:
        """Whether the lease there is this one after all: the answer to an earlier write may have got lost."""
        try:
            stored = self._store.get(lease_key(self._key))
        except ObjectNotFound:
            return False
        view = _view(stored.data, stored.tag)
        if view is None or view.fence != self.fence or view.holder != self._holder:
            return False
        self._tag = stored.tag
        return self.write_over(stored.tag)

    def _document(self) -> bytes:
        return canonical_json(self._fields())

    def _fields(self) -> dict[str, Any]:
        return {
            "schema": LEASE_SCHEMA,
            **asdict(self._holder),
            "fence": self.fence,
            "expires": time.time() + self.ttl_s,
            "ttl_s": self.ttl_s,
            "since": self._since,
        }


class LeaseKeeper:
    """Renews a lease while something is computed, and gives it back at the end.

    A store that cannot be reached for a moment is no reason to stop: the next renewal may work, and what is lost shows at the
    commit.

    :param lease: the lease.
    """

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease-keeper", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        try:
            self._lease.release()
        except (StoreError, OSError):
            # It ends by itself.
            return

    def _renew(self) -> None:
        while not self._over.wait(self._lease.ttl_s / RENEWALS):
            try:
                if not self._lease.renew():
                    return
            except (StoreError, OSError):
                continue


def lease_key(key: str) -> str:
    """Return where the lease on an action key is."""
    return f"{PREFIX}{key[:2]}/{key}"


def _view(data: bytes, tag: str) -> LeaseView | None:
    try:
        document: Mapping[str, Any] = json.loads(data)
        owner = document["owner"]
        names = ("dag_id", "run_id", "task_id", "deployment")
        holder = Holder(owner, *(str(document[name]) for name in names)) if owner else None
        return LeaseView(
            tag,
            int(document["fence"]),
            float(document["expires"]),
            float(document["ttl_s"]),
            float(document["since"]),
            holder,
        )
    except (ValueError, LookupError, TypeError):
        # Damaged: free for whoever comes; the counter in the entry's head keeps the order.
        return LeaseView(tag, 0, 0.0, 0.0, 0.0, None)
