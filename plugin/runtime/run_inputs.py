"""The datasets bound to a run, as v1's environment variables describe them.

``AZUREML_DATASET_ENVIRONMENT_VARS`` lists the named inputs as ``name:mode,…`` and ``AZUREML_DATASET_FILE_OUTPUTS`` the
outputs as ``name;…``; the variable of the same name holds the value: a path, or the id of a dataset used directly.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Iterator, Mapping

INPUTS_VARIABLE = "AZUREML_DATASET_ENVIRONMENT_VARS"
OUTPUTS_VARIABLE = "AZUREML_DATASET_FILE_OUTPUTS"


class BoundDatasets(Mapping[str, Any]):
    """Name → value; a value is made when it is first asked for.

    :param what: "input" or "output", for errors.
    :param makers: name → function that makes the value.
    """

    def __init__(self, what: str, makers: Mapping[str, Callable[[], Any]]) -> None:
        self._what = what
        self._makers = dict(makers)
        self._values: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._values:
            if name not in self._makers:
                raise KeyError(self._unknown(name))
            self._values[name] = self._makers[name]()
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    def __repr__(self) -> str:
        return f"<{self._what} datasets: {', '.join(self._makers) or 'none'}>"

    def _unknown(self, name: str) -> str:
        known = f"this run has {', '.join(self._makers)}" if self._makers else "this run has none"
        return f"no {self._what} dataset named {name!r}; {known}"


def input_datasets() -> BoundDatasets:
    """Return the named inputs of this process's run: paths, or datasets for those used directly."""
    makers: dict[str, Callable[[], Any]] = {}
    for entry in filter(None, os.environ.get(INPUTS_VARIABLE, "").split(",")):
        name, _, mode = entry.strip().partition(":")
        value = os.environ.get(name, "")
        makers[name] = _dataset(value) if mode.lower() == "direct" else _constant(value)
    return BoundDatasets("input", makers)


def output_datasets() -> BoundDatasets:
    """Return the outputs of this process's run as paths."""
    names = [name.strip() for name in os.environ.get(OUTPUTS_VARIABLE, "").split(";")]
    return BoundDatasets("output", {name: _constant(os.environ.get(name, "")) for name in names if name})


def _constant(value: str) -> Callable[[], str]:
    return lambda: value


def _dataset(saved_id: str) -> Callable[[], Any]:
    def load() -> Any:
        from airflow_azureml.runtime.dataset import Dataset
        from airflow_azureml.runtime.workspace import Workspace

        return Dataset.get_by_id(Workspace.here(), saved_id)

    return load
