"""Checks every DAG that holds steps of ours when Airflow loads it, plain ``with DAG(...)`` ones included.

Airflow calls the functions of this module through the ``airflow.policy`` entry point. It is imported early and by every
component, so it imports nothing of ours until a DAG really has a step of ours.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from airflow.exceptions import AirflowClusterPolicyViolation
from airflow.policies import hookimpl

from airflow_azureml import discovery

if TYPE_CHECKING:
    from airflow.sdk import DAG

# This module is imported by every Airflow component before it looks at any file: the one early place there is.
discovery.install()

_STEP_MODULE = "airflow_azureml.operators.step"


@hookimpl
def dag_policy(dag: DAG) -> None:
    """Refuse a DAG whose steps don't fit together: inputs nobody produces, missing scripts, oversized source folders.

    :raises AirflowClusterPolicyViolation: shown by Airflow as the import error of the DAG file.
    """
    if _STEP_MODULE not in sys.modules:
        return
    from airflow_azureml.operators.graph import check_pipeline, place_gates
    from airflow_azureml.operators.pipeline import Pipeline
    from airflow_azureml.runtime.exceptions import AzureMLException

    if isinstance(dag, Pipeline):
        # Airflow has called its validate() just before.
        return
    try:
        check_pipeline(dag)
        place_gates(dag)
    except AzureMLException as error:
        raise AirflowClusterPolicyViolation(str(error)) from error
