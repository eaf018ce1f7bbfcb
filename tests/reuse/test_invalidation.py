"""Disowning results: the one that is named, and what was computed from it, over pipelines."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from airflow_azureml.model.canonical import canonical_json
from airflow_azureml.reuse.actions import ActionStore
from airflow_azureml.reuse.entries import Entry, EntryStore, HeadState
from airflow_azureml.reuse.invalidation import Invalidated, invalidate
from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.workspace.memory_store import MemoryStore


def key_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


class Graph:
    """Results by name, with the content they read and wrote."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.entries = EntryStore(self.store)
        self.actions = ActionStore(self.store)

    def add(
        self, name: str, *, reads: Sequence[str] = (), writes: Sequence[str] = (), run: str = "run"
    ) -> Entry:
        key = key_of(name)
        details = {"inputs": {f"in{i}": {"consumed": [digest]} for i, digest in enumerate(reads)}}
        document = {"key": key, "action": {}, "details": details}
        self.store.put(f"actions/{key[:2]}/{key}.json", canonical_json(document))
        outputs = {f"out{i}": {"digest": digest} for i, digest in enumerate(writes)}
        return self.remember(name, outputs, run=run)

    def remember(self, name: str, outputs: Mapping[str, Any], *, run: str = "run", **more: Any) -> Entry:
        key = key_of(name)
        entry = Entry(key, f"{name} of {run}", run, "dag", name, "2026-01-01T00:00:00+00:00", 1.0, outputs)
        return self.entries.remember(entry, **{"replaces": None, **more})

    def state(self, name: str) -> HeadState | None:
        head = self.entries.look(key_of(name)).head
        return head.state if head else None

    def invalidate(self, name: str, **options: Any) -> list[Invalidated]:
        return invalidate(
            self.entries, self.actions, key_of(name), **{"reason": "wrong data", "by": "ann", **options}
        )


@pytest.fixture
def graph() -> Graph:
    return Graph()


def names(found: list[Invalidated]) -> list[str]:
    return [item.step_name for item in found]


