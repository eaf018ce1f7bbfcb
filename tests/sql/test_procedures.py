"""Stored procedures of PostgreSQL: functions that return rows, and procedures."""

import datetime
import uuid
from decimal import Decimal

import pytest
from postgresql_service import PostgreSQLDatabaseOfATest as Server

from airflow_azureml.model.sql_reference import SqlDataReference, StoredProcedureParameter
from airflow_azureml.model.sql_source import SqlParameter, SqlSource
from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.sql.database import Database

pytestmark = pytest.mark.service("postgresql")

GUID = "7f3c2b1a-0000-4000-8000-000000000001"


def test_each_type_of_v1_arrives_as_what_it_is(adbc: Database, server: Server) -> None:
    server.execute(
        """CREATE FUNCTION echo(s text, i int, d numeric, g uuid, b boolean, day date, nothing text)
        RETURNS TABLE (rs text, ri int, rd numeric(8,2), rg uuid, rb boolean, rday date, rn text)
        LANGUAGE sql AS 'SELECT s, i, d, g, b, day, nothing'"""
    )
    given = [
        StoredProcedureParameter("@s", "it's"),
        StoredProcedureParameter("i", "7", "Int"),
        StoredProcedureParameter("d", "1.10", "Decimal"),
        StoredProcedureParameter("g", GUID, "Guid"),
        StoredProcedureParameter("b", "false", "Boolean"),
        StoredProcedureParameter("day", "2026-01-31", "Date"),
        StoredProcedureParameter("nothing", None),
    ]
    reference = SqlDataReference("db", sql_stored_procedure="public.echo", sql_stored_procedure_params=given)

    (found,) = adbc.preview(reference.source())

    assert found["rg"] in {GUID, uuid.UUID(GUID)}
    assert [found[name] for name in ("rs", "ri", "rb", "rday", "rn")] == [
        "it's",
        7,
        False,
        datetime.date(2026, 1, 31),
        None,
    ]
    assert Decimal(str(found["rd"])) == Decimal("1.1")


def test_a_procedure_may_change_things_and_returns_what_it_sets(adbc: Database, server: Server) -> None:
    server.execute(
        """CREATE TABLE seen (a int);
        CREATE PROCEDURE next(INOUT a int) LANGUAGE plpgsql AS 'BEGIN INSERT INTO seen VALUES (a); a := a + 1; END'"""
    )

    assert adbc.preview(SqlSource.procedure("next", [SqlParameter("a", 1)])) == [{"a": 2}]
    assert server.rows("TABLE seen") == [(1,)]


def test_a_procedure_without_rows_is_none_to_read(adbc: Database, server: Server) -> None:
    server.execute("CREATE PROCEDURE nothing() LANGUAGE sql AS 'SELECT 1'")

    with pytest.raises(UserErrorException, match="returns no rows"):
        adbc.preview(SqlSource.procedure("nothing"))


def test_a_function_is_read_over_the_hook_too(database: Database, server: Server) -> None:
    server.execute("CREATE FUNCTION twice(i int) RETURNS TABLE (r int) LANGUAGE sql AS 'SELECT i * 2'")

    assert database.preview(SqlSource.procedure("twice", [SqlParameter("i", 4)])) == [{"r": 8}]


def test_a_procedure_that_is_not_there_is_named(database: Database) -> None:
    with pytest.raises(UserErrorException, match="procedure gone .* does not exist"):
        database.preview(SqlSource.procedure("gone"))
