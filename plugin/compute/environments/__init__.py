"""Interpreters for steps: found or built once per environment, shared, and pruned when nobody uses them."""

from __future__ import annotations

from airflow_azureml.compute.environments.cache import EnvironmentCache, EnvironmentLike
from airflow_azureml.compute.environments.inherited import INHERITED, base_environment
from airflow_azureml.compute.environments.interpreter import Interpreter
from airflow_azureml.compute.environments.prune import PruneReport

__all__ = [
    "INHERITED",
    "EnvironmentCache",
    "EnvironmentLike",
    "Interpreter",
    "PruneReport",
    "base_environment",
]
