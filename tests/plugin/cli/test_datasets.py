"""``airflow azureml datasets …``: what is registered, what is in it, how versions differ, who made and used them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from airflow.cli import cli_parser

from airflow_azureml import config
from airflow_azureml.workspace.handle import open_workspace

pytestmark = pytest.mark.filterwarnings("ignore")


class Datasets:
    """The commands over a workspace with one table, ``people``."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.workspace = open_workspace(str(home / "workspace"))
        self.root = self.workspace.datastores.root("workspaceblobstore")
        self._capsys = capsys
        self.write("people/a.csv", "name,age\nAda,59\nBen,48\n")

    def write(self, path: str, content: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)

    def __call__(self, *words: str) -> str:
        args = cli_parser.get_parser().parse_args(["azureml", "datasets", *words])
        args.func(args)
        return self._capsys.readouterr().out

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--output", "json"))

    def fails(self, *words: str) -> str:
        with pytest.raises(SystemExit):
            self(*words)
        return self._capsys.readouterr().err

    def register(self, *words: str) -> str:
        return self(
            "register",
            "people",
            "people",
            "--datastore",
            "workspaceblobstore",
            "--format",
            "delimited",
            *words,
        )


@pytest.fixture
def datasets(tmp_path: Path, azureml_options: pytest.MonkeyPatch, capsys) -> Datasets:
    azureml_options.setenv("AIRFLOW__AZUREML__WORKSPACE", str(tmp_path / "workspace"))
    azureml_options.setenv("AIRFLOW__AZUREML__CACHE_DIRECTORY", str(tmp_path / "cache"))
    azureml_options.delenv("_AIRFLOW_PROCESS_CONTEXT", raising=False)
    config.forget()
    return Datasets(tmp_path, capsys)


def lines(text: str) -> str:
    return dedent(text).strip()


def tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def step_record(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "kind": "step",
        "id": f"step-{number}",
        "pipeline_run_id": "pipeline-1",
        "name": f"step{number}.py",
        "dag_id": "clinic",
        "run_id": "manual__1",
        "status": "Finished",
        "start": f"2026-11-22T09:2{number}:00+00:00",
        "reused_from": None,
        "inputs": {},
        "registrations": [],
        **fields,
    }


def test_a_dataset_is_registered_listed_and_forgotten(datasets):
    assert datasets.register("--description", "all", "--tag", "a=b") == "people has version 1: 1 file, 23 B\n"
    (listed,) = datasets.json("list")
    assert (listed["name"], listed["version"], listed["description"], listed["tags"]) == (
        "people",
        1,
        "all",
        {"a": "b"},
    )
    assert "people  1        tabular  delimited" in datasets("list").replace("      1  ", "1        ")
    assert "not registered any more (1 version)" in datasets("unregister", "people")
    assert datasets("list") == "no datasets\n"


def test_the_same_again_is_the_version_that_is_there(datasets):
    datasets.register()
    assert "version 1" in datasets.register()
    datasets.write("people/b.csv", "name,age\nCem,72\n")
    assert "is taken by version 1, which differs" in datasets.fails(
        "register", "people", "people", "--datastore", "workspaceblobstore", "--format", "delimited"
    )
    assert "version 2: 2 files" in datasets.register("--new-version")
    assert [record["version"] for record in datasets.json("versions", "people")] == [1, 2]


def test_a_version_says_whether_its_files_are_what_they_were(datasets):
    datasets.register()
    assert datasets.json("show", "people")["content_now"] == "unchanged"
    assert "people on workspaceblobstore" in datasets("show", "people")

    datasets.write("people/a.csv", "name,age\nEve,1\n")
    datasets.write("people/b.csv", "name,age\nCem,72\n")

    assert datasets.json("show", "people")["content_now"] == "files: 1 added, 1 changed"


def test_a_definition_that_was_shown_can_be_registered(datasets, tmp_path):
    datasets.register()
    file = tmp_path / "definition.json"
    file.write_text(datasets("show", "people", "--output", "json"))
    datasets("register", "copy", "--definition", str(file))
    first, second = datasets.json("list")
    assert first["id"] == second["id"]


