"""Parsing a DAG file with 100 PythonScriptSteps against one with 100 BashOperators.

Parsing is what Airflow's DAG processor does: load the file, check its DAGs, serialize them. The processor imports Airflow
once and forks for each file; a fresh process is what ``airflow tasks`` and a worker of another machine start; warm is a
process that has parsed the file before.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import REPEATS, Row, fresh_python, print_table

TASKS = 100
TARGET = 1.5
_PROGRAM = str(Path(__file__).with_name("parse_once.py"))

_STEPS = f"""
from airflow_azureml import Pipeline, PipelineData, PipelineParameter
from airflow_azureml.operators import PythonScriptStep

alpha = PipelineParameter("alpha", default_value=0.5)
rounds = PipelineParameter("rounds", default_value=10)
with Pipeline("steps", default_source_directory="sources"):
    previous = None
    for number in range({TASKS}):
        written = PipelineData(f"data_{{number}}")
        inputs = [previous] if previous else []
        PythonScriptStep(
            name=f"step_{{number}}",
            script_name="work.py",
            arguments=["--out", written, "--alpha", alpha, "--rounds", rounds, *inputs],
            inputs=inputs,
            outputs=[written],
        )
        previous = written
"""
_BASH = f"""
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Param

with DAG("bash", schedule=None, params={{"alpha": Param(0.5, type="number"), "rounds": Param(10, type="integer")}}):
    previous = None
    for number in range({TASKS}):
        task = BashOperator(
            task_id=f"task_{{number}}",
            bash_command="python work.py --alpha {{{{ params.alpha }}}} --rounds {{{{ params.rounds }}}}",
        )
        if previous:
            previous >> task
        previous = task
"""


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="parse-") as name:
        folder = Path(name)
        steps, bash = _write_files(folder)
        here: list[dict[str, Any]] = []
        there: list[dict[str, Any]] = []
        for number in range(REPEATS + 1):
            for path, results in ((steps, here), (bash, there)):
                result = _measure(path, folder)
                if number:
                    results.append(result)
    rows = [
        Row(what, _joined(here, kind), _joined(there, kind), target)
        for what, kind, target in (
            ("in the DAG processor: forked for the file", "forked", TARGET),
            ("fresh process, after importing airflow.sdk", "fresh", None),
            ("warm: the same process again", "warm", TARGET),
        )
    ]
    print_table(f"Parsing and serializing a DAG file of {TASKS} tasks", f"{TASKS} BashOperators", rows)


def _write_files(folder: Path) -> tuple[Path, Path]:
    dags = folder / "dags"
    sources = dags / "sources"
    sources.mkdir(parents=True)
    (sources / "work.py").write_text("print('work')\n")
    for number in range(20):
        (sources / f"module_{number}.py").write_text(f"x = {number}\n" * 50)
    steps, bash = dags / "steps.py", dags / "bash.py"
    steps.write_text(_STEPS)
    bash.write_text(_BASH)
    return steps, bash


def _measure(path: Path, home: Path) -> dict[str, Any]:
    variables = {"AIRFLOW_HOME": str(home / "home"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    printed = fresh_python(_PROGRAM, str(path), cwd=home, variables=variables)
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    if found["tasks"] != TASKS:
        sys.exit(f"{path.name}: {found}")
    return found


def _joined(results: list[dict[str, Any]], kind: str) -> list[float]:
    return [taken for result in results for taken in result[kind]]


if __name__ == "__main__":
    main()
