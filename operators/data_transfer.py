"""``DataTransferStep``: copy data from one datastore to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from airflow.sdk import Asset

from airflow_azureml.model.data import InputPortBinding, PipelineData
from airflow_azureml.model.paths import DataPath, DataReference
from airflow_azureml.model.port_types import OutputPort, PathSource
from airflow_azureml.model.ports import Ports
from airflow_azureml.model.sql_reference import SqlDataReference
from airflow_azureml.model.transfer_output import TransferOutput
from airflow_azureml.operators.step import PipelineStep
from airflow_azureml.runtime.exceptions import DefinitionError, UserErrorException
from airflow_azureml.transfer.patterns import split_glob
from airflow_azureml.transfer.request import check_options

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_azureml.compute.work import StepWork

_WORDS = {"table_mode": ("append", "replace", "upsert"), "file_format": (None, "csv", "parquet")}
_TYPES = (None, "file", "directory")
_OF_FILES: Mapping[str, Any] = {
    "include": [],
    "exclude": [],
    "mode": "copy",
    "delete_limit": 0.25,
    "compare": "content",
    "overwrite": True,
    "verify": "checksum",
    "workers": 24,
    "bandwidth_limit": None,
    "dry_run": False,
}
"""Arguments that say something of files alone, and their defaults."""

_OF_TABLES: Mapping[str, Any] = {
    "table_mode": "append",
    "upsert_keys": [],
    "file_format": None,
    "query_timeout": None,
}
"""Arguments that say something of tables alone, and their defaults."""


class DataTransferStep(PipelineStep):
    """Copy files, a folder, a table or a query's result to another place.

    ::

        landing = Datastore.get(ws, "landing").path("sales/2026")
        archive = Datastore.get(ws, "archive").path("sales")
        DataTransferStep("archive_sales", landing, archive)

    Files that are at the destination already, unchanged, are not copied again; each file appears whole; what a try has copied the
    next one doesn't copy again. The step's XCom has, beside the usual, ``transfer``: ``files_copied``, ``files_skipped``,
    ``files_deleted``, ``bytes_copied``, ``seconds``, …

    :param name: the step's name (v1 ``name``).
    :param source_data_reference: what is copied: a ``DataReference`` (its path may end in a glob such as ``raw/**/*.csv``), the
        output of another step, a pair of ``DataPath`` and binding, or a ``SqlDataReference`` (v1 ``source_data_reference``).
    :param destination_data_reference: where to: a ``DataReference``, a ``PipelineData`` for a place of the run's own, or a
        ``SqlDataReference`` with ``sql_table`` (v1 ``destination_data_reference``).
    :param compute_target: v1's Data Factory; accepted so that v1 code runs, and written into the run record. The worker that
        runs the task copies, or has the storage service copy.
    :param source_reference_type: ``file`` or ``directory``; by default what the path is (v1 ``source_reference_type``).
    :param destination_reference_type: ``file`` or ``directory``; by default what is there, else what the source is (v1
        ``destination_reference_type``).
    :param allow_reuse: don't copy when the source is unchanged and the destination still carries what was written (v1
        ``allow_reuse``, which looked at neither).
    :param include: (templated) globs of files below a source folder; all by default.
    :param exclude: (templated) globs of files to leave out.
    :param mode: ``copy``, or ``mirror``: files of the destination folder that the source doesn't have are deleted.
    :param delete_limit: a mirror that would delete more than so many files (int) or such a share of them (float) stops before it
        does anything.
    :param compare: when a file at the destination counts as unchanged: ``content``, ``time`` or ``size``; see the guide.
    :param overwrite: whether files with another content are replaced; else they are kept and counted.
    :param verify: ``checksum``, or ``size`` for sizes only.
    :param workers: how many small files are copied at the same time.
    :param bandwidth_limit: bytes per second through this worker.
    :param dry_run: only say what would be done; never reused.
    :param table_mode: rows of a destination table: ``append`` (as v1), ``replace`` or ``upsert``.
    :param upsert_keys: columns that say which row is which, for ``upsert``.
    :param file_format: ``csv`` or ``parquet``, of files that are made from a database or loaded into one; by default what the
        path's ending says.
    :param query_timeout: seconds that a query may take.
    :param kwargs: what every step takes, and any argument of Airflow's ``BaseOperator``.
    :raises DefinitionError: an argument is wrong; the message names step and argument.

    Source: v1 ``azureml.pipeline.steps.DataTransferStep``.
    """

    positional: ClassVar[tuple[str, ...]] = (
        "name",
        "source_data_reference",
        "destination_data_reference",
        "compute_target",
        "source_reference_type",
        "destination_reference_type",
        "allow_reuse",
    )
    template_fields: Sequence[str] = ("source_path", "destination_path", "include", "exclude", "step_params")

    def __init__(
        self,
        *,
        name: str,
        source_data_reference: Any = None,
        destination_data_reference: Any = None,
        compute_target: Any = None,
        source_reference_type: str | None = None,
        destination_reference_type: str | None = None,
        allow_reuse: bool = True,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        mode: str = "copy",
        delete_limit: float = 0.25,
        compare: str = "content",
        overwrite: bool = True,
        verify: str = "checksum",
        workers: int = 24,
        bandwidth_limit: int | None = None,
        dry_run: bool = False,
        table_mode: str = "append",
        upsert_keys: Sequence[str] = (),
        file_format: str | None = None,
        query_timeout: float | None = None,
        ports: Ports | None = None,
        **kwargs: Any,
    ) -> None:
        label = f"DataTransferStep {name!r}"
        _check_given(label, source_data_reference, destination_data_reference)
        source, glob = _without_glob(source_data_reference)
        self._output = _output(label, destination_data_reference)
        tables = [
            reference
            for reference in (source_data_reference, destination_data_reference)
            if isinstance(reference, SqlDataReference)
        ]
        super().__init__(
            name=name,
            inputs=[] if isinstance(source, SqlDataReference) else [source],
            outputs=[self._output],
            step_params={
                parameter.name: parameter
                for reference in tables
                for parameter in reference.pipeline_parameters()
            },
            allow_reuse=allow_reuse and not dry_run,
            default_name="transfer",
            ports=ports,
            **kwargs,
        )
        self.source_data_reference = source_data_reference
        self.destination_data_reference = destination_data_reference
        self.compute_target = compute_target
        self.source_reference_type = source_reference_type
        self.destination_reference_type = destination_reference_type
        self.include = [*include, *([glob] if glob else [])]
        self.exclude = list(exclude)
        self.mode = mode
        self.delete_limit = delete_limit
        self.compare = compare
        self.overwrite = overwrite
        self.verify = verify
        self.workers = workers
        self.bandwidth_limit = bandwidth_limit
        self.dry_run_only = dry_run
        self.table_mode = table_mode
        self.upsert_keys = list(upsert_keys)
        self.file_format = file_format
        self.query_timeout = query_timeout
        self.source_path = _path_of(self.ports.inputs[0].source) if self.ports.inputs else None
        self.destination_path = self.ports.outputs[0].path
        self._values: Mapping[str, Any] = {}
        self._check_choices()
        if self.asset is not None and not self.is_unmapped:
            self.add_outlets([self.asset])

    @property
    def asset(self) -> Asset | None:
        """The destination as an Airflow asset, by which other DAGs are scheduled; the step has it among its outlets.

        ``None`` for a place of the run's own, a table, and a path that is known in the run only.
        """
        port = self.ports.outputs[0]
        if port.kind != "transfer" or port.path is None or "{" in port.path:
            return None
        return Asset(f"azureml://datastores/{quote(str(port.datastore))}/paths/{quote(port.path)}")

    def get_output(self) -> PipelineData:
        """Return what the transfer leaves at its destination, for steps that read it or come after it (v1 ``get_output``)."""
        return self._output

    def render(self, context: Context) -> None:
        """Put the values of this run into paths, globs and statements' parameters."""
        from airflow_azureml.operators.run_values import parameter_values

        super().render(context)
        self._values = parameter_values(self, context)
        ports = self.ports
        inputs, outputs = list(ports.inputs), list(ports.outputs)
        if inputs and isinstance(inputs[0].source, PathSource):
            inputs[0] = replace(inputs[0], source=replace(inputs[0].source, path=str(self.source_path)))
        if outputs[0].kind == "transfer":
            outputs[0] = _with_path(outputs[0], self.destination_path)
        self._ports = replace(ports, inputs=tuple(inputs), outputs=tuple(outputs))

    def work(self) -> StepWork:
        """Return the transfer, with the values of this run."""
        target = str(getattr(self.compute_target, "name", self.compute_target) or "worker")
        types: dict[str, Any] = {
            "source_type": self.source_reference_type,
            "destination_type": self.destination_reference_type,
        }
        if self._tables() == (None, None):
            from airflow_azureml.compute.transfers.files import FileTransfer

            return FileTransfer(target, **types, result=self._result(), way=self._way())
        from airflow_azureml.compute.transfers.tables import TableTransfer

        return TableTransfer.between(
            target,
            *self._tables(),
            values=self._values,
            **types,
            mode=self.table_mode,
            keys=tuple(self.upsert_keys),
            file_format=self.file_format,
            timeout_s=self.query_timeout,
        )

    def _tables(self) -> tuple[SqlDataReference | None, SqlDataReference | None]:
        """Return the ends that are in databases."""
        source, destination = self.source_data_reference, self.destination_data_reference
        return (
            source if isinstance(source, SqlDataReference) else None,
            destination if isinstance(destination, SqlDataReference) else None,
        )

    def _result(self) -> Mapping[str, Any]:
        """Return the options that decide about what is at the destination afterwards."""
        return {
            "dry_run": self.dry_run_only,
            "exclude": tuple(self.exclude),
            "include": tuple(self.include),
            "mode": self.mode,
            "overwrite": self.overwrite,
        }

    def _way(self) -> Mapping[str, Any]:
        """Return the options that only decide about how it gets there."""
        return {
            "bandwidth_bytes_s": self.bandwidth_limit,
            "compare": self.compare,
            "delete_limit": self.delete_limit,
            "verify": self.verify,
            "workers": self.workers,
        }

    def _check_choices(self) -> None:
        foreign, what = (_OF_TABLES, "a table") if self._tables() == (None, None) else (_OF_FILES, "files")
        for argument, usual in foreign.items():
            value = getattr(self, "dry_run_only" if argument == "dry_run" else argument)
            if value != usual:
                raise DefinitionError(
                    f"{self.title}: argument {argument} is {value!r}, which is for a transfer of {what}; leave it out"
                )
        try:
            check_options({**self._result(), **self._way()})
        except UserErrorException as error:
            raise DefinitionError(f"{self.title}: {error}") from None
        for argument in ("source_reference_type", "destination_reference_type"):
            value = getattr(self, argument)
            if value not in _TYPES:
                raise DefinitionError(
                    f"{self.title}: argument {argument} is {value!r}; give 'file' or 'directory', or leave it out"
                )
        for argument, allowed in _WORDS.items():
            if getattr(self, argument) not in allowed:
                raise DefinitionError(
                    f"{self.title}: argument {argument} is {getattr(self, argument)!r}; "
                    f"give one of {', '.join(map(repr, filter(None, allowed)))}"
                )


