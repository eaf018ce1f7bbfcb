"""What the rows of a source are known by, without reading them."""

import pytest
from postgresql_service import PostgreSQLDatabaseOfATest as Server

from airflow_azureml.model.sql_source import SqlSource
from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.sql.database import Database, Fingerprint
from airflow_azureml.sql.dialects import DIALECTS
from airflow_azureml.sql.hook import HookDatabase

TABLE = SqlSource.table("t")
QUERY = SqlSource.query("SELECT a FROM t WHERE a < :most", {"most": 100})


@pytest.fixture
def filled(server: Server) -> Server:
    server.execute("CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'x'), (2, 'y'), (200, 'z')")
    return server


def known(database: Database, source: SqlSource) -> Fingerprint:
    found = database.fingerprint(source)
    assert found is not None
    return found


@pytest.mark.service("postgresql")
@pytest.mark.parametrize("source", [TABLE, QUERY], ids=["table", "query"])
def test_the_same_rows_are_known_by_the_same(adbc: Database, filled: Server, source: SqlSource) -> None:
    filled.execute("BEGIN; INSERT INTO t VALUES (7, 'gone'); ROLLBACK")

    assert known(adbc, source) == known(adbc, source)


@pytest.mark.service("postgresql")
@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO t VALUES (3, 'z')",
        "UPDATE t SET a = 5 WHERE a = 1",
        "DELETE FROM t WHERE a = 1",
        "DELETE FROM t WHERE a = 1; INSERT INTO t VALUES (5, 'x')",
        "TRUNCATE t",
        "ALTER TABLE t ALTER a TYPE bigint",
    ],
)
@pytest.mark.parametrize("source", [TABLE, QUERY], ids=["table", "query"])
def test_other_rows_are_known_by_something_else(
    adbc: Database, filled: Server, change: str, source: SqlSource
) -> None:
    before = known(adbc, source)

    filled.execute(change)

    assert known(adbc, source) != before


@pytest.mark.service("postgresql")
def test_a_change_by_an_older_transaction_is_seen(adbc: Database, filled: Server) -> None:
    import psycopg2

    settings = {"host": "127.0.0.1", "port": filled.port, "user": "airflow", "dbname": filled.name}
    from postgresql_service import PASSWORD

    older = psycopg2.connect(**settings, password=PASSWORD)
    try:
        older.cursor().execute("UPDATE t SET a = 6 WHERE a = 2")
        filled.execute("UPDATE t SET a = 5 WHERE a = 1")
        before = known(adbc, TABLE)
        older.commit()
    finally:
        older.close()

    assert known(adbc, TABLE) != before


@pytest.mark.service("postgresql")
def test_a_query_is_known_by_its_rows_and_not_by_the_rest_of_its_tables(
    adbc: Database, filled: Server
) -> None:
    before = known(adbc, QUERY)

    filled.execute("UPDATE t SET b = 'other'; INSERT INTO t VALUES (300, 'more')")

    assert before.kind == "content"
    assert known(adbc, QUERY) == before


@pytest.mark.service("postgresql")
def test_a_view_is_known_by_its_rows(adbc: Database, filled: Server) -> None:
    filled.execute("CREATE VIEW v AS SELECT a FROM t")

    assert known(adbc, TABLE).kind == "version"
    assert known(adbc, SqlSource.table("v")).kind == "content"


@pytest.mark.service("postgresql")
def test_a_procedure_is_known_by_nothing(adbc: Database) -> None:
    assert adbc.fingerprint(SqlSource.procedure("f")) is None


@pytest.mark.service("postgresql")
def test_a_table_that_is_not_there_has_none(adbc: Database) -> None:
    with pytest.raises(UserErrorException, match="no table gone"):
        adbc.fingerprint(SqlSource.table("gone"))


@pytest.mark.parametrize("kind", ["mssql", "mysql", "ansi"])
def test_other_databases_cannot_tell(kind: str) -> None:
    database = HookDatabase(DIALECTS[kind], f"{kind}://server/db", "db", lambda: None)

    assert database.fingerprint(TABLE) is None
