"""A home with one pipeline that ran twice, and its command line."""

import json
import logging
import re
import shutil
import sys
import threading
from pathlib import Path

import pytest
from airflow.cli import cli_parser

from airflow_azureml import config
from airflow_azureml.cli.pipelines import load_pipeline
from airflow_azureml.compute.execution import StepExecution
from airflow_azureml.compute.identity import pipeline_run_id
from airflow_azureml.compute.records import now
from airflow_azureml.operators.planning_context import KnownResults, PlannedRun, rendered
from airflow_azureml.operators.services import execution_services
from airflow_azureml.reuse.entries import EntryStore
from airflow_azureml.workspace.handle import open_workspace

DAG_FILE = f"""
import sys
from airflow_azureml import Dataset, Environment, OutputFileDatasetConfig, Pipeline, PipelineData, PipelineParameter
from airflow_azureml.operators import PythonScriptStep

here = Environment("here")
here.python.user_managed_dependencies = True
here.python.interpreter_path = {sys.executable!r}
with Pipeline("diabetes", default_source_directory="diabetes_steps", default_args={{"environment": here}}):
    alpha = PipelineParameter("alpha", default_value=0.5)
    prepared = PipelineData("prepared")
    scored = OutputFileDatasetConfig("scored")
    prepare = PythonScriptStep(script_name="prepare.py", arguments=["--out", prepared], outputs=[prepared])
    train = PythonScriptStep(
        script_name="train.py",
        arguments=["--scored", scored, "--data", prepared, "--alpha", alpha],
        inputs=[prepared],
        outputs=[scored],
    )
"""
SCRIPT = """
import os, sys

os.makedirs(sys.argv[2], exist_ok=True)
with open(os.path.join(sys.argv[2], "part.txt"), "w") as file:
    file.write(" ".join(sys.argv[3:4] + sys.argv[5:]))
"""
FIRST, SECOND = "manual__2026-11-22T09:14:00+00:00", "manual__2026-11-22T09:20:00+00:00"


def masked(text: str) -> str:
    """What was printed, with one word for what differs from run to run."""
    for pattern, word in (
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "<a day and a time>"),
        (r"\d\.\d s", "<s>"),
        (r"\b[0-9a-f]{64}\b", "<key>"),
        (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<step run>"),
        (r"\b[0-9a-f]{12}\b", "<begin>"),
    ):
        text = re.sub(pattern, word, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


class Terminal:
    """An Airflow with one pipeline, and its command line."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str] | None = None) -> None:
        self.home = home
        self.dags = home / "dags"
        self.workspace = open_workspace(str(home / "workspace"))
        self._capsys = capsys

    def __call__(self, *words: str) -> str:
        """Give a command; return what it prints."""
        parser = cli_parser.get_parser()
        args = parser.parse_args(["azureml", "reuse", *words])
        args.func(args)
        return self._capsys.readouterr().out

    def told(self, *words: str) -> str:
        """Give a command; return what it prints with one word for what differs from run to run."""
        return masked(self(*words))

    def json(self, *words: str):
        """Give a command; return its document."""
        return json.loads(self(*words, "--output", "json"))

    def fails(self, *words: str) -> tuple[int, str]:
        """Give a command that fails; return its exit code and what it says."""
        with pytest.raises(SystemExit) as ended:
            self(*words)
        said = self._capsys.readouterr()
        assert said.out == "" or "Usage:" in said.out
        return ended.value.code, said.err

    def run(self, run_id: str, **parameters) -> None:
        """Run the steps of the pipeline, without Airflow's scheduling."""
        dag = load_pipeline("diabetes")
        results = KnownResults({})
        stand_in = PlannedRun(dag, parameters, results, None)
        stand_in.run_id = run_id
        for task in dag.topological_sort():
            context = stand_in.context(task, -1)
            step = rendered(task, context, dag.get_template_env(), results)
            services, log = execution_services(step), logging.getLogger("steps")
            outcome = StepExecution(step.request(context), services, log, threading.Event()).run()
            results.add(task.task_id, -1, outcome.document)
        record = pipeline_run_id(config.deployment(), dag.dag_id, run_id)
        self.workspace.runs.update(record, lambda run: {**run, "status": "Finished", "end": now()})

    def keys(self) -> dict[str, str]:
        """Step name to key of its newest result."""
        return {item["entry"]["step_name"]: item["key"] for item in reversed(self.json("list"))}

    def change_script(self, name: str) -> None:
        """Change a step's script without changing what it does."""
        (self.dags / "diabetes_steps" / name).write_text(SCRIPT + "# changed\n")

    def damage(self, step: str) -> None:
        """Alter the output of a step's newest result."""
        entry = EntryStore(self.workspace.store).find(self.keys()[step])
        (output,) = entry.outputs.values()
        root = self.workspace.datastores.root(output["datastore"])
        (root / output["path"] / "part.txt").write_text("something else")


def set_options(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    for option in ("workspace", "scratch_directory", "cache_directory", "environments_directory"):
        monkeypatch.setenv(
            f"AIRFLOW__AZUREML__{option.upper()}", str(home / option.removesuffix("_directory"))
        )
    monkeypatch.setenv("AIRFLOW__AZUREML__DEPLOYMENT", "lab")
    bundle = {
        "name": "pipelines",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(home / "dags")},
    }
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle]))
    config.forget()


@pytest.fixture(scope="session")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose pipeline ran twice, with another alpha the second time."""
    home = tmp_path_factory.mktemp("terminal")
    steps = home / "dags" / "diabetes_steps"
    steps.mkdir(parents=True)
    (home / "dags" / "diabetes.py").write_text(DAG_FILE)
    for name in ("prepare.py", "train.py"):
        (steps / name).write_text(SCRIPT)
    with pytest.MonkeyPatch.context() as patch:
        set_options(patch, home)
        terminal = Terminal(home)
        terminal.run(FIRST)
        terminal.run(SECOND, alpha=0.7)
    config.forget()
    return home


@pytest.fixture
def terminal(two_runs: Path, tmp_path: Path, azureml_options: pytest.MonkeyPatch, capsys) -> Terminal:
    """The command line of a home of its own with those two runs."""
    home = tmp_path / "home"
    shutil.copytree(two_runs, home)
    set_options(azureml_options, home)
    azureml_options.delenv("_AIRFLOW_PROCESS_CONTEXT", raising=False)
    azureml_options.setattr("airflow_azureml.cli.commands.getpass.getuser", lambda: "ada")
    return Terminal(home, capsys)
