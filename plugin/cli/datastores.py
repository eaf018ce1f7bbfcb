"""``airflow azureml datastores list``, ``show`` and ``browse``: where data are."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_azureml.cli.commands import command, workspace_of
from airflow_azureml.cli.printing import NOTHING, Answer, Table, fields, moment, plural, print_answer, size
from airflow_azureml.runtime.dataset.locations import clean_datastore_path
from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.workspace.datastore_registration import connection_summary

if TYPE_CHECKING:
    from argparse import Namespace

    from airflow_azureml.workspace.datastores import DatastoreRecord


@command
def list_datastores(args: Namespace) -> None:
    """List the datastores of a workspace."""
    datastores = workspace_of(args).datastores
    default = datastores.default().name
    records = datastores.list()
    rows = [
        (
            record.name,
            record.type,
            record.connection_id or NOTHING,
            _place(record),
            "default" if record.name == default else "",
        )
        for record in records
    ]
    table = Table(("name", "type", "connection", "place", ""), rows)
    document = [{**asdict(record), "default": record.name == default} for record in records]
    print_answer(Answer(document, [table], table), args.output)


@command
def show(args: Namespace) -> None:
    """Show one datastore and what its connection says; secrets stay where they are."""
    datastores = workspace_of(args).datastores
    record = datastores.get(args.name)
    is_default = datastores.default().name == record.name
    try:
        connection = None if record.is_local else connection_summary(record)
    except UserErrorException as error:
        connection = f"not usable: {error}"
    facts = {
        "name": record.name,
        "type": record.type,
        "connection": record.connection_id,
        "which is": connection,
        "place": _place(record),
        "account": record.account,
        "replaces": record.replaces,
        "description": record.description,
        "tags": ", ".join(f"{name}={value}" for name, value in record.tags.items()),
        "default": "yes" if is_default else None,
    }
    document = {**asdict(record), "default": is_default, "connection": connection}
    print_answer(Answer(document, [fields(facts)], fields(facts)), args.output)


@command
def browse(args: Namespace) -> None:
    """List a folder of a datastore."""
    path = clean_datastore_path(args.path)
    level = workspace_of(args).datastores.files(args.name).browse(path)
    rows = [(f"{name}/", NOTHING, NOTHING) for name in level.folders]
    rows += [
        (file.path.rpartition("/")[2], size(file.size_bytes), _when(file.modified)) for file in level.files
    ]
    table = Table(("name", "size", "modified (UTC)"), rows, frozenset({"size"}))
    document: dict[str, Any] = {
        "folders": list(level.folders),
        "files": [asdict(file) for file in level.files],
    }
    last = f"{plural(len(level.folders), 'folder')}, {plural(len(level.files), 'file')}"
    print_answer(Answer(document, [table, last] if rows else ["nothing is there"], table), args.output)


def _place(record: DatastoreRecord) -> str:
    if record.is_local:
        return record.root or "memory of one process"
    return "/".join(part for part in (record.container, record.path) if part) or "/"


def _when(seconds: float) -> str:
    return moment(datetime.fromtimestamp(seconds, UTC).isoformat())
