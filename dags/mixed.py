"""Steps among ordinary Airflow tasks, in an ordinary Airflow DAG.

``choose`` is a ``@task`` whose value becomes an argument of a step; ``describe`` is mapped, one instance per column; and what
``correlate`` writes is read by another ``@task``.
"""

from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup, task

from airflow_azureml import Dataset, Datastore, OutputFileDatasetConfig, Workspace
from airflow_azureml.operators import PythonScriptStep

patients = Dataset.Tabular.from_delimited_files("data/diabetes.csv")
correlations = OutputFileDatasetConfig("correlations")

with DAG("mixed", schedule=None, doc_md=__doc__):

    @task
    def choose() -> str:
        """An XCom value can be an argument of a step."""
        return "progression"

    @task
    def strongest(result: dict[str, Any]) -> str:
        """A step's own XCom value says where its outputs are."""
        output = result["outputs"]["correlations"]
        datastore = Datastore.get(Workspace.from_config(), output["datastore"])
        table = Dataset.Tabular.from_delimited_files((datastore, f"{output['path']}/correlations.csv"))
        frame = table.to_pandas_dataframe().sort_values("correlation", key=abs)
        return str(frame["column"].iloc[-1])

    with TaskGroup("study"):
        describe = PythonScriptStep.partial(
            task_id="describe",
            script_name="describe.py",
            source_directory="mixed_steps",
            inputs=[patients.as_named_input("patients")],
        ).expand(arguments=[["--column", "age"], ["--column", "bmi"], ["--column", "bp"]])

        correlate = PythonScriptStep(
            script_name="correlate.py",
            source_directory="mixed_steps",
            arguments=["--target", choose(), "--out", correlations],
            inputs=[patients.as_named_input("patients")],
            outputs=[correlations],
        )

    start = EmptyOperator(task_id="start")
    announce = BashOperator(
        task_id="announce",
        bash_command="echo the strongest correlation is with {{ ti.xcom_pull(task_ids='strongest') }}",
    )

    start >> [describe, correlate]
    [strongest(correlate.output), describe] >> announce
