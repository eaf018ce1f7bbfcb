from __future__ import annotations

import threading
from typing import Any

import pytest

from airflow_azureml.runtime.exceptions import ObjectNotFound, StoreError, UserErrorException
from airflow_azureml.workspace.memory_store import MemoryStore
from airflow_azureml.workspace.runs import RunRecords


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def runs(store: MemoryStore) -> RunRecords:
    return RunRecords(store)


def pipeline(run_id: str = "p1", **fields: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "kind": "pipeline",
        "id": run_id,
        "experiment": "nightly",
        "status": "Running",
        **fields,
    }


def step(run_id: str, parent: str = "p1", **fields: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "kind": "step",
        "id": run_id,
        "pipeline_run_id": parent,
        "status": "Finished",
        **fields,
    }


def metric(name: str) -> dict[str, Any]:
    return {"name": name, "kind": "scalar", "value": 1, "step": None, "time": "2026-01-01T00:00:00+00:00"}


class TestPipelineRuns:
    def test_the_first_record_stands(self, runs: RunRecords) -> None:
        first = runs.create_pipeline_run(pipeline(start="first"))
        second = runs.create_pipeline_run(pipeline(start="second"))
        assert first == second == runs.get("p1") == pipeline(start="first")

    def test_of_many_at_once_all_get_the_one_that_stands(self, runs: RunRecords) -> None:
        got: list[str] = []
        threads = [
            threading.Thread(
                target=lambda n=n: got.append(runs.create_pipeline_run(pipeline(start=str(n)))["start"])
            )
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(got) == {runs.get("p1")["start"]}

    def test_an_unknown_run_is_named(self, runs: RunRecords) -> None:
        with pytest.raises(ObjectNotFound, match="no run 'nope' in this workspace"):
            runs.get("nope")
        with pytest.raises(ObjectNotFound):
            runs.update("nope", lambda record: record)

    def test_an_update_keeps_what_others_wrote(self, runs: RunRecords) -> None:
        runs.create_pipeline_run(pipeline())
        runs.update("p1", lambda record: {**record, "status": "Finished"})
        runs.update("p1", lambda record: {**record, "end": "now"})
        assert runs.get("p1") == pipeline(status="Finished", end="now")

    def test_what_is_no_run_record_is_refused(self, runs: RunRecords) -> None:
        with pytest.raises(StoreError, match="not the record of a pipeline run"):
            runs.create_pipeline_run(step("s1"))
        with pytest.raises(StoreError, match="not the record of a step run"):
            runs.write_step(pipeline())
        with pytest.raises(StoreError, match="no pipeline_run_id"):
            runs.write_step({"kind": "step", "id": "s1"})


class TestExperiments:
    def test_runs_are_found_by_experiment_newest_first(self, runs: RunRecords) -> None:
        for run_id, experiment, start in (("a", "x", "1"), ("b", "x", "2"), ("c", "y/z", "3")):
            runs.create_pipeline_run(pipeline(run_id, experiment=experiment, start=start))
        assert runs.experiments() == ["x", "y/z"]
        assert [record["id"] for record in runs.in_experiment("x")] == ["b", "a"]
        assert [record["id"] for record in runs.in_experiment("y/z")] == ["c"]
        assert runs.in_experiment("y") == []

    def test_a_run_that_was_listed_and_never_recorded_is_skipped(
        self, runs: RunRecords, store: MemoryStore
    ) -> None:
        runs.create_pipeline_run(pipeline())
        store.delete("runs/p1/record.json")
        assert runs.in_experiment("nightly") == []

    def test_a_run_without_experiment_is_in_none(self, runs: RunRecords) -> None:
        runs.create_pipeline_run(pipeline(experiment=None))
        assert runs.experiments() == []


class TestSteps:
    def test_children_come_by_start_with_every_try(self, runs: RunRecords) -> None:
        runs.create_pipeline_run(pipeline())
        runs.write_step(step("late", start="3"))
        runs.write_step(step("waiting", start=None, status="Queued"))
        runs.write_step(step("early-2", start="2", try_number=2))
        runs.write_step(step("early-1", start="1", try_number=1))
        runs.write_step(step("foreign", parent="p2"))
        assert [record["id"] for record in runs.children("p1")] == ["early-1", "early-2", "late", "waiting"]

    def test_a_record_is_written_over(self, runs: RunRecords) -> None:
        runs.write_step(step("s1", status="Running"))
        runs.write_step(step("s1", status="Failed"))
        assert [record["status"] for record in runs.children("p1")] == ["Failed"]

    def test_an_announced_step_without_record_is_no_child(self, runs: RunRecords, store: MemoryStore) -> None:
        runs.write_step(step("s1"))
        store.delete("runs/s1/record.json")
        assert runs.children("p1") == []


class TestCommit:
    def test_it_happens_once(self, runs: RunRecords) -> None:
        runs.write_step(step("s1"))
        assert not runs.is_committed("s1")
        assert runs.commit("s1")
        assert runs.is_committed("s1")
        assert not runs.commit("s1")

    def test_it_needs_the_record(self, runs: RunRecords) -> None:
        with pytest.raises(ObjectNotFound):
            runs.commit("s1")
        assert not runs.is_committed("s1")

    def test_of_many_at_once_one_did_it(self, runs: RunRecords) -> None:
        runs.write_step(step("s1"))
        did: list[bool] = []
        threads = [threading.Thread(target=lambda: did.append(runs.commit("s1"))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(did) == [False] * 7 + [True]


class TestParentView:
    def test_it_is_the_runs_own_and_the_effects_of_committed_steps_in_commit_order(
        self, runs: RunRecords
    ) -> None:
        runs.create_pipeline_run(
            pipeline(metrics=[metric("own")], tags={"a": "own", "b": "own"}, properties={"p": "1"})
        )
        first = {
            "metrics": [metric("first")],
            "tags": {"a": "first", "c": None},
            "properties": {"p": "2", "q": "1"},
        }
        second = {"metrics": [metric("second")], "tags": {"a": "second"}, "removed_tags": ["b"]}
        # Written, and named, in the other order than they are committed.
        runs.write_step(step("a-second", parent_effects=second))
        runs.write_step(step("z-first", parent_effects=first))
        runs.write_step(step("never", parent_effects={"tags": {"never": "x"}}))
        runs.write_step(step("silent", parent_effects=None))
        for step_id in ("z-first", "silent", "a-second"):
            runs.commit(step_id)
        assert runs.parent_view("p1") == {
            "metrics": [metric("own"), metric("first"), metric("second")],
            "tags": {"a": "second", "c": None},
            "properties": {"p": "1", "q": "1"},
        }

    def test_a_step_sees_its_own_recorded_effects_before_its_commit(self, runs: RunRecords) -> None:
        runs.create_pipeline_run(pipeline())
        runs.write_step(step("s1", parent_effects={"metrics": [metric("m")]}))
        assert runs.parent_view("p1")["metrics"] == []
        assert runs.parent_view("p1", viewer_run="s1")["metrics"] == [metric("m")]
        assert runs.parent_view("p1", viewer_run="unwritten")["metrics"] == []
        runs.commit("s1")
        assert runs.parent_view("p1", viewer_run="s1")["metrics"] == [metric("m")]

    def test_a_commit_that_broke_off_counts_when_it_is_made_good(
        self, runs: RunRecords, store: MemoryStore
    ) -> None:
        runs.create_pipeline_run(pipeline())
        for step_id in ("s1", "s2"):
            runs.write_step(step(step_id, parent_effects={"tags": {"t": step_id}}))
        runs.commit("s1")
        store.delete("runs/s1/committed")
        assert runs.parent_view("p1")["tags"] == {}
        runs.commit("s2")
        runs.commit("s1")
        assert runs.parent_view("p1")["tags"] == {"t": "s1"}


class TestKeys:
    def test_files_of_a_run_have_keys_under_it(self, runs: RunRecords) -> None:
        assert runs.artifact_key("r1", "outputs/model.pkl") == "runs/r1/artifacts/outputs/model.pkl"
        assert runs.log_key("r1", "std.txt") == "runs/r1/logs/std.txt"
        assert runs.artifact_key("r1", "x").startswith(runs.artifacts_prefix("r1"))
        assert runs.log_key("r1", "x").startswith(runs.logs_prefix("r1"))

    @pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../../../b", "a//b", "x" * 900])
    def test_a_file_name_that_leaves_the_run_is_refused(self, runs: RunRecords, name: str) -> None:
        with pytest.raises(UserErrorException, match="cannot be the name of a run's file"):
            runs.artifact_key("r1", name)

    @pytest.mark.parametrize("run_id", ["..", "a/b", "dag:manual__2026-01-01T00:00:00+00:00", "ünï"])
    def test_any_run_id_stays_in_its_place(self, runs: RunRecords, run_id: str) -> None:
        runs.create_pipeline_run(pipeline(run_id))
        runs.write_step(step(f"{run_id}/s", parent=run_id))
        runs.commit(f"{run_id}/s")
        assert runs.get(run_id)["id"] == run_id
        assert [record["id"] for record in runs.children(run_id)] == [f"{run_id}/s"]
        assert [record["id"] for record in runs.in_experiment("nightly")] == [run_id]
        assert runs.parent_view(run_id)["metrics"] == []

    def test_an_id_too_long_to_be_listed_is_refused(self, runs: RunRecords) -> None:
        with pytest.raises(UserErrorException, match="too long"):
            runs.create_pipeline_run(pipeline("x" * 200))
