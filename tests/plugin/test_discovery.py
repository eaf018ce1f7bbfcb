"""Airflow opens files that define pipelines, also those that never say "dag", and no others on our account."""

import os
import subprocess
import sys
import zipfile

import pytest

from airflow_azureml.discovery import might_contain_pipeline

# Neither file may hold the three letters that Airflow looks for.
PIPELINE = "from airflow_azureml import Pipeline\n\npipeline = Pipeline('p')\n"


@pytest.mark.parametrize(
    "text",
    [
        PIPELINE,
        "import airflow_azureml as aml\n\nwith aml.Pipeline('p'):\n    pass\n",
        "from airflow_azureml.operators import Pipeline as P, PythonScriptStep\nP('p')\n",
        "from airflow.sdk import DAG\n",
    ],
)
def test_a_file_that_defines_a_pipeline_is_opened(tmp_path, text):
    path = tmp_path / "file.py"
    path.write_text(text)
    assert might_contain_pipeline(str(path))


@pytest.mark.parametrize(
    "text",
    [
        "print('nothing of ours')\n",
        "from airflow_azureml.runtime import Run\n\nrun = Run.get_context()\n",
        "from airflow_azureml import Run\n\nRun.get_context().log('rows', 3)\n",
        "from airflow_azureml import PipelineData\n",
        "from sklearn.pipeline import Pipeline\n",
    ],
)
def test_opening_a_file_runs_it_so_scripts_of_steps_stay_shut(tmp_path, text):
    path = tmp_path / "script.py"
    path.write_text(text)
    assert not might_contain_pipeline(str(path))


def test_files_in_an_archive_are_looked_at_too(tmp_path):
    with zipfile.ZipFile(tmp_path / "bundle.zip", "w") as archive:
        archive.writestr("pipeline.py", PIPELINE)
        archive.writestr("script.py", "print()\n")
    with zipfile.ZipFile(tmp_path / "bundle.zip") as archive:
        assert might_contain_pipeline("pipeline.py", archive)
        assert not might_contain_pipeline("script.py", archive)


FIND = """
import sys
from airflow.dag_processing.dagbag import DagBag
print(sorted(DagBag(sys.argv[1]).dags))
"""


def found_by_a_fresh_airflow(folder, **environment):
    """The pipelines that an Airflow process finds which has imported nothing of ours."""
    done = subprocess.run(
        [sys.executable, "-c", FIND, str(folder)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()[-1]


def test_every_airflow_process_finds_them(tmp_path):
    (tmp_path / "pipeline.py").write_text(PIPELINE)
    assert found_by_a_fresh_airflow(tmp_path) == "['p']"


def test_a_rule_that_somebody_chose_is_respected(tmp_path):
    (tmp_path / "pipeline.py").write_text(PIPELINE)
    (tmp_path / "rules.py").write_text("def nothing(file_path, zip_file=None):\n    return False\n")
    chosen = {"AIRFLOW__CORE__MIGHT_CONTAIN_DAG_CALLABLE": "rules.nothing", "PYTHONPATH": str(tmp_path)}
    assert found_by_a_fresh_airflow(tmp_path, **chosen) == "[]"
