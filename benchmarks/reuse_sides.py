"""The chain of steps of ``reuse_peers.py`` as each program runs it: files, a run in a process that is up, the whole command."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from string import Template

from airflow_azureml.compute.environments import EnvironmentCache
from airflow_azureml.model.environment import Environment
from benchmarks.step import BenchmarkHome

LIBRARY, DAGS_TEST, NO_OP = "library", "airflow dags test", "airflow dags test, no-op operators"
REDUN_SCRIPTS, REDUN_FUNCTIONS, DVC = "redun, script tasks", "redun, function tasks", "DVC"
EXECUTIONS = "executions"
"""File in which each script notes that it ran, in the folder of its side."""

_DAG_ID, _NO_OP_DAG_ID = "cached", "no_op"
_NO_ANALYTICS = {"DVC_NO_ANALYTICS": "1"}
_STEPS_PROGRAM = str(Path(__file__).with_name("steps_once.py"))

_SCRIPT = """
import sys
from pathlib import Path

out, number, executions = sys.argv[1:4]
Path(out).parent.mkdir(parents=True, exist_ok=True)
Path(out).write_text(number)
with open(executions, "a") as file:
    file.write(number + "\\n")
"""
_DAG_FILE = Template("""
from airflow_azureml import Environment, Pipeline, PipelineData
from airflow_azureml.operators import PythonScriptStep

with Pipeline("$dag_id", default_source_directory="scripts", default_args={"environment": Environment("bare")}):
    previous = []
    for number in range($steps):
        written = PipelineData(f"data_{number}", is_directory=False)
        PythonScriptStep(
            name=f"step_{number}",
            script_name="work.py",
            arguments=[written, number, "$executions", *previous],
            inputs=previous,
            outputs=[written],
        )
        previous = [written]
""")
_NO_OP_FILE = Template("""
from airflow.sdk import DAG, BaseOperator, chain


class NoOp(BaseOperator):
    def execute(self, context):
        return None


with DAG("$dag_id", schedule=None):
    chain(*(NoOp(task_id=f"task_{number}") for number in range($steps)))
""")
_REDUN_FILE = Template("""
from pathlib import Path

from redun import File, script, task

redun_namespace = "benchmark"


@task()
def in_script(number, previous):
    out = f"data/{number}.txt"
    return script(f"$python work.py {out} {number} executions", outputs=File(out))


@task()
def in_function(number, previous):
    out = File(f"functions/{number}.txt")
    out.write(str(number))
    with open("executions", "a") as file:
        file.write(f"{number}\\n")
    return out


@task()
def scripts():
    previous = None
    for number in range($steps):
        previous = in_script(number, previous)
    return previous


@task()
def functions():
    previous = None
    for number in range($steps):
        previous = in_function(number, previous)
    return previous
""")
_REDUN_PROGRAM = """
import sys, time
from redun import Scheduler
from redun.config import Config
import flow

scheduler = Scheduler(config=Config({"backend": {"db_uri": "sqlite:///.redun/redun.db"}}))
scheduler.load()
started = time.perf_counter()
scheduler.run(getattr(flow, sys.argv[1])())
print(time.perf_counter() - started)
"""
_DVC_PROGRAM = """
import time
from dvc.repo import Repo

with Repo(".") as repo:
    started = time.perf_counter()
    repo.reproduce()
    print(time.perf_counter() - started)
