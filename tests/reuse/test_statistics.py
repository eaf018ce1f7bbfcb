"""What reuse has brought, counted from run records."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_azureml.reuse.statistics import statistics
from airflow_azureml.workspace.memory_store import MemoryStore
from airflow_azureml.workspace.runs import RunRecords

DAY = datetime(2026, 11, 20, tzinfo=UTC)

Write = Callable[..., str]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def runs(store: MemoryStore) -> RunRecords:
    return RunRecords(store)


@pytest.fixture
def write(runs: RunRecords) -> Write:
    """Write the record of a step run that was reused or ran."""

    def write(code: str = "hit", **fields: Any) -> str:
        step_id = f"step-{sum(1 for _ in runs.walk())}"
        decision = "reuse" if code in ("hit", "joined") else "run"
        reuse = {"code": code, "decision": decision, "key": "k", "saved_s": None, "waited_s": None}
        runs.write_step(
            {
                "kind": "step",
                "id": step_id,
                "pipeline_run_id": "p",
                "dag_id": "diabetes",
                "name": "train",
                "status": "Finished",
                "start": DAY.isoformat(),
                "duration_s": 2.0,
                "outputs": {},
                **fields,
                "reuse": {**reuse, **fields.get("reuse", {})},
            }
        )
        return step_id

    return write


class TestStatistics:
    def test_count_hits_and_misses_by_their_foremost_reason(self, runs: RunRecords, write: Write) -> None:
        for code in ("hit", "hit", "joined", "code", "code", "new", "parameter"):
            write(code)
        total = statistics(runs).total
        assert (total.hits, total.joined, total.ran) == (2, 1, 4)
        assert total.misses == {"code": 2, "new": 1, "parameter": 1}
        assert total.hit_rate == pytest.approx(3 / 7)
        assert next(iter(total.to_document()["misses"].items())) == ("code", 2)

    def test_add_up_time_and_bytes(self, runs: RunRecords, write: Write) -> None:
        outputs = {"a": {"size_bytes": 10}, "b": {"size_bytes": 5}}
        write("hit", reuse={"saved_s": 60.0}, outputs=outputs)
        write("joined", reuse={"saved_s": 30.0, "waited_s": 12.0}, outputs=outputs)
        write("new", outputs=outputs, reuse={"waited_s": 3.0})
        total = statistics(runs).total
        assert (total.saved_s, total.waited_s, total.ran_s, total.reused_bytes) == (90.0, 15.0, 2.0, 30)

    def test_are_kept_by_pipeline_and_step(self, runs: RunRecords, write: Write) -> None:
        write("hit", name="prepare")
        write("new", name="train")
        write("hit", dag_id="wine", name="train")
        found = statistics(runs)
        assert sorted(found.steps) == [("diabetes", "prepare"), ("diabetes", "train"), ("wine", "train")]
        assert found.pipelines()["diabetes"].hit_rate == 0.5
        document = found.to_document()
        assert [(item["dag_id"], item["hits"]) for item in document["pipelines"]] == [
            ("diabetes", 1),
            ("wine", 1),
        ]
        assert [(item["dag_id"], item["step"]) for item in document["steps"]] == sorted(found.steps)
        assert document["total"]["hits"] == 2

    def test_can_be_of_a_time_a_pipeline_or_a_step_alone(self, runs: RunRecords, write: Write) -> None:
        write("hit", start=(DAY - timedelta(days=2)).isoformat())
        write("new", name="prepare")
        write("code", dag_id="wine")
        assert statistics(runs, since=DAY).total.hits == 0
        assert statistics(runs, since=DAY).to_document()["since"] == "2026-11-20T00:00:00+00:00"
        assert statistics(runs, dag_id="wine").total.misses == {"code": 1}
        assert statistics(runs, step="prepare").total.misses == {"new": 1}

    def test_pass_over_what_decided_nothing_or_came_to_nothing(
        self, runs: RunRecords, write: Write, store: MemoryStore
    ) -> None:
        write("new", reuse={"decision": "wait"})
        write("hit", status="Failed")
        runs.write_step({"kind": "step", "id": "early", "pipeline_run_id": "p", "reuse": None})
        runs.create_pipeline_run({"kind": "pipeline", "id": "p"})
        store.put("runs/damaged/record.json", b"")
        found = statistics(runs)
        assert found.steps == {}
        assert found.total.hit_rate is None

    def test_count_results_that_differed_from_an_earlier_one(self, runs: RunRecords, write: Write) -> None:
        write("bypassed_by_run")
        other = write("bypassed_by_run")
        found = statistics(runs, divergences=lambda key: [{"step_run_id": other}] if key == "k" else [])
        assert found.total.diverged == 1


def test_walking_all_records_finds_records_alone(runs: RunRecords, write: Write, store: MemoryStore) -> None:
    step_id = write()
    runs.create_pipeline_run({"kind": "pipeline", "id": "p", "experiment": "e"})
    store.put(runs.artifact_key(step_id, "record.json"), b"{}")
    assert sorted(record["id"] for record in runs.walk()) == ["p", step_id]
