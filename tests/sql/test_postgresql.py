"""Rows out of PostgreSQL and into it, over ADBC and over Airflow's hook: one behaviour for both."""

import datetime
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from postgresql_service import PostgreSQLDatabaseOfATest as Server

from airflow_azureml.model.sql_source import SqlSource
from airflow_azureml.runtime.exceptions import DatasetExecutionError, StepCanceled, UserErrorException
from airflow_azureml.sql.database import Database, Job

pytestmark = pytest.mark.service("postgresql")

CSV = Callable[..., Path]
ORDERS = (
    "CREATE TABLE orders (id int PRIMARY KEY, item text, price numeric(8,2) DEFAULT 1, ordered timestamptz)"
)
MIDNIGHT = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def parquet_rows(path: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return found


def orders(server: Server) -> list[tuple[Any, ...]]:
    return server.rows("SELECT id, item, price FROM orders ORDER BY id")


# Reading


def test_a_query_becomes_a_parquet_file(database: Database, tmp_path: Path) -> None:
    query = (
        "SELECT i, i * 0.5::float8 AS half, 'n' || i AS name FROM generate_series(1, :last) i -- all of them"
    )

    exported = database.query_to_parquet(query, tmp_path / "out" / "rows.parquet", parameters={"last": 3})

    assert (exported.rows, list(exported.columns)) == (3, ["i", "half", "name"])
    assert parquet_rows(tmp_path / "out/rows.parquet") == [
        {"i": i, "half": i / 2, "name": f"n{i}"} for i in (1, 2, 3)
    ]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["rows.parquet"]


def test_a_table_becomes_a_csv_file_in_which_nothing_and_an_empty_text_differ(
    database: Database, server: Server, tmp_path: Path
) -> None:
    server.execute(
        ORDERS
        + """; INSERT INTO orders VALUES (1, 'a "b"', 1.10, '2026-01-01 01:00+01'), (2, '', NULL, NULL), (3, NULL, 2, NULL)"""
    )

    database.export(SqlSource.table("orders"), tmp_path / "rows.csv", "csv")

    assert (tmp_path / "rows.csv").read_text().splitlines() == [
        '"id","item","price","ordered"',
        '1,"a ""b""","1.10",2026-01-01 00:00:00.000000Z',
        '2,"",,',
        '3,,"2.00",',
    ]


def test_decimals_are_doubles_for_datasets_and_exact_for_transfers(
    database: Database, server: Server, tmp_path: Path
) -> None:
    server.execute("CREATE TABLE t AS SELECT 1.10::numeric(8,2) AS price")

    database.query_to_parquet("SELECT * FROM t", tmp_path / "a.parquet")
    database.export(SqlSource.table("t"), tmp_path / "b.parquet", "parquet")

    assert parquet_rows(tmp_path / "a.parquet") == [{"price": 1.1}]
    assert parquet_rows(tmp_path / "b.parquet") == [{"price": Decimal("1.10")}]


def test_values_never_become_part_of_the_statement(database: Database, server: Server) -> None:
    server.execute("CREATE TABLE t AS SELECT 'x' AS a")
    value = "x'; DROP TABLE t; -- % %s $1 :a"

    assert database.preview(SqlSource.query("SELECT a, :v AS v FROM t WHERE a LIKE '%'", {"v": value})) == [
        {"a": "x", "v": value}
    ]
    assert database.columns("t") == ["a"]


@pytest.mark.parametrize(
    "value",
    [True, 5, 2**40, 0.5, Decimal("1.5"), "é", datetime.date(2026, 1, 1), MIDNIGHT, datetime.time(1, 2)],
)
def test_a_value_arrives_as_what_it_is(database: Database, value: object) -> None:
    # The cast is for the hook's driver, which leaves the type of a lone place open.
    types = {bool: "boolean", int: "bigint", float: "float8", Decimal: "numeric(3,1)", str: "text"}
    named = types.get(type(value)) or {MIDNIGHT: "timestamptz"}.get(value) or type(value).__name__  # type: ignore[call-overload]

    ((found,),) = [
        row.values() for row in database.preview(SqlSource.query(f"SELECT :v::{named} AS v", {"v": value}))
    ]

    assert found == value


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("SELECT 1 AS a; DELETE FROM t", "more than one statement"),
        ("SELECT 1 AS a, 2 AS a", "more than one column 'a'"),
        ("SELECT nothing FROM t", 'column "nothing" does not exist'),
        ("SELECT 1 / (a - 1) AS x FROM t", "division by zero"),
        (
            "WITH gone AS (DELETE FROM t RETURNING a) SELECT a FROM gone",
            "read-only transaction|data-modifying",
        ),
    ],
)
def test_a_query_that_is_wrong_says_so_and_changes_nothing(
    database: Database, server: Server, tmp_path: Path, query: str, reason: str
) -> None:
    server.execute("CREATE TABLE t AS SELECT 1 AS a")

    with pytest.raises(UserErrorException, match=reason):
        database.query_to_parquet(query, tmp_path / "rows.parquet")

    assert list(tmp_path.iterdir()) == []
    assert server.rows("SELECT count(*) FROM t") == [(1,)]