class TestInvalidating:
    def test_makes_a_result_count_no_longer_and_says_who_and_why(self, graph: Graph) -> None:
        entry = graph.add("prepare", writes=["a"])
        found = graph.invalidate("prepare")
        assert found == [
            Invalidated(entry.key, 1, "prepare", "dag", "run", "prepare of run", because_of=None)
        ]
        assert graph.entries.find(entry.key) is None
        head = graph.entries.look(entry.key).head
        assert head is not None
        assert (head.state, head.reason, head.by) == (HeadState.INVALIDATED, "wrong data", "ann")

    def test_leaves_what_was_computed_from_it(self, graph: Graph) -> None:
        graph.add("prepare", writes=["a"])
        graph.add("train", reads=["a"])
        assert names(graph.invalidate("prepare")) == ["prepare"]
        assert graph.state("train") is HeadState.LIVE

    def test_again_changes_nothing(self, graph: Graph) -> None:
        graph.add("prepare")
        graph.invalidate("prepare")
        before = {info.key: graph.store.get(info.key).tag for info in graph.store.list("")}
        assert graph.invalidate("prepare", reason="other") == []
        assert {info.key: graph.store.get(info.key).tag for info in graph.store.list("")} == before

    @pytest.mark.parametrize("state", [HeadState.QUARANTINED, HeadState.RETIRED])
    def test_also_takes_what_was_set_aside_otherwise(self, graph: Graph, state: HeadState) -> None:
        graph.add("prepare")
        graph.entries.set_state(key_of("prepare"), state, generation=1)
        assert names(graph.invalidate("prepare")) == ["prepare"]
        assert graph.state("prepare") is HeadState.INVALIDATED

    def test_of_a_key_without_a_result_is_an_error(self, graph: Graph) -> None:
        with pytest.raises(UserErrorException, match="there is no result under the key"):
            graph.invalidate("unknown")
        graph.entries.fence_off(key_of("only a fence"), 3)
        with pytest.raises(UserErrorException):
            graph.invalidate("only a fence")

    def test_lets_the_next_result_count(self, graph: Graph) -> None:
        graph.add("prepare")
        graph.invalidate("prepare")
        assert graph.remember("prepare", {}, run="next").generation == 2
        assert graph.state("prepare") is HeadState.LIVE

    def test_meets_a_head_that_moves_meanwhile_with_another_try(
        self, graph: Graph, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        graph.add("prepare")
        real = graph.entries.set_state
        moved: list[Entry] = []

        def move_first(key: str, state: HeadState, **options: Any) -> bool:
            if not moved:
                moved.append(graph.remember("prepare", {}, run="faster", replaces=1))
            return real(key, state, **options)

        monkeypatch.setattr(graph.entries, "set_state", move_first)
        assert [(item.generation, item.run_id) for item in graph.invalidate("prepare")] == [(2, "faster")]
        assert graph.state("prepare") is HeadState.INVALIDATED

    def test_of_a_damaged_entry_works_too(self, graph: Graph) -> None:
        key = graph.add("prepare").key
        graph.store.put(f"entries/{key[:2]}/{key}/000001.json", b"")
        assert [(item.key, item.generation) for item in graph.invalidate("prepare")] == [(key, 1)]


class TestInvalidatingDownstream:
    def test_follows_the_data_over_pipelines_and_nothing_else(self, graph: Graph) -> None:
        graph.add("prepare", writes=["a", "b"])
        graph.add("train", reads=["a"], writes=["model"])
        graph.add("score", reads=["other", "model"], writes=["scores"])
        graph.add("elsewhere", reads=["b"])
        graph.add("stranger", reads=["other"], writes=["a2"])
        found = graph.invalidate("prepare", downstream=True)
        assert names(found)[0] == "prepare"
        assert sorted(names(found)) == ["elsewhere", "prepare", "score", "train"]
        assert {item.step_name: item.because_of for item in found} == {
            "prepare": None,
            "train": key_of("prepare"),
            "elsewhere": key_of("prepare"),
            "score": key_of("train"),
        }
        assert graph.state("stranger") is HeadState.LIVE
        head = graph.entries.look(key_of("score")).head
        assert head is not None
        assert head.reason == f"wrong data (it was computed from the result {key_of('train')[:12]})"

    def test_ends_where_data_goes_in_circles(self, graph: Graph) -> None:
        graph.add("copy", reads=["a"], writes=["a"])
        graph.add("there", reads=["a"], writes=["b"])
        graph.add("back", reads=["b"], writes=["a"])
        assert sorted(names(graph.invalidate("there", downstream=True))) == ["back", "copy", "there"]

    def test_goes_on_beyond_what_was_invalidated_before(self, graph: Graph) -> None:
        graph.add("prepare", writes=["a"])
        graph.add("train", reads=["a"], writes=["model"])
        graph.add("score", reads=["model"])
        graph.invalidate("prepare")
        graph.invalidate("train")
        assert names(graph.invalidate("prepare", downstream=True)) == ["score"]

    def test_finds_readers_of_earlier_results_of_the_key(self, graph: Graph) -> None:
        graph.add("prepare", writes=["a"])
        graph.add("train", reads=["a"])
        graph.remember("prepare", {"out0": {"digest": "a2"}}, run="forced", replaces=1)
        assert sorted(names(graph.invalidate("prepare", downstream=True))) == ["prepare", "train"]

    def test_finds_readers_of_results_that_differed(self, graph: Graph) -> None:
        graph.add("prepare", writes=["a"])
        graph.remember("prepare", {"out0": {"digest": "unlike"}}, run="second")
        graph.add("train", reads=["unlike"])
        assert sorted(names(graph.invalidate("prepare", downstream=True))) == ["prepare", "train"]

    def test_passes_over_actions_without_a_result_and_damaged_ones(self, graph: Graph) -> None:
        graph.add("prepare", writes=["a"])
        failed = key_of("failed")
        document = {"key": failed, "action": {}, "details": {"inputs": {"in": {"consumed": ["a"]}}}}
        graph.store.put(f"actions/{failed[:2]}/{failed}.json", canonical_json(document))
        graph.store.put(f"actions/aa/{'aa' * 32}.json", b"")
        graph.store.put(
            f"actions/bb/{'bb' * 32}.json", canonical_json({"action": {}, "details": {"inputs": []}})
        )
        assert names(graph.invalidate("prepare", downstream=True)) == ["prepare"]

    def test_writes_documents(self, graph: Graph) -> None:
        graph.add("prepare", writes=["a"])
        assert graph.invalidate("prepare")[0].to_document() == {
            "key": key_of("prepare"),
            "generation": 1,
            "step_name": "prepare",
            "dag_id": "dag",
            "run_id": "run",
            "step_run_id": "prepare of run",
            "because_of": None,
        }
