"""The DAG files and the script that ``reuse.py`` runs."""

from __future__ import annotations

from pathlib import Path
from string import Template

CHAIN, WIDE, MISSING = "chain", "wide", "missing"
EMPTY, NO_OP, WORKER, TRIGGERER = "empty", "no_op", "worker", "triggerer"
SIZES = {CHAIN: 20, WIDE: 100, MISSING: 5}
KINDS = (EMPTY, NO_OP, WORKER, TRIGGERER)

_SCRIPT = """
import argparse, os, time

parser = argparse.ArgumentParser()
parser.add_argument("--out")
parser.add_argument("--name")
parser.add_argument("--step")
parser.add_argument("--executions")
parser.add_argument("--seconds", type=float)
arguments, _ = parser.parse_known_args()
with open(arguments.executions, "a") as file:
    file.write(f"{arguments.name} {arguments.step}\\n")
time.sleep(arguments.seconds)
os.makedirs(arguments.out)
with open(os.path.join(arguments.out, "part.txt"), "w") as file:
    file.write(arguments.step)
"""
_EMPTY = """
from airflow.providers.standard.operators.empty import EmptyOperator as Operator
from airflow.sdk import DAG, chain
"""
_NO_OP = """
from airflow.sdk import DAG, BaseOperator, chain


class Operator(BaseOperator):
    def execute(self, context):
        return None

"""
_OPERATORS = """
with DAG("$dag_id", schedule=None):
    tasks = [Operator(task_id=f"task_{number}") for number in range($size)]
    if "$shape" == "chain":
        chain(*tasks)
"""
_STEPS = """
from airflow_azureml import Environment, Pipeline, PipelineData, PipelineParameter
from airflow_azureml.operators import PythonScriptStep

bare = Environment("bare")
name = PipelineParameter("name", default_value="$shape")
with Pipeline("$dag_id", default_source_directory="scripts", default_args={"environment": bare}, reuse_gate="$gate"):
    previous = []
    for number in range($size):
        written = PipelineData(f"data_{number}")
        PythonScriptStep(
            name=f"step_{number}",
            script_name="work.py",
            arguments=[
                *("--out", written, "--name", name, "--step", number),
                *("--executions", "$executions", "--seconds", $seconds),
                *previous,
            ],
            inputs=previous,
            outputs=[written],
        )
        previous = [] if "$shape" == "wide" else [written]
"""


def dag_id_of(shape: str, kind: str) -> str:
    """Return the id of the DAG of a shape and a kind of tasks; its file has the same name."""
    return f"{shape}_{kind}"


def write_files(folder: Path, executions: Path) -> list[str]:
    """Write the script and all DAG files into a folder; return the DAGs' ids.

    :param folder: an empty folder.
    :param executions: file in which the script notes that it ran.
    """
    scripts = folder / "scripts"
    scripts.mkdir(parents=True)
    (scripts / "work.py").write_text(_SCRIPT)
    executions.touch()
    contents = {EMPTY: _EMPTY + _OPERATORS, NO_OP: _NO_OP + _OPERATORS}
    graphs = [(shape, kind) for shape in (CHAIN, WIDE) for kind in KINDS]
    for shape, kind in [*graphs, (MISSING, WORKER)]:
        dag_id = dag_id_of(shape, kind)
        content = Template(contents.get(kind, _STEPS)).substitute(
            dag_id=dag_id,
            shape=shape,
            size=SIZES[shape],
            gate=kind,
            executions=executions,
            seconds=1.0 if shape == MISSING else 0.0,
        )
        (folder / f"{dag_id}.py").write_text(content)
    return [dag_id_of(shape, kind) for shape, kind in [*graphs, (MISSING, WORKER)]]
