"""Predict how diabetes progresses: prepare, train, evaluate, compare.

Every step runs a script of ``diabetes_steps/`` in an interpreter of its own. Trigger the DAG twice: the second run reuses
what has not changed. Then trigger it with another ``alpha``, or change a number in ``data/diabetes.csv``, and see which
steps run again, and why.
"""

from airflow_azureml import (
    CondaDependencies,
    Dataset,
    Environment,
    OutputFileDatasetConfig,
    Pipeline,
    PipelineData,
    PipelineParameter,
)
from airflow_azureml.operators import PythonScriptStep

# What the scripts import. Built once, then used by every run.
environment = Environment("diabetes")
environment.python.conda_dependencies = CondaDependencies.create(
    pip_packages=["pandas>=2", "pyarrow>=18", "scikit-learn>=1.5", "matplotlib>=3.9"]
)

# Changing a parameter runs only the steps that use it, and those after them whose input changed.
seed = PipelineParameter("seed", default_value=42)
alpha = PipelineParameter("alpha", default_value=0.5)
standardize = PipelineParameter("standardize", default_value=True)
metric = PipelineParameter("metric", default_value="rmse")

patients = Dataset.Tabular.from_delimited_files("data/diabetes.csv")

with Pipeline(
    "diabetes",
    description="Predict how diabetes progresses",
    default_source_directory="diabetes_steps",
    default_args={"environment": environment},
    doc_md=__doc__,
) as pipeline:
    # Data that one step writes and another reads. It makes the order of the steps.
    prepared = PipelineData("prepared")
    model = PipelineData("model")
    scores = PipelineData("scores")
    predictions = OutputFileDatasetConfig("predictions").register_on_complete("diabetes_predictions")

    prepare = PythonScriptStep(
        script_name="prepare.py",
        arguments=["--out", prepared, "--seed", seed],
        inputs=[patients.as_named_input("patients")],
        outputs=[prepared],
    )
    train = PythonScriptStep(
        script_name="train.py",
        arguments=["--data", prepared, "--out", model, "--alpha", alpha, "--standardize", standardize],
        inputs=[prepared],
        outputs=[model],
    )
    evaluate = PythonScriptStep(
        script_name="evaluate.py",
        arguments=["--data", prepared, "--model", model, "--out", scores, "--predictions", predictions],
        inputs=[prepared, model],
        outputs=[scores, predictions],
    )
    compare = PythonScriptStep(
        script_name="compare.py",
        arguments=["--model", model, "--scores", scores, "--metric", metric],
        inputs=[model, scores],
    )
