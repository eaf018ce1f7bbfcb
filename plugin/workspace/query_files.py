"""Results of queries as files: what a query stands for among the files of a dataset."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_azureml.model.canonical import digest_of
from airflow_azureml.model.sql_source import SqlSource
from airflow_azureml.storage.files import FileChanged, FileInfo

if TYPE_CHECKING:
    from airflow_azureml.sql.database import Database

_UNKNOWN_SIZE = -1


class QueryFiles:
    """A store of one file: a query's result as Parquet, made when it is read.

    :param database: what answers the query.
    :param source: the dataset's source document.
    """

    def __init__(self, database: Database, source: dict[str, Any]) -> None:
        self._database = database
        self._source = source

    @property
    def uri(self) -> str:
        """The database's address, without credentials."""
        return self._database.uri

    @property
    def local_root(self) -> Path | None:
        """None: the result isn't here."""
        return None

    def find(self) -> FileInfo:
        """Return what the result is known by before it is made; without ETag when only its rows tell."""
        path = f"{digest_of([self._source['query'], self._source['query_timeout_s']])}.parquet"
        return FileInfo(path, _UNKNOWN_SIZE, time.time(), self._state())

    def get_file(self, path: str, target: Path, *, etag: str | None = None) -> FileInfo:
        """Run the query and write its rows.

        :param path: as :meth:`find` has it.
        :param etag: the state of the data that the result is wanted of.
        :raises FileChanged: the data changed since then.
        """
        self._database.query_to_parquet(self._source["query"], target, timeout_s=self._timeout_s)
        # Asked afterwards: the same before and after the query, it is that of the rows.
        if etag is not None and self._state() != etag:
            raise FileChanged(
                f"the result of the query on datastore {self._source['datastore']!r} changed while it was read; "
                "another try reads it as it is"
            )
        return FileInfo(path, target.stat().st_size, time.time(), etag)

    @property
    def _timeout_s(self) -> float | None:
        return self._source["query_timeout_s"] or None

    def _state(self) -> str | None:
        from airflow_azureml.sql.database import Job

        source = SqlSource.query(self._source["query"])
        found = self._database.fingerprint(source, Job(timeout_s=self._timeout_s))
        return None if found is None else f"{found.kind}:{found.value}"
