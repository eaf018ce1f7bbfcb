"""Leases: one computes, the others know; who falls silent is replaced, and its late result doesn't count."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from airflow_azureml.reuse.entries import Entry, EntryStore
from airflow_azureml.reuse.leases import Holder, Lease, LeaseKeeper, LeaseStore
from airflow_azureml.reuse.waiting import Found, ResultWatch
from airflow_azureml.runtime.exceptions import StoreError
from airflow_azureml.workspace.local_store import LocalStore
from airflow_azureml.workspace.memory_store import MemoryStore
from airflow_azureml.workspace.store import ObjectStore

KEY = "ab" * 32
ADA, BOB = Holder("ada", "dag", "run-a"), Holder("bob", "dag", "run-b")


@pytest.fixture(params=["memory", "local"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    return MemoryStore() if request.param == "memory" else LocalStore(tmp_path)


def taken(leases: LeaseStore, holder: Holder = ADA) -> Lease:
    lease = leases.take(KEY, holder)
    assert lease is not None
    return lease


class TestALease:
    def test_is_had_by_one_at_a_time(self, store: ObjectStore) -> None:
        leases = LeaseStore(store, 60)
        lease = taken(leases)
        assert leases.take(KEY, BOB) is None
        view = leases.read(KEY)
        assert view is not None
        assert view.holder == ADA
        assert not view.is_free(time.time())
        lease.release()
        assert taken(leases, BOB).fence > lease.fence

    def test_is_given_again_to_who_has_it(self, store: ObjectStore) -> None:
        leases = LeaseStore(store, 60)
        first = taken(leases)
        assert taken(leases).fence == first.fence + 1
        assert not first.renew()

    def test_lives_as_long_as_it_is_renewed(self, store: ObjectStore) -> None:
        leases = LeaseStore(store, 0.05)
        with LeaseKeeper(taken(leases)):
            for _ in range(10):
                time.sleep(0.02)
                assert leases.take(KEY, BOB) is None

    def test_that_nobody_renews_is_taken_over_with_a_greater_counter(self, store: ObjectStore) -> None:
        leases = LeaseStore(store, 0.01)
        dead = taken(leases)
        time.sleep(0.03)
        heir = taken(leases, BOB)
        assert heir.took_over
        assert heir.fence == dead.fence + 1
        assert not dead.renew()
        assert dead.is_lost

    def test_that_was_lost_is_not_given_back(self, store: ObjectStore) -> None:
        leases = LeaseStore(store, 0.01)
        dead = taken(leases)
        time.sleep(0.03)
        leases.ttl_s = 60
        taken(leases, BOB)
        dead.release()
        assert leases.take(KEY, ADA) is None

    def test_counts_on_from_the_head_when_its_own_record_was_removed(self, store: ObjectStore) -> None:
        leases = LeaseStore(store, 60)
        taken(leases).release()
        view = leases.read(KEY)
        assert view is not None
        assert leases.forget(KEY, view)
        lease = leases.take(KEY, ADA, least_fence=7)
        assert lease is not None
        assert lease.fence == 8

    def test_that_somebody_took_meanwhile_is_not_forgotten(self, store: ObjectStore) -> None:
        leases = LeaseStore(store, 60)
        taken(leases).release()
        view = leases.read(KEY)
        assert view is not None
        taken(leases, BOB)
        assert not leases.forget(KEY, view)

    def test_whose_record_is_damaged_is_free(self, store: ObjectStore) -> None:
        leases = LeaseStore(store, 60)
        taken(leases)
        store.put(f"leases/ab/{KEY}", b"{}")
        assert taken(leases, BOB).fence >= 1

    def test_whose_renewal_was_written_but_not_answered_is_still_had(
        self, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        leases = LeaseStore(store, 60)
        lease = taken(leases)
        real = store.put

        def lose_the_answer(key: str, data: bytes, **options: object) -> str:
            real(key, data, **options)  # type: ignore[arg-type]
            monkeypatch.setattr(store, "put", real)
            raise StoreError("no answer")

        monkeypatch.setattr(store, "put", lose_the_answer)
        with pytest.raises(StoreError):
            lease.renew()
        assert lease.renew()
        assert not lease.is_lost

    def test_survives_a_store_that_fails_for_a_moment(
        self, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        leases = LeaseStore(store, 0.3)
        lease = taken(leases)
        real, calls = store.put, []

        def flaky(key: str, data: bytes, **options: object) -> str:
            calls.append(key)
            if len(calls) == 1:
                raise StoreError("away")
            return real(key, data, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(store, "put", flaky)
        with LeaseKeeper(lease):
            deadline = time.monotonic() + 30
            while len(calls) < 3 and time.monotonic() < deadline:
                time.sleep(0.01)
        assert not lease.is_lost


class TestSomebodyWhoWaits:
    def watch(self, store: ObjectStore, leases: LeaseStore) -> ResultWatch:
        return ResultWatch(EntryStore(store), leases, KEY)

    def test_sees_who_computes_then_the_result(self, store: ObjectStore) -> None:
        leases = LeaseStore(store, 60)
        lease, watch = taken(leases), self.watch(store, leases)
        assert watch.look() is Found.HELD
        entry = Entry(KEY, "ada", "run", "dag", "train", "2026-01-01T00:00:00+00:00", 1.0)
        EntryStore(store).remember(entry, replaces=None)
        assert watch.look() is Found.AVAILABLE
        lease.release()

    def test_sees_that_it_was_given_back_without_a_result(self, store: ObjectStore) -> None:
        leases = LeaseStore(store, 60)
        lease, watch = taken(leases), self.watch(store, leases)
        lease.release()
        assert watch.look() is Found.FREE

    def test_takes_over_after_one_length_by_its_own_clock_whatever_other_clocks_say(
        self, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        leases = LeaseStore(store, 0.05)
        with monkeypatch.context() as patched:
            # The holder's machine is a day ahead.
            patched.setattr(time, "time", lambda: 4e9)
            taken(leases)
        watch = self.watch(store, leases)
        assert watch.look() is Found.HELD
        time.sleep(0.08)
        assert watch.look() is Found.FREE
        assert leases.take(KEY, BOB) is None
        assert leases.take(KEY, BOB, seen_expired=watch.seen_expired) is not None

    def test_does_not_take_a_lease_that_was_renewed_since(self, store: ObjectStore) -> None:
        leases = LeaseStore(store, 0.05)
        lease, watch = taken(leases), self.watch(store, leases)
        watch.look()
        time.sleep(0.08)
        assert watch.look() is Found.FREE
        lease.ttl_s = 60
        assert lease.renew()
        assert leases.take(KEY, BOB, seen_expired=watch.seen_expired) is None
