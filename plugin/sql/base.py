"""What every database does alike once it can read and write rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from airflow_azureml.model.sql_source import SqlSource
from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.sql.ahead import read_ahead
from airflow_azureml.sql.columns import for_parquet
from airflow_azureml.sql.database import (
    UNLIMITED,
    Exported,
    FileFormat,
    Fingerprint,
    Job,
    Loaded,
    LoadMode,
    Rows,
)
from airflow_azureml.sql.dialects import Dialect
from airflow_azureml.sql.files import read_files, write_file


class BaseDatabase(ABC):
    """The part of :class:`airflow_azureml.sql.database.Database` that follows from reading and writing rows.

    :param dialect: its SQL.
    :param uri: what database it is, without credentials.
    """

    def __init__(self, dialect: Dialect, uri: str) -> None:
        self.dialect = dialect
        self._uri = uri

    @property
    def kind(self) -> str:
        """Which SQL it speaks."""
        return self.dialect.kind

    @property
    def uri(self) -> str:
        """What database it is, without credentials; the same for the same one."""
        return self._uri

    def __repr__(self) -> str:
        """Return what it is, without credentials."""
        return f"{type(self).__name__}({self._uri!r})"

    @abstractmethod
    def read(self, source: SqlSource, job: Job = UNLIMITED) -> AbstractContextManager[Rows]:
        """Read rows as they come."""

    @abstractmethod
    def write(
        self,
        rows: Rows,
        table: str,
        *,
        mode: LoadMode = "append",
        keys: Sequence[str] = (),
        job: Job = UNLIMITED,
    ) -> Loaded:
        """Write rows to a table, all or none."""

    @abstractmethod
    def columns(self, table: str) -> Sequence[str] | None:
        """Return the names of a table's columns; None without such a table."""

    def fingerprint(self, source: SqlSource, job: Job = UNLIMITED) -> Fingerprint | None:  # noqa: ARG002
        """Return nothing: a database that can tell what its rows are known by says so itself."""
        return None

    def query_to_parquet(
        self,
        statement: str,
        target: Path,
        *,
        parameters: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> Exported:
        """Write a query's rows to a Parquet file; numbers as datasets have them, decimals as doubles."""
        with (
            self.read(SqlSource.query(statement, parameters), Job(timeout_s)) as read,
            read_ahead(read) as rows,
        ):
            return write_file(rows, target, "parquet", exact_decimals=False, compression="lz4")

    def query_to_csv(
        self,
        statement: str,
        target: Path,
        *,
        parameters: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> Exported:
        """Write a query's rows to a CSV file with a header."""
        return self.export(SqlSource.query(statement, parameters), target, "csv", job=Job(timeout_s))

    def export(
        self,
        source: SqlSource,
        target: Path,
        file_format: FileFormat,
        *,
        exact_decimals: bool = True,
        job: Job = UNLIMITED,
    ) -> Exported:
        """Write a table, query or procedure to a file, which appears whole or not at all."""
        with self.read(source, job) as read, read_ahead(read) as rows:
            return write_file(rows, target, file_format, exact_decimals=exact_decimals)

    def load(
        self,
        files: Iterable[Path],
        file_format: FileFormat,
        table: str,
        *,
        mode: LoadMode = "append",
        keys: Sequence[str] = (),
        job: Job = UNLIMITED,
    ) -> Loaded:
        """Write the rows of files to a table, all or none."""
        # A table knows better than a guess what the text of a CSV file means.
        as_text = file_format == "csv" and self.columns(table) is not None
        rows = read_files(files, file_format, as_text=as_text)
        return self.write(rows, table, mode=mode, keys=keys, job=job)

    def preview(self, source: SqlSource, limit: int = 20, job: Job = UNLIMITED) -> list[dict[str, Any]]:
        """Return the first rows."""
        found: list[dict[str, Any]] = []
        with self.read(source, replace(job, told=None)) as rows:
            for batch in for_parquet(rows, exact_decimals=True).batches:
                found.extend(batch.slice(0, limit - len(found)).to_pylist())
                if len(found) >= limit:
                    break
        return found


def fitting_columns(names: Sequence[str], known: Sequence[str], table: str) -> list[str]:
    """Return the table's columns that rows go to, in the order of the rows' own.

    :param names: the rows' columns.
    :param known: the table's columns.
    :raises UserErrorException: the table hasn't got one of them, in any spelling.
    """
    spelled: dict[str, str | None] = {}
    for name in known:
        # Two columns that differ in capitals only: neither is meant by a third spelling.
        spelled[name.lower()] = None if name.lower() in spelled else name
    exact = set(known)
    found = [name if name in exact else spelled.get(name.lower()) for name in names]
    missing = [name for name, column in zip(names, found, strict=True) if column is None]
    if missing:
        raise UserErrorException(
            f"table {table} has no column {', '.join(map(repr, missing))}; it has {', '.join(known)}: "
            "the names in the header have to be those of the table"
        )
    return [name for name in found if name is not None]


def upsert_keys(
    keys: Sequence[str], primary_key: Sequence[str], columns: Sequence[str], table: str
) -> list[str]:
    """Return the columns that tell which row is which.

    :param keys: what was asked for.
    :param primary_key: the table's own.
    :param columns: the columns that are written.
    :raises UserErrorException: there are none, or the rows don't have one of them.
    """
    wanted = (
        fitting_columns(keys, list(dict.fromkeys(chain(columns, primary_key))), table)
        if keys
        else list(primary_key)
    )
    if not wanted:
        raise UserErrorException(f"upsert into {table}: the table has no primary key; name the key columns")
    missing = [key for key in wanted if key not in columns]
    if missing:
        raise UserErrorException(
            f"upsert into {table}: the rows have no column {', '.join(missing)}, which is a key"
        )
    return wanted
