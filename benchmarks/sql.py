"""A table of PostgreSQL to pandas, through Parquet, against ``pandas.read_sql``: ``python -m benchmarks.sql [rows] [repeats]``.

Needs PostgreSQL's programs. The server is its own, without durability, on this machine, so that the client's work is what is
measured. Every side is a process of its own that has done the same with one row before the clock starts; the sides take turns.
"Here" is two of them: the worker that writes the file and the script that reads it; their times are added, and the larger of
their peaks of memory counts.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import load, machine

ROWS = 1_000_000
REPEATS = 5
TIMES_FASTER = 4.0
SHARE_OF_MEMORY = 1 / 3
TABLE = """
CREATE TABLE rows AS SELECT i AS id, (random() * 1000)::int AS code, random() AS a, random() * 1e6 AS b, md5(i::text) AS name,
timestamp '2020-01-01' + i * interval '1 second' AS at, i % 2 = 0 AS even, CASE WHEN i % 10 > 0 THEN i % 1000 END AS maybe
FROM generate_series(1, {rows}) i
"""
Figures = dict[str, float]


def main() -> None:
    """Fill a table, measure, print the figures."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else REPEATS
    with tempfile.TemporaryDirectory(prefix="sql-") as folder, server() as options:
        statement(options, TABLE.format(rows=rows))
        statement(options, "ANALYZE rows")
        path = Path(folder) / "rows.parquet"
        sides: dict[str, list[Figures]] = {"export": [], "read": [], "pandas": [], "load": []}
        for number in range(repeats + 1):
            for side, figures in sides.items():
                found = once(side, options, path)
                if number:
                    figures.append(found)
        print_figures(rows, repeats, path, sides)


def print_figures(rows: int, repeats: int, path: Path, sides: dict[str, list[Figures]]) -> None:
    """Print medians, and how far here is ahead of pandas."""
    median = {
        side: {name: statistics.median(each[name] for each in figures) for name in figures[0]}
        for side, figures in sides.items()
    }
    here = {name: median["export"][name] + median["read"][name] for name in ("wall_s", "cpu_s")}
    here["peak_mib"] = max(median["export"]["peak_mib"], median["read"]["peak_mib"])
    size = path.stat().st_size / 2**20
    print(
        f"\n{rows:,} rows of 8 columns, Parquet file of {size:.0f} MiB; median of {repeats}; load {load()}\n"
    )
    print(f"{'':38}{'wall s':>8}{'CPU s':>8}{'peak MiB':>10}")
    table = {
        "PostgreSQL to Parquet (worker)": median["export"],
        "Parquet to pandas (script)": median["read"],
        "PostgreSQL to pandas, here": here,
        "pandas.read_sql (SQLAlchemy, psycopg2)": median["pandas"],
        "Parquet to PostgreSQL": median["load"],
    }
    for what, figures in table.items():
        print(f"{what:38}{figures['wall_s']:8.2f}{figures['cpu_s']:8.2f}{figures['peak_mib']:10.0f}")
    faster = median["pandas"]["wall_s"] / here["wall_s"]
    share = here["peak_mib"] / median["pandas"]["peak_mib"]
    print(
        f"\n{faster:.1f} times as fast (target {TIMES_FASTER:.0f}) at {share:.0%} of the memory (target 33%): ",
        end="",
    )
    print("ok" if faster >= TIMES_FASTER and share <= SHARE_OF_MEMORY else "missed", flush=True)


def once(side: str, options: dict[str, str], path: Path) -> Figures:
    """Measure one side in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.sql_once", side, json.dumps(options), str(path)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: Figures = json.loads(done.stdout)
    return found


@contextlib.contextmanager
def server() -> Iterator[dict[str, str]]:
    """A PostgreSQL server of its own; libpq's options to reach it."""
    initdb = shutil.which("initdb") or max(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")))
    programs = Path(initdb).parent
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    # The server refuses to run as root.
    user = "nobody" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    data = str(folder / "data")
    command = [str(programs / "initdb"), "-D", data, "-U", "benchmark", "-A", "trust", "--no-sync"]
    subprocess.run(command, user=user, check=True, capture_output=True, cwd="/")
    process = subprocess.Popen(
        [str(programs / "postgres"), "-D", data, "-k", str(folder), "-h", "127.0.0.1", "-p", port, "-F"],
        user=user,
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not (folder / f".s.PGSQL.{port}").exists():
            time.sleep(0.05)
        yield {"host": "127.0.0.1", "port": port, "user": "benchmark", "dbname": "postgres"}
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def statement(options: dict[str, str], text: str) -> None:
    """Run a statement and commit."""
    import adbc_driver_postgresql.dbapi as adbc

    uri = " ".join(f"{name}={value}" for name, value in options.items())
    with adbc.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute(text)
        connection.commit()


if __name__ == "__main__":
    print(machine())
    main()
