"""Tables as the outputs of transfers: what they are known by, and whether they still are what was written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_azureml.compute.outputs import StoredOutput
from airflow_azureml.model.canonical import digest_of
from airflow_azureml.model.sql_source import SqlSource
from airflow_azureml.sql.database import UNLIMITED, Database, Job, LoadMode

if TYPE_CHECKING:
    from airflow_azureml.workspace.handle import WorkspaceHandle

TABLE = "table"
"""Type of an output that is all of a table."""

ROWS = "rows"
"""Type of an output that is rows of a table which has, or may get, rows of others."""

TABLE_TYPES = (TABLE, ROWS)


def stored_table(
    database: Database, name: str, datastore: str, table: str, mode: LoadMode, job: Job
) -> StoredOutput:
    """Describe a table that was just written as an output.

    :param name: the output's name.
    :param table: the table, as SQL writes it.
    :param mode: how it was written: only a table that was replaced has nothing but what was written.
    """
    known = _known_by(database, table, job) if mode == "replace" else None
    return StoredOutput(
        name=name,
        kind="transfer",
        datastore=datastore,
        path=table,
        type=ROWS if known is None else TABLE,
        digest=known or digest_of({"table": table, "on": database.uri}),
        size_bytes=0,
        file_count=0,
        group=table,
        exclusive=False,
    )


def table_problem(workspace: WorkspaceHandle, output: StoredOutput) -> str | None:
    """Look at a table that was written.

    :return: what is wrong, as the end of a sentence, or ``None``. Of rows among others' only the table can be looked for.
    :raises AzureMLException: the database doesn't answer.
    """
    database = workspace.datastores.database(output.datastore)
    if database.columns(output.path) is None:
        return "is gone"
    if output.type == TABLE and _known_by(database, output.path, UNLIMITED) != output.digest:
        return "is not what was written"
    return None


def _known_by(database: Database, table: str, job: Job) -> str | None:
    found = database.fingerprint(SqlSource.table(table), job)
    return None if found is None else digest_of([database.uri, table, found.kind, found.value])
