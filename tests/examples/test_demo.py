"""``make run``: the demonstration ends well, shows both runs, and leaves no process behind."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.airflow


def processes_that_name(text: str) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            started_with = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if text.encode() in started_with:
            found.append(entry.name)
    return found


def test_the_second_run_reuses_and_nothing_is_left_running(tmp_path: Path) -> None:
    home = tmp_path / "airflow"
    command = [sys.executable, "-m", "airflow_azureml.demo", "--home", str(home)]

    ended = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=os.environ, check=False
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    first, second = re.split(r"Run 2 of diabetes", ended.stdout)
    assert first.count("Finished") == 4
    assert "metric" in second
    assert re.search(r"http://localhost:\d+/dags/diabetes/runs/manual", second)
    assert re.search(r"log in at http://localhost:\d+ as admin with password \w+", second)
    assert processes_that_name(str(home)) == []
