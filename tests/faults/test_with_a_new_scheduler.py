"""The scheduler is killed with ``kill -9`` in the middle of a run, and started again.

The last file of this folder: whatever else runs in that Airflow would begin anew.
"""

import os
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from airflow_azureml.compute.process import run_process

if TYPE_CHECKING:
    from conftest import FaultyAirflow

pytestmark = pytest.mark.airflow


@pytest.fixture
def new_scheduler(airflow: "FaultyAirflow") -> Iterator[threading.Thread]:
    """A scheduler, as soon as it is started."""
    over = threading.Event()
    # The log server of the old one outlives it, and keeps its port.
    environment = {**airflow.home.environment(), "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": "0"}
    thread = threading.Thread(
        target=lambda: run_process(
            ["airflow", "scheduler"],
            cwd=airflow.home.path,
            env=environment,
            on_line=lambda _stream, _line: None,
            cancelled=over,
        )
    )
    yield thread
    over.set()
    if thread.ident is not None:
        thread.join()


def test_the_run_goes_on_with_a_new_try(airflow: "FaultyAirflow", new_scheduler: threading.Thread) -> None:
    airflow.end_all()
    run = airflow.start("lost_scheduler")
    run.wait_until_up()

    (scheduler,) = airflow.processes_of(str(airflow.home.path), "airflow scheduler")
    os.kill(scheduler, signal.SIGKILL)
    new_scheduler.start()

    assert run.ended() == "success"
    assert run.step(number=2)["status"] == "Finished"
    # The first try's worker outlived the scheduler; it ends when it learns that there is a second one.
    airflow.assert_nothing_runs(run.step_id(number=1))
    airflow.wait_until(lambda: run.step(number=1)["status"] == "Canceled")
    airflow.assert_nothing_visible(run, number=1)
    run.wait_for_record("Finished")