def test_the_first_rows_are_shown(datasets):
    datasets.register()
    assert tidy(datasets("preview", "people", "--rows", "1")) == "name  age\nAda   59"
    assert datasets.json("preview", "people") == [{"name": "Ada", "age": 59}, {"name": "Ben", "age": 48}]


def test_the_first_files_are_shown(datasets):
    datasets("register", "files", "people/*", "--datastore", "workspaceblobstore")
    assert datasets.json("preview", "files") == [{"name": "a.csv", "size_bytes": 23}]
    assert "has no rows" in datasets.fails("profile", "files")


def test_columns_are_profiled(datasets):
    datasets.register()
    shown = datasets("profile", "people")
    assert shown.startswith("people, version 1: 2 rows\n")
    assert "Ada (1), Ben (1)" in shown
    age = datasets.json("profile", "people")["columns"][1]
    assert (age["type"], age["min"], age["max"], age["mean"]) == ("integer", 48, 59, 53.5)


def test_versions_are_compared(datasets):
    datasets.register()
    datasets(
        "register",
        "people",
        "more",
        "--datastore",
        "workspaceblobstore",
        "--format",
        "delimited",
        "--new-version",
    )
    datasets.write("more/a.csv", "name,age,bmi\nAda,59,30.5\nCem,72,20.1\n")
    assert tidy(datasets("diff", "people")) == lines("""
        people: version 1 and version 2
        definition: 1 changed
          ~ source.paths: [{'datastore': 'workspaceblobstore', 'p… → [{'datastore': 'workspaceblobstore', 'p…
        files: 1 changed
          ~ a.csv
          compared as the files are now: nothing was written down of them at registration
        columns: 1 added
          + bmi
        rows: 2 → 2: 1 added, 1 removed
    """)


def test_rows_of_data_that_is_gone_are_not_compared(datasets):
    datasets.register()
    datasets.write("people/b.csv", "name,age\nCem,72\n")
    datasets.register("--new-version")
    shown = datasets("diff", "people")
    assert "files: 1 added\n  + b.csv\n" in shown
    assert "not known: the data of version 1 changed since it was registered" in shown
    assert "has no version before 1" in datasets.fails("diff", "people", "--to", "1")


def test_lineage_names_who_wrote_and_who_read(datasets):
    datasets.register()
    record = datasets.workspace.datasets.get_by_name("people")
    runs = datasets.workspace.runs
    runs.write_step(
        step_record(1, registrations=[{"kind": "dataset", "name": "people", "version": 1, "output": "out"}])
    )
    named = {"kind": "dataset", "id": "x", "dataset_name": "people", "version": 1}
    runs.write_step(step_record(2, inputs={"p": named}, reused_from="step-0"))
    runs.write_step(step_record(3, inputs={"q": {"kind": "dataset", "id": record.id}}))
    runs.write_step(step_record(4, inputs={"q": {"kind": "dataset", "id": "other"}}))

    uses = datasets.json("lineage", "people")

    assert [(use["step_name"], use["action"], use["port"]) for use in uses] == [
        ("step1.py", "wrote", "out"),
        ("step2.py", "read", "p"),
        ("step3.py", "read", "q"),
    ]
    assert "Finished, reused" in datasets("lineage", "people", "--version", "1")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["register", "x"], "give paths, --query or --definition, one of them"),
        (["register", "x", "--query", "select 1"], "--query needs --datastore"),
        (["register", "x", "a", "--datastore", "nowhere"], "no datastore 'nowhere'"),
        (["register", "x", "a", "--tag", "b"], "write key=value"),
        (["show", "nothing"], "isn't registered"),
        (["versions", "nothing"], "isn't registered"),
        (["unregister", "nothing"], "isn't registered"),
    ],
)
def test_mistakes_are_one_sentence(words: list[str], said: str, datasets: Callable[..., str]):
    assert said in datasets.fails(*words)
