"""Starts DAG runs in a real Airflow and reads how they went, for ``reuse.py``."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from airflow_azureml.demo.rest import AirflowRest
from airflow_azureml.demo.server import AirflowServer
from benchmarks.step import BenchmarkHome

_LIMIT_S = 600.0
_POLL_S = 0.25


class CountingHome(BenchmarkHome):
    """A home whose executor notes the tasks it is given."""

    @property
    def started_tasks(self) -> Path:
        """File with the run's id for each task that the executor was given."""
        return self.path / "started_tasks"

    def environment(self) -> dict[str, str]:
        """Return the environment of Airflow's processes."""
        return {
            **super().environment(),
            "AIRFLOW__CORE__EXECUTOR": "counting_executor.CountingExecutor",
            # On a busy machine SQLite may be locked for longer than the usual 5 s.
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.path}/airflow.db?timeout=60",
            "STARTED_TASKS": str(self.started_tasks),
        }

    def add_executor(self) -> None:
        """Put the executor where Airflow finds it."""
        config = self.path / "config"
        config.mkdir()
        shutil.copy(Path(__file__).with_name("counting_executor.py"), config)
        self.started_tasks.touch()


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A DAG run that has succeeded.

    :param seconds: from the request to the end that Airflow has recorded.
    :param between: from the end of each task to the end of the next one.
    :param processes: how many worker processes were started for its tasks.
    :param decisions: how many of its steps had each reuse code.
    """

    seconds: float
    between: Sequence[float]
    processes: int
    decisions: Mapping[str, int]


class Airflow:
    """A running Airflow.

    :param home: its home.
    :param server: its processes.
    :param rest: its REST API.
    """

    def __init__(self, home: CountingHome, server: AirflowServer, rest: AirflowRest) -> None:
        self._home = home
        self._server = server
        self._rest = rest

    def run(self, dag_id: str, count: int = 1, conf: Mapping[str, Any] | None = None) -> list[EndedRun]:
        """Start as many runs of a DAG at once; return when all of them have succeeded."""
        run_ids = [self._rest.trigger(dag_id, conf or {}) for _ in range(count)]
        until = time.monotonic() + _LIMIT_S
        while not set(self._states(dag_id, run_ids)) <= {"success", "failed"}:
            self._server.check()
            if time.monotonic() > until:
                raise SystemExit(f"runs of {dag_id} have not ended after {_LIMIT_S:.0f} s")
            time.sleep(_POLL_S)
        return [self._ended(dag_id, run_id) for run_id in run_ids]

    def _states(self, dag_id: str, run_ids: Sequence[str]) -> list[str]:
        return [self._row("state", "dag_run", dag_id, run_id)[0][0] for run_id in run_ids]

    def _ended(self, dag_id: str, run_id: str) -> EndedRun:
        ((state, queued, ended),) = self._row("state, queued_at, end_date", "dag_run", dag_id, run_id)
        tasks = self._row("task_id, state, end_date", "task_instance", dag_id, run_id, "ORDER BY end_date")
        if state != "success":
            failed = [task_id for task_id, how, _ in tasks if how == "failed"]
            raise SystemExit(f"run {run_id} of {dag_id} ended as {state}: {', '.join(failed)}")
        between = [_seconds(first[2], second[2]) for first, second in pairwise(tasks)]
        processes = self._home.started_tasks.read_text().splitlines().count(run_id)
        return EndedRun(_seconds(queued, ended), between, processes, self._decisions(dag_id, run_id))

    def _decisions(self, dag_id: str, run_id: str) -> Counter[str]:
        xcoms = self._row("value", "xcom", dag_id, run_id, "AND key = 'reuse'")
        return Counter(_decoded(value)["code"] for (value,) in xcoms)

    def _row(self, columns: str, table: str, dag_id: str, run_id: str, rest: str = "") -> list[Any]:
        # Asking the REST API would keep its one process from answering the tasks.
        query = f"SELECT {columns} FROM {table} WHERE dag_id = ? AND run_id = ? {rest}"
        with contextlib.closing(
            sqlite3.connect(f"file:{self._home.path}/airflow.db?mode=ro", uri=True, timeout=60)
        ) as database:
            return database.execute(query, (dag_id, run_id)).fetchall()


def _seconds(first: str, last: str) -> float:
    return (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()


def _decoded(value: str) -> Any:
    """Return an XCom's value; one that a trigger's event brings is JSON in JSON."""
    found = json.loads(value)
    return json.loads(found) if isinstance(found, str) else found


@contextlib.contextmanager
def running(home: CountingHome, dag_ids: Sequence[str]) -> Iterator[Airflow]:
    """Run Airflow, ready for work, for the length of the block."""
    with AirflowServer(home) as server, contextlib.closing(AirflowRest(home, server.check)) as rest:
        rest.wait_for_health(_LIMIT_S, lambda _: None)
        rest.log_in()
        for dag_id in dag_ids:
            rest.wait_for_dag(dag_id, _LIMIT_S)
        yield Airflow(home, server, rest)
