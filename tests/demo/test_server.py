"""Airflow's processes live as long as the ``with`` block, and no longer."""

import os
import time
from pathlib import Path

import pytest

from airflow_azureml.demo.home import AirflowHome
from airflow_azureml.demo.server import AirflowServer, AirflowStopped


class HomeWithProgram(AirflowHome):
    """A home in which ``airflow`` is a shell script."""

    def install(self, script: str) -> None:
        program = self.path / "airflow"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    def environment(self) -> dict[str, str]:
        return {"PATH": f"{self.path}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture
def home(tmp_path: Path) -> HomeWithProgram:
    return HomeWithProgram(tmp_path, 0, (0, 0))


def wait_for(path: Path) -> str:
    until = time.monotonic() + 30
    while not (path.exists() and path.read_text().strip()):
        assert time.monotonic() < until
        time.sleep(0.01)
    return path.read_text().strip()


def test_nothing_is_left_at_the_end(home: HomeWithProgram) -> None:
    home.install("setsid sleep 600 & echo $! > child; exec sleep 600")

    with AirflowServer(home) as server:
        child = wait_for(home.path / "child")
        server.check()

    assert not Path(f"/proc/{child}").exists()


def test_an_airflow_that_ends_by_itself_is_reported_with_its_last_words(home: HomeWithProgram) -> None:
    home.install("echo the port is taken; exit 3")

    with AirflowServer(home) as server:
        server.wait()
        with pytest.raises(
            AirflowStopped, match=r"ended with 3\.\nthe port is taken\nAll of it: .*standalone\.log"
        ):
            server.check()


def test_a_missing_program_is_reported(home: HomeWithProgram) -> None:
    with AirflowServer(home) as server:
        server.wait()
        with pytest.raises(AirflowStopped, match="cannot start airflow"):
            server.check()


def test_what_it_prints_is_kept_in_a_file(home: HomeWithProgram) -> None:
    home.install("echo one; echo two >&2")

    with AirflowServer(home) as server:
        server.wait()

    assert sorted(home.log_file.read_text().split()) == ["one", "two"]