@pytest.mark.parametrize(
    "query", ["SELECT pg_sleep(20)", "SELECT pg_sleep(0.02), i FROM generate_series(1, 1000) i"]
)
def test_a_query_that_takes_too_long_is_ended(database: Database, tmp_path: Path, query: str) -> None:
    with pytest.raises(DatasetExecutionError, match=r"time limit of 0\.3 s"):
        database.query_to_parquet(query, tmp_path / "rows.parquet", timeout_s=0.3)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "query",
    ["SELECT pg_sleep(20)", "SELECT i, pg_sleep(:s) FROM generate_series(1, 1000) i"],
    ids=["plain", "with values"],
)
def test_a_query_is_ended_when_it_shall_stop(database: Database, tmp_path: Path, query: str) -> None:
    stopping = threading.Event()
    threading.Timer(0.2, stopping.set).start()
    values = {"s": 0.02} if ":s" in query else {}

    with pytest.raises(StepCanceled):
        database.export(SqlSource.query(query, values), tmp_path / "a.csv", "csv", job=Job(stopping=stopping))


def test_a_preview_of_much_is_soon_there(database: Database) -> None:
    query = "SELECT b AS i FROM generate_series(1, 10000) a, generate_series(1, 10000) b"

    assert database.preview(SqlSource.query(query), 2) == [{"i": 1}, {"i": 2}]


def test_progress_is_told(database: Database, tmp_path: Path) -> None:
    told: list[int] = []

    database.export(
        SqlSource.query("SELECT i FROM generate_series(1, 25000) i"),
        tmp_path / "a.csv",
        "csv",
        job=Job(told=told.append),
    )

    assert told[-1] == 25000


# Writing


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_rows_are_appended_by_the_names_of_their_columns(
    database: Database, server: Server, csv: CSV, parquet: CSV, kind: Any
) -> None:
    server.execute(ORDERS + "; INSERT INTO orders VALUES (1, 'old')")
    file = csv('item,ID\n"",2\n,3\n') if kind == "csv" else parquet({"item": ["", None], "ID": [2, 3]})

    loaded = database.load([file], kind, "public.orders")

    assert (loaded.rows, loaded.table, loaded.created) == (2, '"public"."orders"', False)
    assert orders(server) == [(1, "old", 1), (2, "", 1), (3, None, 1)]


def test_many_files_are_one_load(database: Database, server: Server, csv: CSV) -> None:
    server.execute(ORDERS)

    database.load([csv("id,item\n1,a\n", "1.csv"), csv("item,id\nb,2\n", "2.csv")], "csv", "orders")

    assert orders(server) == [(1, "a", 1), (2, "b", 1)]


def test_replace_leaves_the_new_rows_and_keeps_the_table(
    database: Database, server: Server, csv: CSV
) -> None:
    server.execute(ORDERS + "; INSERT INTO orders VALUES (1, 'old'), (2, 'old')")

    database.load([csv("id,item\n2,new\n")], "csv", "orders", mode="replace")

    assert orders(server) == [(2, "new", 1)]


