"""Parsing a DAG file with 100 PythonScriptSteps against one with 100 BashOperators.

Parsing is what Airflow's DAG processor does: load the file, check its DAGs, serialize them. The processor forks for each
file; a fresh process is what has imported Airflow and nothing else; warm is a process that has parsed the file before.

The steps are bound by data, each reads what the one before wrote; the BashOperators are chained. Airflow copies the
parameters of a DAG into every task and validates each copy while it serializes, which takes longer than all the rest;
so there is a pair of files with parameters and a pair without.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from string import Template
from typing import Any

from benchmarks.measure import REPEATS, Row, fresh_python, print_table

TASKS = 100
TARGET = 1.5
_PROGRAM = str(Path(__file__).with_name("parse_once.py"))
_SOURCE_FILES = 20

_STEPS = Template("""
from airflow_azureml import Pipeline, PipelineData, PipelineParameter
from airflow_azureml.operators import PythonScriptStep

alpha = PipelineParameter("alpha", default_value=0.5)
rounds = PipelineParameter("rounds", default_value=10)
with Pipeline("steps", default_source_directory="sources"):
    previous = None
    for number in range($tasks):
        written = PipelineData(f"data_{number}")
        inputs = [previous] if previous else []
        PythonScriptStep(
            name=f"step_{number}",
            script_name="work.py",
            arguments=["--out", written, *inputs, $arguments],
            inputs=inputs,
            outputs=[written],
        )
        previous = written
""")
_BASH = Template("""
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Param, chain

with DAG("bash", schedule=None, params=$params):
    chain(*(BashOperator(task_id=f"task_{n}", bash_command="python work.py $arguments") for n in range($tasks)))
""")
_PARAMS = '{"alpha": Param(0.5, type="number"), "rounds": Param(10, type="integer")}'


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="parse-") as name:
        folder = Path(name)
        files = write_files(folder)
        found: dict[str, list[dict[str, Any]]] = {path.stem: [] for path in files}
        for number in range(REPEATS + 1):
            for path in files:
                result = parse(path, folder)
                if number:
                    found[path.stem].append(result)
    rows = [
        Row(f"{what}, {kind}", _joined(found[steps], kind), _joined(found[bash], kind), target)
        for what, steps, bash in (
            ("no parameters", "steps", "bash"),
            ("two parameters", "steps_with_parameters", "bash_with_parameters"),
        )
        for kind, target in (
            ("forked by the DAG processor", TARGET),
            ("fresh process", None),
            ("warm", TARGET),
        )
    ]
    print_table(f"Parsing and serializing a DAG file of {TASKS} tasks", f"{TASKS} BashOperators", rows)


def write_files(folder: Path) -> list[Path]:
    """Write the DAG files and the source directory that the steps share; return the DAG files."""
    dags = folder / "dags"
    sources = dags / "sources"
    sources.mkdir(parents=True)
    (sources / "work.py").write_text("print('work')\n")
    for number in range(_SOURCE_FILES):
        (sources / f"module_{number}.py").write_text(f"x = {number}\n" * 50)
    contents = {
        "bash": _BASH.substitute(tasks=TASKS, params=None, arguments=""),
        "steps": _STEPS.substitute(tasks=TASKS, arguments=""),
        "bash_with_parameters": _BASH.substitute(
            tasks=TASKS, params=_PARAMS, arguments="--alpha {{ params.alpha }} --rounds {{ params.rounds }}"
        ),
        "steps_with_parameters": _STEPS.substitute(
            tasks=TASKS, arguments='"--alpha", alpha, "--rounds", rounds'
        ),
    }
    paths = []
    for name, content in contents.items():
        paths.append(dags / f"{name}.py")
        paths[-1].write_text(content)
    return paths


def parse(path: Path, home: Path) -> dict[str, Any]:
    """Parse a file in a process of its own; return the times by kind."""
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
