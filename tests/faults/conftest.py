"""One Airflow for all tests of this folder, and what they ask of it: states, logs, records, processes.

A test names the pipelines it looks at with ``@pytest.mark.starts("name", …)``. All of them are started together, so that they
run at the same time; each test then waits for its own.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from airflow_database import airflow_database

from airflow_azureml.compute.identity import pipeline_run_id
from airflow_azureml.demo.home import DEPLOYMENT, AirflowHome, free_port
from airflow_azureml.demo.rest import AirflowRest
from airflow_azureml.demo.server import AirflowServer
from airflow_azureml.workspace.handle import WorkspaceHandle, open_workspace

PIPELINES = Path(__file__).parent / "pipelines"
STARTS_WITHIN_S = 300
HAPPENS_WITHIN_S = 300
STEP_ENDS_WITHIN_S = 600
MEETINGS = ("at_once", "cancels", "fails_fast", "goes_on")
"""Pipelines whose scripts wait for each other."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "starts(*names): pipelines that run from the beginning of the session")


class FaultyHome(AirflowHome):
    """A home whose Airflow reads the pipelines of this folder and notices quickly what happens to tasks."""

    database_url: ClassVar[str]

    @property
    def scratch(self) -> Path:
        return self.path / "scratch"

    def environment(self) -> dict[str, str]:
        bundle = {
            "name": "faults",
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(PIPELINES)},
        }
        return {
            **super().environment(),
            "AIRFLOW__AZUREML__DEFAULT_PIP_PACKAGES": "",
            "AIRFLOW__AZUREML__SCRATCH_DIRECTORY": str(self.scratch),
            "AIRFLOW__CORE__PARALLELISM": "12",
            "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "12",
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": type(self).database_url,
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
            # A task whose worker is gone is noticed within seconds rather than minutes.
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
        }


@dataclass
class Run:
    """One run of a pipeline."""

    airflow: "FaultyAirflow"
    dag_id: str
    run_id: str

    @property
    def path(self) -> str:
        return f"/api/v2/dags/{self.dag_id}/dagRuns/{self.run_id}"

    def ended(self) -> str:
        """The state in which Airflow says the run ended."""
        return self.airflow.rest.follow(self.dag_id, self.run_id, STEP_ENDS_WITHIN_S, lambda task: None)

    def states(self) -> dict[str, str | None]:
        """Airflow's state of every task."""
        instances = self.airflow.rest.task_instances(self.dag_id, self.run_id)
        return {item["task_id"]: item["state"] for item in instances}

    @property
    def id(self) -> str:
        return pipeline_run_id(DEPLOYMENT, self.dag_id, self.run_id)

    @property
    def record(self) -> dict[str, Any]:
        return self.airflow.workspace.runs.get(self.id)

    def tries(self, task_id: str) -> dict[int, dict[str, Any]]:
        """The records of a step, by the number of the try."""
        records = self.airflow.workspace.runs.children(self.id)
        return {record["try_number"]: record for record in records if record["task_id"] == task_id}

    def step(self, task_id: str = "step", number: int = 1) -> dict[str, Any]:
        """The record of one try of a step."""
        return self.tries(task_id)[number]

    def step_id(self, task_id: str = "step", number: int = 1) -> str:
        return str(self.step(task_id, number)["id"])

    def folder(self, task_id: str = "step", number: int = 1) -> Path:
        """Where a step works, and what it leaves to be looked at when it fails."""
        return self.airflow.home.scratch / self.step_id(task_id, number)

    def wait_until_up(self, task_id: str = "step", number: int = 1) -> None:
        """Return when the script has done its work and only waits for its fate."""
        self.airflow.wait_until(lambda: number in self.tries(task_id))
        self.airflow.wait_until((self.folder(task_id, number) / "code" / "up").exists)

    def log(self, task_id: str = "step", number: int = 1) -> list[dict[str, Any]]:
        """The task log as the UI gets it: a list of records."""
        found = self.airflow.ask(
            "GET", f"{self.path}/taskInstances/{task_id}/logs/{number}", params={"full_content": True}
        )
        return [item for item in found["content"] if isinstance(item, dict)]

    def change(self, task_id: str, state: str) -> None:
        """Mark a task by hand."""
        self.airflow.ask("PATCH", f"{self.path}/taskInstances/{task_id}", json={"new_state": state})

    def clear(self, task_id: str) -> None:
        """Let a task run again."""
        body = {"dry_run": False, "dag_run_id": self.run_id, "task_ids": [task_id], "only_failed": False}
        self.airflow.ask("POST", f"/api/v2/dags/{self.dag_id}/clearTaskInstances", json=body)

    def wait_for_record(self, *states: str) -> None:
        """Return when the listener has closed the record of the run."""
        self.airflow.wait_until(lambda: self.record["status"] in states)


