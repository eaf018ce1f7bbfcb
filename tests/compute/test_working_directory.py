"""The folder of a step run, and what becomes of it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from airflow_azureml.compute import working_directory
from airflow_azureml.compute.working_directory import KEEP_FAILED_S, WorkingDirectory


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


def make_old(folder: Path) -> None:
    long_ago = time.time() - KEEP_FAILED_S - 60
    os.utime(folder, (long_ago, long_ago))


def test_a_new_folder_is_empty_and_for_its_owner_alone(scratch: Path) -> None:
    folder = WorkingDirectory(scratch, "run")
    folder.create()
    assert os.listdir(folder.root) == [".lock"]
    assert stat.S_IMODE(folder.root.stat().st_mode) == 0o700
    folder.remove()
    assert not folder.root.exists()


def test_what_an_earlier_use_left_is_removed(scratch: Path) -> None:
    WorkingDirectory(scratch, "run").create()
    (scratch / "run" / "left").write_text("")
    again = WorkingDirectory(scratch, "run")
    again.create()
    assert os.listdir(again.root) == [".lock"]
    again.release()


def test_a_failed_steps_folder_stays_for_a_week(scratch: Path) -> None:
    failed = WorkingDirectory(scratch, "failed")
    failed.create()
    failed.release()
    other = WorkingDirectory(scratch, "other")
    other.create()
    assert failed.root.exists()
    make_old(failed.root)
    other.create()
    assert not failed.root.exists()
    other.remove()


def test_the_folder_of_a_step_that_still_runs_stays_however_old(scratch: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from airflow_azureml.compute.working_directory import WorkingDirectory; "
        "folder = WorkingDirectory(Path(sys.argv[1]), 'running'); folder.create(); print('ready', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(scratch)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        make_old(scratch / "running")
        other = WorkingDirectory(scratch, "other")
        other.create()
        assert (scratch / "running").exists()
        running.communicate("\n")
    make_old(scratch / "running")
    other.create()
    assert not (scratch / "running").exists()
    other.remove()


def test_many_steps_that_start_at_once_sweep_the_same_folders_without_trouble(scratch: Path) -> None:
    for number in range(50):
        (scratch / f"old{number}" / "deep").mkdir(parents=True)
        make_old(scratch / f"old{number}")
    troubles: list[BaseException] = []

    def start(number: int) -> None:
        folder = WorkingDirectory(scratch, f"new{number}")
        try:
            folder.create()
        except BaseException as error:
            troubles.append(error)
        folder.release()

    threads = [threading.Thread(target=start, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert troubles == []
    assert not any(name.startswith("old") for name in os.listdir(scratch))


def test_what_cannot_be_swept_does_not_keep_a_step_from_starting(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (scratch / "somebody's").mkdir(parents=True)
    (scratch / "a file").write_text("")
    make_old(scratch / "somebody's")
    make_old(scratch / "a file")

    real = working_directory._hold

    def refused(folder: Path) -> int | None:
        if folder.name == "somebody's":
            raise PermissionError(13, "not yours")
        return real(folder)

    monkeypatch.setattr(working_directory, "_hold", refused)
    folder = WorkingDirectory(scratch, "run")
    folder.create()
    assert sorted(os.listdir(scratch)) == ["a file", "run", "somebody's"]
    folder.remove()
