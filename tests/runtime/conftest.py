"""A run to speak to: over a real socket as in a step, or in this process as outside any step."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml.compute.run_server import RunServer
from airflow_azureml.runtime import run, service
from airflow_azureml.runtime.ship import ship
from airflow_azureml.workspace.handle import WorkspaceHandle
from airflow_azureml.workspace.local_store import LocalStore
from airflow_azureml.workspace.offline import LocalService, offline_state
from airflow_azureml.workspace.run_service import RunService
from airflow_azureml.workspace.run_state import RunState

PIPELINE_RUN = "pipeline-1"
STEP_RUN = "pipeline-1-train"


@dataclass
class Place:
    """Where a script runs, seen from outside.

    :param online: whether it is a step.
    :param workspace: the workspace.
    :param state: what the supervisor knows.
    """

    online: bool
    workspace: WorkspaceHandle
    state: RunState


@pytest.fixture
def workspace(tmp_path: Path) -> WorkspaceHandle:
    root = tmp_path / "workspace"
    return WorkspaceHandle(str(root), LocalStore(root))


@pytest.fixture
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(autouse=True)
def outside_any_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AZUREML_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(run, "_contexts", {})
    monkeypatch.setattr(service, "_services", {})


@pytest.fixture
def step_state(workspace: WorkspaceHandle, tmp_path: Path, working_directory: Path) -> RunState:
    workspace.runs.create_pipeline_run(
        {
            "schema": 1,
            "kind": "pipeline",
            "id": PIPELINE_RUN,
            "experiment": "houses",
            "name": "prices",
            "status": "Running",
            "start": "2026-01-01T00:00:00+00:00",
        }
    )
    return RunState(
        workspace,
        STEP_RUN,
        staging=tmp_path / "staging",
        pipeline_run_id=PIPELINE_RUN,
        experiment="houses",
        name="train",
        pipeline_name="prices",
        working_directory=working_directory,
    )


@pytest.fixture
def online(step_state: RunState, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with RunServer(RunService(step_state.workspace, step_state)) as server:
        monkeypatch.setenv("AZUREML_RUN_SOCKET", str(server.path))
        monkeypatch.setenv("AZUREML_RUN_ID", step_state.run_id)
        yield Place(True, step_state.workspace, step_state)


@pytest.fixture
def offline(workspace: WorkspaceHandle, tmp_path: Path, working_directory: Path) -> Iterator[Place]:
    state = offline_state(workspace, tmp_path / "staging")
    with service.using(LocalService(RunService(workspace, state, is_step=False))):
        yield Place(False, workspace, state)


@pytest.fixture(params=["in a step", "outside"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue("online" if request.param == "in a step" else "offline")
    return found


def find_python(version: str) -> str | None:
    """Return an interpreter of a version on this machine that works, None without one."""
    if version == f"{sys.version_info[0]}.{sys.version_info[1]}":
        # Not the one of a virtual environment: what the tests need must not be there.
        return str(Path(sys.base_prefix) / "bin" / f"python{version}")
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = [
        *(str(path) for path in sorted((root / "versions").glob(f"{version}.*/bin/python"), reverse=True)),
        *filter(None, [shutil.which(f"python{version}")]),
    ]
    for candidate in candidates:
        asked = subprocess.run([candidate, "--version"], capture_output=True, text=True, check=False)
        if asked.returncode == 0 and re.match(rf"Python {re.escape(version)}\.", asked.stdout):
            return candidate
    return None


@pytest.fixture(params=["3.8", "3.12", "3.13"])
def step_python(request: pytest.FixtureRequest) -> str:
    found = find_python(request.param)
    if found is None:
        pytest.skip(f"no Python {request.param} on this machine")
    return found


RunScript = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run_script(tmp_path: Path, working_directory: Path) -> RunScript:
    """Runs a script as a step's process would: nothing but the shipped runtime on its path."""
    runtime = ship(tmp_path / "runtime")

    def run_it(python: str, code: str, *options: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        script = working_directory / "script.py"
        script.write_text(code)
        kept = {name: os.environ[name] for name in os.environ if name.startswith("AZUREML_")}
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(runtime), **kept, **variables}
        return subprocess.run(
            [python, *options, str(script)],
            capture_output=True,
            text=True,
            env=environment,
            cwd=working_directory,
            timeout=120,
            check=False,
        )

    return run_it
