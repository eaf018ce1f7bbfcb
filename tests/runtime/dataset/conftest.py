"""Datasets over files of a test: evaluated in this process, or through the service of a local workspace."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas
import pytest

from airflow_azureml.runtime import service
from airflow_azureml.runtime.dataset.abstract import AbstractDataset
from airflow_azureml.runtime.dataset.engine import EvaluationOptions, evaluate
from airflow_azureml.runtime.dataset.resolve import resolve_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Write = Callable[[str, str | bytes], Path]
    Rows = Callable[..., pandas.DataFrame]


class NamedDatastore:
    """What a dataset needs to know of a datastore."""

    def __init__(self, name: str) -> None:
        self.name = name


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file below the test's folder."""

    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    """Evaluates a tabular dataset; each datastore is the folder of its name below the test's folder."""

    def rows(dataset: AbstractDataset, **options: bool) -> pandas.DataFrame:
        definition = dataset.definition
        files = resolve_files(definition, lambda name: tmp_path / name)
        frame: pandas.DataFrame = evaluate(definition, files, EvaluationOptions(**options))
        return frame

    return rows


@pytest.fixture
def values(rows: Rows) -> Callable[..., dict[str, list[Any]]]:
    """Evaluates a tabular dataset to lists by column, None for what is missing."""

    def values(dataset: AbstractDataset, **options: bool) -> dict[str, list[Any]]:
        frame = rows(dataset, **options)
        return {
            name: [None if missing else value for value, missing in zip(frame[name], frame[name].isna())]  # noqa: B905 - Python 3.8 has no strict
            for name in frame.columns
        }

    return values


@pytest.fixture
def datastore() -> NamedDatastore:
    """A datastore called ``store``."""
    return NamedDatastore("store")


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Any]:
    """A local workspace that answers the datasets of the test."""
    # Here, because most tests of this folder also run where only the runtime can: on Python 3.8.
    from airflow_azureml.workspace.handle import open_workspace
    from airflow_azureml.workspace.offline import LocalService, offline_state
    from airflow_azureml.workspace.run_service import RunService

    handle = open_workspace(str(tmp_path / "workspace"))
    state = offline_state(handle, tmp_path / "staging")
    with service.using(LocalService(RunService(handle, state, is_step=False))):
        yield handle
