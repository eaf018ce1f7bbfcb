"""One side of ``benchmarks.sql`` in a process of its own: prints wall time, CPU time, peak memory and rows as JSON."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

QUERY = "SELECT * FROM rows"


def export(options: dict[str, str], path: Path) -> Callable[[], int]:
    """Write the rows to a Parquet file, as the worker does."""
    import adbc_driver_postgresql.dbapi
    import pyarrow.parquet  # noqa: F401

    from airflow_azureml.sql.postgresql import PostgreSQLDatabase

    database = PostgreSQLDatabase("postgresql://benchmark", "benchmark", lambda: options)
    return lambda: database.query_to_parquet(QUERY, path).rows


def read(_: dict[str, str], path: Path) -> Callable[[], int]:
    """Read the Parquet file into pandas, as the script does."""
    import pandas as pd
    import pyarrow.parquet  # noqa: F401

    return lambda: len(pd.read_parquet(path))


def pandas_sqlalchemy(options: dict[str, str], _: Path) -> Callable[[], int]:
    """Read the rows as pandas documents it."""
    import pandas as pd
    import sqlalchemy

    url = f"postgresql+psycopg2://{options['user']}@{options['host']}:{options['port']}/{options['dbname']}"
    engine = sqlalchemy.create_engine(url)
    return lambda: len(pd.read_sql(QUERY, engine))


def load(options: dict[str, str], path: Path) -> Callable[[], int]:
    """Write the file's rows to a table, as the worker does."""
    import adbc_driver_postgresql.dbapi
    import pyarrow.parquet  # noqa: F401

    from airflow_azureml.sql.postgresql import PostgreSQLDatabase

    database = PostgreSQLDatabase("postgresql://benchmark", "benchmark", lambda: options)
    return lambda: database.load([path], "parquet", "loaded", mode="replace").rows


SIDES: dict[str, Callable[[dict[str, str], Path], Callable[[], Any]]] = {
    "export": export,
    "read": read,
    "pandas": pandas_sqlalchemy,
    "load": load,
}


def main(side: str, options: str, path: str) -> None:
    """Import what the side needs, then measure it."""
    work = SIDES[side](json.loads(options), Path(path))
    start, cpu = time.perf_counter(), time.process_time()
    rows = work()
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
