"""The same step under interpreters and packages of their own, older than Airflow's."""

from airflow_azureml import CondaDependencies, Dataset, Environment, Pipeline
from airflow_azureml.operators import PythonScriptStep

harvest = Dataset.Tabular.from_delimited_files("data/harvest.csv")

for version, packages in (
    ("3.8", ["numpy==1.23.*", "pandas==1.5.*"]),
    ("3.12", ["numpy==1.26.*", "pandas==2.1.*"]),
):
    environment = Environment(f"python {version}")
    environment.python.conda_dependencies = CondaDependencies.create(
        python_version=version, pip_packages=packages
    )
    with Pipeline(f"python_{version}"):
        PythonScriptStep(
            script_name="reads_a_table.py",
            name="step",
            inputs=[harvest.as_named_input("harvest")],
            source_directory="scripts",
            environment=environment,
        )
