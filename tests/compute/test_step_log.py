"""The script's output on its way to the task log and the record."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_azureml.compute import step_log
from airflow_azureml.compute.step_log import StepLog


def test_lines_of_both_streams_are_passed_on_and_kept_in_their_order(tmp_path: Path) -> None:
    said: list[str] = []
    with StepLog(tmp_path / "deep" / "log.txt", said.append) as log:
        log.line("stdout", "one")
        log.line("stderr", "two ü")
        log.pass_on()
        log.line("stdout", "")
        log.pass_on()
    assert said == ["one", "two ü", ""]
    assert (tmp_path / "deep" / "log.txt").read_text(encoding="utf-8") == "one\ntwo ü\n\n"


def test_text_that_no_encoding_can_hold_is_escaped(tmp_path: Path) -> None:
    with StepLog(tmp_path / "log.txt", lambda _: None) as log:
        log.line("stdout", "\udcff")
        log.pass_on()
    assert (tmp_path / "log.txt").read_text() == "\\udcff\n"


def test_lines_that_come_faster_than_they_can_be_logged_become_one_record(tmp_path: Path) -> None:
    said: list[str] = []
    with StepLog(tmp_path / "log.txt", said.append) as log:
        for number in range(step_log.MANY_LINES):
            log.line("stdout", str(number))
        log.pass_on()
    assert said == ["\n".join(map(str, range(step_log.MANY_LINES)))]


class TestOutputBeyondAllMeasure:
    @pytest.fixture
    def said(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        monkeypatch.setattr(step_log, "TASK_LOG_BYTES", 1 << 20)
        monkeypatch.setattr(step_log, "LAST_BYTES", 1 << 10)
        monkeypatch.setattr(step_log, "LOG_FILE_BYTES", 2 << 20)
        said: list[str] = []
        with StepLog(tmp_path / "log.txt", said.append) as log:
            for number in range(3000):
                log.line("stdout", f"{number} " + "ü" * 500)
                log.pass_on()
        return said

    def test_is_cut_in_the_task_log_which_shows_its_end(self, said: list[str]) -> None:
        assert sum(len(line.encode()) for line in said) < (1 << 20) + 4096
        assert said[-1].splitlines()[-1].startswith("2999 ")
        assert "from here on only its last lines follow" in "".join(said)
        assert any("bytes are left out here" in line for line in said[-2:])

    def test_is_kept_to_a_bound(self, said: list[str], tmp_path: Path) -> None:
        assert (2 << 20) <= (tmp_path / "log.txt").stat().st_size < (2 << 20) + 2000
        assert "the rest is not kept" in (tmp_path / "log.txt").read_text().splitlines()[-1]


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_full_disk_costs_the_task_log_nothing(size: int) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    said: list[str] = []
    with StepLog(full, said.append) as log:
        for _ in range(3):
            log.line("stdout", "x" * size)
            log.pass_on()
    assert len(said) == 3
