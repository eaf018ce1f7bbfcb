"""Transfers from one store of files to another."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_azureml.compute.inputs import ResolvedInput
from airflow_azureml.compute.listings import ListedFile
from airflow_azureml.compute.outputs import StoredOutput, output_of_files
from airflow_azureml.compute.request import ExecutionServices, StepRequest
from airflow_azureml.compute.step_inputs import resolve_inputs
from airflow_azureml.compute.task_log import TaskLog
from airflow_azureml.compute.transfers.base import Tell, TransferRun, WorkWithoutCode
from airflow_azureml.transfer.engine import transfer
from airflow_azureml.transfer.journal import Journal
from airflow_azureml.transfer.patterns import chooser
from airflow_azureml.transfer.reference_types import infer_types
from airflow_azureml.transfer.request import ReferenceType, TransferRequest, TransferResult

JOURNALS = "transfers/"
"""Where the workspace keeps what transfers have done."""


@dataclass(frozen=True, slots=True)
class FileTransfer(WorkWithoutCode):
    """A transfer of files; for the options see :class:`airflow_azureml.transfer.request.TransferRequest`.

    :param target: name of the compute target, for the run record.
    :param source_type: ``file`` or ``directory``; None for what the path is (v1 ``source_reference_type``).
    :param destination_type: the same for the destination; None for what is there, else what the source is.
    :param result: options that decide about what is at the destination afterwards.
    :param way: options that only decide about how it gets there.
    """

    target: str
    source_type: ReferenceType | None = None
    destination_type: ReferenceType | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    way: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> Mapping[str, Any]:
        """What decides about what is at the destination afterwards."""
        return {
            "source_reference_type": self.source_type,
            "destination_reference_type": self.destination_type,
            **{
                name: list(value) if isinstance(value, tuple) else value
                for name, value in self.result.items()
            },
        }

    def inputs(self, request: StepRequest, services: ExecutionServices) -> list[ResolvedInput]:
        """Look at the source; of a folder only the files that are taken count."""
        only = chooser(self.result.get("include", ()), self.result.get("exclude", ()))
        return resolve_inputs(request, services, only=only)

    def begin(
        self,
        request: StepRequest,
        services: ExecutionServices,
        record: dict[str, Any],
        log: TaskLog,
        stopping: threading.Event,
    ) -> TransferRun[FileTransfer]:
        """Make one try of the transfer."""
        return _FileTransferRun(request, self, services, record, log, stopping)


class _FileTransferRun(TransferRun[FileTransfer]):
    def move(self, tell: Tell) -> tuple[Mapping[str, int | float], StoredOutput]:
        """Copy the files."""
        source, target = self.source_end(self._work.source_type), self.target_end(self._work.destination_type)
        types = infer_types(source.store, source.path, source.type, target.store, target.path, target.type)
        asked = TransferRequest(
            source.store,
            source.path,
            target.store,
            target.path,
            source_type=types[0],
            target_type=types[1],
            **self._work.result,
            **self._work.way,
        )
        journal = Journal(self._services.workspace.store, f"{JOURNALS}{asked.key[:2]}/{asked.key}")
        done = transfer(asked, journal=journal, stopping=self._stopping, tell=tell)
        (port,) = self._request.ports.outputs
        output = output_of_files(
            self._services.workspace,
            self._services.hashes,
            name=port.name,
            datastore=target.datastore,
            path=target.path,
            type_=types[1],
            files=[
                ListedFile(item.path, item.size_bytes, item.version, md5=item.md5) for item in done.written
            ],
            kind=port.kind,
        )
        return _counts(done), output


def _counts(done: TransferResult) -> dict[str, int | float]:
    return {
        "files_copied": done.copied,
        "files_skipped": done.skipped,
        "files_kept": done.kept,
        "files_deleted": done.deleted,
        "files_verified": done.verified,
        "bytes_copied": done.size_bytes,
        "seconds": round(done.seconds, 3),
    }
