"""Watching, while a script runs, whether it has to end."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml.compute import cancel
from airflow_azureml.compute.cancel import CancelWatch, cancel_pipeline_run, canceled
from airflow_azureml.runtime.exceptions import ObjectNotFound, StepCanceled, StoreError
from airflow_azureml.workspace.handle import WorkspaceHandle
from airflow_azureml.workspace.memory_store import MemoryStore
from airflow_azureml.workspace.run_state import RunState


@pytest.fixture
def workspace() -> WorkspaceHandle:
    workspace = WorkspaceHandle("memory://cancel", MemoryStore())
    workspace.runs.create_pipeline_run({"schema": 1, "kind": "pipeline", "id": "pipeline", "cancel": None})
    return workspace


@pytest.fixture
def state(workspace: WorkspaceHandle, tmp_path: Path) -> RunState:
    return RunState(workspace, "step", staging=tmp_path, pipeline_run_id="pipeline")


@pytest.fixture
def stopping() -> threading.Event:
    return threading.Event()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancel, "LOOK_S", 0.005)
    monkeypatch.setattr(cancel, "LOOK_AT_RUN_S", 0.01)


@pytest.fixture
def watch(workspace: WorkspaceHandle, state: RunState, stopping: threading.Event) -> CancelWatch:
    return CancelWatch(workspace, "pipeline", state, stopping)


def test_nothing_happens_when_nobody_wants_anything(watch: CancelWatch, stopping: threading.Event) -> None:
    with watch:
        assert not stopping.wait(0.05)
    watch.refuse_canceled()


def test_a_step_that_cancels_itself_is_stopped_and_its_run_goes_on(
    watch: CancelWatch, workspace: WorkspaceHandle, state: RunState, stopping: threading.Event
) -> None:
    with watch:
        state.request_cancel("self", "no data")
        assert stopping.wait(10)
    with pytest.raises(StepCanceled, match="no data"):
        watch.refuse_canceled()
    assert canceled(workspace, "pipeline") is None


def test_a_step_that_cancels_its_run_is_stopped_with_it(
    watch: CancelWatch, workspace: WorkspaceHandle, state: RunState, stopping: threading.Event
) -> None:
    with watch:
        state.request_cancel("parent", None)
        assert stopping.wait(10)
    with pytest.raises(StepCanceled, match="the script canceled its pipeline run"):
        watch.refuse_canceled()
    found = canceled(workspace, "pipeline")
    assert found is not None
    assert (found["reason"], found["by"]) == ("the script canceled its pipeline run", "step")


def test_a_run_that_somebody_cancels_stops_the_step(
    watch: CancelWatch, workspace: WorkspaceHandle, stopping: threading.Event
) -> None:
    with watch:
        cancel_pipeline_run(workspace, "pipeline", "enough", "a person")
        assert stopping.wait(10)
    with pytest.raises(StepCanceled, match="enough"):
        watch.refuse_canceled()


def test_a_script_that_ends_before_anybody_looked_has_canceled_its_run_all_the_same(
    watch: CancelWatch, workspace: WorkspaceHandle, state: RunState
) -> None:
    state.request_cancel("parent", "done")
    with pytest.raises(StepCanceled, match="done"):
        watch.refuse_canceled()
    found = canceled(workspace, "pipeline")
    assert found is not None
    assert found["reason"] == "done"


def test_a_store_that_fails_for_a_while_neither_stops_the_step_nor_loses_the_cancel(
    watch: CancelWatch,
    workspace: WorkspaceHandle,
    state: RunState,
    stopping: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def down(*_: Any) -> Any:
        raise StoreError("down")

    with watch:
        with monkeypatch.context() as patched:
            patched.setattr(workspace.runs, "get", down)
            patched.setattr(workspace.runs, "update", down)
            assert not stopping.wait(0.05)
            state.request_cancel("parent", "done")
            assert stopping.wait(10)
        assert canceled(workspace, "pipeline") is None
    with pytest.raises(StepCanceled):
        watch.refuse_canceled()
    assert canceled(workspace, "pipeline") is not None


def test_the_first_reason_stays(workspace: WorkspaceHandle) -> None:
    cancel_pipeline_run(workspace, "pipeline", "first", "one")
    cancel_pipeline_run(workspace, "pipeline", "second", "two")
    found = canceled(workspace, "pipeline")
    assert found is not None
    assert (found["reason"], found["by"]) == ("first", "one")


def test_a_run_that_nobody_knows_cannot_be_canceled(workspace: WorkspaceHandle) -> None:
    with pytest.raises(ObjectNotFound, match="runs/lost/record.json"):
        cancel_pipeline_run(workspace, "lost", "why", "me")
