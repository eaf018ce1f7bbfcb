"""What importing the package in a DAG file costs."""

import subprocess
import sys

import pytest

HEAVY = ("pandas", "pyarrow", "numpy", "docker", "duckdb", "sklearn", "fsspec", "azure", "uv", "jsonschema")


def modules_after(code):
    """The top-level modules that a fresh interpreter has after running ``code``."""
    program = f"{code}\nimport sys\nprint('\\n'.join({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


DEFINITION = """
from airflow_azureml import *
from airflow_azureml.operators import Pipeline, PythonScriptStep
with Pipeline("p"):
    data = PipelineData("data")
    PythonScriptStep("train.py", outputs=[data], inputs=[Dataset.Tabular.from_delimited_files("*.csv").as_named_input("raw")])
"""


@pytest.mark.parametrize(
    "code", ["import airflow_azureml.operators", DEFINITION], ids=["import", "definition"]
)
def test_no_heavy_library_is_imported(code):
    without = modules_after("import airflow.sdk; from airflow.sdk import DAG, BaseOperator, Param")
    assert modules_after(code) & set(HEAVY) <= without
