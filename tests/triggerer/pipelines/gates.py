"""Pipelines whose steps look for earlier results in the triggerer, or in the worker."""

import sys
from pathlib import Path

from airflow.sdk import Asset

from airflow_azureml import Environment, PipelineData, PipelineParameter
from airflow_azureml.operators import Pipeline, PythonScriptStep

here = Environment("here")
here.python.user_managed_dependencies = True
here.python.interpreter_path = sys.executable
USUAL = {"environment": here, "source_directory": str(Path(__file__).parent / "scripts")}

with Pipeline("chain", default_args=USUAL, reuse_gate="triggerer", continue_on_step_failure=True):
    number = PipelineParameter("number", 1)
    written = PipelineData("written")
    PythonScriptStep("write.py", arguments=[written, number, "{{ params.number }}"], outputs=[written])
    PythonScriptStep("read.py", arguments=[written], inputs=[written])
    PythonScriptStep("read.py", "announces", arguments=[__file__], outlets=[Asset("announced")])

for gate in ("worker", "triggerer"):
    with Pipeline(f"meets_{gate}", default_args=USUAL, reuse_gate=gate):
        meeting = PipelineParameter("meeting", "")
        PythonScriptStep("meets.py", "step", arguments=[meeting])

with Pipeline("alone", default_args=USUAL, reuse_gate="triggerer"):
    meeting = PipelineParameter("meeting", "")
    PythonScriptStep("read.py", "step", arguments=[__file__, meeting])
