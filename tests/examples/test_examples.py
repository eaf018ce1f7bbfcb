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

EXAMPLES = Path(__file__).parents[2] / "dags"


def run_dag(dag_id: str, **parameters: Any) -> tuple[int, str]:
    """Run a DAG like a user does at the terminal; return the exit code and what was printed."""
    command = [str(Path(sys.executable).with_name("airflow")), "dags", "test", dag_id]
    command += ["--dagfile-path", str(EXAMPLES / f"{dag_id}.py"), "--conf", json.dumps(parameters)]
    ended = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    return ended.returncode, ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def workspace() -> WorkspaceHandle:
    return open_workspace(config.workspace_url())


def latest_steps(workspace: WorkspaceHandle, dag_id: str) -> dict[str, dict[str, Any]]:
    """The step records of the newest run, by task id and map index."""
    run = workspace.runs.in_experiment(dag_id)[0]
    assert run["id"] == pipeline_run_id(config.deployment(), dag_id, run["run_id"])
    return {f"{step['task_id']}[{step['map_index']}]": step for step in workspace.runs.children(run["id"])}


def test_the_diabetes_pipeline_runs_and_then_reuses(workspace: WorkspaceHandle) -> None:
    code, printed = run_dag("diabetes")
    assert code == 0, printed
    first = latest_steps(workspace, "diabetes")
    assert {step["status"] for step in first.values()} == {"Finished"}
    assert {step["reuse"]["decision"] for step in first.values()} == {"run"}

    code, printed = run_dag("diabetes", metric="mae")
    assert code == 0, printed
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
    code, printed = run_dag("mixed")
    assert code == 0, printed
    steps = latest_steps(workspace, "mixed")

    assert [steps[f"study.describe[{index}]"]["tags"]["column"] for index in range(3)] == ["age", "bmi", "bp"]
    assert steps["study.correlate[-1]"]["arguments"][:2] == ["--target", "progression"]
    assert "the strongest correlation is with bmi" in printed
