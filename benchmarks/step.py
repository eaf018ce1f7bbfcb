"""A PythonScriptStep around a trivial script against a BashOperator that runs the same script with the same interpreter.

Both run as chains in one real Airflow (scheduler, LocalExecutor, SQLite) in a home of its own, in turn. A task's time is
what Airflow records, from its start to its end; a chain's time includes Airflow's scheduling between its tasks.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from string import Template
from typing import Any

from airflow_azureml.compute.environments import EnvironmentCache
from airflow_azureml.demo.home import AirflowHome
from airflow_azureml.demo.rest import AirflowRest
from airflow_azureml.demo.server import AirflowServer
from airflow_azureml.model.environment import Environment
from benchmarks.measure import Row, print_table

LENGTH = 5
ROUNDS = 5
TARGET = 1.15
_LIMIT_S = 300.0
_BASH, _RUN, _REUSED = "bash", "steps", "reused_steps"

_SCRIPT = "print('hello from a step')\n"
_BASH_FILE = Template("""
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, chain

with DAG("bash", schedule=None):
    chain(*(BashOperator(task_id=f"task_{n}", bash_command="$python $script") for n in range($length)))
""")
_STEP_FILE = Template("""
from airflow.sdk import chain
from airflow_azureml import Environment, Pipeline
from airflow_azureml.operators import PythonScriptStep

with Pipeline("$dag_id", default_args={"environment": Environment("bare")}):
    chain(
        *(
            PythonScriptStep(name=f"step_{n}", script_name="hello.py", source_directory="scripts", allow_reuse=$reuse)
            for n in range($length)
        )
    )
""")


class BenchmarkHome(AirflowHome):
    """The home of the demonstration with DAG files of our own."""

    @property
    def dags(self) -> Path:
        """Folder of the DAG files."""
        return self.path / "dags"

    def environment(self) -> dict[str, str]:
        """Return the environment of Airflow's processes."""
        bundle = {
            "name": "benchmarks",
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(self.dags)},
        }
        return {
            **super().environment(),
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
            "AIRFLOW__AZUREML__DEFAULT_PIP_PACKAGES": "",
        }


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="step-") as folder:
        home = BenchmarkHome.create(Path(folder))
        write_files(home)
        with running(home) as rest:
            tasks, chains = measure(rest)
    rows = [
        Row("per task, the script runs", tasks[_RUN], tasks[_BASH], TARGET),
        Row("per task, reused", tasks[_REUSED], tasks[_BASH], TARGET),
        Row(f"chain of {LENGTH}, the scripts run", chains[_RUN], chains[_BASH]),
        Row(f"chain of {LENGTH}, reused", chains[_REUSED], chains[_BASH]),
    ]
    print_table("A step in Airflow (scheduler, LocalExecutor, SQLite)", "BashOperator", rows)


def write_files(home: BenchmarkHome) -> None:
    """Write the script and the three DAG files; build the interpreter that all of them use."""
    scripts = home.dags / "scripts"
    scripts.mkdir(parents=True)
    script = scripts / "hello.py"
    script.write_text(_SCRIPT)
    cache = EnvironmentCache(home.path / "azureml" / "environments")
    with cache.ensure(Environment("bare"), print) as interpreter:
        bash = _BASH_FILE.substitute(python=interpreter.python, script=script, length=LENGTH)
    (home.dags / "bash.py").write_text(bash)
    for dag_id, reuse in ((_RUN, False), (_REUSED, True)):
        (home.dags / f"{dag_id}.py").write_text(
            _STEP_FILE.substitute(dag_id=dag_id, reuse=reuse, length=LENGTH)
        )


@contextlib.contextmanager
def running(home: AirflowHome) -> Iterator[AirflowRest]:
    """Run Airflow, ready for work, for the length of the block."""
    with AirflowServer(home) as server, contextlib.closing(AirflowRest(home, server.check)) as rest:
        rest.wait_for_health(_LIMIT_S, lambda _: None)
        rest.log_in()
        for dag_id in (_BASH, _RUN, _REUSED):
            rest.wait_for_dag(dag_id, _LIMIT_S)
        yield rest


def measure(rest: AirflowRest) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Run the chains in turn; return the times of tasks and of chains by DAG. The first round is for warming up."""
    tasks: dict[str, list[float]] = defaultdict(list)
    chains: dict[str, list[float]] = defaultdict(list)
    for number in range(ROUNDS + 1):
        for dag_id in (_BASH, _RUN, _REUSED):
            instances = run_chain(rest, dag_id)
            if number:
                tasks[dag_id] += [_seconds(instance, instance) for instance in instances]
                chains[dag_id].append(_seconds(instances[0], instances[-1]))
    return tasks, chains


def run_chain(rest: AirflowRest, dag_id: str) -> list[dict[str, Any]]:
    """Run a DAG once and return its task instances in order."""
    run_id = rest.trigger(dag_id, {})
    state = rest.follow(dag_id, run_id, _LIMIT_S, lambda _: None)
    if state != "success":
        raise SystemExit(f"run {run_id} of {dag_id} ended as {state}")
    return sorted(rest.task_instances(dag_id, run_id), key=lambda instance: str(instance["start_date"]))


def _seconds(first: dict[str, Any], last: dict[str, Any]) -> float:
    return (
        datetime.fromisoformat(last["end_date"]) - datetime.fromisoformat(first["start_date"])
    ).total_seconds()


if __name__ == "__main__":
    main()
