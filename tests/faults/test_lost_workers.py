"""A worker that is killed with ``kill -9``: its step ends with it, and a retry starts from nothing."""

import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import FaultyAirflow, Run

pytestmark = pytest.mark.airflow

LOST = "the worker died while the step ran"


def task_process(airflow: "FaultyAirflow", run: "Run") -> int:
    """The process in which Airflow runs the operator: the script's guard is its child."""
    script = min(airflow.processes_of(run.step_id()))
    return airflow.parent_of(airflow.parent_of(script))


def supervisor(airflow: "FaultyAirflow", run: "Run") -> int:
    """The executor's worker, which watches over the task process."""
    return airflow.parent_of(task_process(airflow, run))


@pytest.mark.parametrize(
    ("dag_id", "victim"),
    [
        pytest.param("lost_task", task_process, marks=pytest.mark.starts("lost_task")),
        pytest.param("lost_worker", supervisor, marks=pytest.mark.starts("lost_worker")),
    ],
)
def test_the_next_try_starts_from_nothing(
    airflow: "FaultyAirflow", dag_id: str, victim: Callable[["FaultyAirflow", "Run"], int]
) -> None:
    run = airflow.run(dag_id)
    run.wait_until_up()

    os.kill(victim(airflow, run), signal.SIGKILL)

    airflow.assert_nothing_runs(run.step_id())
    assert run.ended() == "success"
    first, second = run.step(number=1), run.step(number=2)
    assert (first["status"], first["error"]) == ("Failed", LOST)
    assert second["status"] == "Finished"
    assert not run.folder(number=1).exists()
    airflow.assert_nothing_visible(run, number=1)
    run.wait_for_record("Finished")


@pytest.mark.starts("lost_for_good")
def test_without_a_retry_the_run_fails_and_no_record_stays_open(airflow: "FaultyAirflow") -> None:
    run = airflow.run("lost_for_good")
    run.wait_until_up()

    os.kill(task_process(airflow, run), signal.SIGKILL)

    assert run.ended() == "failed"
    run.wait_for_record("Failed")
    assert (run.step()["status"], run.step()["error"]) == ("Failed", LOST)
    airflow.assert_nothing_runs(run.step_id())
    airflow.assert_nothing_visible(run)
