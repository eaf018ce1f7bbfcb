"""``make run``: the demonstration ends well, shows both runs, and leaves no process behind."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.airflow


def command(home: Path) -> list[str]:
    return [sys.executable, "-m", "airflow_azureml.demo", "--home", str(home)]


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

    ended = subprocess.run(
        command(home), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    first, second = re.split(r"Run 2 of diabetes", ended.stdout)
    assert first.count("Finished") == 4
    assert "metric" in second
    assert re.search(r"http://localhost:\d+/dags/diabetes/runs/manual", second)
    assert re.search(r"log in at http://localhost:\d+ as admin with password \w+", second)
    # A process that was told to end may still be at it.
    wait_until(lambda: processes_that_name(str(home)) == [])


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name
)
def test_interrupted_it_leaves_nothing_running(tmp_path: Path, number: signal.Signals) -> None:
    home = tmp_path / "airflow"
    # Tests that run in the background of a shell inherit that Ctrl-C is not for them.
    with subprocess.Popen(
        command(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as demo:
        wait_until(lambda: "Database ready" in read(home / "standalone.log"))
        demo.send_signal(number)

        assert demo.wait() == (-signal.SIGKILL if number == signal.SIGKILL else 130)

    wait_until(lambda: processes_that_name(str(home)) == [])


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)
