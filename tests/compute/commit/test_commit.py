"""The commit of a step: it counts wholly or not at all."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml import OutputFileDatasetConfig, PipelineData
from airflow_azureml.compute.commit import Commit
from airflow_azureml.reuse.entries import EntryStore
from airflow_azureml.reuse.policy import ReusePolicy
from airflow_azureml.runtime.exceptions import StepFailed, StoreError, UserErrorException


def test_a_step_that_ends_well_is_seen_with_all_it_left(bench: Any) -> None:
    bench.check_nothing()
    outcome = bench.run("run-1")
    bench.check_all(outcome.document["step_run_id"])
    assert bench.run("run-2").reuse["code"] == "hit"


class TestTheAnswerToTheCommitGetsLost:
    """The marker was written, but nobody said so."""

    def test_and_the_marker_is_seen_then_the_step_has_succeeded(
        self, bench: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = bench.lab.workspace.runs.commit

        def lost(step_id: str) -> bool:
            real(step_id)
            raise StoreError("the connection was lost")

        monkeypatch.setattr(bench.lab.workspace.runs, "commit", lost)
        bench.check_all(bench.run("run-1").document["step_run_id"])

    def test_and_nobody_can_tell_then_the_outputs_stay_where_a_result_may_need_them(
        self, bench: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        runs = bench.lab.workspace.runs
        with monkeypatch.context() as patched:

            def down(*_: object) -> Any:
                raise StoreError("the store is down")

            def lost(step_id: str) -> bool:
                real(step_id)
                patched.setattr(runs, "is_committed", down)
                patched.setattr(runs, "write_step", down)
                raise StoreError("the connection was lost")

            real = runs.commit
            patched.setattr(runs, "commit", lost)
            with pytest.raises(StoreError, match="the connection was lost"):
                bench.run("run-1")
        seen = bench.visible()
        assert len(seen["committed"]) == len(seen["own"]) == 1
        assert seen["shared"]["b.csv"] == "new"

    def test_as_with_a_time_limit_that_strikes_just_then(
        self, bench: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Timeout(BaseException):
            """Airflow's is no Exception either."""

        real = bench.lab.workspace.runs.commit

        def late(step_id: str) -> bool:
            real(step_id)
            raise Timeout

        monkeypatch.setattr(bench.lab.workspace.runs, "commit", late)
        with pytest.raises(Timeout):
            bench.run("run-1")
        seen = bench.visible()
        assert seen["committed"] == [f"runs/{step_id}/committed" for step_id in seen["finished"]]
        assert len(seen["own"]) == 1


