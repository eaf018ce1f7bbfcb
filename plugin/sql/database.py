"""A database as the rest of the package sees it: rows out to files, rows in from files.

Errors of every method: ``UserErrorException`` and its like for what repeating cannot help (no such table, a query that is none,
no permission, a value that doesn't fit), ``StoreBusy`` where another try may help (no connection, a deadlock, too many
clients), ``StepCanceled`` when it was stopped. No message holds a credential or a parameter's value.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from airflow_azureml.model.sql_source import SqlSource

FileFormat = Literal["parquet", "csv"]
LoadMode = Literal["append", "replace", "upsert"]
Told = Callable[[int], None]
"""Gets the number of rows that have gone by so far."""


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """Where a database is.

    :param type: v1's word for it (``AzureSqlDatabase``, ``AzurePostgreSql``, ``AzureMySql``), or another one for a database
        that only its connection's type tells.
    :param connection_id: Airflow connection to reach it.
    :param database: its name; None for the connection's.
    """

    type: str
    connection_id: str
    database: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """What all work on a database obeys.

    :param timeout_s: how long a statement may take, the reading of its rows included; None for no limit.
    :param stopping: set when the work shall end at once.
    :param told: gets the number of rows done, after every batch.
    """

    timeout_s: float | None = None
    stopping: threading.Event | None = None
    told: Told | None = None


UNLIMITED = Job()
"""Work that may take as long as it takes."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows on their way, as Arrow record batches.

    :param schema: their ``pyarrow.Schema``.
    :param batches: the ``pyarrow.RecordBatch`` objects, to be walked once.
    """

    schema: Any
    batches: Iterator[Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Exported:
    """Rows that were written to a file.

    :param rows: how many.
    :param columns: names and Arrow types.
    """

    rows: int
    columns: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Loaded:
    """Rows that were written to a table.

    :param rows: how many there were to write.
    :param table: where to, as SQL writes it.
    :param created: whether the table was made for them.
    """

    rows: int
    table: str
    created: bool


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What the rows of a source are known by, without reading them here.

    :param kind: ``version``: another one after every write to the table; ``content``: another one when the rows are others.
    :param value: text to compare.
    """

    kind: Literal["version", "content"]
    value: str


class Database(Protocol):
    """One database. Every call has a connection of its own, so several threads may call."""

    @property
    def kind(self) -> str:
        """Which SQL it speaks: ``postgresql``, ``mssql``, ``mysql`` or ``ansi``."""
        ...

    @property
    def uri(self) -> str:
        """What database it is, without credentials; the same for the same one."""
        ...

    def read(self, source: SqlSource, job: Job = UNLIMITED) -> AbstractContextManager[Rows]:
        """Read rows as they come; values exact, memory bounded. A query is one statement that only reads."""
        ...

    def write(
        self,
        rows: Rows,
        table: str,
        *,
        mode: LoadMode = "append",
        keys: Sequence[str] = (),
        job: Job = UNLIMITED,
    ) -> Loaded:
        """Write rows to a table, all or none.

        :param mode: ``append``; ``replace`` for these rows instead of those in the table, which is made if there is none;
            ``upsert`` to replace the rows of the same keys.
        :param keys: columns of ``upsert``; the primary key for none.
        """
        ...

    def columns(self, table: str) -> Sequence[str] | None:
        """Return the names of a table's columns; None without such a table."""
        ...

    def fingerprint(self, source: SqlSource, job: Job = UNLIMITED) -> Fingerprint | None:
        """Return what the rows are known by; None where the database cannot tell cheaply."""
        ...

    def query_to_parquet(
        self,
        statement: str,
        target: Path,
        *,
        parameters: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> Exported:
        """Write a query's rows to a Parquet file; numbers as datasets have them, decimals as doubles."""
        ...

    def query_to_csv(
        self,
        statement: str,
        target: Path,
        *,
        parameters: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> Exported:
        """Write a query's rows to a CSV file with a header."""
        ...

    def export(
        self,
        source: SqlSource,
        target: Path,
        file_format: FileFormat,
        *,
        exact_decimals: bool = True,
        job: Job = UNLIMITED,
    ) -> Exported:
        """Write a table, query or procedure to a file, which appears whole or not at all.

        :param exact_decimals: whether decimals of a declared precision stay decimals in Parquet; doubles otherwise.
        """
        ...

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
        """Write the rows of files to a table, all or none. Columns go by name; CSV files have a header.

        :param files: asked for one after the other, each when the one before is done with.
        """
        ...

    def preview(self, source: SqlSource, limit: int = 20, job: Job = UNLIMITED) -> list[dict[str, Any]]:
        """Return the first rows."""
        ...
