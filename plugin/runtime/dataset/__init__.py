"""Datasets: lazy descriptions of files and rows, the same in DAG files and in step scripts.

Standard library only until rows are read.
"""

from airflow_azureml.runtime.dataset.consumption import DatasetConsumptionConfig
from airflow_azureml.runtime.dataset.datatypes import DataType
from airflow_azureml.runtime.dataset.factory import (
    Dataset,
    FileDatasetFactory,
    TabularDatasetFactory,
    dataset_of,
)
from airflow_azureml.runtime.dataset.file_dataset import FileDataset
from airflow_azureml.runtime.dataset.sources import PromoteHeadersBehavior
from airflow_azureml.runtime.dataset.tabular_dataset import TabularDataset

__all__ = [
    "DataType",
    "Dataset",
    "DatasetConsumptionConfig",
    "FileDataset",
    "FileDatasetFactory",
    "PromoteHeadersBehavior",
    "TabularDataset",
    "TabularDatasetFactory",
    "dataset_of",
]
