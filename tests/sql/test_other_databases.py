"""What Azure SQL Database, SQL Server and MySQL are told: a driver that writes it down stands for them."""

import datetime
import threading
import uuid
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from recording_hook import DatabaseError, RecordingHook

from airflow_azureml.model.sql_source import SqlParameter, SqlSource
from airflow_azureml.runtime.exceptions import DatasetExecutionError, StepCanceled, UserErrorException
from airflow_azureml.sql.database import Job
from airflow_azureml.sql.dialects import DIALECTS
from airflow_azureml.sql.hook import HookDatabase
from airflow_azureml.storage.files import StoreBusy

CSV = Callable[..., Path]
ROW = "id,name\n1,a\n2,\n"
KEY = ("KEY_COLUMN_USAGE", (["COLUMN_NAME"], [("id",)]))
COLUMNS = ("INFORMATION_SCHEMA.COLUMNS", (["COLUMN_NAME", "DATA_TYPE"], [("id", "int"), ("name", "text")]))


def opened(kind: str, hook: RecordingHook) -> HookDatabase:
    return HookDatabase(DIALECTS[kind], f"{kind}://server/shop", "shop", hook.maker(), ("hunter2",))


# Azure SQL Database and SQL Server


def test_mssql_reads_a_table_by_its_quoted_name(tmp_path: Path) -> None:
    hook = RecordingHook(("FROM", (["id", "day"], [(1, datetime.date(2026, 1, 1)), (None, None)])))

    exported = opened("mssql", hook).export(SqlSource.table("dbo.[Order]] Lines]"), tmp_path / "a.csv", "csv")

    assert hook.recorded.texts == ["SELECT * FROM [dbo].[Order]] Lines]"]
    assert exported.rows == 2
    assert (tmp_path / "a.csv").read_text() == '"id","day"\n1,2026-01-01\n,\n'


@pytest.mark.parametrize(("placeholder", "escaped"), [("%s", "%%"), ("?", "%")])
def test_mssql_gets_values_beside_the_statement(placeholder: str, escaped: str) -> None:
    hook = RecordingHook(("SELECT", (["x"], [(1,)])), placeholder=placeholder)
    query = SqlSource.query("SELECT x FROM t WHERE n LIKE '%' AND g = :g", {"g": uuid.UUID(int=1)})

    opened("mssql", hook).preview(query)

    text = f"SELECT x FROM t WHERE n LIKE '{escaped}' AND g = {placeholder}"
    assert hook.recorded.statements == [(text, ("00000000-0000-0000-0000-000000000001",))]


def test_mssql_calls_a_procedure_by_parameter_names_and_commits() -> None:
    hook = RecordingHook(("EXEC", (["x"], [(1,)])))
    source = SqlSource.procedure(
        "dbo.top", [SqlParameter("day", datetime.date(2026, 1, 1)), SqlParameter("n", None)]
    )

    assert opened("mssql", hook).preview(source) == [{"x": 1}]
    assert hook.recorded.statements == [
        ("SET NOCOUNT ON; EXEC [dbo].[top] @day = %s, @n = NULL", (datetime.date(2026, 1, 1),)),
        ("COMMIT", None),
    ]


def test_mssql_appends_in_one_transaction(csv: CSV) -> None:
    hook = RecordingHook(COLUMNS)

    loaded = opened("mssql", hook).load([csv(ROW)], "csv", "dbo.orders")

    assert loaded.rows == 2
    assert hook.recorded.statements[0] == (
        (
            "SELECT COLUMN_NAME, DATA_TYPE FROM INFORMATION_SCHEMA.COLUMNS "
            "WHERE TABLE_NAME = %s AND TABLE_SCHEMA = %s ORDER BY ORDINAL_POSITION"
        ),
        ("orders", "dbo"),
    )
    assert hook.recorded.statements[2:] == [
        ("INSERT INTO [dbo].[orders] ([id], [name]) VALUES (%s, %s), (%s, %s)", ("1", "a", "2", None)),
        ("COMMIT", None),
    ]


def test_mssql_never_gets_more_values_than_it_takes(parquet: CSV) -> None:
    hook = RecordingHook(COLUMNS)

    opened("mssql", hook).load([parquet({"id": range(1500), "name": ["x"] * 1500})], "parquet", "orders")

    inserts = [values for text, values in hook.recorded.statements if text.startswith("INSERT")]
    assert [len(values or ()) for values in inserts] == [2000, 1000]


