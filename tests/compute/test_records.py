"""What is written down of a run from its start to its end."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from airflow_azureml.compute.identity import StepIdentity
from airflow_azureml.compute.records import (
    close_lost_tries,
    close_open_steps,
    finish,
    new_pipeline_record,
    new_step_record,
    now,
    open_pipeline_run,
)
from airflow_azureml.model.status import RunStatus
from airflow_azureml.workspace.handle import WorkspaceHandle
from airflow_azureml.workspace.memory_store import MemoryStore


def identity(try_number: int = 1, task_id: str = "train", map_index: int = -1) -> StepIdentity:
    return StepIdentity(
        "here", "dag", "run", task_id, map_index, try_number, task_id, "PythonScriptStep", "houses"
    )


@pytest.fixture
def workspace() -> WorkspaceHandle:
    return WorkspaceHandle("memory://records", MemoryStore())


def write(
    workspace: WorkspaceHandle, who: StepIdentity, status: str, *, committed: bool = False
) -> dict[str, Any]:
    record = new_step_record(who)
    record["status"] = status
    workspace.runs.write_step(record)
    if committed:
        workspace.runs.commit(record["id"])
    return record


def test_times_are_utc_with_microseconds() -> None:
    assert now().endswith("+00:00")
    assert len(now()) == len("2026-01-01T00:00:00.000000+00:00")


def test_a_step_record_says_where_the_step_stands() -> None:
    who = identity(2)
    record = new_step_record(who)
    assert (record["id"], record["pipeline_run_id"]) == (who.step_run_id, who.pipeline_run_id)
    assert (record["status"], record["try_number"], record["end"]) == ("Running", 2, None)


def test_its_end_is_put_in() -> None:
    record = new_step_record(identity())
    finish(record, RunStatus.FAILED, "why")
    assert (record["status"], record["error"]) == ("Failed", "why")
    started, ended = (datetime.fromisoformat(record[name]) for name in ("start", "end"))
    assert record["duration_s"] == (ended - started).total_seconds()


class TestThePipelineRecord:
    def test_is_written_by_the_first_step_alone(self, workspace: WorkspaceHandle) -> None:
        first = new_pipeline_record(identity(), {"alpha": 0.5}, "https://airflow/run")
        open_pipeline_run(workspace, first)
        open_pipeline_run(workspace, new_pipeline_record(identity(task_id="other"), {"alpha": 0.5}, None))
        assert workspace.runs.get(first["id"]) == first

    def test_opens_again_when_a_step_starts_after_the_run_had_ended(self, workspace: WorkspaceHandle) -> None:
        document = new_pipeline_record(identity(), {}, None)
        open_pipeline_run(workspace, document)
        ended = {"status": "Canceled", "end": now(), "cancel": {"reason": "x", "by": "y", "time": now()}}
        workspace.runs.update(document["id"], lambda record: {**record, **ended, "tags": {"kept": "1"}})
        open_pipeline_run(workspace, document)
        record = workspace.runs.get(document["id"])
        assert (record["status"], record["end"], record["cancel"]) == ("Running", None, None)
        assert record["tags"] == {"kept": "1"}

    def test_stays_canceled_while_the_run_goes_on(self, workspace: WorkspaceHandle) -> None:
        document = new_pipeline_record(identity(), {}, None)
        open_pipeline_run(workspace, document)
        workspace.runs.update(document["id"], lambda record: {**record, "cancel": {"reason": "x"}})
        open_pipeline_run(workspace, document)
        assert workspace.runs.get(document["id"])["cancel"] == {"reason": "x"}


class TestLostTries:
    def test_are_those_without_an_end(self, workspace: WorkspaceHandle) -> None:
        lost = write(workspace, identity(1), "Running")
        ended = write(workspace, identity(2), "Failed")
        also_lost = write(workspace, identity(3), "Running")
        assert set(close_lost_tries(workspace, identity(4))) == {lost["id"], also_lost["id"]}
        assert workspace.runs.get(lost["id"])["error"] == "the worker died while the step ran"
        assert workspace.runs.get(ended["id"]) == ended

    def test_are_named_again_to_later_tries_which_may_be_on_the_machine_they_left_something_on(
        self, workspace: WorkspaceHandle
    ) -> None:
        lost = write(workspace, identity(1), "Running")
        for number in (2, 3):
            assert close_lost_tries(workspace, identity(number)) == [lost["id"]]

    def test_are_closed_with_their_run_when_nobody_tries_again(self, workspace: WorkspaceHandle) -> None:
        lost = write(workspace, identity(1), "Running")
        ended = write(workspace, identity(1, "other"), "Finished", committed=True)
        close_open_steps(workspace, lost["pipeline_run_id"])
        assert workspace.runs.get(lost["id"])["status"] == "Failed"
        assert workspace.runs.get(ended["id"]) == ended
        assert close_lost_tries(workspace, identity(2)) == [lost["id"]]

    def test_are_also_those_that_died_a_moment_before_they_counted(self, workspace: WorkspaceHandle) -> None:
        died = write(workspace, identity(1), "Finished")
        counts = write(workspace, identity(2), "Finished", committed=True)
        assert close_lost_tries(workspace, identity(3)) == [died["id"]]
        assert workspace.runs.get(died["id"])["status"] == "Failed"
        assert workspace.runs.get(counts["id"])["status"] == "Finished"

    def test_are_tries_of_the_same_instance_of_the_same_task(self, workspace: WorkspaceHandle) -> None:
        write(workspace, identity(1, "other"), "Running")
        write(workspace, identity(1, map_index=0), "Running")
        write(workspace, identity(3), "Running")
        assert close_lost_tries(workspace, identity(2)) == []

    def test_cost_nothing_at_the_first_try(
        self, workspace: WorkspaceHandle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(workspace.runs, "children", None)
        assert close_lost_tries(workspace, identity(1)) == []
