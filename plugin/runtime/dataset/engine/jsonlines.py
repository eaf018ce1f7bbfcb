"""Reading files with one JSON object per line."""

from __future__ import annotations

import json
from typing import Any, Iterator, Sequence

from airflow_azureml.runtime.dataset.engine.libraries import pandas
from airflow_azureml.runtime.dataset.resolve import ResolvedFile
from airflow_azureml.runtime.dataset.sources import ENCODINGS
from airflow_azureml.runtime.exceptions import DatasetExecutionError


def read_json_lines(source: dict[str, Any], files: Sequence[ResolvedFile]) -> list[Any]:
    """Read the files of a JSON lines source.

    :param source: the source document.
    :param files: the files, in order.
    :return: a frame per file.
    :raises DatasetExecutionError: a line is no JSON object and invalid lines are errors, or the text isn't
        encoded as said.
    """
    return [_frame(list(_records(source, file))) for file in files]


def _frame(records: list[dict[str, Any]]) -> Any:
    columns = dict.fromkeys(name for record in records for name in record)
    return pandas().DataFrame(records, columns=list(columns))


def _records(source: dict[str, Any], file: ResolvedFile) -> Iterator[dict[str, Any]]:
    drop = source["invalid_lines"] == "drop"
    with open(file.path, encoding=ENCODINGS[source["encoding"]]) as stream:
        try:
            for number, line in enumerate(stream, 1):
                if not line.strip():
                    continue
                record = _record(line)
                if record is not None:
                    yield record
                elif not drop:
                    raise DatasetExecutionError(
                        "%s line %d is no JSON object: %.80r; invalid_lines='drop' leaves such lines out"
                        % (file.origin, number, line.strip())
                    )
        except UnicodeError as error:
            raise DatasetExecutionError(
                "%s is not encoded as %s: %s" % (file.origin, source["encoding"], error)
            ) from error


def _record(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
