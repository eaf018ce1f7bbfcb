"""The scheduler is killed in the middle of a run, and started again."""

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import FaultyAirflow

pytestmark = pytest.mark.airflow


def schedulers(airflow: "FaultyAirflow") -> list[int]:
    """The scheduler; its workers and its log server, which it forked, carry other names."""
    found = []
    for pid in airflow.processes_of(str(airflow.home.path)):
        print(pid, airflow.parent_of(pid), Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" "))
        if b"scheduler" in Path(f"/proc/{pid}/cmdline").read_bytes():
            found.append(pid)
    return found


def test_a_restart(airflow: "FaultyAirflow") -> None:
    airflow.wait_for_all()
    run = airflow.start("lost_scheduler")
    run.wait_until_up()

    print(schedulers(airflow))
    os.kill(min(schedulers(airflow)), signal.SIGKILL)
    env = {**airflow.home.environment(), "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": "0"}
    with open("/tmp/sched.log", "wb") as out:
        new = subprocess.Popen(["airflow", "scheduler"], env=env, stdout=out, stderr=out)
    import time
    try:
        for i in range(60):
            time.sleep(1)
            s = run.states()
            print(i, s, {n: (r["status"], r["error"]) for n, r in run.tries("step").items()}, [t["try_number"] for t in airflow.rest.task_instances(run.dag_id, run.run_id)])
            if s["step"] in ("success", "failed"): break
    finally:
        new.terminate(); new.wait()
    assert 0
