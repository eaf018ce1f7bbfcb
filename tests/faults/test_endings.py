"""A script that ends badly by itself: the right state, its own words first, nothing half-visible, no process left."""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import FaultyAirflow

pytestmark = pytest.mark.airflow


def errors(log: list[dict[str, Any]]) -> list[str]:
    return [item["event"] for item in log if item.get("level") in ("error", "critical")]


@pytest.mark.parametrize(
    ("dag_id", "ending"),
    [
        pytest.param("exits", "exit code 3", marks=pytest.mark.starts("exits")),
        pytest.param("raises", "exit code 1", marks=pytest.mark.starts("raises")),
        pytest.param("killed", "killed by SIGKILL", marks=pytest.mark.starts("killed")),
    ],
)
def test_a_bad_end_is_a_failed_run_that_leaves_nothing(
    airflow: "FaultyAirflow", dag_id: str, ending: str
) -> None:
    run = airflow.run(dag_id)

    assert run.ended() == "failed"

    step = run.step()
    assert (step["status"], step["error"]) == ("Failed", f"script {dag_id}.py: {ending}")
    run.wait_for_record("Failed")
    airflow.assert_nothing_visible(run)
    assert airflow.processes_of(run.step_id()) == []


@pytest.mark.starts("raises")
def test_the_traceback_of_the_script_comes_first_then_one_line_each(airflow: "FaultyAirflow") -> None:
    run = airflow.run("raises")
    run.ended()

    log = run.log()
    events = [item["event"] for item in log]
    start = events.index("Traceback (most recent call last):")
    end = events.index("ValueError: the harvest is spoiled")
    told = errors(log)
    assert told == [
        "script raises.py: exit code 1",
        f"logs and partial outputs are in {run.folder()} for a week",
        "not kept: outputs kept, out, metrics, artifacts and registrations of this try",
        "to try: correct the cause above and clear this task; steps that succeeded are reused",
        "Task failed with exception",
    ]
    assert not [item for item in log[:start] if item.get("level") not in ("info", None)]
    assert events.index(told[0]) == end + 1
    assert 'raises.py", line 5, in harvest' in "\n".join(events[start:end])
    # Airflow adds its own traceback after that: its frames down to ours, none of ours below.
    (error,) = log[events.index("Task failed with exception")]["error_detail"]
    assert (error["exc_type"], error["exc_value"]) == ("StepFailed", "script raises.py: exit code 1")
    assert [frame for frame in error["frames"] if "/airflow/" not in frame["filename"]] == error["frames"][
        -2:
    ]


@pytest.mark.starts("raises")
def test_what_the_script_wrote_can_be_looked_at(airflow: "FaultyAirflow") -> None:
    run = airflow.run("raises")
    run.ended()

    assert (run.folder() / "code" / "outputs" / "model.txt").is_file()
    assert len(list(run.folder().rglob("data.txt"))) == 1
    (log,) = run.step()["logs"]
    assert b"ValueError: the harvest is spoiled" in airflow.workspace.store.get(log["key"]).data


@pytest.mark.starts("forks")
def test_children_that_a_script_leaves_end_with_it(airflow: "FaultyAirflow") -> None:
    run = airflow.run("forks")

    assert run.ended() == "success"

    assert airflow.processes_of(run.step_id()) == []
    assert run.step()["status"] == "Finished"
    assert not run.folder().exists()


@pytest.mark.starts("second_try")
def test_a_retry_is_a_try_of_its_own(airflow: "FaultyAirflow") -> None:
    run = airflow.run("second_try")

    assert run.ended() == "success"

    assert [run.step(number=number)["status"] for number in (1, 2)] == ["Failed", "Finished"]
    assert airflow.workspace.runs.is_committed(run.step_id(number=2))
    airflow.assert_nothing_visible(run, number=1)
    assert run.folder(number=1).is_dir()
    assert not run.folder(number=2).exists()
    (model,) = [model for model in airflow.workspace.models.list() if "second_try" in model.name]
    assert model.run_id == run.step_id(number=2)
    run.wait_for_record("Finished")


@pytest.mark.starts("half_good")
def test_good_steps_of_a_failed_run_are_reused(airflow: "FaultyAirflow") -> None:
    first = airflow.run("half_good")
    assert first.ended() == "failed"
    assert first.states() == {"good": "success", "bad": "failed"}

    second = airflow.start("half_good")
    assert second.ended() == "failed"

    assert second.step("good")["reuse"]["decision"] == "reuse"
    assert second.step("good")["reused_from"] == first.step_id("good")
    assert second.step("bad")["reuse"]["decision"] == "run"


@pytest.mark.starts("at_once")
def test_two_runs_at_once_keep_apart(airflow: "FaultyAirflow") -> None:
    first = airflow.run("at_once")
    second = airflow.start_at_meeting("at_once")

    assert [run.ended() for run in (first, second)] == ["success", "success"]

    store = airflow.workspace.datastores
    for run in (first, second):
        run.wait_for_record("Finished")
        output = run.step()["outputs"]["out"]
        assert (store.root(output["datastore"]) / output["path"] / "who.txt").read_text() == run.step_id()
    versions = airflow.workspace.datasets.versions("kept_of_step_in_meets")
    assert [version.version for version in versions] == [1, 2]
    assert {version.run_id for version in versions} == {first.step_id(), second.step_id()}