class TestAfterTheCommit:
    def test_nothing_makes_the_record_say_that_the_step_failed(
        self, bench: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(EntryStore, "remember", interrupted)
        with pytest.raises(KeyboardInterrupt):
            bench.run("run-1")
        seen = bench.visible()
        assert len(seen["finished"]) == len(seen["committed"]) == 1

    def test_trouble_with_remembering_costs_a_warning(
        self, bench: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def full(*_: object, **__: object) -> None:
            raise StoreError("the disk is full")

        with monkeypatch.context() as patched:
            patched.setattr(EntryStore, "remember", full)
            assert bench.run("run-1").document["status"] == "Finished"
        assert "reuse: this result could not be remembered (the disk is full)" in caplog.messages


class TestADestinationThatOthersUseToo:
    def test_is_as_it_was_when_the_commit_fails(self, bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object) -> None:
            # At this moment the files are there.
            assert bench.visible()["shared"]["b.csv"] == "new"
            raise StoreError("refused")

        monkeypatch.setattr(bench.lab.workspace.runs, "commit", fail)
        with pytest.raises(StoreError):
            bench.run("run-1")
        bench.check_nothing()


class TestTwoRunsCommitOneKeyAtOnce:
    def test_both_count_and_the_first_stays_the_one_that_is_reused(self, bench: Any) -> None:
        bench.run("run-1")
        meet = threading.Barrier(2)
        lab = bench.lab
        outcomes: list[Any] = []

        def run(run_id: str) -> None:
            own = PipelineData("own")
            never = ReusePolicy(wait="never")
            outcomes.append(
                lab.run("pair", arguments=[own, "--pair"], outputs=[own], run_id=run_id, policy=never)
            )

        def together(cwd: Path, env: Any, argv: list[str]) -> None:
            Path(argv[0]).write_text("same")
            meet.wait(30)

        bench.script = together  # type: ignore[method-assign]
        threads = [threading.Thread(target=run, args=[run_id]) for run_id in ("run-2", "run-3")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [outcome.reuse["decision"] for outcome in outcomes] == ["run", "run"]
        own = PipelineData("own")
        again = lab.run("pair", arguments=[own, "--pair"], outputs=[own], run_id="run-4")
        assert again.reuse["code"] == "hit"
        assert again.reuse["origin"]["run_id"] in ("run-2", "run-3")
        for outcome in outcomes:
            assert lab.path_of(outcome, "own").read_text() == "same"


class TestATryThatSeemedDead:
    def test_and_was_given_up_cannot_commit_any_more(self, bench: Any) -> None:
        lab, real = bench.lab, bench.script

        def taken_over(cwd: Path, env: Any, argv: list[str]) -> None:
            real(cwd, env, argv)
            record = lab.workspace.runs.get(env["AZUREML_RUN_ID"])
            lab.workspace.runs.write_step({**record, "status": "Failed"})

        bench.script = taken_over  # type: ignore[method-assign]
        with pytest.raises(StepFailed, match="this try was given up"):
            bench.run("run-1")
        bench.check_nothing()


class TestRegisteringOnCompletion:
    @pytest.mark.parametrize("create_new_version", [True, False])
    def test_a_reused_result_is_the_version_that_is_there(self, bench: Any, create_new_version: bool) -> None:
        lab = bench.lab

        def out() -> Any:
            return OutputFileDatasetConfig("scored").register_on_complete("scored")

        bench.script = lambda cwd, env, argv: Path(argv[0], "a").write_text("1")  # type: ignore[method-assign]
        first = lab.run("score", arguments=[one := out()], outputs=[one])
        second = lab.run("score", arguments=[one := out()], outputs=[one], run_id="run-2")
        assert second.reuse["code"] == "hit"
        record = lab.workspace.datasets.get_by_name("scored")
        assert (record.version, record.run_id) == (1, first.document["step_run_id"])
        assert record.fingerprint == first.document["outputs"]["scored"]["digest"]
        assert lab.record(first)["registrations"] == lab.record(second)["registrations"]
        assert lab.record(second)["registrations"][0]["version"] == 1

    def test_a_name_that_is_taken_fails_the_step_and_nothing_is_seen(self, bench: Any) -> None:
        lab = bench.lab
        lab.workspace.datasets.register("wine", {"kind": "file", "source": {}, "operations": []})
        bench.fixed.register["create_new_version"] = False
        with pytest.raises(UserErrorException, match="dataset name 'wine' is taken"):
            bench.run("run-1")
        bench.check_nothing(datasets=[("wine", 1)])


def test_what_a_step_registers_is_its_own_until_it_is_committed(bench: Any) -> None:
    lab, real = bench.lab, bench.script
    seen: list[Any] = []

    def looking(cwd: Path, env: Any, argv: list[str]) -> None:
        real(cwd, env, argv)
        seen.append(lab.workspace.models.list())
        seen.append([model.name for model in lab.workspace.models.list(viewer_run=env["AZUREML_RUN_ID"])])

    bench.script = looking  # type: ignore[method-assign]
    bench.run("run-1")
    assert seen == [[], ["model"]]


def test_a_log_that_cannot_be_kept_does_not_hide_why_the_step_failed(
    bench: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(Commit, "keep_log", full)

    def exits(*_: object) -> None:
        raise SystemExit(3)

    bench.script = exits  # type: ignore[method-assign]
    with caplog.at_level(logging.WARNING), pytest.raises(StepFailed, match="exit code 3"):
        bench.run("run-1")
    assert "the script's log could not be kept in the run record (the disk is full)" in caplog.messages
