"""The commit of a step happens or doesn't: whatever fails on the way, nobody sees half of it."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml import OutputFileDatasetConfig, PipelineData
from airflow_azureml.compute import files, overlay, staging
from airflow_azureml.compute.commit import Commit
from airflow_azureml.reuse.entries import EntryStore
from airflow_azureml.runtime.exceptions import AzureMLException, StepFailed, StoreError, UserErrorException
from airflow_azureml.workspace.handle import WorkspaceHandle
from airflow_azureml.workspace.local_store import LocalStore
from airflow_azureml.workspace.run_service import RunService

BLOB = "workspaceblobstore"


class FailingStore(LocalStore):
    """A store whose n-th write, or any call of a kind, fails; before or after it is done."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.fail_at: int | None = None
        self.after = False
        self.error: Callable[[str], BaseException] = StoreError
        self.calls: list[str] = []

    def arm(self, number: int, *, after: bool = False) -> None:
        self.fail_at, self.after, self.calls = number, after, []

    def disarm(self) -> int:
        self.fail_at = None
        return len(self.calls)

    def _call(self, name: str, key: str, *args: Any, **options: Any) -> Any:
        self.calls.append(f"{name} {key}")
        fails = self.fail_at is not None and len(self.calls) == self.fail_at
        if fails and not self.after:
            raise self.error(f"injected: {self.calls[-1]}")
        result = getattr(super(), name)(key, *args, **options)
        if fails:
            raise self.error(f"injected after: {self.calls[-1]}")
        return result

    def get(self, key: str) -> Any:
        return self._call("get", key)

    def put(self, key: str, data: bytes, **options: Any) -> str:
        return self._call("put", key, data, **options)

    def put_file(self, key: str, source: Path, **options: Any) -> str:
        return self._call("put_file", key, source, **options)

    def exists(self, key: str) -> bool:
        return self._call("exists", key)

    def list(self, prefix: str) -> Any:
        return self._call("list", prefix)


class Bench:
    """A step that leaves behind all that a step can, in a lab whose store can fail."""

    def __init__(self, lab: Any) -> None:
        self.lab = lab
        self.store = FailingStore(lab.root / "workspace")
        lab.workspace = WorkspaceHandle(str(lab.root / "workspace"), self.store)
        lab.with_services(workspace=lab.workspace)
        lab.script("")
        lab.datastore_file("shared/b.csv", "old")
        lab.datastore_file("shared/theirs.csv", "theirs")
        self.own = PipelineData("own")
        self.fixed = OutputFileDatasetConfig("fixed", destination=(BLOB, "shared")).register_on_complete("wine")
        self.service: RunService | None = None
        self.runs: list[str] = []

    def script(self, cwd: Path, env: Any, argv: list[str]) -> None:
        Path(argv[0]).mkdir()
        Path(argv[0], "a.csv").write_text("1")
        Path(argv[1], "b.csv").write_text("new")
        (cwd / "outputs" / "model.txt").write_text("weights")
        assert self.service is not None
        metric = {"name": "rows", "kind": "scalar", "value": 7}
        self.service.dispatch("run.log", metric)
        self.service.dispatch("run.log", {**metric, "run": env["AZUREML_ROOT_RUN_ID"]})
        self.service.dispatch("run.register_model", {"name": "model", "path": "outputs/model.txt"})

    def run(self, run_id: str, **more: Any) -> Any:
        arguments = {"arguments": [self.own, self.fixed], "outputs": [self.own, self.fixed], "run_id": run_id}
        request = self.lab.request(**{**arguments, **more})
        self.runs.append(request.identity.pipeline_run_id)
        return self.lab.execute(request)

    def visible(self) -> dict[str, Any]:
        """All that a reader takes for a result."""
        workspace, datastore = self.lab.workspace, self.lab.datastore
        keys = [info.key for info in workspace.store.list("")]
        steps = [
            record
            for key in keys
            if key.startswith("runs/") and key.endswith("/record.json")
            if (record := workspace.runs.get(key.split("/")[1]))["kind"] == "step"
        ]
        said = ("outputs", "metrics", "artifacts", "registrations", "parent_effects", "tags")
        known = [run for run in self.runs if workspace.store.exists(f"runs/{run}/record.json")]
        return {
            "committed": [key for key in keys if key.endswith("/committed")],
            "finished": [record["id"] for record in steps if record["status"] == "Finished"],
            "said": [record[field] for record in steps for field in said if record[field]],
            "said to pipelines": [view for run in known for view in workspace.runs.parent_view(run).values() if view],
            "datasets": [(record.name, record.version) for record in workspace.datasets.list()],
            "models": [(record.name, record.version) for record in workspace.models.list()],
            "entries": [key for key in keys if key.startswith("entries/")],
            "own": os.listdir(datastore / "azureml") if (datastore / "azureml").exists() else [],
            "shared": {path.name: path.read_text() for path in sorted((datastore / "shared").iterdir())},
            "else": sorted(set(os.listdir(datastore)) - {"azureml", "shared"}),
        }


