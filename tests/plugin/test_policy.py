"""DAGs that hold steps are checked when Airflow loads them; others don't notice us."""

import subprocess
import sys

import pytest
from airflow.exceptions import AirflowClusterPolicyViolation
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

from airflow_azureml import PipelineData, PythonScriptStep, policy


def test_a_plain_dag_with_steps_is_checked():
    with DAG("p", schedule=None) as dag:
        PythonScriptStep("train.py", inputs=[PipelineData("lost")])
    with pytest.raises(
        AirflowClusterPolicyViolation, match=r"^PythonScriptStep 'train': input 'lost' is never produced; "
    ):
        policy.dag_policy(dag)


def test_a_dag_without_steps_passes():
    with DAG("p", schedule=None) as dag:
        EmptyOperator(task_id="work")
    policy.dag_policy(dag)


def test_airflow_asks_us():
    from airflow import settings

    with DAG("p", schedule=None) as dag:
        PythonScriptStep("train.py", inputs=[PipelineData("lost")])
    with pytest.raises(AirflowClusterPolicyViolation, match="never produced"):
        settings.dag_policy(dag)


def test_a_process_that_sees_no_step_imports_nothing_of_ours_for_it():
    program = """
import sys
from airflow import settings
from airflow.sdk import DAG
settings.dag_policy(DAG("p", schedule=None))
ours = {name for name in sys.modules if name.startswith("airflow_azureml.")}
print(sorted(name for name in ours if name.startswith(("airflow_azureml.operators", "airflow_azureml.model"))))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
