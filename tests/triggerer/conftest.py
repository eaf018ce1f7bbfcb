"""One Airflow with all its services for the tests of this folder, and what they ask of it."""

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
WITHIN_S = 300
LEASE_S = 10


class Home(AirflowHome):
    """A home whose Airflow reads the pipelines of this folder and notices quickly who has died."""

    database_url: ClassVar[str]

    def environment(self) -> dict[str, str]:
        bundle = {
            "name": "gates",
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(PIPELINES)},
        }
        return {
            **super().environment(),
            "AIRFLOW__AZUREML__LEASE_S": str(LEASE_S),
            "AIRFLOW__AZUREML__WAIT_POLL_S": "0.5",
            "AIRFLOW__CORE__PARALLELISM": "8",
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": type(self).database_url,
            "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "2",
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
        }


@dataclass
class Run:
    """One run of a pipeline."""

    airflow: "Airflow"
    dag_id: str
    run_id: str

    @property
    def path(self) -> str:
        return f"/api/v2/dags/{self.dag_id}/dagRuns/{self.run_id}"

    def task(self, task_id: str = "step") -> dict[str, Any]:
        found: dict[str, Any] = self.airflow.ask("GET", f"{self.path}/taskInstances/{task_id}")
        return found

    def has_used_a_worker(self, task_id: str = "step") -> bool:
        return self.task(task_id)["pid"] is not None

    def wait_for(self, state: str, task_id: str = "step") -> None:
        self.airflow.wait_until(lambda: self.task(task_id)["state"] == state)

    def ended(self) -> str:
        return self.airflow.rest.follow(self.dag_id, self.run_id, WITHIN_S, lambda task: None)

    def reuse(self, task_id: str = "step") -> dict[str, Any]:
        """The reuse document, as XCom."""
        path = f"{self.path}/taskInstances/{task_id}/xcomEntries/reuse"
        found: dict[str, Any] = self.airflow.ask("GET", path, params={"deserialize": False})["value"]
        return json.loads(found) if isinstance(found, str) else found

    def link(self, task_id: str) -> str | None:
        links = self.airflow.ask("GET", f"{self.path}/taskInstances/{task_id}/links")["extra_links"]
        return links["Reused from"]

    def record(self, task_id: str = "step") -> dict[str, Any]:
        """The record of the last try of a step; empty before there is one."""
        runs = self.airflow.workspace.runs
        children = runs.children(pipeline_run_id(DEPLOYMENT, self.dag_id, self.run_id))
        return next((record for record in reversed(children) if record["task_id"] == task_id), {})

    def clear(self, task_id: str) -> None:
        body = {"dry_run": False, "dag_run_id": self.run_id, "task_ids": [task_id], "only_failed": False}
        self.airflow.ask("POST", f"/api/v2/dags/{self.dag_id}/clearTaskInstances", json=body)


@dataclass
class Meeting:
    """Where the scripts of a pipeline wait until they may go on."""

    folder: Path

    @property
    def started(self) -> list[int]:
        """The processes of the scripts that were started."""
        return [int(path.name.partition("-")[2]) for path in self.folder.glob("started-*")]

    def end(self) -> None:
        (self.folder / "go").touch()


@dataclass
class Airflow:
    """The Airflow of this session."""

    home: Home
    rest: AirflowRest
    server: AirflowServer
    folder: Path
    meetings: list[Meeting] = field(default_factory=list)

    @property
    def workspace(self) -> WorkspaceHandle:
        return open_workspace(str(self.home.workspace))

    def start(self, dag_id: str, **parameters: Any) -> Run:
        self.rest.wait_for_dag(dag_id, WITHIN_S)
        return Run(self, dag_id, self.rest.trigger(dag_id, parameters))

    def meeting(self) -> Meeting:
        folder = self.folder / f"meeting{len(self.meetings)}"
        folder.mkdir()
        self.meetings.append(Meeting(folder))
        return self.meetings[-1]

    def ask(self, method: str, path: str, **options: Any) -> Any:
        answer = self.rest.request(method, path, **options)
        answer.raise_for_status()
        return answer.json()

    def wait_until(self, holds: Callable[[], object], within_s: float = WITHIN_S) -> None:
        until = time.monotonic() + within_s
        while not holds():
            self.server.check()
            assert time.monotonic() < until, "it does not happen"
            time.sleep(0.2)


@pytest.fixture(scope="package")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    folder = tmp_path_factory.mktemp("triggerer")
    home = Home(folder / "airflow", port=free_port(), log_ports=(free_port(), free_port()))
    home.path.mkdir()
    with contextlib.ExitStack() as services:
        Home.database_url = services.enter_context(airflow_database(home.path))
        server = services.enter_context(AirflowServer(home))
        rest = services.enter_context(contextlib.closing(AirflowRest(home, server.check)))
        rest.wait_for_health(WITHIN_S, lambda service: None)
        rest.log_in()
        airflow = Airflow(home, rest, server, folder)
        yield airflow
        for meeting in airflow.meetings:
            meeting.end()