def test_mssql_replaces_behind_a_lock(csv: CSV) -> None:
    hook = RecordingHook(COLUMNS)

    opened("mssql", hook).load([csv(ROW)], "csv", "orders", mode="replace")

    assert hook.recorded.texts[-3] == "DELETE FROM [orders] WITH (TABLOCKX, HOLDLOCK)"
    assert hook.recorded.texts[-1] == "COMMIT"


def test_mssql_upserts_by_a_merge_from_a_temporary_table(csv: CSV) -> None:
    hook = RecordingHook(COLUMNS, KEY)

    opened("mssql", hook).load([csv(ROW)], "csv", "orders", mode="upsert")

    assert hook.recorded.texts[-5:] == [
        (
            "SELECT * INTO #azureml_arriving FROM (SELECT TOP 0 [id], [name] FROM [orders] "
            "UNION ALL SELECT TOP 0 [id], [name] FROM [orders]) AS nothing"
        ),
        "INSERT INTO #azureml_arriving ([id], [name]) VALUES (%s, %s), (%s, %s)",
        "SELECT [id] FROM #azureml_arriving GROUP BY [id] HAVING COUNT(*) > 1",
        (
            "MERGE INTO [orders] WITH (HOLDLOCK) AS t USING #azureml_arriving AS s ON t.[id] = s.[id] "
            "WHEN MATCHED THEN UPDATE SET t.[name] = s.[name] "
            "WHEN NOT MATCHED BY TARGET THEN INSERT ([id], [name]) VALUES (s.[id], s.[name]);"
        ),
        "COMMIT",
    ]


def test_mssql_makes_a_table_of_the_files_types(parquet: CSV) -> None:
    import pyarrow as pa

    columns = {
        "i": pa.array([1], pa.int64()),
        "d": pa.array([Decimal("1.10")], pa.decimal128(8, 2)),
        "f": [0.5],
        "s": ["x"],
        "b": [True],
        "t": pa.array([0], pa.timestamp("us")),
        "z": pa.array([0], pa.timestamp("us", "UTC")),
        "x": [b"1"],
    }
    hook = RecordingHook()

    loaded = opened("mssql", hook).load([parquet(columns)], "parquet", "new", mode="replace")

    assert loaded.created
    assert hook.recorded.texts[-3] == (
        "CREATE TABLE [new] ([i] bigint, [d] decimal(8, 2), [f] float, [s] nvarchar(max), [b] bit, [t] datetime2, "
        "[z] datetimeoffset, [x] varbinary(max))"
    )


def test_mssql_has_its_time_limit_in_the_driver() -> None:
    hook = RecordingHook(("SELECT", (["x"], [(1,)])))

    opened("mssql", hook).preview(SqlSource.query("SELECT x FROM t"), job=Job(timeout_s=29.5))

    assert hook.recorded.timeout == 30


# MySQL


def test_mysql_reads_in_a_transaction_that_only_reads() -> None:
    hook = RecordingHook(("FROM", (["id"], [(1,)])))

    opened("mysql", hook).preview(SqlSource.table("shop.`order``s`"))

    assert hook.recorded.texts == ["START TRANSACTION READ ONLY", "SELECT * FROM `shop`.`order``s`"]


def test_mysql_calls_a_procedure_by_the_order_of_parameters() -> None:
    hook = RecordingHook(("CALL", (["x"], [(1,)])))

    opened("mysql", hook).preview(SqlSource.procedure("p", [SqlParameter("b", 2), SqlParameter("a", "1")]))

    assert hook.recorded.statements[0] == ("CALL `p`(%s, %s)", (2, "1"))


def test_mysql_upserts_from_a_temporary_table(csv: CSV) -> None:
    hook = RecordingHook(COLUMNS, KEY)

    opened("mysql", hook).load([csv(ROW)], "csv", "orders", mode="upsert")

    assert hook.recorded.texts[-5:] == [
        "CREATE TEMPORARY TABLE azureml_arriving SELECT `id`, `name` FROM `orders` LIMIT 0",
        "INSERT INTO azureml_arriving (`id`, `name`) VALUES (%s, %s), (%s, %s)",
        "SELECT `id` FROM azureml_arriving GROUP BY `id` HAVING COUNT(*) > 1",
        (
            "INSERT INTO `orders` (`id`, `name`) SELECT `id`, `name` FROM azureml_arriving "
            "ON DUPLICATE KEY UPDATE `name` = VALUES(`name`)"
        ),
        "COMMIT",
    ]


