"""How an output's files are read as a dataset, written down before anybody knows where the output will be.

A *reading* is a dataset definition whose paths are relative to the output: ``{"relative": "**/*.csv"}``. When the output is
there, :func:`definition_at` puts its place in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_azureml.runtime.dataset import operations, sources
from airflow_azureml.runtime.dataset.definition import derived_seed, new_definition, with_operation

__all__ = [
    "as_files",
    "definition_at",
    "delimited",
    "dropping",
    "keeping",
    "parquet",
    "splitting",
]

Reading = dict[str, Any]


def as_files(partition_format: str | None = None) -> Reading:
    """Return the reading of an output as plain files.

    :param partition_format: v1's pattern that makes columns out of paths.
    """
    return new_definition("file", sources.files_source(_paths(None), partition_format))


def delimited(glob: str | None, **options: Any) -> Reading:
    """Return the reading of an output's delimited text files as a table.

    :param glob: which files, relative to the output; None for all.
    :param options: options of the format, v1's names.
    :raises UserErrorException: an option is wrong.
    """
    return new_definition("tabular", sources.delimited_source(_paths(glob), **options))


def parquet(glob: str | None, **options: Any) -> Reading:
    """Return the reading of an output's Parquet files as a table.

    :param glob: which files, relative to the output; None for all.
    :param options: options of the format, v1's names.
    :raises UserErrorException: an option is wrong.
    """
    return new_definition("tabular", sources.parquet_source(_paths(glob), **options))


def keeping(reading: Reading, columns: object) -> Reading:
    """Return a reading of some columns.

    :param reading: a reading as a table.
    :param columns: a column's name or a list of them.
    :raises UserErrorException: it is neither.
    """
    return with_operation(reading, operations.keep_columns(columns))


def dropping(reading: Reading, columns: object) -> Reading:
    """Return a reading without some columns.

    :param reading: a reading as a table.
    :param columns: a column's name or a list of them.
    :raises UserErrorException: it is neither.
    """
    return with_operation(reading, operations.drop_columns(columns))


def splitting(reading: Reading, percentage: float, seed: int | None) -> tuple[Reading, Reading]:
    """Return two readings that share the rows between them.

    :param reading: a reading as a table.
    :param percentage: about how much the first one gets, 0 to 1.
    :param seed: None for one that follows from the reading.
    :raises UserErrorException: the percentage is not in 0 to 1.
    """
    chosen = operations.checked_seed(seed, derived_seed(reading, "split"))
    first, second = (
        with_operation(reading, operations.split(percentage, chosen, part)) for part in ("first", "second")
    )
    return first, second


def definition_at(reading: Mapping[str, Any], place: Mapping[str, str]) -> dict[str, Any]:
    """Return the dataset definition that a reading means, now that the output is somewhere.

    :param reading: as made here.
    :param place: ``{"datastore": name, "path": path}`` or ``{"local": absolute path}``.
    """
    key = "local" if "local" in place else "path"
    paths = [
        {**place, key: f"{place[key]}/{entry['relative']}" if entry["relative"] else place[key]}
        for entry in reading["source"]["paths"]
    ]
    return {**reading, "source": {**reading["source"], "paths": paths}}


def _paths(glob: str | None) -> list[dict[str, Any]]:
    return [{"relative": (glob or "").strip("/")}]
