"""Rows between databases and stores of files."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from postgresql_service import PostgreSQLDatabaseOfATest as Server

from airflow_azureml.model.sql_source import SqlSource
from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.sql.database import Database, Job
from airflow_azureml.sql.transfer import database_to_file, database_to_table, files_to_table, format_of
from airflow_azureml.storage.files import FileChanged, FileStore
from airflow_azureml.storage.local_files import LocalFiles

pytestmark = pytest.mark.service("postgresql")

PEOPLE = "CREATE TABLE people (id int PRIMARY KEY, name text)"
FILL = "; INSERT INTO people VALUES (1, 'Ada'), (2, NULL)"


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    (tmp_path / "store").mkdir()
    return LocalFiles(tmp_path / "store")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_goes_to_a_file_and_back(
    database: Database, server: Server, store: FileStore, ending: str
) -> None:
    server.execute(PEOPLE + FILL + "; CREATE TABLE copy (LIKE people)")

    written = database_to_file(database, SqlSource.table("people"), store, f"out/people.{ending}")
    read = files_to_table(store, written.files, database, "copy")

    assert (written.rows, read.rows) == (2, 2)
    assert written.sha256 == hashlib.sha256(store.read(f"out/people.{ending}")).hexdigest()
    assert server.rows("TABLE people EXCEPT TABLE copy") == []


def test_the_format_can_be_said_where_the_name_does_not(
    adbc: Database, server: Server, store: FileStore
) -> None:
    server.execute(PEOPLE + FILL + "; CREATE TABLE copy (LIKE people)")

    written = database_to_file(adbc, SqlSource.table("people"), store, "people", file_format="csv")

    assert files_to_table(store, written.files, adbc, "copy", file_format="csv").rows == 2


@pytest.mark.service("azurite")
def test_rows_go_to_blob_storage_and_back(adbc: Database, server: Server, blob_store: FileStore) -> None:
    server.execute(PEOPLE + FILL + "; CREATE TABLE copy (LIKE people)")

    first = database_to_file(
        adbc, SqlSource.query("SELECT * FROM people WHERE id = 1"), blob_store, "a/1.parquet"
    )
    second = database_to_file(
        adbc, SqlSource.query("SELECT * FROM people WHERE id = 2"), blob_store, "a/2.parquet"
    )
    files_to_table(blob_store, [*first.files, *second.files], adbc, "copy", mode="replace")

    assert server.rows("TABLE people EXCEPT TABLE copy") == []


@pytest.mark.service("azurite")
@pytest.mark.parametrize("where", ["blob_store", "store"])
def test_a_file_that_changed_since_it_was_listed_is_not_loaded(
    adbc: Database, server: Server, where: str, request: pytest.FixtureRequest
) -> None:
    store: FileStore = request.getfixturevalue(where)
    server.execute(PEOPLE + FILL)
    listed = database_to_file(adbc, SqlSource.table("people"), store, "p.csv")
    database_to_file(adbc, SqlSource.query("SELECT 3 AS id, 'x' AS name"), store, "p.csv")

    with pytest.raises(FileChanged):
        files_to_table(store, listed.files, adbc, "people")


def test_a_file_stays_as_it_was_when_the_query_fails(adbc: Database, store: FileStore) -> None:
    with store.writer("rows.csv") as writer:
        writer.write(b"old")
        writer.close()

    with pytest.raises(UserErrorException):
        database_to_file(
            adbc, SqlSource.query("SELECT 1 / (3 - i) FROM generate_series(1, 5) i"), store, "rows.csv"
        )

    assert store.read("rows.csv") == b"old"
    assert [info.path for info in store.walk()] == ["rows.csv"]


@pytest.mark.parametrize(("mode", "expected"), [("append", 3), ("replace", 2), ("upsert", 3)])
def test_rows_go_from_database_to_database(
    adbc: Database, database: Database, server: Server, mode: Any, expected: int
) -> None:
    server.execute(
        PEOPLE + FILL + "; CREATE TABLE copy (LIKE people INCLUDING ALL); INSERT INTO copy VALUES (9, 'old')"
    )

    done = database_to_table(adbc, SqlSource.table("people"), database, "copy", mode=mode)

    assert done.rows == 2
    assert server.rows("SELECT count(*) FROM copy") == [(expected,)]


def test_a_table_is_not_replaced_by_itself(adbc: Database, server: Server) -> None:
    server.execute(PEOPLE + FILL)

    for name in ("people", '"people"'):
        with pytest.raises(UserErrorException, match="replaced by itself"):
            database_to_table(adbc, SqlSource.table(name), adbc, "people", mode="replace")

    assert server.rows("SELECT count(*) FROM people") == [(2,)]


def test_how_far_it_is_is_said_now_and_then(
    adbc: Database, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_azureml.sql.transfer._TELLS_EVERY_S", 0.0)
    lines: list[str] = []
    counts: list[int] = []

    database_to_file(
        adbc,
        SqlSource.query("SELECT i FROM generate_series(1, 5000) i"),
        store,
        "a.csv",
        job=Job(told=counts.append),
        tell=lines.append,
    )

    assert counts[-1] == 5000
    assert lines[-1].startswith("5,000 rows read, ")


def test_nothing_to_load_and_mixed_formats_are_errors(
    adbc: Database, server: Server, store: FileStore
) -> None:
    server.execute(PEOPLE + FILL)
    csv = database_to_file(adbc, SqlSource.table("people"), store, "p.csv").files
    parquet = database_to_file(adbc, SqlSource.table("people"), store, "p.parquet").files

    with pytest.raises(UserErrorException, match="no files"):
        files_to_table(store, [], adbc, "people")
    with pytest.raises(UserErrorException, match="one format at a time"):
        files_to_table(store, [*csv, *parquet], adbc, "people")


def test_the_ending_of_a_name_tells_the_format() -> None:
    assert (format_of("a/b.CSV"), format_of("b.parquet")) == ("csv", "parquet")
    with pytest.raises(UserErrorException, match=r"neither a \.csv nor a \.parquet"):
        format_of("a.xlsx")