def test_replace_makes_a_table_that_is_not_there(database: Database, server: Server, csv: CSV) -> None:
    loaded = database.load([csv("a b,n%\nx,1\n")], "csv", '"My table"', mode="replace")

    assert loaded.created
    assert server.rows('SELECT "a b", "n%" FROM "My table"') == [("x", 1)]


def test_upsert_replaces_rows_of_the_same_keys(database: Database, server: Server, csv: CSV) -> None:
    server.execute(ORDERS + "; INSERT INTO orders VALUES (1, 'old', 7), (2, 'old', 8)")

    database.load([csv("id,item\n2,new\n3,new\n")], "csv", "orders", mode="upsert")

    assert orders(server) == [(1, "old", 7), (2, "new", 8), (3, "new", 1)]


def test_upsert_goes_by_other_keys_that_are_unique(database: Database, server: Server, csv: CSV) -> None:
    server.execute("CREATE TABLE t (a int, b int, c text, UNIQUE (a, b)); INSERT INTO t VALUES (1, 1, 'old')")

    database.load([csv("c,a,b\nnew,1,1\nnew,1,2\n")], "csv", "t", mode="upsert", keys=["A", "b"])

    assert server.rows("SELECT * FROM t ORDER BY b") == [(1, 1, "new"), (1, 2, "new")]


@pytest.mark.parametrize("mode", ["append", "replace", "upsert"])
def test_a_load_that_fails_leaves_the_table_as_it_was(
    database: Database, server: Server, csv: CSV, mode: Any
) -> None:
    server.execute(ORDERS + "; INSERT INTO orders VALUES (1, 'old')")
    files = [csv("id,item\n5,new\n", "1.csv"), csv("id,item\nsix,new\n", "2.csv")]

    with pytest.raises(UserErrorException, match='invalid input syntax for type integer: "six"'):
        database.load(files, "csv", "orders", mode=mode)

    assert orders(server) == [(1, "old", 1)]


@pytest.mark.parametrize(
    ("header", "options", "reason"),
    [
        ("id,colour", {}, "no column 'colour'; it has id, item, price, ordered"),
        ("id,id", {}, "more than one column 'id'"),
        ("item", {"mode": "upsert"}, "no column id, which is a key"),
        ("id,item", {"mode": "upsert", "keys": ["size"]}, "no column 'size'"),
        ("id,item", {"table": "gone"}, 'there is no table "gone" .* use replace'),
    ],
)
def test_columns_and_keys_have_to_be_the_tables(
    database: Database, server: Server, csv: CSV, header: str, options: dict[str, Any], reason: str
) -> None:
    server.execute(ORDERS)

    with pytest.raises(UserErrorException, match=reason):
        database.load(
            [csv(f"{header}\n1,2\n" if "," in header else f"{header}\n1\n")],
            "csv",
            **{"table": "orders", **options},
        )


def test_two_rows_of_one_key_are_no_upsert(database: Database, server: Server, csv: CSV) -> None:
    server.execute(ORDERS)

    with pytest.raises(UserErrorException, match="more than one row to write has the same id"):
        database.load([csv("id,item\n1,a\n1,b\n")], "csv", "orders", mode="upsert")


def test_a_table_without_a_key_needs_keys_named(database: Database, server: Server, csv: CSV) -> None:
    server.execute("CREATE TABLE t (a int)")

    with pytest.raises(UserErrorException, match="no primary key; name the key columns"):
        database.load([csv("a\n1\n")], "csv", "t", mode="upsert")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no csv file"),
        ("id,item\n1\n", "no csv file"),
        ("id,item\n\xff\n".encode("latin-1"), "no csv file"),
    ],
)
def test_a_file_that_is_none_is_named(
    database: Database, server: Server, csv: CSV, text: str | bytes, reason: str
) -> None:
    server.execute(ORDERS)
    path = csv("")
    path.write_bytes(text if isinstance(text, bytes) else text.encode())

    with pytest.raises(UserErrorException, match=f"'rows.csv' is {reason}"):
        database.load([path], "csv", "orders")


def test_a_file_with_a_header_only_is_no_rows(database: Database, server: Server, csv: CSV) -> None:
    server.execute(ORDERS)

    assert database.load([csv("id,item\n")], "csv", "orders").rows == 0


