"""Remembered results: one counts per key, and the first of several stays."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml.reuse.entries import Entry, EntryStore, HeadState, StaleHolder
from airflow_azureml.runtime.exceptions import StoreError
from airflow_azureml.workspace.local_store import LocalStore
from airflow_azureml.workspace.memory_store import MemoryStore

KEY = "ab" * 32


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def entries(store: MemoryStore) -> EntryStore:
    return EntryStore(store)


def entry(step: str = "one", **changes: Any) -> Entry:
    values: dict[str, Any] = {
        "key": KEY,
        "step_run_id": step,
        "run_id": "run",
        "dag_id": "dag",
        "step_name": "train",
        "finished": "2026-01-01T00:00:00+00:00",
        "duration_s": 1.5,
        "outputs": {"model": {"datastore": "blob", "path": "x", "digest": "d1"}},
    }
    return Entry(**{**values, **changes})


def head(store: MemoryStore) -> bytes:
    return store.get(f"entries/ab/{KEY}/head.json").data


class TestAnEntry:
    def test_that_was_remembered_is_found(self, entries: EntryStore) -> None:
        assert entries.find(KEY) is None
        assert entries.remember(entry(), replaces=None) == entry()
        assert entries.find(KEY) == entry()
        assert entries.find("cd" * 32) is None

    def test_lies_at_its_pinned_place(self, entries: EntryStore, store: MemoryStore) -> None:
        entries.remember(entry(), replaces=None)
        assert [info.key for info in store.list("")] == [
            f"entries/ab/{KEY}/000001.json",
            f"entries/ab/{KEY}/head.json",
        ]
        written = json.loads(head(store))
        assert written.pop("time")
        assert written == {"generation": 1, "state": "live", "fence": 0, "reason": None, "by": None}

    def test_that_was_first_stays(self, entries: EntryStore) -> None:
        entries.remember(entry("one"), replaces=None)
        assert entries.remember(entry("two"), replaces=None).step_run_id == "one"
        found = entries.find(KEY)
        assert found is not None
        assert (found.step_run_id, found.generation) == ("one", 1)

    def test_that_was_found_dead_is_replaced_by_the_next_and_stays_to_be_read(
        self, entries: EntryStore, store: MemoryStore
    ) -> None:
        entries.remember(entry("one"), replaces=None)
        second = entries.remember(entry("two"), replaces=1)
        assert (second.step_run_id, second.generation) == ("two", 2)
        assert entries.find(KEY) == second
        assert store.exists(f"entries/ab/{KEY}/000001.json")

    def test_is_replaced_by_one_of_two_runs_that_found_it_dead(self, entries: EntryStore) -> None:
        entries.remember(entry("one"), replaces=None)
        entries.remember(entry("two"), replaces=1)
        assert entries.remember(entry("three"), replaces=1).step_run_id == "two"

    def test_reads_back_equal(self) -> None:
        assert Entry.from_bytes(entry().to_bytes()) == entry()

    @pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b"\xff", b'{"later": 1}'])
    def test_of_another_version_is_no_entry(self, data: bytes) -> None:
        with pytest.raises(ValueError, match=r".*"):
            Entry.from_bytes(data)


class TestACrash:
    def test_between_generation_and_head_leaves_nothing_that_counts_and_nothing_in_the_way(
        self, entries: EntryStore, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = store.put

        def crash(key: str, *args: Any, **options: Any) -> str:
            if key.endswith("head.json"):
                raise StoreError("crash")
            return real(key, *args, **options)

        with monkeypatch.context() as patched:
            patched.setattr(store, "put", crash)
            with pytest.raises(StoreError):
                entries.remember(entry("one"), replaces=None)
        assert entries.find(KEY) is None
        second = entries.remember(entry("two"), replaces=None)
        assert (second.step_run_id, second.generation) == ("two", 2)
        assert entries.find(KEY) == second

    def test_that_lost_a_generation_is_healed_by_the_next_result(
        self, entries: EntryStore, store: MemoryStore
    ) -> None:
        entries.remember(entry("one"), replaces=None)
        store.delete(f"entries/ab/{KEY}/000001.json")
        assert entries.find(KEY) is None
        assert entries.remember(entry("two"), replaces=None).generation == 2
        found = entries.find(KEY)
        assert found is not None
        assert found.step_run_id == "two"

    @pytest.mark.parametrize("damage", [b"", b"{}", b'{"generation": null}', b'{"generation": []}', b"\xff"])
    @pytest.mark.parametrize("name", ["head.json", "000001.json"])
    def test_that_damaged_an_object_is_healed_too(
        self, entries: EntryStore, store: MemoryStore, name: str, damage: bytes
    ) -> None:
        entries.remember(entry("one"), replaces=None)
        store.put(f"entries/ab/{KEY}/{name}", damage)
        assert entries.find(KEY) is None
        entries.remember(entry("two"), replaces=None)
        found = entries.find(KEY)
        assert found is not None
        assert (found.step_run_id, found.generation) == ("two", 2)


@pytest.mark.parametrize("replaces", [None, 1])
def test_of_many_committers_at_once_all_learn_of_the_one_that_counts(
    tmp_path: Path, replaces: int | None
) -> None:
    store = LocalStore(tmp_path)
    if replaces:
        EntryStore(store).remember(entry("dead"), replaces=None)
    answers: list[str] = []
    meet = threading.Barrier(8)

    def commit(number: int) -> None:
        meet.wait()
        answers.append(EntryStore(store).remember(entry(f"step-{number}"), replaces=replaces).step_run_id)

    threads = [threading.Thread(target=commit, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = EntryStore(store).find(KEY)
    assert counts is not None
    assert answers == [counts.step_run_id] * 8
    assert counts.step_run_id != "dead"


class TestAResultThatDoesNotCount:
    @pytest.mark.parametrize("state", [HeadState.QUARANTINED, HeadState.INVALIDATED, HeadState.RETIRED])
    def test_is_not_found_and_is_replaced_by_the_next(self, entries: EntryStore, state: HeadState) -> None:
        entries.remember(entry("one"), replaces=None)
        assert entries.set_state(KEY, state, generation=1, reason="bad disk", by="ada")
        assert entries.find(KEY) is None
        standing = entries.look(KEY)
        assert standing.entry is not None
        assert standing.head is not None
        assert (standing.head.state, standing.head.reason, standing.head.by) == (state, "bad disk", "ada")
        assert entries.remember(entry("two"), replaces=None).generation == 2
        found = entries.find(KEY)
        assert found is not None
        assert found.step_run_id == "two"

    def test_can_come_to_count_again(self, entries: EntryStore) -> None:
        entries.remember(entry(), replaces=None)
        entries.set_state(KEY, HeadState.RETIRED, generation=1)
        assert entries.set_state(KEY, HeadState.LIVE, generation=1)
        assert entries.find(KEY) == entry()

    def test_is_the_one_that_was_meant_or_none(self, entries: EntryStore) -> None:
        entries.remember(entry("one"), replaces=None)
        entries.remember(entry("two"), replaces=1)
        assert not entries.set_state(KEY, HeadState.INVALIDATED, generation=1)
        assert not entries.set_state("cd" * 32, HeadState.INVALIDATED, generation=1)
        assert entries.find(KEY) is not None

    def test_is_still_current_until_then(self, entries: EntryStore) -> None:
        kept = entries.remember(entry(), replaces=None)
        assert entries.is_current(kept)
        entries.set_state(KEY, HeadState.RETIRED, generation=1)
        assert not entries.is_current(kept)


class TestALateHolder:
    def test_is_refused_when_a_later_one_has_begun(self, entries: EntryStore) -> None:
        assert entries.fence_off(KEY, 2)
        with pytest.raises(StaleHolder):
            entries.remember(entry("zombie", fence=1), replaces=None)
        assert entries.find(KEY) is None
        assert entries.remember(entry("heir", fence=2), replaces=None).step_run_id == "heir"

    def test_is_refused_after_the_later_one_has_committed(self, entries: EntryStore) -> None:
        entries.fence_off(KEY, 2)
        entries.remember(entry("heir", fence=2), replaces=None)
        with pytest.raises(StaleHolder):
            entries.remember(entry("zombie", fence=1), replaces=None)

    def test_is_refused_at_the_last_moment(
        self, entries: EntryStore, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = store.put

        def overtake(key: str, *args: Any, **options: Any) -> str:
            if key.endswith("head.json"):
                monkeypatch.setattr(store, "put", real)
                EntryStore(store).fence_off(KEY, 2)
            return real(key, *args, **options)

        monkeypatch.setattr(store, "put", overtake)
        with pytest.raises(StaleHolder):
            entries.remember(entry("zombie", fence=1), replaces=None)
        assert entries.find(KEY) is None
        assert entries.generations(KEY) == []

    def test_does_not_fence_off_a_later_one(self, entries: EntryStore) -> None:
        assert entries.fence_off(KEY, 3)
        assert not entries.fence_off(KEY, 2)
        assert entries.fence_off(KEY, 3)


class TestADivergence:
    def test_is_noted_when_two_results_differ_and_the_first_stays(self, entries: EntryStore) -> None:
        entries.remember(entry("one"), replaces=None)
        other = {"model": {"datastore": "blob", "path": "y", "digest": "d2"}}
        assert entries.remember(entry("two", outputs=other), replaces=None).step_run_id == "one"
        (noted,) = entries.divergences(KEY)
        assert noted["step_run_id"] == "two"
        assert noted["outputs"] == {"model": {"kept": "d1", "other": "d2"}}

    def test_is_none_when_they_are_the_same(self, entries: EntryStore) -> None:
        entries.remember(entry("one"), replaces=None)
        entries.remember(entry("two"), replaces=None)
        assert entries.divergences(KEY) == []


def test_what_is_kept_can_be_listed_and_removed(entries: EntryStore, store: MemoryStore) -> None:
    entries.remember(entry("one"), replaces=None)
    entries.remember(entry("two"), replaces=1)
    entries.remember(entry(key="cd" * 32), replaces=None)
    assert list(entries.keys()) == [KEY, "cd" * 32]
    assert entries.generations(KEY) == [1, 2]
    entries.delete_generation(KEY, 1)
    assert entries.generations(KEY) == [2]
    assert not entries.delete(KEY), "a live result is not removed"
    entries.set_state(KEY, HeadState.RETIRED, generation=2)
    assert entries.delete(KEY)
    assert list(store.list(f"entries/ab/{KEY}/")) == []


def test_an_entry_is_a_value() -> None:
    assert replace(entry(), generation=2) != entry()
