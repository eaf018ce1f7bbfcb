"""Definition documents: what a dataset *is*, as JSON, so that another process evaluates the same rows or files.

::

    {"schema": 1, "kind": "tabular" | "file",
     "source": {"format": "delimited" | "parquet" | "jsonlines" | "files" | "converted" | "sql",
                "paths": [{"datastore": name, "path": relative} | {"local": absolute} | {"url": text}],
                …options of the format, see ``sources``},
     "operations": [{"op": …}, …]}                    see ``operations``

Paths may hold the wildcards ``*`` and ``**``. Documents are never changed in place; every operation makes a new one.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from typing import Any

from airflow_azureml.runtime.exceptions import UserErrorException

SCHEMA = 1
KINDS = ("file", "tabular")
FORMATS = {"tabular": ("delimited", "parquet", "jsonlines", "sql"), "file": ("files", "converted")}


def new_definition(kind: str, source: dict[str, Any]) -> dict[str, Any]:
    """Start a definition document.

    :param kind: ``"tabular"`` or ``"file"``.
    :param source: a document of ``sources``.
    """
    return {"schema": SCHEMA, "kind": kind, "source": source, "operations": []}


def check_definition(document: Any) -> dict[str, Any]:
    """Return the document when this version of the package can evaluate it.

    :param document: what came from a file, a registry or the run socket.
    :raises UserErrorException: it is no definition, or one of a newer version.
    """
    from airflow_azureml.runtime.dataset.operations import KNOWN_OPERATIONS

    if not isinstance(document, dict) or not isinstance(document.get("source"), dict):
        raise UserErrorException("a dataset definition is an object with schema, kind, source, operations")
    if document.get("schema") != SCHEMA:
        raise UserErrorException(
            "this dataset definition has schema %r and this version of airflow-azureml reads schema %d"
            % (document.get("schema"), SCHEMA)
        )
    kind = document.get("kind")
    known = FORMATS.get(kind) if isinstance(kind, str) else None
    if known is None:
        raise UserErrorException("a dataset's kind is one of %s, not %r" % (", ".join(KINDS), kind))
    if document["source"].get("format") not in known:
        raise UserErrorException(
            "a %s dataset's format is one of %s, not %r"
            % (kind, ", ".join(known), document["source"].get("format"))
        )
    for operation in document.get("operations", ()):
        name = operation.get("op") if isinstance(operation, dict) else operation
        if name not in KNOWN_OPERATIONS[document["kind"]]:
            raise UserErrorException("a %s dataset has no operation %r" % (kind, name))
    return document


def with_operation(document: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any]:
    """Return the definition of the dataset that applies one more operation."""
    return {**document, "operations": [*document["operations"], operation]}


def digest(document: Any) -> str:
    """Return the SHA-256 of a document's canonical JSON (sorted keys, no white space) as lower-case hex."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def auto_input_name(document: Any) -> str:
    """Return the name of an input that the user didn't name: the same in every process that declares it.

    v1 drew random hex here for unsaved datasets, so such steps were never reused.
    """
    return "input_" + digest(document)[:8]


def derived_seed(document: dict[str, Any], operation: str) -> int:
    """Return the seed of a random operation that was given none.

    It follows from what is sampled, so a DAG file that is parsed twice declares one dataset, not two.
    """
    return int(digest([document, operation])[:12], 16)


def timestamp_columns(document: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return the timestamp and the partition timestamp column as they stand after all operations."""
    timestamp: str | None = None
    partition: str | None = None
    for operation in document["operations"]:
        name = operation["op"]
        if name == "timestamp_columns":
            timestamp, partition = operation["timestamp"], operation["partition_timestamp"]
        elif name in ("keep_columns", "drop_columns"):
            gone = _is_gone(operation)
            if timestamp is not None and gone(timestamp):
                # v1: a dataset without its timestamp column is no time series any more.
                timestamp = partition = None
            elif partition is not None and gone(partition):
                partition = None
    return timestamp, partition


def _is_gone(operation: dict[str, Any]) -> Any:
    columns = frozenset(operation["columns"])
    if operation["op"] == "keep_columns":
        return lambda name: name not in columns
    return lambda name: name in columns


def has_relative_times(document: dict[str, Any]) -> bool:
    """Tell whether the rows depend on when the dataset is evaluated (``time_recent``)."""
    return any(operation["op"] == "time_recent" for operation in document["operations"])


def pin_times(document: dict[str, Any], now: datetime.datetime) -> dict[str, Any]:
    """Return the definition with every "the last N seconds" replaced by the time range it means at ``now``.

    A step's input is pinned when it is bound, so that the record of the run says which rows it read and
    a later evaluation of that record reads the same.

    :param now: an aware time, or a naive one in UTC.
    """
    if not has_relative_times(document):
        return document
    from airflow_azureml.runtime.dataset.operations import pinned_recent

    operations = [
        pinned_recent(operation, now) if operation["op"] == "time_recent" else operation
        for operation in document["operations"]
    ]
    return {**document, "operations": operations}
