"""From an Airflow connection to a database."""

import json

import pytest
from postgresql_service import PASSWORD
from postgresql_service import PostgreSQLDatabaseOfATest as Server

from airflow_azureml.model.sql_source import SqlSource
from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.sql import adbc, opening
from airflow_azureml.sql.database import Database, DatabaseAddress
from airflow_azureml.sql.hook import HookDatabase
from airflow_azureml.sql.opening import open_database
from airflow_azureml.sql.postgresql import PostgreSQLDatabase
from airflow_azureml.storage.files import StoreBusy


def connection(monkeypatch: pytest.MonkeyPatch, **fields: object) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DB", json.dumps({"password": "hunter2", **fields}))


def opened(type_: str, database: str | None = None) -> Database:
    return open_database(DatabaseAddress(type_, "db", database))


@pytest.mark.parametrize(
    ("type_", "fields", "kind", "uri"),
    [
        ("AzureSqlDatabase", {"conn_type": "mssql"}, "mssql", "mssql://server:1433/shop"),
        ("AzureSqlDatabase", {"conn_type": "odbc", "port": 1}, "mssql", "mssql://server:1/shop"),
        ("AzurePostgreSql", {"conn_type": "postgres"}, "postgresql", "postgresql://server:5432/shop"),
        ("AzureMySql", {"conn_type": "mysql"}, "mysql", "mysql://server:3306/shop"),
        ("Sql", {"conn_type": "oracle"}, "ansi", "oracle://server/shop"),
    ],
)
def test_a_database_is_known_by_its_address_without_credentials(
    monkeypatch: pytest.MonkeyPatch, type_: str, fields: dict[str, object], kind: str, uri: str
) -> None:
    connection(monkeypatch, host="Server", login="me", schema="shop", **fields)

    database = opened(type_)

    assert (database.kind, database.uri) == (kind, uri)
    assert isinstance(database, PostgreSQLDatabase if kind == "postgresql" else HookDatabase)
    assert "hunter2" not in repr(database)


def test_the_datastore_may_name_another_database(monkeypatch: pytest.MonkeyPatch) -> None:
    connection(monkeypatch, conn_type="mssql", host="s", schema="shop")

    assert opened("AzureSqlDatabase", "other").uri == "mssql://s:1433/other"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (
            {"conn_type": "wasb", "host": "s"},
            "of type 'wasb'; a datastore of type AzureMySql needs one of type mysql",
        ),
        ({"conn_type": "mysql", "schema": "x"}, "has no Host"),
        ({"conn_type": "mysql", "host": "s"}, r"has no Database \(Schema\)"),
    ],
)
def test_what_a_connection_lacks_is_named(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, object], reason: str
) -> None:
    connection(monkeypatch, **fields)

    with pytest.raises(UserErrorException, match=f"connection 'db' .*{reason}|connection 'db' is {reason}"):
        opened("AzureMySql")


def test_a_hook_without_its_provider_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    connection(monkeypatch, conn_type="wasb_none", host="s")

    with pytest.raises(UserErrorException, match="install the provider"):
        opened("Sql").preview(SqlSource.table("t"))


@pytest.mark.service("postgresql")
@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"password": "wrong-'\\ secret"}, UserErrorException, "password authentication failed"),
        ({"schema": "gone"}, UserErrorException, 'database "gone" does not exist'),
        ({"port": 1}, StoreBusy, "Connection refused"),
        ({"extra": {"sslmode": "require"}}, UserErrorException, "does not support SSL"),
    ],
)
def test_a_connection_that_cannot_be_made_says_why_without_the_password(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, object],
    error: type[Exception],
    reason: str,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DB", server.connection(**changes))

    with pytest.raises(error, match=f"connection 'db' cannot reach postgresql://.*{reason}") as refused:
        opened("AzurePostgreSql").columns("t")

    assert str(changes.get("password", PASSWORD)) not in str(refused.value)


@pytest.mark.service("postgresql")
def test_options_of_libpq_are_taken_from_the_extra_and_others_are_not(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {"options": "-c search_path=other", "cursor": "dictcursor", "application_name": "it's me"}
    monkeypatch.setenv("AIRFLOW_CONN_DB", server.connection(extra=extra))

    query = SqlSource.query(
        "SELECT current_setting('search_path') AS s, current_setting('application_name') AS a"
    )

    assert opened("AzurePostgreSql").preview(query) == [{"s": "other", "a": "it's me"}]


@pytest.mark.service("postgresql")
def test_without_the_adbc_driver_the_hook_does_it(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adbc, "installed", lambda: False)
    monkeypatch.setenv("AIRFLOW_CONN_DB", server.connection(extra={"cursor": "dictcursor"}))

    database = opening.open_database(DatabaseAddress("AzurePostgreSql", "db", "postgres"))

    assert isinstance(database, HookDatabase)
    assert database.preview(SqlSource.query("SELECT current_database() AS d")) == [{"d": "postgres"}]