def _check_given(label: str, source: object, destination: object) -> None:
    for argument, value in (
        ("source_data_reference", source),
        ("destination_data_reference", destination),
    ):
        if value is None:
            raise DefinitionError(
                f"{label}: argument {argument} is missing; give a DataReference: datastore.path('folder')"
            )


def _without_glob(source: Any) -> tuple[Any, str | None]:
    """Return a source reference without the glob that its path ends in, and the glob."""
    if not isinstance(source, DataReference) or isinstance(source, SqlDataReference):
        return source, None
    folder, glob = split_glob(source.path_on_datastore)
    if glob is None:
        return source, None
    name = None if source.has_generated_name else source.data_reference_name
    return DataReference(source.datastore, name, folder or None), glob


def _output(label: str, destination: Any) -> PipelineData:
    if isinstance(destination, InputPortBinding):
        destination = destination.bind_object
    if isinstance(destination, tuple) and destination and isinstance(destination[0], DataPath):
        destination = destination[0]
    if isinstance(destination, PipelineData):
        return destination
    if isinstance(destination, SqlDataReference):
        if destination.sql_table is None:
            raise DefinitionError(
                f"{label}: argument destination_data_reference is a query or procedure, which is no place to write to; "
                "give a SqlDataReference with sql_table"
            )
        return TransferOutput(str(destination.datastore_name), None)
    if isinstance(destination, DataReference | DataPath):
        return TransferOutput(destination.datastore_name, destination.path_on_datastore)
    raise DefinitionError(
        f"{label}: argument destination_data_reference is a {type(destination).__name__}; give a DataReference, "
        "a PipelineData, or a SqlDataReference with sql_table"
    )


def _path_of(source: object) -> str | None:
    return source.path if isinstance(source, PathSource) else None


def _with_path(port: OutputPort, path: str | None) -> OutputPort:
    return replace(port, path=path)
