"""A database with tables to read, reached both ways: over ADBC, and over its Airflow hook."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from azurite_service import AzuriteContainer
from postgresql_service import PostgreSQLDatabaseOfATest

from airflow_azureml.sql.database import Database, DatabaseAddress
from airflow_azureml.sql.dialects import DIALECTS
from airflow_azureml.sql.hook import HookDatabase
from airflow_azureml.sql.opening import open_database
from airflow_azureml.storage import opening
from airflow_azureml.storage.connections import get_hook
from airflow_azureml.storage.files import FileStore, StoreAddress

ADDRESS = DatabaseAddress("AzurePostgreSql", "postgresql")


@pytest.fixture
def server(postgresql_database: PostgreSQLDatabaseOfATest) -> PostgreSQLDatabaseOfATest:
    """What the tests look at the database with."""
    return postgresql_database


@pytest.fixture
def adbc(server: PostgreSQLDatabaseOfATest) -> Database:
    return open_database(ADDRESS)


@pytest.fixture(params=["adbc", "hook"])
def database(request: pytest.FixtureRequest, server: PostgreSQLDatabaseOfATest) -> Database:
    opened = open_database(ADDRESS)
    if request.param == "adbc":
        return opened
    return HookDatabase(DIALECTS["postgresql"], opened.uri, "postgresql", lambda: get_hook("postgresql"))


@pytest.fixture
def csv(tmp_path: Path) -> Callable[..., Path]:
    """Writes a CSV file."""

    def write(text: str, name: str = "rows.csv") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.fixture
def parquet(tmp_path: Path) -> Callable[..., Path]:
    """Writes a Parquet file of columns."""

    def write(columns: dict[str, Any], name: str = "rows.parquet") -> Path:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table(columns), tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture
def blob_store(azurite: AzuriteContainer, azurite_connection: str) -> Iterator[FileStore]:
    """A container of blobs."""
    opening.forget()
    yield opening.open_files(StoreAddress("AzureBlob", azurite_connection, container=azurite.container))
    opening.forget()
