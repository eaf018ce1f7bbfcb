"""A script that ignores SIGTERM, as do the children it forked and the daemons it started, is stopped nonetheless."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import FaultyAirflow

pytestmark = pytest.mark.airflow


@pytest.mark.starts("times_out")
def test_execution_timeout_ends_everything(airflow: "FaultyAirflow") -> None:
    run = airflow.run("times_out")

    assert run.ended() == "failed"

    assert airflow.processes_of(run.step_id()) == []
    assert run.step()["status"] == "Failed"
    assert "Timeout" in run.step()["error"]
    events = [item["event"] for item in run.log() if item.get("level") == "error"]
    assert events[0] == "Process timed out"
    assert events[1].startswith("stopped by AirflowTaskTimeout: Timeout")
    airflow.assert_nothing_visible(run)
    run.wait_for_record("Failed")


@pytest.mark.starts("marked_failed")
def test_marking_a_task_as_failed_ends_everything(airflow: "FaultyAirflow") -> None:
    run = airflow.run("marked_failed")
    run.wait_until_up()

    run.change("step", "failed")

    assert run.ended() == "failed"
    airflow.assert_nothing_runs(run.step_id())
    airflow.wait_until(lambda: run.step()["status"] == "Canceled")
    airflow.assert_nothing_visible(run)
    run.wait_for_record("Failed")


@pytest.mark.starts("run_marked_failed")
def test_marking_a_run_as_failed_ends_everything(airflow: "FaultyAirflow") -> None:
    run = airflow.run("run_marked_failed")
    run.wait_until_up()

    airflow.ask("PATCH", run.path, json={"state": "failed"})

    assert run.ended() == "failed"
    airflow.assert_nothing_runs(run.step_id())
    airflow.wait_until(lambda: run.step()["status"] == "Canceled")
    airflow.assert_nothing_visible(run)
    run.wait_for_record("Failed")


@pytest.mark.starts("cleared")
def test_clearing_a_running_task_ends_everything_and_starts_anew(airflow: "FaultyAirflow") -> None:
    run = airflow.run("cleared")
    run.wait_until_up()

    run.clear("step")

    assert run.ended() == "success"
    airflow.assert_nothing_runs(run.step_id())
    assert run.step(number=1)["status"] == "Canceled"
    assert run.step(number=2)["status"] == "Finished"
    airflow.assert_nothing_visible(run, number=1)
    run.wait_for_record("Finished")
