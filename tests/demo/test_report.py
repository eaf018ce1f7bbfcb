"""The table of a run says what each step did, and why."""

from typing import Any

import pytest
from rich.console import Console

from airflow_azureml.demo.report import duration, metrics, run_report


def step(**fields: Any) -> dict[str, Any]:
    return {"name": "train.py", "status": "Finished", "duration_s": 1.26, **fields}


def printed(*steps: dict[str, Any]) -> str:
    console = Console(width=150)
    with console.capture() as capture:
        console.print(
            run_report("Run 1", "http://localhost:8080/dags/diabetes/runs/r", "/home/workspace", steps)
        )
    return capture.get()


def test_a_step_is_shown_with_status_duration_metrics_and_outputs() -> None:
    output = {"name": "model", "datastore": "workspaceblobstore", "path": "azureml/1/model"}
    metric = {"name": "rmse", "kind": "scalar", "value": 54.3211}

    text = printed(step(metrics=[metric], outputs={"model": output}))

    for expected in (
        "train.py",
        "Finished",
        "1.3 s",
        "rmse 54.32",
        "model",
    ):
        assert expected in text
    assert "/home/workspace/datastores/workspaceblobstore/azureml/1/model" in text
    assert "this run in the UI: http://localhost:8080/dags/diabetes/runs/r" in text


@pytest.mark.parametrize("message", ["same code, inputs and parameters", "parameter alpha: 0.5 → 0.7"])
def test_the_decision_is_given_in_its_own_words(message: str) -> None:
    assert message in printed(step(reuse={"decision": "run", "message": message}))


def test_a_step_that_recorded_little_is_shown_all_the_same() -> None:
    assert "Queued" in printed({"name": "train.py", "status": "Queued", "duration_s": None})


def test_the_last_value_of_a_metric_counts_and_images_are_named_by_kind() -> None:
    found = [
        {"name": "loss", "kind": "scalar", "value": 2.0},
        {"name": "loss", "kind": "scalar", "value": 1.0},
        {"name": "plot", "kind": "image", "value": "aml://…"},
    ]

    assert metrics(found) == "loss 1\nplot (image)"


def test_a_duration_that_is_not_known_is_a_dash() -> None:
    assert duration(None) == "–"
