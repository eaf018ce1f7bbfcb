"""CSV to pandas against ``pandas.read_csv`` with pyarrow: ``python -m benchmarks.delimited [rows] [repeats]``.

The table has whole numbers, decimals, times, truth values and two columns of text. The sides are timed in turn. pandas
alone is there because it is what reads files that pyarrow would read otherwise than v1 did.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import Row, alternately, print_table

ROWS = 1_000_000
REPEATS = 7
TARGET = 1.2


def main() -> None:
    """Write the file, measure, print the table."""
    import pandas as pd

    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else REPEATS
    with tempfile.TemporaryDirectory(prefix="delimited-") as folder:
        path = Path(folder) / "table.csv"
        write(path, rows)
        print(f"{rows} rows, {path.stat().st_size / 2**20:.1f} MiB, {repeats} times each")
        times = alternately(
            {
                "here": timed(lambda: dataset_rows(path)),
                "arrow": timed(lambda: pd.read_csv(path, engine="pyarrow")),
                "pandas": timed(lambda: pd.read_csv(path)),
            },
            repeats,
        )
    title = "CSV to pandas"
    print_table(title, "pyarrow", [Row("to_pandas_dataframe", times["here"], times["arrow"], target=TARGET)])
    print_table(title, "pandas", [Row("to_pandas_dataframe", times["here"], times["pandas"])])


def write(path: Path, rows: int) -> None:
    """Write the table."""
    import numpy as np
    import pandas as pd

    random = np.random.default_rng(1)
    pd.DataFrame(
        {
            "id": np.arange(rows),
            "a": random.normal(size=rows),
            "b": random.normal(size=rows),
            "count": random.integers(0, 1000, rows),
            "city": random.choice(["Ulm", "Bonn", "Berlin"], rows),
            "at": pd.date_range("2020-01-01", periods=rows, freq="min").strftime("%Y-%m-%dT%H:%M:%S"),
            "flag": random.choice(["true", "false"], rows),
            "note": [f"row {number}" for number in range(rows)],
        }
    ).to_csv(path, index=False)


def dataset_rows(path: Path) -> Any:
    """Read the table as a script does, without asking its supervisor for the files."""
    from airflow_azureml.runtime.dataset import Dataset
    from airflow_azureml.runtime.dataset.engine import evaluate
    from airflow_azureml.runtime.dataset.resolve import resolve_files

    definition = Dataset.Tabular.from_delimited_files(str(path)).definition
    return evaluate(definition, resolve_files(definition, Path))


def timed(side: Callable[[], Any]) -> Callable[[], float]:
    """Return a function that returns how long a side took."""

    def measure() -> float:
        start = time.perf_counter()
        side()
        return time.perf_counter() - start

    return measure


if __name__ == "__main__":
    main()
