"""Steps and the pipeline they form: what a DAG file imports.

Classes are imported when they are first asked for, so that a DAG file pays only for what it uses.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_azureml.operators.data_transfer import DataTransferStep
    from airflow_azureml.operators.pipeline import Pipeline
    from airflow_azureml.operators.python_script import PythonScriptStep
    from airflow_azureml.operators.reuse_sensor import StepReuseSensor
    from airflow_azureml.operators.step import PipelineStep

__all__ = ["DataTransferStep", "Pipeline", "PipelineStep", "PythonScriptStep", "StepReuseSensor"]

_MODULES = {
    "DataTransferStep": "airflow_azureml.operators.data_transfer",
    "Pipeline": "airflow_azureml.operators.pipeline",
    "PipelineStep": "airflow_azureml.operators.step",
    "PythonScriptStep": "airflow_azureml.operators.python_script",
    "StepReuseSensor": "airflow_azureml.operators.reuse_sensor",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
