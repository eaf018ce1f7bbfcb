"""``Dataset.Tabular``, ``Dataset.File`` and looking datasets up (v1: ``azureml.core.Dataset``).

Declaring a dataset checks what is written, not what is there: a DAG file is read on machines without the data. With
``validate=True`` (v1's default) the data is looked at when the declaration runs inside a step; elsewhere call
``dataset.validate()``. Reading a dataset whose data is missing raises ``DatasetValidationError`` naming the path.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any, Mapping

from airflow_azureml.runtime import service
from airflow_azureml.runtime.dataset import service_calls, sources
from airflow_azureml.runtime.dataset.definition import check_definition, new_definition
from airflow_azureml.runtime.dataset.file_dataset import FileDataset
from airflow_azureml.runtime.dataset.locations import datastore_query, datastore_target, path_entries
from airflow_azureml.runtime.dataset.tabular_dataset import TabularDataset
from airflow_azureml.runtime.dataset.uploading import unique_folder, upload_folder
from airflow_azureml.runtime.exceptions import UserErrorException


class TabularDatasetFactory:
    """Makes tabular datasets (``Dataset.Tabular``).

    ``path`` is one or a list of: a local path or ``file://`` URL, ``(datastore, path)``, a DataPath, a
    DataReference, an ``https://`` URL. Paths may hold ``*`` and ``**``. ``partition_format`` makes columns of path
    parts, ``include_path`` adds a column ``Path``.
    """

    @staticmethod
    def from_delimited_files(
        path: Any,
        validate: bool = True,
        include_path: bool = False,
        infer_column_types: bool = True,
        set_column_types: Mapping[str, Any] | None = None,
        separator: str = ",",
        header: Any = True,
        partition_format: str | None = None,
        support_multi_line: bool = False,
        empty_as_string: bool = False,
        encoding: str = "utf8",
    ) -> TabularDataset:
        """Declare rows of delimited text files.

        :param infer_column_types: recognise numbers, truth values and times; all text otherwise.
        :param set_column_types: ``DataType`` by column name.
        :param header: True, False or a ``PromoteHeadersBehavior``.
        :param support_multi_line: quoted fields may hold line breaks; else a record ends with its line.
        :param empty_as_string: empty fields of text columns are empty texts; else they are missing.
        :param encoding: utf8, iso88591, latin1, ascii, utf16, utf32, utf8bom or windows1252.
        :raises UserErrorException: an argument is none of these.
        """
        source = sources.delimited_source(
            path_entries(path),
            include_path=include_path,
            infer_column_types=infer_column_types,
            set_column_types=set_column_types,
            separator=separator,
            header=header,
            partition_format=partition_format,
            support_multi_line=support_multi_line,
            empty_as_string=empty_as_string,
            encoding=encoding,
        )
        return _tabular(source, validate)

    @staticmethod
    def from_parquet_files(
        path: Any,
        validate: bool = True,
        include_path: bool = False,
        set_column_types: Mapping[str, Any] | None = None,
        partition_format: str | None = None,
    ) -> TabularDataset:
        """Declare rows of Parquet files.

        :param set_column_types: ``DataType`` by column name.
        :raises UserErrorException: an argument is none of v1's.
        """
        source = sources.parquet_source(
            path_entries(path),
            include_path=include_path,
            set_column_types=set_column_types,
            partition_format=partition_format,
        )
        return _tabular(source, validate)

    @staticmethod
    def from_json_lines_files(
        path: Any,
        validate: bool = True,
        include_path: bool = False,
        set_column_types: Mapping[str, Any] | None = None,
        partition_format: str | None = None,
        invalid_lines: str = "error",
        encoding: str = "utf8",
    ) -> TabularDataset:
        """Declare rows of files with one JSON object per line.

        :param set_column_types: ``DataType`` by column name.
        :param invalid_lines: ``"error"`` or ``"drop"``.
        :param encoding: as for :meth:`from_delimited_files`.
        :raises UserErrorException: an argument is none of v1's.
        """
        source = sources.json_lines_source(
            path_entries(path),
            include_path=include_path,
            set_column_types=set_column_types,
            partition_format=partition_format,
            invalid_lines=invalid_lines,
            encoding=encoding,
        )
        return _tabular(source, validate)

    @staticmethod
    def from_sql_query(
        query: Any,
        validate: bool = True,
        set_column_types: Mapping[str, Any] | None = None,
        query_timeout: int = 30,
    ) -> TabularDataset:
        """Declare the rows of a query on a database.

        The worker runs it, with the datastore's Airflow connection, and gives the script the rows as a Parquet file: a
        script needs neither driver nor credentials.

        :param query: ``(datastore, "select …")``, a DataPath with the statement as path (v1), or a SqlDataReference; one
            statement.
        :param set_column_types: ``DataType`` by column name; others have the types of the database.
        :param query_timeout: seconds after which the query is given up; 0 for never.
        :raises UserErrorException: an argument is none of these.
        """
        datastore, text = datastore_query(query)
        source = sources.sql_source(
            datastore, text, set_column_types=set_column_types, query_timeout=query_timeout
        )
        return _tabular(source, validate)

    @staticmethod
    def register_pandas_dataframe(
        dataframe: Any,
        target: Any,
        name: str,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        show_progress: bool = True,
        row_group_size: int | None = None,
        make_target_path_unique: bool = True,
    ) -> TabularDataset:
        """Write a DataFrame as Parquet to a datastore and register it, as a new version when the name is taken.

        :param dataframe: the rows; ``.`` in column names becomes ``_`` (v1), the index is not kept.
        :param target: a datastore, ``(datastore, path)`` or a DataPath.
        :param row_group_size: rows per Parquet row group.
        :param make_target_path_unique: write to a new folder below ``target``.
        :raises UserErrorException: ``target`` is none of these.
        """
        from airflow_azureml.runtime.dataset.engine.parquet import write_parquet

        datastore, path = datastore_target(target)
        place = unique_folder(path) if make_target_path_unique else path
        frame = dataframe.rename(columns=lambda column: str(column).replace(".", "_"))
        with tempfile.TemporaryDirectory() as folder:
            write_parquet(frame, os.path.join(folder, "part-00000.parquet"), row_group_size)
            upload_folder(folder, datastore, place, overwrite=True, show_progress=show_progress)
        source = sources.parquet_source([{"datastore": datastore, "path": place}])
        written = _tabular(source, validate=False)
        return written.register(None, name, description, tags, create_new_version=True)


class FileDatasetFactory:
    """Makes file datasets (``Dataset.File``)."""

    @staticmethod
    def from_files(
        path: Any, validate: bool = True, partition_format: str | None = None, is_file: bool = False
    ) -> FileDataset:
        """Declare files.

        :param path: as for ``Dataset.Tabular``.
        :param partition_format: makes partition keys of path parts.
        :param is_file: accepted as in v1; whether a path is a file is seen when it is resolved.
        :raises UserErrorException: an argument is none of v1's.
        """
        dataset = FileDataset(
            new_definition("file", sources.files_source(path_entries(path), partition_format))
        )
        # v1 looks at the data only when there is a partition format to fit.
        if validate and partition_format is not None and service.is_online():
            dataset.validate()
        return dataset

    @staticmethod
    def upload_directory(
        src_dir: str,
        target: Any,
        pattern: str | None = None,
        overwrite: bool = False,
        show_progress: bool = True,
    ) -> FileDataset:
        """Upload a local folder to a datastore and declare its files there.

        :param src_dir: the folder.
        :param target: a datastore, ``(datastore, path)`` or a DataPath.
        :param pattern: which files, with ``*`` and ``**``, relative to the folder; None for all.
        :param overwrite: replace files that are there; they stay otherwise.
        :raises UserErrorException: no such folder, or no file in it fits.
        """
        datastore, path = datastore_target(target)
        count = upload_folder(
            src_dir, datastore, path, pattern=pattern, overwrite=overwrite, show_progress=show_progress
        )
        if not count:
            raise UserErrorException("%s has no file%s" % (src_dir, " like %s" % pattern if pattern else ""))
        return FileDataset(
            new_definition("file", sources.files_source([{"datastore": datastore, "path": path}]))
        )


class Dataset:
    """Entry point to datasets, as in v1: ``Dataset.Tabular``, ``Dataset.File`` and the look-ups.

    The workspace arguments are v1's; there is one workspace around a process.
    """

    Tabular = TabularDatasetFactory
    File = FileDatasetFactory

    @staticmethod
    def get_by_name(
        workspace: Any, name: str, version: int | str = "latest", **_: Any
    ) -> TabularDataset | FileDataset:
        """Return a registered dataset.

        :param version: its number, or ``"latest"``.
        :raises UserErrorException: there is no such name or version.
        """
        return _from_record(service_calls.get_by_name(name, _version_number(version)))

    @staticmethod
    def get_by_id(workspace: Any, id: str, **_: Any) -> TabularDataset | FileDataset:
        """Return a saved dataset by its id.

        :raises UserErrorException: nothing was saved under it.
        """
        return dataset_of(service_calls.get(id))

    @staticmethod
    def get_all(workspace: Any) -> dict[str, TabularDataset | FileDataset]:
        """Return the latest version of every registered dataset by name."""
        return {record["name"]: _from_record(record) for record in service_calls.list_latest()}


def dataset_of(
    definition: Mapping[str, Any], record: Mapping[str, Any] | None = None
) -> TabularDataset | FileDataset:
    """Return the dataset of a definition document.

    :param record: its registration, if it has one.
    :raises UserErrorException: it is no definition this version understands.
    """
    document = check_definition(definition)
    return (
        TabularDataset(document, record) if document["kind"] == "tabular" else FileDataset(document, record)
    )


def _from_record(record: Mapping[str, Any]) -> TabularDataset | FileDataset:
    return dataset_of(record["definition"], record)


def _version_number(version: object) -> int | None:
    if version is None or version == "latest":
        return None
    text = str(version)
    if isinstance(version, bool) or not (text.isascii() and text.isdigit() and int(text) > 0):
        raise UserErrorException("a dataset's version is a number or 'latest', not %r" % (version,))
    return int(text)


def _tabular(source: dict[str, Any], validate: bool) -> TabularDataset:
    dataset = TabularDataset(new_definition("tabular", source))
    if validate and service.is_online():
        dataset.validate()
    return dataset
