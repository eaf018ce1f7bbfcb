"""A quota: results that could be reused go, those first that save the least for their size, and never one that is in use."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from airflow_azureml.compute.collection import Kind, collect
from airflow_azureml.reuse.entries import HeadState

BLOB = "workspaceblobstore"


def evicted(plan: Any) -> list[str]:
    return [item.id for item in plan.items if item.evicts]


class TestAQuota:
    def test_takes_what_saves_the_least_time_for_its_size_first(self, stock: Any, names: Any) -> None:
        stock.result("cheap", "x" * 100, took_s=1)
        stock.result("dear", "x" * 100, took_s=100)
        stock.result("small", "x", took_s=5)
        assert evicted(stock.plan(quota_bytes=201)) == []
        assert evicted(stock.plan(quota_bytes=150)) == [names.key("cheap")]
        assert set(evicted(stock.plan(quota_bytes=50))) == {names.key("cheap"), names.key("dear")}
        report = stock.collect(quota_bytes=150)
        assert not stock.has_data("cheap")
        assert not stock.has_record("cheap")
        assert [item.reason for item in report.removed if item.kind is Kind.ENTRY] == [
            "the results take more than the quota; it saves 1.0 s for 100 bytes"
        ]
        assert stock.entries.find(names.key("dear"))
        stock.check_consistent()

    def test_spares_what_a_young_run_uses_and_says_by_how_much_it_is_missed(
        self, stock: Any, names: Any
    ) -> None:
        stock.result("taken", "x" * 100)
        stock.reuse("young", "taken", ended=90)
        stock.result("made by a young run", "x" * 10, ended=90)
        stock.result("running", "x" * 10)
        stock.pipeline("now", ended=None)
        stock.reuse("still going", "running", pipeline="now", ended=None)
        plan = stock.plan(quota_bytes=0)
        assert evicted(plan) == []
        assert (plan.entries, plan.entry_bytes, plan.over_quota_bytes) == (3, 120, 120)

    def test_spares_what_a_dataset_names(self, stock: Any, names: Any) -> None:
        stock.result("registered", "x" * 100)
        source = {
            "format": "files",
            "paths": [{"datastore": BLOB, "path": f"azureml/{names.id('registered')}/out"}],
        }
        document = {"schema": 1, "kind": "file", "source": source, "operations": []}
        stock.workspace.datasets.register("wine", document)
        assert evicted(stock.plan(quota_bytes=0)) == []

    def test_does_not_count_destinations_of_the_users(self, stock: Any) -> None:
        stock.result("fixed", "x" * 100, destination="shared/wine")
        plan = stock.plan(quota_bytes=0)
        assert evicted(plan) == []
        assert plan.entry_bytes == 0


class TestBetweenPlanAndRemoval:
    def test_a_result_that_is_taken_before_it_is_retired_stays(self, stock: Any, names: Any) -> None:
        stock.result("wanted", "x" * 100)
        plan = stock.plan(quota_bytes=0)
        stock.pipeline("now", ended=None)
        stock.reuse("step", "wanted", pipeline="now", ended=None)
        report = stock.collect(plan)
        assert report.revived == [names.key("wanted")]
        assert not report.removed
        assert stock.entries.find(names.key("wanted"))
        assert stock.has_data("wanted")

    def test_a_result_that_another_one_replaced_stays(self, stock: Any, names: Any) -> None:
        stock.result("wanted", "x" * 100)
        plan = stock.plan(quota_bytes=0)
        stock.forget("wanted")
        stock.step("wanted again", content="new", ended=100)
        old = stock.entries.generation(names.key("wanted"), 1)
        record = stock.workspace.runs.get(names.id("wanted again"))
        stock.entries.remember(
            replace(old, step_run_id=record["id"], outputs=record["outputs"]), replaces=None
        )
        stock.collect(plan)
        found = stock.entries.find(names.key("wanted"))
        assert found is not None
        assert found.generation == 2
        stock.check_consistent()

    def test_a_result_is_retired_before_anybody_looks_for_references(self, stock: Any, names: Any) -> None:
        stock.result("cold", "x" * 100)
        plan = stock.plan(quota_bytes=0)
        states = []
        real = stock.store.list

        def watch(prefix: str) -> Any:
            head = stock.entries.look(names.key("cold")).head
            states.append(head.state if head else None)
            return real(prefix)

        stock.store.list = watch
        stock.collect(plan)
        assert states[0] is HeadState.RETIRED
        assert HeadState.LIVE not in states

    def test_data_stays_when_its_result_came_back(self, stock: Any, names: Any) -> None:
        """Somebody else brings the result back after references were looked for."""
        stock.result("cold", "x" * 100)
        plan = stock.plan(quota_bytes=0)

        def revive(item: Any) -> None:
            if item.kind is Kind.ENTRY:
                assert stock.entries.set_state(item.id, HeadState.LIVE, generation=1)

        report = collect(stock.workspace, plan, by="me", clock=stock.clock, on_progress=revive)
        assert stock.entries.find(names.key("cold"))
        assert stock.has_data("cold")
        assert stock.has_record("cold")
        assert {kept.item.kind for kept in report.kept} >= {Kind.ENTRY, Kind.OUTPUT, Kind.RUN}
        stock.check_consistent()

    def test_what_a_collection_that_died_had_retired_is_finished_or_brought_back(
        self, stock: Any, names: Any
    ) -> None:
        stock.result("cold", "x")
        stock.result("wanted", "x")
        stock.reuse("young", "wanted", ended=95)
        stock.forget("cold", HeadState.RETIRED)
        stock.forget("wanted", HeadState.RETIRED)
        report = stock.collect()
        assert report.revived == [names.key("wanted")]
        assert not stock.has_data("cold")
        assert stock.entries.find(names.key("wanted"))


class TestAStepThatTakesAResult:
    """It writes down what it takes, then looks whether the result still counts."""

    def test_finds_out_that_it_was_removed_before_that(self, stock: Any, names: Any) -> None:
        stock.result("cold", "x" * 100)
        entry = stock.entries.find(names.key("cold"))
        stock.collect(quota_bytes=0)
        assert not stock.entries.is_current(entry)

    def test_finds_out_also_when_another_result_has_its_number_by_then(self, stock: Any, names: Any) -> None:
        stock.result("cold", "x" * 100)
        entry = stock.entries.find(names.key("cold"))
        stock.collect(quota_bytes=0)
        assert stock.keys("entries/") == []
        other = stock.step("computed anew", content="y", ended=100)
        outputs = stock.workspace.runs.get(other)["outputs"]
        again = stock.entries.remember(replace(entry, step_run_id=other, outputs=outputs), replaces=None)
        assert not stock.entries.is_current(entry)
        assert stock.entries.is_current(again)
