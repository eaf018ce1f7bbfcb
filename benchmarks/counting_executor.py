"""LocalExecutor that notes each task it is given, for ``reuse.py``; lies in the ``config`` folder of the home that is measured.

LocalExecutor starts one process for each task that it is given, so the notes are the number of worker processes started.
"""

import os
from pathlib import Path
from typing import Any

from airflow.executors.local_executor import LocalExecutor


class CountingExecutor(LocalExecutor):
    """Writes a line with the DAG run's id for each task."""

    def queue_workload(self, workload: Any, session: Any) -> None:
        """Take a task from the scheduler."""
        with Path(os.environ["STARTED_TASKS"]).open("a") as file:
            file.write(f"{workload.ti.run_id}\n")
        super().queue_workload(workload, session)
