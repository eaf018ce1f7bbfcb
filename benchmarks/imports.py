"""What a DAG file pays for importing this package, over ``airflow.sdk``, which every DAG file imports."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.measure import REPEATS, Row, fresh_python, print_table

LIMIT_S = 0.1

_SDK = "from airflow.sdk import DAG, BaseOperator, Param, task"
_OURS = (
    "from airflow_azureml import Dataset, OutputFileDatasetConfig, Pipeline, PipelineData, PipelineParameter; "
    "from airflow_azureml.operators import PythonScriptStep"
)
_BASH = "from airflow.providers.standard.operators.bash import BashOperator"
_TIMED = """
import time
started = time.perf_counter()
{first}
between = time.perf_counter()
{then}
print(between - started, time.perf_counter() - between)
"""


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="imports-") as home:
        folder = Path(home)
        _times(_OURS, folder)
        ours, bash, sdk = [], [], []
        for _ in range(REPEATS):
            sdk_s, ours_s = _times(_OURS, folder)
            _, bash_s = _times(_BASH, folder)
            ours.append(ours_s)
            bash.append(bash_s)
            sdk.append(sdk_s)
    rows = [
        Row("this package, over airflow.sdk", ours, sdk, limit_s=LIMIT_S),
        Row("for comparison: BashOperator, over airflow.sdk", bash, sdk),
    ]
    print_table("Imports of a DAG file, fresh processes", "airflow.sdk", rows)


def _times(then: str, home: Path) -> tuple[float, float]:
    """Return how long ``airflow.sdk`` takes in a new process, and ``then`` after it."""
    script = _TIMED.format(first=_SDK, then=then)
    first, second = fresh_python("-c", script, cwd=home, variables={"AIRFLOW_HOME": str(home)}).split()[-2:]
    return float(first), float(second)


if __name__ == "__main__":
    main()
