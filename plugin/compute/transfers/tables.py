"""Transfers with a database at one end or both."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from airflow_azureml.compute.inputs import ResolvedInput
from airflow_azureml.compute.listings import ListedFile
from airflow_azureml.compute.outputs import StoredOutput, output_of_files
from airflow_azureml.compute.request import ExecutionServices, StepRequest
from airflow_azureml.compute.step_inputs import resolve_inputs
from airflow_azureml.compute.stored_tables import stored_table
from airflow_azureml.compute.task_log import TaskLog
from airflow_azureml.compute.transfers.base import End, Tell, TransferRun, WorkWithoutCode
from airflow_azureml.model.canonical import digest_of
from airflow_azureml.model.port_types import InputPort, PathSource
from airflow_azureml.model.sql_reference import SqlDataReference
from airflow_azureml.model.sql_source import SqlSource
from airflow_azureml.reuse.action import IdentityClass, InputIdentity
from airflow_azureml.sql.database import Database, FileFormat, Job, LoadMode
from airflow_azureml.sql.transfer import (
    SqlTransferred,
    database_to_file,
    database_to_table,
    files_to_table,
)
from airflow_azureml.storage.files import joined
from airflow_azureml.transfer.request import ReferenceType

if TYPE_CHECKING:
    from airflow_azureml.storage.files import FileInfo


@dataclass(frozen=True, slots=True)
class TableTransfer(WorkWithoutCode):
    """A transfer from a database, to one, or both.

    :param target: name of the compute target, for the run record.
    :param source: what is read from a database; None for files, which are the step's input.
    :param source_datastore: the datastore of ``source``.
    :param table: the table that is written; None for files, which are the step's output.
    :param mode: what becomes of rows that are in the table.
    :param keys: columns that say which row is which, for ``upsert``.
    :param source_type: ``file`` or ``directory``, of files; None for what the path is.
    :param destination_type: the same for the destination.
    :param file_format: ``csv`` or ``parquet``; None for what the path's ending says.
    :param timeout_s: how long a statement may take.
    """

    target: str
    source: SqlSource | None = None
    source_datastore: str = ""
    table: str | None = None
    mode: LoadMode = "append"
    keys: tuple[str, ...] = ()
    source_type: ReferenceType | None = None
    destination_type: ReferenceType | None = None
    file_format: FileFormat | None = None
    timeout_s: float | None = None

    @classmethod
    def between(
        cls,
        target: str,
        source: SqlDataReference | None,
        destination: SqlDataReference | None,
        values: Mapping[str, Any],
        **options: Any,
    ) -> TableTransfer:
        """Return the transfer between two ends with the values of a run.

        :param source: None for files.
        :param destination: None for files.
        :param values: the run's pipeline parameters by name.
        """
        return cls(
            target,
            None if source is None else source.source(values),
            "" if source is None else source.datastore_name,
            None if destination is None else destination.table(values),
            **options,
        )

    @property
    def settings(self) -> Mapping[str, Any]:
        """What decides about what is at the destination afterwards."""
        return {
            "source": None if self.source is None else [self.source_datastore, self.source.to_document()],
            "sql_table": self.table,
            "table_mode": self.mode,
            "upsert_keys": list(self.keys),
            "source_reference_type": self.source_type,
            "destination_reference_type": self.destination_type,
            "file_format": self.file_format,
        }

    def inputs(self, request: StepRequest, services: ExecutionServices) -> list[ResolvedInput]:
        """Look at the source, as closely as the database lets it be seen without reading it."""
        if self.source is None:
            return resolve_inputs(request, services)
        database = services.workspace.datastores.database(self.source_datastore)
        found = database.fingerprint(self.source, Job(self.timeout_s))
        document = {"kind": "sql", "datastore": self.source_datastore, "source": self.source.to_document()}
        # Without a fingerprint nobody can say whether the rows are others: such a source never counts as unchanged.
        known = IdentityClass.PATH if found is None else IdentityClass.ETAG
        identity = digest_of([document, None if found is None else [found.kind, found.value]])
        port = InputPort("source", "direct", PathSource(self.source_datastore, self.source.shown))
        return [ResolvedInput(port, InputIdentity("source", "direct", known, identity), (), "", document)]

    def begin(
        self,
        request: StepRequest,
        services: ExecutionServices,
        record: dict[str, Any],
        log: TaskLog,
        stopping: threading.Event,
    ) -> TransferRun[TableTransfer]:
        """Make one try of the transfer."""
        return _TableTransferRun(request, self, services, record, log, stopping)


class _TableTransferRun(TransferRun[TableTransfer]):
    def move(self, tell: Tell) -> tuple[Mapping[str, int | float], StoredOutput]:
        """Move the rows."""
        if self._work.table is None:
            return self._to_file(tell)
        (port,) = self._request.ports.outputs
        database = self._services.workspace.datastores.database(str(port.datastore))
        done = self._to_table(database, self._work.table, tell)
        output = stored_table(
            database, port.name, str(port.datastore), self._work.table, self._work.mode, self._limits()
        )
        return _counts(done), output

    def _limits(self) -> Job:
        return Job(self._work.timeout_s, self._stopping)

    def _to_table(self, database: Database, table: str, tell: Tell) -> SqlTransferred:
        work = self._work
        if work.source is not None:
            source = self._services.workspace.datastores.database(work.source_datastore)
            return database_to_table(
                source,
                work.source,
                database,
                table,
                mode=work.mode,
                keys=work.keys,
                job=self._limits(),
                tell=tell,
            )
        end = self.source_end(work.source_type)
        return files_to_table(
            end.store,
            _files_at(end, work.file_format),
            database,
            table,
            mode=work.mode,
            keys=work.keys,
            file_format=work.file_format,
            job=self._limits(),
            tell=tell,
            scratch=self._folder.root,
        )

    def _to_file(self, tell: Tell) -> tuple[Mapping[str, int | float], StoredOutput]:
        work = self._work
        source = work.source
        if source is None:  # pragma: no cover - the step says so first
            raise TypeError("a transfer between files is no transfer of tables")
        end = self.target_end(work.destination_type)
        file_format = work.file_format or ("parquet" if end.path.endswith(".parquet") else "csv")
        path = end.path
        if work.destination_type == "directory" or not path:
            path = joined(path, f"{self._request.identity.step_name}.{file_format}")
        database = self._services.workspace.datastores.database(work.source_datastore)
        done = database_to_file(
            database,
            source,
            end.store,
            path,
            file_format=file_format,
            job=self._limits(),
            tell=tell,
            scratch=self._folder.root,
        )
        (port,) = self._request.ports.outputs
        (written,) = done.files
        listed = ListedFile(written.path, written.size_bytes, written.version, done.sha256)
        output = output_of_files(
            self._services.workspace,
            self._services.hashes,
            name=port.name,
            datastore=end.datastore,
            path=end.path,
            type_="file" if path == end.path else "directory",
            files=[listed],
            kind=port.kind,
        )
        return {**_counts(done), "bytes_copied": written.size_bytes}, output


def _files_at(end: End, file_format: FileFormat | None) -> Sequence[FileInfo]:
    """Return the files of a source: one, or those of a folder with rows in them."""
    one = None if end.type == "directory" or not end.path else end.store.stat(end.path)
    if one is not None:
        return [one]
    endings = {f".{file_format}"} if file_format else {".csv", ".parquet"}
    return [info for info in end.store.walk(end.path) if PurePosixPath(info.path).suffix.lower() in endings]


def _counts(done: SqlTransferred) -> dict[str, int | float]:
    return {"rows": done.rows, "seconds": round(done.seconds, 3)}
