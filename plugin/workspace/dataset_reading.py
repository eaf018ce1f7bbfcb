"""Reading datasets outside of any step: rows, a few of them, and what columns hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_azureml.runtime.dataset.definition import with_operation
from airflow_azureml.runtime.dataset.operations import take
from airflow_azureml.runtime.exceptions import UserErrorException

if TYPE_CHECKING:
    from airflow_azureml.runtime.dataset.engine.profile import DatasetProfile
    from airflow_azureml.workspace.dataset_files import DatasetFiles

Document = dict[str, Any]


def read_rows(data: DatasetFiles, definition: Document) -> Any:
    """Return all rows of a tabular dataset as a pandas DataFrame.

    :raises UserErrorException: it is a file dataset.
    """
    from airflow_azureml.runtime.dataset.engine import evaluate

    _check_tabular(definition)
    return evaluate(definition, data.files(definition))


def read_first_rows(data: DatasetFiles, definition: Document, count: int) -> Any:
    """Return the first rows of a tabular dataset, fetching no more files than they need.

    Types of columns are those of the files that were read.

    :raises UserErrorException: it is a file dataset.
    """
    from airflow_azureml.runtime.dataset.engine import evaluate

    _check_tabular(definition)
    wanted = with_operation(definition, take(count))
    files = data.list_files(definition)
    used = 1
    while True:
        frame = evaluate(wanted, data.fetch(files[:used]))
        if len(frame) >= count or used >= len(files):
            return frame
        # Twice as many each time: filters may leave little of each.
        used *= 2


def read_profile(data: DatasetFiles, definition: Document) -> DatasetProfile:
    """Return what the columns of a tabular dataset hold.

    :raises UserErrorException: it is a file dataset.
    """
    from airflow_azureml.runtime.dataset.engine.profile import profile

    return profile(read_rows(data, definition))


def _check_tabular(definition: Document) -> None:
    if definition["kind"] != "tabular":
        raise UserErrorException(
            "this is a file dataset, which has no rows; declare its files with Dataset.Tabular to look at rows"
        )
