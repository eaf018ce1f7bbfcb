"""Imports once what every DAG file with steps, and every step, would otherwise import again.

The scheduler's LocalExecutor forks for each task and the DAG processor forks for each file. What they have imported before,
the forks find imported: a tenth of a second for each step. Airflow does the same with its own modules
(``[dag_processor] parsing_pre_import_modules``).
"""

from __future__ import annotations

from importlib import import_module

from airflow_azureml.runtime import ship

MODULES = (
    "airflow_azureml.compute.execution",
    "airflow_azureml.model.data",
    "airflow_azureml.model.output_dataset",
    "airflow_azureml.operators.announcing",
    "airflow_azureml.operators.pipeline",
    "airflow_azureml.operators.python_script",
    "airflow_azureml.operators.run_values",
    "airflow_azureml.operators.services",
    "airflow_azureml.operators.supervision",
    "airflow_azureml.runtime.dataset",
    "airflow_azureml.workspace.local_store",
)
"""Names and no imports: the plugin, which starts this, lies below the operators."""


def preload() -> None:
    """Import and read what defining and running steps takes; heavy libraries are not among it."""
    for name in MODULES:
        import_module(name)
    ship.read_ahead()
