"""The variables that v1's scripts read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_azureml import (
    DataPath,
    DataReference,
    Dataset,
    OutputFileDatasetConfig,
    PipelineData,
    PipelineParameter,
)
from airflow_azureml.compute.identity import StepIdentity
from airflow_azureml.compute.variables import PortValue, port_variables, run_variables

BLOB = "workspaceblobstore"


def test_a_run_has_v1s_variables() -> None:
    who = StepIdentity("here", "dag", "run", "task", -1, 1, "train.py", "PythonScriptStep", "houses")
    assert run_variables(who, "ws") == {
        "AZUREML_RUN_ID": who.step_run_id,
        "AZUREML_ROOT_RUN_ID": who.pipeline_run_id,
        "AZUREML_EXPERIMENT_ID": "houses",
        "AZUREML_ARM_PROJECT_NAME": "houses",
        "AZUREML_WORKSPACE_ID": "ws",
        "AZUREML_ARM_WORKSPACE_NAME": "ws",
        "AZUREML_ARM_SUBSCRIPTION": "airflow",
        "AZUREML_ARM_RESOURCEGROUP": "dag",
        "AZUREML_SERVICE_ENDPOINT": "here",
        "AZUREML_CR_NODE_RANK": "0",
    }


def test_data_ports_have_data_reference_variables() -> None:
    assert port_variables(
        [PortValue("raw", "/mnt/raw", "mount", False)], [PortValue("out", "/out", "mount", False)]
    ) == {"AZUREML_DATAREFERENCE_raw": "/mnt/raw", "AZUREML_DATAREFERENCE_out": "/out"}


def test_datasets_have_variables_of_their_own_names() -> None:
    assert port_variables(
        [PortValue("raw", "/mnt/raw", "mount", True), PortValue("table", "some-id", "direct", True)],
        [PortValue("out", "/out", "mount", True), PortValue("more", "/more", "upload", True)],
    ) == {
        "raw": "/mnt/raw",
        "RAW": "/mnt/raw",
        "AZURE_ML_INPUT_raw": "/mnt/raw",
        "table": "some-id",
        "TABLE": "some-id",
        "AZURE_ML_INPUT_table": "some-id",
        "out": "/out",
        "OUT": "/out",
        "AZURE_ML_OUTPUT_out": "/out",
        "more": "/more",
        "MORE": "/more",
        "AZURE_ML_OUTPUT_more": "/more",
        "AZUREML_DATASET_ENVIRONMENT_VARS": "raw:mount,table:direct",
        "AZUREML_DATASET_FILE_OUTPUTS": "out;more",
    }


def test_a_name_in_capitals_keeps_its_variable() -> None:
    ports = [PortValue("RAW", "/1", "mount", True), PortValue("raw", "/2", "mount", True)]
    for order in (ports, ports[::-1]):
        found = port_variables(order, [])
        assert (found["RAW"], found["raw"]) == ("/1", "/2")


class TestInAStep:
    def test_all_of_them_are_there_and_agree_with_the_arguments(self, lab: Any, in_process: Any) -> None:
        lab.datastore_file("raw/a.csv", "x\n1\n")
        dataset = (
            Dataset.File.from_files(DataPath(BLOB, "raw/*.csv"), validate=False)
            .as_named_input("files")
            .as_mount()
        )
        table = Dataset.Tabular.from_delimited_files(
            DataPath(BLOB, "raw/a.csv"), validate=False, infer_column_types=False
        ).as_named_input("table")
        raw = DataReference(BLOB, "raw", "raw")
        out, scored = PipelineData("out"), OutputFileDatasetConfig("scored")
        alpha, note = PipelineParameter("alpha", 0.5), PipelineParameter("a note", "x y")
        seen: list[tuple[dict[str, str], list[str]]] = []
        in_process(lambda cwd, env, argv: seen.append((dict(env), argv)))
        lab.script("")
        arguments = [raw, out, scored, dataset, table, alpha, note, "--flag", True, None, -1.5]
        outcome = lab.run(
            inputs=[raw, dataset, table],
            outputs=[out, scored],
            arguments=arguments,
            params={"lr": alpha, "fixed": "1"},
        )
        env, argv = seen[0]
        assert argv == [
            env["AZUREML_DATAREFERENCE_raw"],
            env["AZUREML_DATAREFERENCE_out"],
            env["scored"],
            env["files"],
            env["table"],
            "0.5",
            "x y",
            "--flag",
            "True",
            "None",
            "-1.5",
        ]
        assert lab.record(outcome)["arguments"] == argv
        assert env["AML_PARAMETER_alpha"] == env["AML_PARAMETER_lr"] == "0.5"
        assert (env["AML_PARAMETER_a_note"], env["AML_PARAMETER_fixed"]) == ("x y", "1")
        assert env["AZUREML_DATASET_ENVIRONMENT_VARS"] == "files:mount,table:direct"
        assert env["AZUREML_DATASET_FILE_OUTPUTS"] == "scored"
        assert env["AZUREML_RUN_ID"] == outcome.document["step_run_id"]
        assert Path(env["files"], "a.csv").name == "a.csv"

    def test_nothing_of_airflow_is(self, lab: Any, in_process: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "secret")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        seen = []
        in_process(lambda cwd, env, argv: seen.append(dict(env)))
        lab.script("")
        lab.run()
        assert "secret" not in seen[0].values()
