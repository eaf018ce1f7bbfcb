"""Closes the records of pipeline runs: in the scheduler where the workspace is a folder, beside it where it is far away.

A remote workspace is never touched in the scheduler itself. The scheduler would wait for the network; its database session is
in the middle of something when a run ends; and the processes it forks for tasks must not inherit a storage client in use.
One process beside the scheduler does the work then, run after run; it ends with the scheduler.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
from typing import Any

from airflow_azureml.model.status import RunStatus
from airflow_azureml.runtime.exceptions import AzureMLException, ObjectNotFound

WAITS_S = 60.0
"""How long a process that ends waits for the records of its runs."""

log = logging.getLogger(__name__)


def close(dag_id: str, run_id: str, status: RunStatus) -> None:
    """Close the record of a pipeline run, as canceled when it was stopped on purpose; nothing happens without a record.

    :param dag_id: the DAG.
    :param run_id: Airflow's id of the run.
    :param status: how the run ended.
    """
    from airflow_azureml import config

    url = config.workspace_url()
    if "://" in url and not url.startswith(("file://", "memory://")):
        CLOSER.send(dag_id, run_id, status)
    else:
        _close(url, dag_id, run_id, status)


class Closer:
    """The process beside the scheduler. It is started when it is first needed, and again when it has ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def send(self, dag_id: str, run_id: str, status: RunStatus) -> None:
        """Have the record of a run closed, some time soon."""
        line = json.dumps([dag_id, run_id, status.value]).encode() + b"\n"
        with self._lock:
            # Once more, because the process may have ended since it was last needed.
            if not self._sent(line) and not self._sent(line):
                log.warning(
                    "the record of run %s of %s could not be closed: no process can be started",
                    run_id,
                    dag_id,
                )

    def wait(self) -> None:
        """Wait until everything that was sent is done."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=WAITS_S)

    def _sent(self, line: bytes) -> bool:
        try:
            pipe = self._running().stdin
            if pipe is not None:
                pipe.write(line)
                pipe.flush()
        except OSError:
            self._process = None
            return False
        return True

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None or self._owner != os.getpid():
            if self._process is not None and self._process.stdin is not None:
                with contextlib.suppress(OSError):
                    self._process.stdin.close()
            # In a session of its own: Ctrl-C is for the scheduler, and what was sent is still done.
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__], stdin=subprocess.PIPE, start_new_session=True
            )
            self._owner = os.getpid()
            # A command such as `airflow dags test` ends soon after its run.
            atexit.register(self.wait)
        return self._process


CLOSER = Closer()


def _close(url: str, dag_id: str, run_id: str, status: RunStatus) -> None:
    from airflow_azureml import config
    from airflow_azureml.compute.identity import pipeline_run_id
    from airflow_azureml.compute.records import close_open_steps, now
    from airflow_azureml.workspace.handle import open_workspace

    pipeline_run = pipeline_run_id(config.deployment(), dag_id, run_id)
    end = now()

    def change(record: dict[str, Any]) -> dict[str, Any]:
        final = RunStatus.CANCELED if record.get("cancel") else status
        return {**record, "status": final.value, "end": end}

    try:
        workspace = open_workspace(url)
        workspace.runs.update(pipeline_run, change)
        if status is RunStatus.FAILED:
            close_open_steps(workspace, pipeline_run)
    except ObjectNotFound:
        return
    except (AzureMLException, OSError) as error:
        # The scheduler has better things to do than to fail over a record.
        log.warning("the record of run %s of %s could not be closed: %s", run_id, dag_id, error)


def main() -> None:
    """Close the records of the runs named on standard input, one JSON list a line, until it ends."""
    from airflow_azureml import config

    for line in sys.stdin:
        dag_id, run_id, status = json.loads(line)
        _close(config.workspace_url(), dag_id, run_id, RunStatus(status))


if __name__ == "__main__":
    main()
