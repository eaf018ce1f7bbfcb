"""One step decides over others: it stops the whole run on purpose, or it fails."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import FaultyAirflow

pytestmark = pytest.mark.airflow


@pytest.mark.starts("cancels")
def test_a_script_that_cancels_its_parent_stops_the_run_on_purpose(airflow: "FaultyAirflow") -> None:
    run = airflow.run("cancels")
    run.ended()

    assert run.states() == {"canceler": "skipped", "sibling": "skipped", "after": "skipped"}
    run.wait_for_record("Canceled")
    assert run.record["cancel"]["reason"] == "there is no new data"
    assert run.record["cancel"]["by"] == run.step_id("canceler")
    for task in ("canceler", "sibling"):
        step = run.step(task)
        assert (step["status"], step["error"]) == ("Canceled", "there is no new data")
        airflow.assert_nothing_visible(run, task)
        airflow.assert_nothing_runs(run.step_id(task))
        assert not run.folder(task).exists()


@pytest.mark.starts("fails_fast")
def test_a_failure_stops_the_run_by_default(airflow: "FaultyAirflow") -> None:
    run = airflow.run("fails_fast")

    assert run.ended() == "failed"

    states = run.states()
    assert states["bad"] == "failed"
    assert "success" not in states.values()
    run.wait_for_record("Failed")
    airflow.wait_until(lambda: run.step("sibling")["status"] == "Canceled")
    assert run.step("bad")["status"] == "Failed"
    for task in ("bad", "sibling"):
        airflow.assert_nothing_visible(run, task)
        airflow.assert_nothing_runs(run.step_id(task))


@pytest.mark.starts("goes_on")
def test_steps_that_do_not_depend_on_a_failed_one_may_go_on(airflow: "FaultyAirflow") -> None:
    run = airflow.run("goes_on")

    assert run.ended() == "failed"

    assert run.states() == {
        "bad": "failed",
        "sibling": "success",
        "after_bad": "upstream_failed",
        "after_sibling": "success",
    }
    run.wait_for_record("Failed")
    assert run.step("after_sibling")["status"] == "Finished"