@dataclass
class FaultyAirflow:
    """The Airflow of this session."""

    home: FaultyHome
    rest: AirflowRest
    server: AirflowServer
    folder: Path
    runs: dict[str, Run] = field(default_factory=dict)

    @property
    def workspace(self) -> WorkspaceHandle:
        return open_workspace(str(self.home.workspace))

    def start(self, dag_id: str, **parameters: Any) -> Run:
        """Start a run; one whose scripts meet gets a place for it."""
        self.rest.wait_for_dag(dag_id, STARTS_WITHIN_S)
        return Run(self, dag_id, self.rest.trigger(dag_id, parameters))

    def start_at_meeting(self, dag_id: str) -> Run:
        meeting = self.folder / "meetings" / dag_id
        meeting.mkdir(parents=True, exist_ok=True)
        return self.start(dag_id, meeting=str(meeting))

    def run(self, dag_id: str) -> Run:
        """The run of a pipeline that was started at the beginning."""
        return self.runs[dag_id]

    def end_all(self) -> None:
        """End every run that was started at the beginning and goes on."""
        for run in self.runs.values():
            if self.ask("GET", run.path)["state"] not in ("success", "failed"):
                self.ask("PATCH", run.path, json={"state": "failed"})

    def ask(self, method: str, path: str, **options: Any) -> Any:
        answer = self.rest.request(method, path, **options)
        answer.raise_for_status()
        return answer.json()

    def wait_until(self, holds: Callable[[], object], within_s: float = HAPPENS_WITHIN_S) -> None:
        until = time.monotonic() + within_s
        while not holds():
            self.server.check()
            assert time.monotonic() < until, "it does not happen"
            time.sleep(0.1)

    def processes_of(self, text: str, program: str = "") -> list[int]:
        """Processes that were started with ``text`` among their arguments or variables."""
        return processes_with(text, program)

    def parent_of(self, pid: int) -> int:
        stat = Path(f"/proc/{pid}/stat").read_text()
        return int(stat.rpartition(")")[2].split()[1])

    def assert_nothing_runs(self, step_id: str) -> None:
        """No process of a step is left, whatever became of its parents and sessions."""
        self.wait_until(lambda: processes_with(step_id) == [], within_s=60)

    def assert_nothing_visible(self, run: Run, task_id: str = "step", number: int = 1) -> None:
        """Nobody can see, register or reuse anything that a step left."""
        step_id, workspace = run.step_id(task_id, number), self.workspace
        assert not workspace.runs.is_committed(step_id)
        for datastore in workspace.datastores.list():
            assert not list(workspace.datastores.root(datastore.name).rglob(f"*{step_id}*"))
        assert step_id not in {model.run_id for model in workspace.models.list()}
        assert step_id not in {dataset.run_id for dataset in workspace.datasets.list()}
        for info in workspace.store.list("entries/"):
            assert step_id.encode() not in workspace.store.get(info.key).data
        said = [metric["name"] for metric in workspace.runs.parent_view(run.id)["metrics"]]
        committed = [
            child for child in workspace.runs.children(run.id) if workspace.runs.is_committed(child["id"])
        ]
        assert len(said) == len(committed)


def processes_with(text: str, program: str = "") -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command, variables = [(entry / name).read_bytes().decode() for name in ("cmdline", "environ")]
            if text in command + variables and program in command.replace("\0", " "):
                found.append(int(entry.name))
    return found


@pytest.fixture(scope="package")
def airflow(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[FaultyAirflow]:
    """Airflow with all its services, and the pipelines that the selected tests look at already running."""
    folder = tmp_path_factory.mktemp("faults")
    # Never the usual port: somebody else's Airflow may be about to take it.
    home = FaultyHome(folder / "airflow", port=free_port(), log_ports=(free_port(), free_port()))
    home.path.mkdir()
    wanted = {
        name for item in request.session.items for mark in item.iter_markers("starts") for name in mark.args
    }
    with contextlib.ExitStack() as services:
        FaultyHome.database_url = services.enter_context(airflow_database(home.path))
        server = services.enter_context(AirflowServer(home))
        rest = services.enter_context(contextlib.closing(AirflowRest(home, server.check)))
        rest.wait_for_health(STARTS_WITHIN_S, lambda service: None)
        rest.log_in()
        airflow = FaultyAirflow(home, rest, server, folder)
        for name in sorted(wanted):
            airflow.runs[name] = airflow.start_at_meeting(name) if name in MEETINGS else airflow.start(name)
        yield airflow
    assert processes_with(str(home.path)) == []
