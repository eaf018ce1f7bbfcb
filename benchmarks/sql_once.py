"""One side of ``benchmarks.sql`` in a process of its own: prints wall time, CPU time, peak memory and rows as JSON."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from airflow_azureml.model.sql_source import SqlSource
from airflow_azureml.runtime.dataset import Dataset
from airflow_azureml.runtime.dataset.engine import evaluate
from airflow_azureml.runtime.dataset.resolve import resolve_files
from airflow_azureml.sql.postgresql import PostgreSQLDatabase

QUERY = "SELECT * FROM rows"
ONE_ROW = "SELECT * FROM rows LIMIT 1"


def export(options: dict[str, str], path: Path) -> Callable[[str], int]:
    """Write the rows to a Parquet file, as the worker does."""
    database = PostgreSQLDatabase("postgresql://benchmark", "benchmark", lambda: options)
    return lambda query: database.query_to_parquet(query, path).rows


def read(_: dict[str, str], path: Path) -> Callable[[str], int]:
    """Read the Parquet file into pandas, as the script does."""
    import pandas as pd

    def rows(query: str) -> int:
        file = path
        if query == ONE_ROW:
            file = path.with_name("one.parquet")
            pd.DataFrame({"a": [1]}).to_parquet(file)
        definition = Dataset.Tabular.from_parquet_files(str(file)).definition
        return len(evaluate(definition, resolve_files(definition, Path)))

    return rows


def pandas_sqlalchemy(options: dict[str, str], _: Path) -> Callable[[str], int]:
    """Read the rows as pandas documents it."""
    import pandas as pd
    import sqlalchemy

    url = f"postgresql+psycopg2://{options['user']}@{options['host']}:{options['port']}/{options['dbname']}"
    engine = sqlalchemy.create_engine(url)
    return lambda query: len(pd.read_sql(query, engine))


def load(options: dict[str, str], path: Path) -> Callable[[str], int]:
    """Write the file's rows to a table, as the worker does."""
    database = PostgreSQLDatabase("postgresql://benchmark", "benchmark", lambda: options)

    def rows(query: str) -> int:
        if query == ONE_ROW:
            return len(database.preview(SqlSource.query(query)))
        return database.load([path], "parquet", "loaded", mode="replace").rows

    return rows


SIDES: dict[str, Callable[[dict[str, str], Path], Callable[[str], int]]] = {
    "export": export,
    "read": read,
    "pandas": pandas_sqlalchemy,
    "load": load,
}


def main(side: str, options: str, path: str) -> None:
    """Let the side do it with one row, which loads all that it needs; then measure it."""
    work = SIDES[side](json.loads(options), Path(path))
    work(ONE_ROW)
    start, cpu = time.perf_counter(), time.process_time()
    rows = work(QUERY)
    print(
        json.dumps(
            {
                "wall_s": time.perf_counter() - start,
                "cpu_s": time.process_time() - cpu,
                "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "rows": rows,
            }
        ),
        flush=True,
    )
    # What is left to do costs time that nobody measures.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
