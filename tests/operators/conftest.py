"""DAG files on disk, read the way Airflow reads them."""

import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from airflow_azureml import config
from airflow_azureml.compute.identity import pipeline_run_id
from airflow_azureml.operators import sources
from airflow_azureml.workspace.handle import open_workspace

HEAD = """
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Param, TaskGroup, task, task_group

from airflow_azureml import *
from airflow_azureml.operators import DataTransferStep, Pipeline, PythonScriptStep
"""


class DagFiles:
    """A folder of DAG files with step scripts in ``steps/``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scripts = folder / "steps"
        self.scripts.mkdir()
        for name in ("prepare.py", "train.py", "compare.py"):
            self.script(name, "print('done')\n")

    def script(self, name: str, text: str) -> Path:
        """Write a step script."""
        path = self.scripts / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def write(self, text: str, name: str = "pipeline.py", head: str = HEAD) -> Path:
        """Write a DAG file that starts with the usual imports."""
        path = self.folder / name
        path.write_text(head + textwrap.dedent(text))
        return path

    def bag(self, path: Path) -> DagBag:
        """Read a file as Airflow does: import, validate, policies."""
        return DagBag(dag_folder=path, bundle_path=self.folder, bundle_name="testing")

    def dag(self, text: str, **where: str) -> DAG:
        """Return the one DAG of a file."""
        bag = self.bag(self.write(text, **where))
        assert not bag.import_errors, "\n".join(bag.import_errors.values())
        (dag,) = bag.dags.values()
        return dag

    def error(self, text: str, **where: str) -> str:
        """Return the last line of the import error of a file: what the UI shows at the end."""
        bag = self.bag(self.write(text, **where))
        (error,) = bag.import_errors.values()
        return error.strip().splitlines()[-1]


@pytest.fixture
def dag_files(tmp_path: Path) -> Iterator[DagFiles]:
    """A folder for DAG files, and step scripts ``prepare.py``, ``train.py``, ``compare.py`` in ``steps/``."""
    config.forget()
    sources._defines_a_dag.cache_clear()
    yield DagFiles(tmp_path)
    config.forget()


@pytest.fixture
def serialize() -> Callable[[DAG], dict[str, Any]]:
    """What Airflow keeps of a DAG."""
    return DagSerialization.serialize_dag


@dataclass
class FinishedRun:
    """A DAG run that is over."""

    state: str
    tasks: dict[str, Any]
    """Task id, or task id and map index, to the state it ended in."""
    pipeline: dict[str, Any]
    steps: dict[str, dict[str, Any]]
    """Task id, or task id and map index, to the record of its last try."""

    def printed(self, task: str) -> Any:
        """What the script of a step logged as its one metric ``seen``."""
        (seen,) = [metric["value"] for metric in self.steps[task]["metrics"] if metric["name"] == "seen"]
        return seen


class Runs:
    """Runs the DAG of a file with real tasks in a private Airflow."""

    def __init__(self, dag_files: DagFiles, workspace: Path) -> None:
        self.files = dag_files
        self.workspace = workspace

    def __call__(self, text: str, **parameters: Any) -> FinishedRun:
        """Run the DAG of a file once, to its end."""
        run = self.files.dag(text, head=HEAD + HERE).test(run_conf=parameters)
        tasks = {_key(ti.task_id, ti.map_index): ti.state for ti in run.get_task_instances()}
        records = open_workspace(str(self.workspace)).runs
        run_id = pipeline_run_id(config.deployment(), run.dag_id, run.run_id)
        steps = {_key(record["task_id"], record["map_index"]): record for record in records.children(run_id)}
        return FinishedRun(str(run.state), tasks, records.get(run_id), steps)


def _key(task_id: str, map_index: int) -> str:
    return task_id if map_index < 0 else f"{task_id}[{map_index}]"


# Steps run in the interpreter of the tests: nothing has to be built.
HERE = f"""
here = Environment("here")
here.python.user_managed_dependencies = True
here.python.interpreter_path = {sys.executable!r}
usual = {{"environment": here, "source_directory": "steps"}}
"""


@pytest.fixture
def run(airflow_database: Path, azureml_options: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Runs]:
    """Runs DAG files; the scripts of their steps are in ``run.files``."""
    for option in ("workspace", "scratch_directory", "cache_directory", "environments_directory"):
        azureml_options.setenv(f"AIRFLOW__AZUREML__{option.upper()}", str(tmp_path / option))
    config.forget()
    # Airflow wants to find the DAG in its bundle.
    folder = airflow_database / "dags" / tmp_path.name
    folder.mkdir(parents=True)
    yield Runs(DagFiles(folder), tmp_path / "workspace")
    shutil.rmtree(folder)