@pytest.fixture
def bench(lab: Any, in_process: Any, monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench = Bench(lab)
    real = RunService.__init__

    def remember(self: RunService, *args: Any, **options: Any) -> None:
        real(self, *args, **options)
        bench.service = self

    monkeypatch.setattr(RunService, "__init__", remember)
    in_process(lambda cwd, env, argv: bench.script(cwd, env, argv))
    return bench


NOTHING = {
    "committed": [],
    "finished": [],
    "said": [],
    "said to pipelines": [],
    "datasets": [],
    "models": [],
    "entries": [],
    "own": [],
    "shared": {"b.csv": "old", "theirs.csv": "theirs"},
    "else": [],
}


def check_all(bench: Bench, step_id: str) -> None:
    seen = bench.visible()
    assert seen["committed"] == [f"runs/{step_id}/committed"]
    assert seen["finished"] == [step_id]
    assert seen["shared"] == {"b.csv": "new", "theirs.csv": "theirs"}
    assert seen["own"] == [step_id]
    assert [name for name, _ in seen["datasets"]] == ["wine"]
    assert [name for name, _ in seen["models"]] == ["model"]
    assert [metric["name"] for view in seen["said to pipelines"] for metric in view] == ["rows"]
    assert seen["else"] == []


def test_a_step_that_ends_well_is_seen_with_all_it_left(bench: Bench) -> None:
    assert bench.visible() == NOTHING
    outcome = bench.run("run-1")
    check_all(bench, outcome.document["step_run_id"])
    assert bench.run("run-2").reuse["code"] == "hit"


@pytest.mark.parametrize("after", [False, True], ids=["refused", "done but answered with an error"])
def test_whichever_call_of_the_store_fails_the_step_counts_wholly_or_not_at_all(
    bench: Bench, after: bool
) -> None:
    """Every call in turn: reads, writes, listings; the very same step is tried again until one run meets no failure."""
    number, outcomes = 0, {"failed": 0, "succeeded all the same": 0}
    while True:
        number += 1
        bench.store.arm(number, after=after)
        try:
            outcome = bench.run(f"run-{number}")
        except (AzureMLException, OSError) as error:
            bench.store.disarm()
            assert "injected" in str(error), bench.store.calls
            assert bench.visible() == NOTHING, bench.store.calls[number - 1]
            check_all(bench, bench.run("run-after").document["step_run_id"])
            outcomes["failed"] += 1
        else:
            calls = bench.store.disarm()
            check_all(bench, outcome.document["step_run_id"])
            if calls < number:
                break
            # The step did not need that call: an explanation, an entry, the answer to a write that was done.
            outcomes["succeeded all the same"] += 1
        forget(bench)
    assert outcomes["failed"] > 20
    assert outcomes["succeeded all the same"] > 5
    assert bench.run("run-after").reuse["code"] == "hit"


def forget(bench: Bench) -> None:
    """Start over in an empty workspace."""
    shutil.rmtree(bench.lab.root / "workspace")
    bench.runs.clear()
    bench.lab.datastore_file("shared/b.csv", "old")
    bench.lab.datastore_file("shared/theirs.csv", "theirs")


FILE_CALLS = [
    (files.shutil, "copyfile"),
    (files.shutil, "copytree"),
    (overlay.shutil, "move"),
    (Path, "rename"),
    (Path, "mkdir"),
    (Path, "chmod"),
    (os, "link"),
    (os, "unlink"),
]


@pytest.mark.parametrize(("owner", "name"), FILE_CALLS, ids=[name for _, name in FILE_CALLS])
def test_whichever_call_of_the_file_system_fails_nothing_is_seen(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    """Within the commit: from the end of the script on."""
    real = getattr(owner, name)
    armed: dict[str, Any] = {"at": None, "calls": 0}

    def failing(*args: Any, **options: Any) -> Any:
        armed["calls"] += 1
        if armed["calls"] == armed["at"]:
            raise OSError(28, "injected: no space left")
        return real(*args, **options)

    for method in ("collect", "publish"):
        genuine = getattr(staging.OutputStaging, method)

        def watched(self: Any, *args: Any, genuine: Any = genuine, **options: Any) -> Any:
            with monkeypatch.context() as patched:
                patched.setattr(owner, name, failing)
                return genuine(self, *args, **options)

        monkeypatch.setattr(staging.OutputStaging, method, watched)
    for number in range(1, 50):
        armed.update(at=number, calls=0)
        try:
            outcome = bench.run(f"run-{number}")
        except (AzureMLException, OSError) as error:
            assert "injected" in str(error) or "No space left" in str(error)
            assert bench.visible() == NOTHING
        else:
            # Clearing up failed, or there was another way.
            check_all(bench, outcome.document["step_run_id"])
            if armed["calls"] < number:
                return
        forget(bench)
    pytest.fail("it never ended")


class TestTheAnswerToTheCommitGetsLost:
    """The marker was written, but nobody said so."""

    def test_and_the_marker_is_seen_then_the_step_has_succeeded(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = bench.lab.workspace.runs.commit

        def lost(step_id: str) -> bool:
            real(step_id)
            raise StoreError("the connection was lost")

        monkeypatch.setattr(bench.lab.workspace.runs, "commit", lost)
        check_all(bench, bench.run("run-1").document["step_run_id"])

    def test_and_nobody_can_tell_then_the_outputs_stay_where_a_result_may_need_them(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
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
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
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
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(EntryStore, "remember", interrupted)
        with pytest.raises(KeyboardInterrupt):
            bench.run("run-1")
        seen = bench.visible()
        assert len(seen["finished"]) == len(seen["committed"]) == 1

    def test_trouble_with_remembering_costs_a_warning(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def full(*_: object, **__: object) -> None:
            raise StoreError("the disk is full")

        with monkeypatch.context() as patched:
            patched.setattr(EntryStore, "remember", full)
            assert bench.run("run-1").document["status"] == "Finished"
        assert "reuse: this result could not be remembered (the disk is full)" in caplog.messages


class TestADestinationThatOthersUseToo:
    def test_is_as_it_was_when_the_commit_fails(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object) -> None:
            # At this moment the files are there.
            assert bench.visible()["shared"]["b.csv"] == "new"
            raise StoreError("refused")

        monkeypatch.setattr(bench.lab.workspace.runs, "commit", fail)
        with pytest.raises(StoreError):
            bench.run("run-1")
        assert bench.visible() == NOTHING


class TestTwoRunsCommitOneKeyAtOnce:
    def test_both_count_and_the_first_stays_the_one_that_is_reused(self, bench: Bench) -> None:
        bench.run("run-1")
        meet = threading.Barrier(2)
        lab = bench.lab
        outcomes: list[Any] = []

        def run(run_id: str) -> None:
            own = PipelineData("own")
            outcomes.append(
                lab.run("pair", arguments=[own, "--pair"], outputs=[own], run_id=run_id)
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
    def test_and_was_given_up_cannot_commit_any_more(self, bench: Bench) -> None:
        lab, real = bench.lab, bench.script

        def taken_over(cwd: Path, env: Any, argv: list[str]) -> None:
            real(cwd, env, argv)
            record = lab.workspace.runs.get(env["AZUREML_RUN_ID"])
            lab.workspace.runs.write_step({**record, "status": "Failed"})

        bench.script = taken_over  # type: ignore[method-assign]
        with pytest.raises(StepFailed, match="this try was given up"):
            bench.run("run-1")
        assert bench.visible() == NOTHING


class TestRegisteringOnCompletion:
    @pytest.mark.parametrize("create_new_version", [True, False])
    def test_a_reused_result_is_the_version_that_is_there(
        self, bench: Bench, create_new_version: bool
    ) -> None:
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

    def test_a_name_that_is_taken_fails_the_step_and_nothing_is_seen(self, bench: Bench) -> None:
        lab = bench.lab
        lab.workspace.datasets.register("wine", {"kind": "file", "source": {}, "operations": []})
        bench.fixed.register["create_new_version"] = False
        with pytest.raises(UserErrorException, match="dataset name 'wine' is taken"):
            bench.run("run-1")
        assert bench.visible() == {**NOTHING, "datasets": [("wine", 1)]}


def test_what_a_step_registers_is_its_own_until_it_is_committed(bench: Bench) -> None:
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
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
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
