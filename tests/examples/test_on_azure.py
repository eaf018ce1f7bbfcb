"""The example pipeline with its workspace and its default datastore in Azure Blob storage: as on local files."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml.storage import opening
from airflow_azureml.workspace.handle import WorkspaceHandle, open_workspace

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.service("azurite"),
    pytest.mark.usefixtures("airflow_database"),
]

EXAMPLES = {
    "name": "examples",
    "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
    "kwargs": {"path": str(Path(__file__).parents[2] / "dags")},
}


@pytest.fixture(autouse=True)
def clients() -> Iterator[None]:
    """Leave no connections to the server of this test."""
    opening.forget()
    yield
    opening.forget()


def run_diabetes(workspace_url: str, **parameters: Any) -> None:
    airflow = str(Path(sys.executable).with_name("airflow"))
    ended = subprocess.run(
        [airflow, "dags", "test", "diabetes", "--bundle-name", "examples", "--conf", json.dumps(parameters)],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "AIRFLOW__AZUREML__WORKSPACE": workspace_url,
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([EXAMPLES]),
        },
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def steps_of(workspace: WorkspaceHandle) -> dict[str, dict[str, Any]]:
    """The steps of the newest run by task id."""
    run = workspace.runs.in_experiment("diabetes")[0]
    return {step["task_id"]: step for step in workspace.runs.children(run["id"])}


def shown(step: dict[str, Any]) -> dict[str, Any]:
    """What of a step doesn't depend on where and when it ran."""
    outputs = {
        name: (item["digest"], item["type"], item["size_bytes"], item["file_count"])
        for name, item in step["outputs"].items()
    }
    metrics = sorted(
        (item["name"], json.dumps(item["value"]))
        for item in step["metrics"]
        if item["kind"] not in ("image", "table")
    )
    return {
        "key": step["reuse"]["key"],
        "decision": step["reuse"]["decision"],
        "outputs": outputs,
        "metrics": metrics,
    }


def test_the_diabetes_pipeline_has_the_same_keys_results_and_reuse(
    azurite_connection: str, azurite: Any, tmp_path: Path
) -> None:
    here = str(tmp_path / "workspace")
    there = f"azure://{azurite_connection}/{azurite.container}/team/workspace"
    run_diabetes(here)
    run_diabetes(there)
    local, remote = open_workspace(here), open_workspace(there)

    first = {name: shown(step) for name, step in steps_of(remote).items()}
    assert first == {name: shown(step) for name, step in steps_of(local).items()}
    assert {step["decision"] for step in first.values()} == {"run"}

    run_diabetes(there, metric="mae")
    second = steps_of(remote)
    decisions = {name: step["reuse"]["decision"] for name, step in second.items()}
    assert decisions == {"prepare": "reuse", "train": "reuse", "evaluate": "reuse", "compare": "run"}
    assert "metric" in second["compare"]["reuse"]["message"]
    assert remote.models.get("diabetes").version == 2
    assert remote.datasets.get_by_name("diabetes_predictions", None).version == 1

    blobs = azurite.blobs()
    assert all(name.startswith("team/workspace/") for name in blobs)
    assert not [name for name in blobs if ".azureml-arriving" in name]
    key = azurite.key.encode()
    assert not [name for name, data in blobs.items() if key in data]
