"""Ids of runs, which every machine computes alike."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_azureml.compute.identity import StepIdentity


def identity(**changes: Any) -> StepIdentity:
    values: dict[str, Any] = {
        "deployment": "here",
        "dag_id": "dag",
        "run_id": "run",
        "task_id": "task",
        "map_index": -1,
        "try_number": 1,
        "step_name": "train.py",
        "step_type": "PythonScriptStep",
        "experiment": "houses",
    }
    return StepIdentity(**{**values, **changes})


class TestTheIdOfAStepRun:
    def test_is_the_same_on_every_machine(self) -> None:
        assert identity().step_run_id == "44eba718-edf0-5d10-8c38-c7639484be45"
        assert identity().pipeline_run_id == "d3cc6827-be3e-5741-ab38-8bbbf32c9ff5"

    @pytest.mark.parametrize(
        "change",
        [
            {"deployment": "there"},
            {"dag_id": "other"},
            {"run_id": "other"},
            {"task_id": "other"},
            {"map_index": 0},
            {"try_number": 2},
            {"instance": "1"},
        ],
    )
    def test_is_never_that_of_another_try(self, change: dict[str, Any]) -> None:
        assert identity(**change).step_run_id != identity().step_run_id

    def test_frames_its_parts(self) -> None:
        one = identity(dag_id="a", run_id="b\0c", task_id="d")
        # Airflow's own ids have no NUL in them; nothing else separates.
        assert one.pipeline_run_id != identity(dag_id="a\x01b", run_id="c", task_id="d").pipeline_run_id

    @pytest.mark.parametrize("change", [{"step_name": "x"}, {"step_type": "x"}, {"experiment": "x"}])
    def test_does_not_depend_on_what_things_are_called(self, change: dict[str, Any]) -> None:
        assert identity(**change).step_run_id == identity().step_run_id
