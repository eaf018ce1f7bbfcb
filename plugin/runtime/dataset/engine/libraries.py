"""The libraries the engine works with, imported when they are needed.

A step's environment may lack them, and a DAG file must not pay for them. Works with pandas 1.3 to 3.
"""

from __future__ import annotations

import importlib
from typing import Any

from airflow_azureml.runtime.exceptions import DatasetExecutionError


def pandas() -> Any:
    """Return pandas.

    :raises DatasetExecutionError: it isn't installed here.
    """
    return _library("pandas", "reading a tabular dataset")


def pyarrow(module: str = "pyarrow") -> Any:
    """Return pyarrow or one of its modules.

    :raises DatasetExecutionError: it isn't installed here.
    """
    return _library(module, "Parquet")


def _library(name: str, purpose: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DatasetExecutionError(
            "%s needs %s, which this Python environment doesn't have (%s); add it to the step's "
            "environment" % (purpose, name.split(".", maxsplit=1)[0], error)
        ) from error
