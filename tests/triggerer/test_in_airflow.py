"""Reuse in a real Airflow: hits without a worker, waiting without a worker, and both without a triggerer."""

import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Airflow, Meeting, Run

pytestmark = pytest.mark.airflow

STEPS = ("write", "read")


def test_a_hit_starts_no_worker(airflow: "Airflow") -> None:
    first = airflow.start("chain")
    assert first.ended() == "success"
    assert all(first.has_used_a_worker(name) for name in STEPS)
    assert not any(first.link(name) for name in STEPS)

    second = airflow.start("chain")
    assert second.ended() == "success"
    assert not any(second.has_used_a_worker(name) for name in STEPS)
    for name in STEPS:
        assert second.reuse(name)["code"] == "hit"
        assert second.record(name)["reused_from"] == first.record(name)["id"]
        assert first.run_id.partition("T")[0] in str(second.link(name))

    # What would be lost in the triggerer goes through a worker: each run has announced its asset once.
    assert second.has_used_a_worker("announces")
    assert second.reuse("announces")["code"] == "hit"
    events = airflow.ask("GET", "/api/v2/assets/events")["asset_events"]
    assert sorted(event["source_run_id"] for event in events) == sorted([first.run_id, second.run_id])

    third = airflow.start("chain", number=2)
    assert third.ended() == "success"
    assert third.has_used_a_worker("write")
    assert third.reuse("write")["code"] == "parameter"

    # Who clears a task wants it to run.
    second.clear("write")
    assert second.ended() == "success"
    airflow.wait_until(
        lambda: second.record("write")["status"] == "Finished" and second.record("write")["try_number"] == 2
    )
    assert second.has_used_a_worker("write")
    assert second.record("write")["reused_from"] is None


def start_two(airflow: "Airflow", dag_id: str) -> tuple["Run", "Run", "Meeting"]:
    """Two runs at once that need the same result; the first one computes it."""
    meeting = airflow.meeting()
    first = airflow.start(dag_id, meeting=str(meeting.folder))
    airflow.wait_until(lambda: meeting.started)
    return first, airflow.start(dag_id, meeting=str(meeting.folder)), meeting


@pytest.mark.parametrize("gate", ["worker", "triggerer"])
def test_two_runs_compute_a_result_once_and_who_waits_takes_no_worker(airflow: "Airflow", gate: str) -> None:
    first, second, meeting = start_two(airflow, f"meets_{gate}")
    second.wait_for("deferred")
    sensor = airflow.start("senses", meeting=str(meeting.folder)) if gate == "worker" else None
    if sensor:
        sensor.wait_for("deferred", "sense")
    airflow.wait_until(lambda: second.record().get("status") == "Queued")
    meeting.end()

    assert (first.ended(), second.ended()) == ("success", "success")
    assert len(meeting.started) == 1
    reuse = second.reuse()
    assert reuse["code"] == "joined"
    assert reuse["waited_s"] > 0
    assert second.record()["reused_from"] == first.record()["id"]
    if gate == "triggerer":
        assert not second.has_used_a_worker()
    if sensor:
        assert sensor.ended() == "success"


def test_who_waits_takes_over_when_the_other_is_killed(airflow: "Airflow") -> None:
    first, second, meeting = start_two(airflow, "meets_worker")
    second.wait_for("deferred")
    (script,) = meeting.started
    os.kill(first.task()["pid"], signal.SIGKILL)

    assert first.ended() == "failed"
    airflow.wait_until(lambda: len(meeting.started) == 2)
    assert not Path(f"/proc/{script}").exists()
    meeting.end()
    assert second.ended() == "success"
    assert second.record()["reused_from"] is None


def test_without_a_triggerer_everything_still_works(airflow: "Airflow") -> None:
    """The last test: nobody starts a new one."""
    for pid in triggerer_processes(airflow):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    airflow.wait_until(
        lambda: airflow.ask("GET", "/api/v2/monitor/health")["triggerer"]["status"] != "healthy"
    )

    in_triggerer = airflow.start("alone", meeting="x")
    first, second, meeting = start_two(airflow, "meets_worker")
    airflow.wait_until(lambda: second.task()["state"] == "running")
    airflow.wait_until(lambda: second.record().get("status") == "Queued")
    meeting.end()

    assert (first.ended(), second.ended()) == ("success", "success")
    assert second.reuse()["code"] == "joined"
    assert in_triggerer.ended() == "success"
    assert in_triggerer.has_used_a_worker()


def triggerer_processes(airflow: "Airflow") -> list[int]:
    home = f"AIRFLOW_HOME={airflow.home.path}\0".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environment, command = (entry / "environ").read_bytes(), (entry / "cmdline").read_bytes()
            if home in environment + b"\0" and b"triggerer" in command:
                found.append(int(entry.name))
    return found