def test_files_of_one_load_have_the_same_columns(database: Database, server: Server, csv: CSV) -> None:
    server.execute(ORDERS)

    with pytest.raises(
        UserErrorException, match=r"'2\.csv' has columns id, price, but '1\.csv' has id, item"
    ):
        database.load([csv("id,item\n1,a\n", "1.csv"), csv("id,price\n1,1\n", "2.csv")], "csv", "orders")


def test_a_fraction_does_not_silently_become_an_integer(adbc: Database, server: Server, parquet: CSV) -> None:
    server.execute("CREATE TABLE t (a int)")

    assert adbc.load([parquet({"a": [1.0, None]})], "parquet", "t").rows == 2
    with pytest.raises(UserErrorException, match=r'type integer: "1\.5"'):
        adbc.load([parquet({"a": [1.5]})], "parquet", "t")


def test_a_load_is_stopped_between_batches(database: Database, server: Server, csv: CSV) -> None:
    server.execute(ORDERS)
    stopping = threading.Event()
    lines = "".join(f"{i},x\n" for i in range(2_000))

    with pytest.raises(StepCanceled):
        database.load(
            [csv("id,item\n" + lines, "1.csv"), csv("id,item\n-1,x\n", "2.csv")],
            "csv",
            "orders",
            job=Job(stopping=stopping, told=lambda _: stopping.set()),
        )

    assert orders(server) == []


# From one database to another


def test_rows_go_from_table_to_table_exactly(adbc: Database, database: Database, server: Server) -> None:
    server.execute(
        """
        CREATE TYPE mood AS ENUM ('low', 'high');
        CREATE TABLE a (n numeric, p numeric(8,2), m mood, u uuid, j jsonb, b bytea, i interval, x inet, d date,
                        t timestamp, z timestamptz, f real, o boolean, mo money);
        INSERT INTO a VALUES (123456789012345678901234567890.123456789, 1.10, 'low', gen_random_uuid(), '{"a": 1}', 'x',
                              '1 month 2 days', '10.0.0.1', '2026-01-01', '2026-01-01 01:00', '2026-01-01 01:00+01', 0.1,
                              true, 1.5);
        INSERT INTO a DEFAULT VALUES;
        CREATE TABLE b (LIKE a);
        """
    )

    with adbc.read(SqlSource.table("a")) as rows:
        database.write(rows, "b")

    assert server.rows("(TABLE a EXCEPT ALL TABLE b) UNION ALL (TABLE b EXCEPT ALL TABLE a)") == []


def test_arrays_go_from_table_to_table(adbc: Database, server: Server) -> None:
    server.execute(
        """CREATE TABLE a (i int[], n numeric[], x inet[]);
        INSERT INTO a VALUES ('{1,NULL}', '{1.10}', '{10.0.0.1}'); CREATE TABLE b (LIKE a)"""
    )

    with adbc.read(SqlSource.table("a")) as rows:
        adbc.write(rows, "b")

    assert server.rows("TABLE a EXCEPT TABLE b") == []


def test_an_error_of_the_source_is_told_as_the_sources(adbc: Database, server: Server) -> None:
    server.execute("CREATE TABLE b (x int)")

    with (
        pytest.raises(DatasetExecutionError, match="query SELECT 1 / .* failed: division by zero"),
        adbc.read(SqlSource.query("SELECT 1 / (5 - i) AS x FROM generate_series(1, 10) i")) as rows,
    ):
        adbc.write(rows, "b")

    assert server.rows("SELECT count(*) FROM b") == [(0,)]


def test_of_two_replacements_at_once_one_stays_whole(database: Database, server: Server, csv: CSV) -> None:
    server.execute(ORDERS)
    files = [csv("id,item\n" + "".join(f"{i},{name}\n" for i in range(500)), f"{name}.csv") for name in "ab"]
    threads = [
        threading.Thread(target=database.load, args=([file], "csv", "orders"), kwargs={"mode": "replace"})
        for file in files
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    ((count, items),) = server.rows("SELECT count(*), count(DISTINCT item) FROM orders")
    assert (count, items) == (500, 1)
