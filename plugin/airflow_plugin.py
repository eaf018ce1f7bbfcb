"""The Airflow plugin: what this package adds to a running Airflow."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

from airflow_azureml import listener


class AzureMLPlugin(AirflowPlugin):
    """Registers the listener that closes the records of pipeline runs."""

    name = "airflow_azureml"
    listeners: ClassVar[list[Any]] = [listener]  # type: ignore[misc]  # an instance variable only by its annotation
