"""Evaluating tabular datasets with pandas: readers, types, operations. Nothing here talks to the service."""

from airflow_azureml.runtime.dataset.engine.evaluate import evaluate
from airflow_azureml.runtime.dataset.engine.options import EvaluationOptions

__all__ = ["EvaluationOptions", "evaluate"]
