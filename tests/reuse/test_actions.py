"""What keys were made of is kept, and under which keys a step ran lately."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from airflow_azureml.reuse.action import Action
from airflow_azureml.reuse.actions import MAX_RECENT, ActionStore, family_of
from airflow_azureml.runtime.exceptions import StoreError
from airflow_azureml.workspace.memory_store import MemoryStore

Build = Callable[..., Action]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def actions(store: MemoryStore) -> ActionStore:
    return ActionStore(store)


def test_the_newest_comes_first(actions: ActionStore, action: Build) -> None:
    assert list(actions.recent("family")) == []
    first, second = action(), action(version="2")
    actions.save(first, "family", "run-1")
    actions.save(second, "family", "run-2")
    actions.save(action(version="3"), "other family", "run-3")
    assert [(item.key, item.run_id) for item in actions.recent("family")] == [
        (second.key, "run-2"),
        (first.key, "run-1"),
    ]
    newest = next(iter(actions.recent("family")))
    assert newest.document == second.document
    assert newest.details["inputs"]["raw"]["files"] == {"a.csv": "1"}


def test_a_key_that_is_used_again_moves_to_the_front(actions: ActionStore, action: Build) -> None:
    actions.save(action(), "family", "run-1")
    actions.save(action(version="2"), "family", "run-2")
    actions.save(action(), "family", "run-3")
    assert actions.recent_keys("family") == [(action().key, "run-3"), (action(version="2").key, "run-2")]


def test_only_the_last_ones_are_kept(actions: ActionStore, action: Build) -> None:
    for number in range(MAX_RECENT + 3):
        actions.save(action(version=str(number)), "family", f"run-{number}")
    assert len(actions.recent_keys("family")) == MAX_RECENT


def test_a_pre_image_is_written_once(actions: ActionStore, store: MemoryStore, action: Build) -> None:
    actions.save(action(), "family", "run-1")
    tags = {info.key: store.get(info.key).tag for info in store.list("actions/")}
    actions.save(action(), "family", "run-2")
    after = {info.key: store.get(info.key).tag for info in store.list("actions/")}
    assert [key for key in tags if tags[key] != after[key]] == ["actions/recent/family.json"]
    assert list(actions.keys()) == [action().key]


@pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b"null", b"\xff"])
@pytest.mark.parametrize("which", [0, 1])
def test_what_is_damaged_costs_an_explanation(
    actions: ActionStore, store: MemoryStore, action: Build, which: int, damage: bytes
) -> None:
    actions.save(action(), "family", "run-1")
    store.put([info.key for info in store.list("actions/")][which], damage)
    assert list(actions.recent("family")) == []


def test_that_the_store_is_down_is_not_hidden_by_a_pre_image(
    actions: ActionStore, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(_: str) -> None:
        raise StoreError("down")

    monkeypatch.setattr(store, "get", down)
    with pytest.raises(StoreError):
        actions.get("ab" * 32)


def test_families_are_tasks_of_dags_one_per_map_index() -> None:
    families = [family_of("dag", "task", -1), family_of("dag", "task", 0), family_of("dagt", "ask", -1)]
    assert len(set(families)) == 3
    assert family_of("dag", "task", -1) == families[0]