"""


@dataclass(frozen=True, slots=True)
class Times:
    """What one run took, in seconds.

    :param run: the run itself, in a process that is up.
    :param command: the whole command; ``None`` when people don't type one.
    """

    run: float
    command: float | None = None


Side = Callable[[], Times]
"""Runs the chain once, in new processes."""


def here(folder: Path, steps: int) -> dict[str, Side]:
    """Return our sides: the library by itself, and ``airflow dags test``, with what Airflow alone takes for that."""
    home = BenchmarkHome.create(folder)
    write_script(home.dags / "scripts")
    file = home.dags / f"{_DAG_ID}.py"
    file.write_text(_DAG_FILE.substitute(dag_id=_DAG_ID, steps=steps, executions=folder / EXECUTIONS))
    (home.dags / f"{_NO_OP_DAG_ID}.py").write_text(_NO_OP_FILE.substitute(dag_id=_NO_OP_DAG_ID, steps=steps))
    with EnvironmentCache(folder / "azureml" / "environments").ensure(Environment("bare"), print):
        pass
    run(["airflow", "db", "migrate"], folder, home.environment())

    def library() -> Times:
        printed = run([sys.executable, _STEPS_PROGRAM, str(file), "1"], folder, home.environment())
        return Times(json.loads(printed.splitlines()[-1])["seconds"][0])

    def dags_test(dag_id: str) -> Times:
        command = ["airflow", "dags", "test", dag_id, datetime.now(UTC).isoformat()]
        whole = timed(command, folder, home.environment())
        return Times(_last_dag_run(folder / "airflow.db"), whole)

    return {
        LIBRARY: library,
        DAGS_TEST: partial(dags_test, _DAG_ID),
        NO_OP: partial(dags_test, _NO_OP_DAG_ID),
    }


def redun(python: Path, folder: Path, steps: int) -> dict[str, Side]:
    """Return redun's sides: steps that are scripts, and steps that are functions."""
    write_script(folder)
    (folder / "flow.py").write_text(_REDUN_FILE.substitute(python=sys.executable, steps=steps))

    program = str(python.with_name("redun"))
    run([program, "init", "."], folder)

    def once(task: str) -> Times:
        return Times(
            _printed_seconds(python, _REDUN_PROGRAM, folder, task),
            timed([program, "run", "flow.py", task], folder),
        )

    return {REDUN_SCRIPTS: partial(once, "scripts"), REDUN_FUNCTIONS: partial(once, "functions")}


def dvc(python: Path, folder: Path, steps: int) -> dict[str, Side]:
    """Return DVC's side: one stage for each step."""
    write_script(folder)
    program = str(python.with_name("dvc"))
    run([program, "init", "--no-scm", "--quiet"], folder, _NO_ANALYTICS)
    stages = {f"step_{number}": _stage(number) for number in range(steps)}
    # YAML reads JSON.
    (folder / "dvc.yaml").write_text(json.dumps({"stages": stages}))

    def once() -> Times:
        seconds = _printed_seconds(python, _DVC_PROGRAM, folder)
        return Times(seconds, timed([program, "repro", "--quiet"], folder, _NO_ANALYTICS))

    return {DVC: once}


def write_script(folder: Path) -> None:
    """Write the script that all sides run."""
    folder.mkdir(parents=True)
    (folder / "work.py").write_text(_SCRIPT)


def run(command: list[str], folder: Path, variables: Mapping[str, str] | None = None) -> str:
    """Run a program and return what it prints.

    :raises SystemExit: it ended badly.
    """
    environment = {**os.environ, **(variables or {})}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(
            f"{command} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        )
    return done.stdout


def timed(command: list[str], folder: Path, variables: Mapping[str, str] | None = None) -> float:
    """Run a program and return how long it took."""
    started = time.perf_counter()
    run(command, folder, variables)
    return time.perf_counter() - started


def _printed_seconds(python: Path, program: str, folder: Path, *arguments: str) -> float:
    return float(run([str(python), "-c", program, *arguments], folder, _NO_ANALYTICS).splitlines()[-1])


def _stage(number: int) -> dict[str, object]:
    out, before = f"data/{number}.txt", f"data/{number - 1}.txt"
    return {
        "cmd": f"{sys.executable} work.py {out} {number} {EXECUTIONS}",
        "deps": ["work.py", *([before] if number else [])],
        "outs": [out],
    }


def _last_dag_run(database: Path) -> float:
    """Return how long the tasks of the last DAG run took; the first, which starts Airflow's API, counts as the average."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        run_id, state = connection.execute(
            "SELECT run_id, state FROM dag_run ORDER BY id DESC LIMIT 1"
        ).fetchone()
        if state != "success":
            raise SystemExit(f"airflow dags test: the DAG run ended as {state}")
        ends = [
            datetime.fromisoformat(end)
            for (end,) in connection.execute(
                "SELECT end_date FROM task_instance WHERE run_id = ? ORDER BY end_date", (run_id,)
            )
        ]
    return (ends[-1] - ends[0]).total_seconds() * len(ends) / (len(ends) - 1)
