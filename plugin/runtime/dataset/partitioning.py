"""Writing rows as one folder of Parquet files per combination of values (``TabularDataset.partition_by``)."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from airflow_azureml.runtime.dataset import sources
from airflow_azureml.runtime.dataset.definition import new_definition
from airflow_azureml.runtime.dataset.locations import datastore_target
from airflow_azureml.runtime.dataset.uploading import unique_folder, upload_folder
from airflow_azureml.runtime.exceptions import UserErrorException

_MISSING = "null"


def partitioned(
    frame: Any, keys: list[str], target: Any, *, as_files: bool, show_progress: bool
) -> dict[str, Any]:
    """Write rows to a datastore, a folder per combination of values, and return the definition of the result.

    The key columns stay in the files too, where they keep their types.

    :param frame: the rows.
    :param keys: the columns, outermost folder first.
    :param target: where a new folder is made.
    :param as_files: describe a file dataset instead of a tabular one.
    :raises UserErrorException: no rows, a key twice, or one that is no column or cannot be part of a format.
    """
    _check_keys(frame, keys)
    datastore, path = datastore_target(target)
    place = unique_folder(path)
    with tempfile.TemporaryDirectory() as folder:
        _write(frame, keys, folder)
        upload_folder(folder, datastore, place, overwrite=True, show_progress=show_progress)
    partition_format = "/".join("{%s}" % key for key in keys) + "/*.parquet"
    paths = [{"datastore": datastore, "path": place}]
    if as_files:
        return new_definition("file", sources.files_source(paths, partition_format))
    return new_definition("tabular", sources.parquet_source(paths, partition_format=partition_format))


def folder_name(value: Any) -> str:
    """Return the folder for a value: its text, with what a path cannot hold written as ``%XX``."""
    if value is None or value != value:  # noqa: PLR0124 - NaN and NaT alone differ from themselves
        return _MISSING
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    if text in ("", ".", ".."):
        return "%2E" * len(text) or "%"
    return "".join("%%%02X" % ord(char) if char in "%/\\*" or char < " " else char for char in text)


def _check_keys(frame: Any, keys: list[str]) -> None:
    for key in keys:
        if key not in frame.columns:
            raise UserErrorException(
                "partition_by: %r is none of the columns %s" % (key, ", ".join(map(str, frame.columns)))
            )
        if keys.count(key) > 1:
            raise UserErrorException("partition_by names the column %r twice" % key)
        if set(key) & set("{}:"):
            raise UserErrorException("partition_by: the column name %r holds a brace or colon" % key)
    if not len(frame):
        raise UserErrorException("partition_by: there are no rows to write")


def _write(frame: Any, keys: list[str], folder: str) -> None:
    from airflow_azureml.runtime.dataset.engine.parquet import write_parquet

    groups = frame.groupby(keys, sort=False, dropna=False, observed=True)
    for number, (values, rows) in enumerate(groups):
        names = [folder_name(value) for value in (values if isinstance(values, tuple) else (values,))]
        below = os.path.join(folder, *names)
        os.makedirs(below, exist_ok=True)
        # Numbered throughout, because two values may share a folder: a missing one and the text "null".
        write_parquet(rows, os.path.join(below, "part-%05d.parquet" % number))
