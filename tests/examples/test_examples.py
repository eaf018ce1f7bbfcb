"""Every example runs in real Airflow: each step in an interpreter of its own, results in a workspace."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml import config
from airflow_azureml.compute.identity import pipeline_run_id
from airflow_azureml.workspace.handle import WorkspaceHandle, open_workspace

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("airflow_database")]

EXAMPLES = {
    "name": "examples",
    "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
    "kwargs": {"path": str(Path(__file__).parents[2] / "dags")},
}


def run_dag(dag_id: str, **parameters: Any) -> str:
    """Run a DAG as a user does at the terminal; return what was printed."""
    airflow = str(Path(sys.executable).with_name("airflow"))
    ended = subprocess.run(
        [airflow, "dags", "test", dag_id, "--bundle-name", "examples", "--conf", json.dumps(parameters)],
        capture_output=True,
        text=True,
        env={**os.environ, "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([EXAMPLES])},
        check=False,
    )
    printed = ended.stdout + ended.stderr
    assert ended.returncode == 0, printed
    return printed


@pytest.fixture(scope="module")
def workspace() -> WorkspaceHandle:
    return open_workspace(config.workspace_url())


def latest_steps(workspace: WorkspaceHandle, dag_id: str) -> dict[str, dict[str, Any]]:
    """The step records of the newest run, by task id and map index."""
    run = workspace.runs.in_experiment(dag_id)[0]
    assert run["id"] == pipeline_run_id(config.deployment(), dag_id, run["run_id"])
    return {f"{step['task_id']}[{step['map_index']}]": step for step in workspace.runs.children(run["id"])}


def test_the_diabetes_pipeline_runs_and_then_reuses(workspace: WorkspaceHandle) -> None:
    run_dag("diabetes")
    first = latest_steps(workspace, "diabetes")
    assert {step["status"] for step in first.values()} == {"Finished"}
    assert {step["reuse"]["decision"] for step in first.values()} == {"run"}

    run_dag("diabetes", metric="mae")
    second = latest_steps(workspace, "diabetes")
    decisions = {name.partition("[")[0]: step["reuse"]["decision"] for name, step in second.items()}

    assert decisions == {"prepare": "reuse", "train": "reuse", "evaluate": "reuse", "compare": "run"}
    assert "metric" in second["compare[-1]"]["reuse"]["message"]
    assert workspace.models.get("diabetes").version == 2
    assert workspace.datasets.get_by_name("diabetes_predictions", None).version == 1
    metrics = {metric["name"]: metric for metric in first["evaluate[-1]"]["metrics"]}
    assert 40 < metrics["rmse"]["value"] < 70
    assert metrics["predicted_against_actual"]["kind"] == "image"


def test_steps_mix_with_ordinary_tasks(workspace: WorkspaceHandle) -> None:
    printed = run_dag("mixed")
    steps = latest_steps(workspace, "mixed")

    assert [steps[f"study.describe[{index}]"]["tags"]["column"] for index in range(3)] == ["age", "bmi", "bp"]
    assert steps["study.correlate[-1]"]["arguments"][:2] == ["--target", "progression"]
    assert "the strongest correlation is with bmi" in printed


def test_whether_there_is_a_result_decides_which_tasks_run(workspace: WorkspaceHandle) -> None:
    def run(**parameters: Any) -> tuple[bool, dict[str, str]]:
        printed = run_dag("reuse", **parameters)
        steps = latest_steps(workspace, "reuse")
        decisions = {name.partition("[")[0]: step["reuse"]["decision"] for name, step in steps.items()}
        return "task_id=machine.order" in printed, decisions

    assert run() == (True, {"simulate": "run", "summarize": "run"})
    assert run(build="7") == (False, {"simulate": "reuse", "summarize": "reuse"})
    assert run(regenerate_outputs=["simulate"]) == (True, {"simulate": "run", "summarize": "reuse"})
    assert run(points=100) == (True, {"simulate": "run", "summarize": "run"})