def test_mysql_tells_rows_apart_by_its_primary_key_only(csv: CSV) -> None:
    hook = RecordingHook(COLUMNS, KEY)

    with pytest.raises(UserErrorException, match=r"by the primary key \(id\), not by name"):
        opened("mysql", hook).load([csv(ROW)], "csv", "orders", mode="upsert", keys=["name"])

    assert hook.recorded.texts[-1] == "ROLLBACK"


def test_mysql_loses_a_new_table_that_a_failure_left(csv: CSV) -> None:
    hook = RecordingHook(("INSERT", DatabaseError(1366, "Incorrect integer value")))

    with pytest.raises(DatasetExecutionError, match="Incorrect integer value"):
        opened("mysql", hook).load([csv(ROW)], "csv", "new", mode="replace")

    assert hook.recorded.texts[-2:] == ["ROLLBACK", "DROP TABLE `new`"]


# All of them


def test_an_unknown_database_is_read_appended_to_and_replaced_but_not_upserted(csv: CSV) -> None:
    hook = RecordingHook(("WHERE 1 = 0", (["id", "name"], [])))

    assert opened("ansi", hook).load([csv(ROW)], "csv", "orders").rows == 2
    with pytest.raises(UserErrorException, match="no primary key"):
        opened("ansi", hook).load([csv(ROW)], "csv", "orders", mode="upsert")
    with pytest.raises(UserErrorException, match="not known well enough"):
        opened("ansi", hook).load([csv(ROW)], "csv", "orders", mode="upsert", keys=["id"])


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DatabaseError(1205, b"deadlock victim"), StoreBusy),
        (DatabaseError(40613, "Database is not currently available"), StoreBusy),
        (DatabaseError(208, "Invalid object name 'gone'"), DatasetExecutionError),
    ],
)
def test_errors_say_whether_another_try_may_help(error: Exception, expected: type[Exception]) -> None:
    hook = RecordingHook(("SELECT", error))

    with pytest.raises(expected, match="table gone on mssql://server/shop"):
        opened("mssql", hook).preview(SqlSource.table("gone"))


def test_no_message_holds_a_secret() -> None:
    hook = RecordingHook(("SELECT", DatabaseError(18456, "login with hunter2 refused")))

    with pytest.raises(DatasetExecutionError, match=r"login with \*\*\* refused"):
        opened("mssql", hook).preview(SqlSource.table("t"))


def test_a_statement_without_rows_is_none_to_read() -> None:
    with pytest.raises(UserErrorException, match="procedure p returns no rows"):
        opened("mssql", RecordingHook()).preview(SqlSource.procedure("p"))


def test_rows_are_told_apart_from_what_they_were_at_first(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    rows: list[Any] = [(None, 1, None)] * 10_000 + [("text", 0.5, Decimal("1.10"))]
    hook = RecordingHook(("SELECT", (["late", "number", "price"], rows)))

    opened("mysql", hook).query_to_parquet("SELECT late, number, price FROM t", tmp_path / "a.parquet")

    table = pq.read_table(tmp_path / "a.parquet")
    assert [str(field.type) for field in table.schema] == ["string", "double", "double"]
    assert table.slice(10_000).to_pylist() == [{"late": "text", "number": 0.5, "price": 1.1}]


def test_values_that_no_type_fits_name_their_column(tmp_path: Path) -> None:
    hook = RecordingHook(("SELECT", (["a"], [(1,)] * 10_000 + [("x",)])))

    with pytest.raises(DatasetExecutionError, match="column 'a' has values of different types .* cast it"):
        opened("mysql", hook).query_to_parquet("SELECT a FROM t", tmp_path / "a.parquet")


def test_reading_stops_between_chunks(tmp_path: Path) -> None:
    stopping = threading.Event()
    stopping.set()

    with pytest.raises(StepCanceled):
        opened("mssql", RecordingHook()).export(
            SqlSource.table("t"), tmp_path / "a.csv", "csv", job=Job(stopping=stopping)
        )
