"""Remembered results: one counts per key, and the first of several stays."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml.reuse.action import Action
from airflow_azureml.reuse.entries import Entry, EntryStore, family_of
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
        "outputs": {"model": {"datastore": "blob", "path": "x"}},
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
        assert head(store) == b'{"generation":1}'

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


class TestTheNearestEarlierAction:
    def test_is_the_one_the_family_ran_under_last(
        self, entries: EntryStore, action: Callable[..., Action]
    ) -> None:
        assert entries.latest("family") is None
        first, second = action(), action(version="2")
        entries.save_action(first, "family", "run-1")
        entries.save_action(second, "family", "run-2")
        entries.save_action(first, "other family", "run-3")
        found = entries.latest("family")
        assert found is not None
        assert (found.key, found.run_id, found.document) == (second.key, "run-2", second.document)
        assert found.details == {"raw": {"files": {"a.csv": "1"}, "producer": None}}

    def test_is_written_once_per_key(
        self,
        entries: EntryStore,
        store: MemoryStore,
        action: Callable[..., Action],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        entries.save_action(action(), "family", "run-1")
        tags = {info.key: store.get(info.key).tag for info in store.list("actions/")}
        entries.save_action(action(), "family", "run-2")
        after = {info.key: store.get(info.key).tag for info in store.list("actions/")}
        changed = [key for key in tags if tags[key] != after[key]]
        assert changed == ["actions/latest/family.json"]

    @pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b"null", b"\xff"])
    @pytest.mark.parametrize("which", [0, 1])
    def test_costs_an_explanation_when_it_is_damaged(
        self,
        entries: EntryStore,
        store: MemoryStore,
        action: Callable[..., Action],
        which: int,
        damage: bytes,
    ) -> None:
        entries.save_action(action(), "family", "run-1")
        store.put([info.key for info in store.list("actions/")][which], damage)
        assert entries.latest("family") is None

    def test_does_not_hide_that_the_store_is_down(
        self, entries: EntryStore, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def down(_: str) -> None:
            raise StoreError("down")

        monkeypatch.setattr(store, "get", down)
        with pytest.raises(StoreError):
            entries.latest("family")
        with pytest.raises(StoreError):
            entries.find(KEY)


def test_families_are_tasks_of_dags_one_per_map_index() -> None:
    families = [family_of("dag", "task", -1), family_of("dag", "task", 0), family_of("dagt", "ask", -1)]
    assert len(set(families)) == 3
    assert family_of("dag", "task", -1) == families[0]


def test_an_entry_is_a_value() -> None:
    assert replace(entry(), generation=2) != entry()
