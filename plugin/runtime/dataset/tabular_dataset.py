"""``TabularDataset``: rows and columns out of files (v1: ``azureml.data.TabularDataset``)."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any, Iterable, NoReturn

from airflow_azureml.runtime import service
from airflow_azureml.runtime.dataset import expressions, operations, service_calls, sources
from airflow_azureml.runtime.dataset.abstract import AbstractDataset
from airflow_azureml.runtime.dataset.definition import new_definition, timestamp_columns
from airflow_azureml.runtime.dataset.file_dataset import FileDataset
from airflow_azureml.runtime.exceptions import (
    DatasetExecutionError,
    DatasetTimestampMissingError,
    DatasetValidationError,
    UserErrorException,
)

if TYPE_CHECKING:
    from airflow_azureml.runtime.dataset.engine.options import EvaluationOptions
    from airflow_azureml.runtime.dataset.engine.profile import DatasetProfile
    from airflow_azureml.runtime.dataset.resolve import ResolvedFile


class TabularDataset(AbstractDataset):
    """Rows that are read when they are asked for; made by ``Dataset.Tabular``.

    Where a method has ``validate``, True checks at once inside a running step and nowhere else: a DAG file declares
    data that its machine may not have. :meth:`validate` checks anywhere.
    """

    kind = "tabular"

    # -- rows -------------------------------------------------------------------------------------------------

    def to_pandas_dataframe(self, on_error: str = "null", out_of_range_datetime: str = "null") -> Any:
        """Read all rows.

        The index counts from 0. With a timestamp column the index is that column's values (v1), which stays a
        column too.

        :param on_error: ``"null"`` makes values missing that don't fit a set type, ``"fail"`` raises.
        :param out_of_range_datetime: the same for times outside of the years 1677 to 2262.
        :raises DatasetValidationError: a path is missing or means no file.
        :raises DatasetExecutionError: the data cannot be read as declared, or a value fails.
        """
        from airflow_azureml.runtime.dataset.engine import EvaluationOptions
        from airflow_azureml.runtime.dataset.engine.evaluate import with_timestamp_index

        frame = self._evaluate(EvaluationOptions.of(on_error, out_of_range_datetime))
        return with_timestamp_index(self._definition, frame)

    def _evaluate(
        self, options: EvaluationOptions | None = None, files: list[ResolvedFile] | None = None
    ) -> Any:
        from airflow_azureml.runtime.dataset.engine import EvaluationOptions, evaluate

        found = service_calls.files(self._definition) if files is None else files
        return evaluate(self._definition, found, options or EvaluationOptions())

    def get_profile(self, workspace: Any = None) -> DatasetProfile:
        """Read all rows, and return what their columns hold: counts, extremes, moments, quantiles, histograms.

        v1 computed profiles by runs of their own (``submit_profile_run``) and kept them; here each call looks at the rows.

        :param workspace: accepted as in v1; there is one around a process.
        """
        from airflow_azureml.runtime.dataset.engine.profile import profile

        return profile(self._evaluate())

    def validate(self) -> None:
        """Check that the data is there, and that its first file can be read as declared.

        :raises DatasetValidationError: it isn't, or can't.
        """
        files = service_calls.files(self._definition, first=1)
        try:
            self._evaluate(files=files)
        except DatasetExecutionError as error:
            raise DatasetValidationError(error.message) from error

    def checked(self, validate: bool) -> TabularDataset:
        """Return this dataset, validated if that is wanted and this is a running step."""
        if validate and service.is_online():
            self.validate()
        return self

    # -- columns and filters ----------------------------------------------------------------------------------

    def __getitem__(self, column: str) -> expressions.Expression:
        return expressions.column(column)

    def keep_columns(self, columns: str | Iterable[str], validate: bool = False) -> TabularDataset:
        """Keep these columns, in the order they have in the data.

        Without its timestamp column a dataset is no time series any more.
        """
        return self._with(operations.keep_columns(columns)).checked(validate)

    def drop_columns(self, columns: str | Iterable[str]) -> TabularDataset:
        """Leave these columns out; see :meth:`keep_columns`."""
        return self._with(operations.drop_columns(columns))

    def filter(self, expression: Any) -> TabularDataset:
        """Keep the rows that satisfy a condition: ``ds.filter((ds["age"] > 30) & ds["city"].isin(["Ulm"]))``.

        :raises UserErrorException: it is no condition.
        """
        return self._with(operations.filter_items(expressions.condition_document(expression)))

    # -- time series ------------------------------------------------------------------------------------------

    @property
    def timestamp_columns(self) -> tuple[str | None, str | None]:
        """The timestamp and the partition timestamp column; None where there is none."""
        return timestamp_columns(self._definition)

    def with_timestamp_columns(
        self, timestamp: str | None = None, partition_timestamp: str | None = None, validate: bool = False
    ) -> TabularDataset:
        """Say which columns hold the time of a row, for the ``time_…`` methods.

        :param timestamp: the exact time; None takes the trait away.
        :param partition_timestamp: a coarser time, such as the date in the path.
        :raises UserErrorException: a partition timestamp without a timestamp, or the same column for both.
        """
        return self._with(operations.timestamps(timestamp, partition_timestamp)).checked(validate)

    def time_before(
        self, end_time: datetime.datetime, include_boundary: bool = True, validate: bool = True
    ) -> TabularDataset:
        """Keep the rows up to a time; v1 rounds it to the second.

        :param end_time: a naive time is UTC.
        :param include_boundary: whether that very time is kept.
        :raises DatasetTimestampMissingError: no timestamp column is named.
        """
        return self._between("time_before", None, end_time, include_boundary, validate)

    def time_after(
        self, start_time: datetime.datetime, include_boundary: bool = True, validate: bool = True
    ) -> TabularDataset:
        """Keep the rows from a time on; v1 cuts it to the second. See :meth:`time_before`."""
        return self._between("time_after", start_time, None, include_boundary, validate)

    def time_between(
        self,
        start_time: datetime.datetime,
        end_time: datetime.datetime,
        include_boundary: bool = True,
        validate: bool = True,
    ) -> TabularDataset:
        """Keep the rows between two times. See :meth:`time_before`."""
        return self._between("time_between", start_time, end_time, include_boundary, validate)

    def time_recent(
        self, time_delta: datetime.timedelta, include_boundary: bool = True, validate: bool = True
    ) -> TabularDataset:
        """Keep the rows of the last while.

        It is counted back from when the rows are read; in a pipeline, from when a run binds its inputs, and
        not from when the DAG file was read.

        :raises DatasetTimestampMissingError: no timestamp column is named.
        """
        column = self._timestamp("time_recent")
        return self._with(operations.time_recent(column, time_delta, include_boundary)).checked(validate)

    def _between(
        self, method: str, start: object, end: object, include_boundary: bool, validate: bool
    ) -> TabularDataset:
        column = self._timestamp(method)
        needs_start, needs_end = method != "time_before", method != "time_after"
        lower = operations.checked_time(method, "start_time", start) if needs_start else None
        upper = operations.checked_time(method, "end_time", end) if needs_end else None
        return self._with(operations.time_range(column, lower, upper, include_boundary)).checked(validate)

    def _timestamp(self, method: str) -> str:
        column, _ = self.timestamp_columns
        if column is None:
            raise DatasetTimestampMissingError(
                "%s needs a timestamp column; name it with with_timestamp_columns(timestamp=…) first" % method
            )
        return column

    # -- as files ---------------------------------------------------------------------------------------------

    def to_csv_files(self, separator: str = ",") -> FileDataset:
        """Return a file dataset of one CSV file with these rows, written when it is used."""
        return FileDataset(
            new_definition("file", sources.converted_source(self._definition, "csv", separator))
        )

    def to_parquet_files(self) -> FileDataset:
        """Return a file dataset of one Parquet file with these rows, written when it is used."""
        return FileDataset(new_definition("file", sources.converted_source(self._definition, "parquet")))

    def partition_by(
        self,
        partition_keys: Iterable[str],
        target: Any,
        name: str | None = None,
        show_progress: bool = True,
        partition_as_file_dataset: bool = False,
    ) -> TabularDataset | FileDataset:
        """Write the rows as Parquet files, one folder per combination of values, and return them as a dataset.

        :param partition_keys: the columns, outermost folder first.
        :param target: a datastore, ``(datastore, path)`` or a DataPath; a new folder is made below it.
        :param name: register the result under this name, as a new version when it is taken.
        :param show_progress: print what is uploaded.
        :param partition_as_file_dataset: return the files as a file dataset.
        :raises UserErrorException: no keys, a key twice, or one that is no column.
        """
        from airflow_azureml.runtime.dataset import partitioning

        keys = operations.column_names("partition_by", partition_keys)
        definition = partitioning.partitioned(
            self._evaluate(), keys, target, as_files=partition_as_file_dataset, show_progress=show_progress
        )
        written: TabularDataset | FileDataset
        if partition_as_file_dataset:
            written = FileDataset(definition)
        else:
            written = TabularDataset(definition)
            if self.timestamp_columns[0] is not None:
                written = written.with_timestamp_columns(*self.timestamp_columns)
        return written if name is None else written.register(None, name, create_new_version=True)

    def download(self, stream_column: str, *_: Any, **__: Any) -> NoReturn:
        """Refuse: columns of streams (v1) are not supported.

        :raises UserErrorException: always.
        """
        raise UserErrorException("columns of streams are not supported; a FileDataset downloads files")

    def mount(self, stream_column: str, *_: Any, **__: Any) -> NoReturn:
        """Refuse: columns of streams (v1) are not supported.

        :raises UserErrorException: always.
        """
        raise UserErrorException("columns of streams are not supported; a FileDataset mounts files")
