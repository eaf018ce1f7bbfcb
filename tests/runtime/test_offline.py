"""A run outside any step: where it looks, and what it leaves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml import Run
from airflow_azureml.workspace import offline
from airflow_azureml.workspace.handle import open_workspace


def test_it_is_recorded_as_a_run_like_any_other(offline: Any) -> None:
    from airflow_azureml.workspace.offline import record

    run = Run.get_context()
    run.log("a", 1)
    run.upload_file("x", __file__)
    assert run.parent is not None
    run.parent.tag("t", "v")

    record(offline.state)

    runs = offline.workspace.runs
    found = runs.get(run.id)
    assert (found["status"], found["step_type"], found["metrics"][0]["value"]) == (
        "Finished",
        "OfflineRun",
        1,
    )
    assert runs.parent_view(run.parent.id)["tags"] == {"t": "v"}
    assert runs.in_experiment("offline")[0]["id"] == run.parent.id
    assert offline.workspace.store.exists(found["artifacts"][0]["key"])


def test_a_run_that_said_nothing_leaves_no_trace(offline: Any) -> None:
    from airflow_azureml.workspace.offline import record

    run = Run.get_context()
    assert run.get_metrics() == {}
    record(offline.state)

    assert not Path(offline.workspace.url).exists()


def test_what_it_registers_counts_at_once(offline: Any) -> None:
    Run.get_context().upload_file("m", __file__)
    Run.get_context().register_model("ridge", "m")

    assert offline.workspace.models.get("ridge").version == 1


@pytest.mark.parametrize(
    ("ending", "status"), [("", "Finished"), ("1 / 0", "Failed"), ("raise SystemExit(0)", "Finished")]
)
def test_the_end_of_the_process_is_the_end_of_the_run(tmp_path: Path, ending: str, status: str) -> None:
    code = (
        f"from airflow_azureml import Run\nrun = Run.get_context()\nrun.log('a', 1)\nprint(run.id)\n{ending}"
    )
    environment = {**os.environ, "AIRFLOW__AZUREML__WORKSPACE": str(tmp_path / "ws"), "TMPDIR": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )

    found = open_workspace(str(tmp_path / "ws")).runs.get(done.stdout.strip())
    assert (found["status"], found["name"]) == (status, "-c")
    assert [path.name for path in tmp_path.iterdir()] == ["ws"]


class TestWhereTheWorkspaceIs:
    def test_airflows_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__AZUREML__WORKSPACE", "/data/ws")

        assert offline.local_workspace_url() == "/data/ws"

    def test_airflows_configuration(self, azureml_options: pytest.MonkeyPatch) -> None:
        from airflow_azureml import config

        assert offline.local_workspace_url() == config.workspace_url() != ""

    def test_without_airflow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(offline, "_CONFIG", "airflow_azureml.not_there")
        monkeypatch.setenv("AIRFLOW_HOME", "/home/me/airflow")

        assert offline.local_workspace_url() == "/home/me/airflow/azureml/workspace"
