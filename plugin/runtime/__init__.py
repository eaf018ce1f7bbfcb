"""What a step's own process imports; standard library only, Python 3.8.

``from airflow_azureml.runtime import Run`` finds the run context also where the real Azure ML SDK is installed.
"""

from __future__ import annotations

import sys
from typing import Any


def __getattr__(name: str) -> Any:
    package = sys.modules[__name__.rpartition(".")[0]]
    # Public names only: a module of the package must not be taken for the one of its name here.
    if name not in package.__all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(package, name)
