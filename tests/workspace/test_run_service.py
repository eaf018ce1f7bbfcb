"""The run service: what is checked, what a step may do, and when others see it."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from airflow_azureml.runtime.exceptions import AzureMLException, ModelNotFoundException, UserErrorException
from airflow_azureml.workspace.handle import WorkspaceHandle
from airflow_azureml.workspace.local_store import LocalStore
from airflow_azureml.workspace.memory_store import MemoryStore
from airflow_azureml.workspace.run_service import RunService
from airflow_azureml.workspace.run_state import RunState

PIPELINE = "p"


@pytest.fixture(params=["local", "memory"])
def workspace(request: pytest.FixtureRequest, tmp_path: Path) -> WorkspaceHandle:
    store = LocalStore(tmp_path / "ws") if request.param == "local" else MemoryStore()
    handle = WorkspaceHandle(str(tmp_path / "ws"), store)
    handle.runs.create_pipeline_run(
        {
            "kind": "pipeline",
            "id": PIPELINE,
            "experiment": "e",
            "name": "n",
            "status": "Running",
            "start": "2026",
        }
    )
    return handle


class Step:
    """A step: a state, its service, and an end."""

    def __init__(self, workspace: WorkspaceHandle, folder: Path, step_id: str, **options: Any) -> None:
        (folder / step_id / "outputs").mkdir(parents=True)
        self.workspace = workspace
        self.folder = folder / step_id
        self.state = RunState(
            workspace,
            step_id,
            staging=folder / step_id / "staging",
            pipeline_run_id=PIPELINE,
            experiment="e",
            name=step_id.upper(),
            working_directory=self.folder,
            **options,
        )
        self.service = RunService(workspace, self.state)

    def call(self, method: str, payload: bytes | None = None, /, **params: Any) -> Any:
        return self.service.dispatch(method, params, None if payload is None else io.BytesIO(payload)).result

    def read(self, name: str, run: str | None = None) -> bytes:
        stream = self.service.dispatch("run.download", {"name": name, "run": run}).payload
        assert stream is not None
        with stream:
            return stream.read()

    def succeed(self) -> None:
        self.state.publish()
        self.record("Finished")
        self.workspace.runs.commit(self.state.run_id)

    def record(self, status: str) -> None:
        self.workspace.runs.write_step(
            {
                "schema": 1,
                "kind": "step",
                "id": self.state.run_id,
                "pipeline_run_id": PIPELINE,
                "name": self.state.root.name,
                "status": status,
                "start": self.state.root.start,
                **self.state.to_record(),
            }
        )


@pytest.fixture
def make(workspace: WorkspaceHandle, tmp_path: Path) -> Callable[..., Step]:
    return lambda step_id, **options: Step(workspace, tmp_path, step_id, **options)


@pytest.fixture
def step(make: Callable[..., Step]) -> Step:
    return make("s1")


class TestVisibility:
    def test_nobody_sees_what_a_running_step_says(
        self, make: Callable[..., Step], workspace: WorkspaceHandle
    ) -> None:
        step, other = make("s1"), make("s2")
        step.call("run.log", name="a", kind="scalar", value=1, run=PIPELINE)
        step.call("run.set_tags", tags={"t": "v"}, run=PIPELINE)
        step.call("run.upload", b"report", name="r", run=PIPELINE)
        step.call("run.upload", b"model", name="m")
        step.call("run.register_model", name="ridge", path="m")

        assert step.call("model.get", name="ridge")["version"] == 1
        assert other.call("run.get_metrics", run=PIPELINE) == []
        assert other.call("run.get_tags", run=PIPELINE) == {}
        assert other.call("run.list_files", run=PIPELINE) == []
        with pytest.raises(ModelNotFoundException):
            other.call("model.get", name="ridge")
        assert other.call("model.list") == []

    def test_all_of_it_shows_when_the_step_is_committed(self, make: Callable[..., Step]) -> None:
        step, other = make("s1"), make("s2")
        step.call("run.log", name="a", kind="scalar", value=1, run=PIPELINE)
        step.call("run.set_tags", tags={"t": "v"}, run=PIPELINE)
        step.call("run.upload", b"report", name="r", run=PIPELINE)
        step.call("run.log", name="own", kind="scalar", value=2)
        (step.folder / "outputs" / "m").write_text("model")
        step.call("run.register_model", name="ridge", path="outputs/m")
        child = step.call("run.child", name="fold")["id"]
        step.call("run.upload", b"child's", name="c", run=child)
        step.call("run.log", name="score", kind="scalar", value=3, run=child)

        step.succeed()

        assert [metric["value"] for metric in other.call("run.get_metrics", run=PIPELINE)] == [1]
        assert other.call("run.get_tags", run=PIPELINE) == {"t": "v"}
        assert other.read("r", PIPELINE) == b"report"
        assert other.call("model.get", name="ridge")["run_id"] == "s1"
        assert other.call("run.list_files", run="s1") == ["outputs/m"]
        assert other.read("outputs/m", "s1") == b"model"
        assert [metric["value"] for metric in other.call("run.get_metrics", run="s1")] == [2]
        # From a sibling, as v1 scripts do.
        assert other.call("run.register_model", name="again", path="outputs/m", run="s1")["run_id"] == "s1"
        assert other.call("run.describe", run=child)["status"] == "Finished"
        assert other.read("c", child) == b"child's"
        assert {run["id"] for run in other.call("run.children", run=PIPELINE, recursive=True)} == {
            "s1",
            child,
            "s2",
        }
        found = other.call("run.get_metrics", run=PIPELINE, recursive=True)
        assert {run: [metric["value"] for metric in metrics] for run, metrics in found.items()} == {
            PIPELINE: [1],
            "s1": [2],
            child: [3],
            "s2": [],
        }

    def test_a_failed_step_leaves_nothing_to_see(self, make: Callable[..., Step]) -> None:
        step, other = make("s1"), make("s2")
        step.call("run.set_tags", tags={"t": "v"}, run=PIPELINE)
        step.call("run.upload", b"m", name="m")
        step.call("run.register_model", name="ridge", path="m")
        step.record("Failed")

        assert other.call("run.get_tags", run=PIPELINE) == {}
        with pytest.raises(ModelNotFoundException):
            other.call("model.get", name="ridge")

    def test_tags_removed_from_the_parent_are_gone_for_later_steps(self, make: Callable[..., Step]) -> None:
        first, second, third = make("s1"), make("s2"), make("s3")
        first.call("run.set_tags", tags={"a": "1", "b": "1"}, run=PIPELINE)
        first.succeed()
        second.call("run.remove_tags", names=["a"], run=PIPELINE)
        assert second.call("run.get_tags", run=PIPELINE) == {"b": "1"}
        second.succeed()

        assert third.call("run.get_tags", run=PIPELINE) == {"b": "1"}

    def test_properties_of_the_parent_are_for_good(self, make: Callable[..., Step]) -> None:
        first, second = make("s1"), make("s2")
        first.call("run.add_properties", properties={"data": "v1"}, run=PIPELINE)
        first.succeed()

        with pytest.raises(UserErrorException, match="'data' is 'v1' already"):
            second.call("run.add_properties", properties={"data": "v2"}, run=PIPELINE)
        assert second.call("run.get_properties", run=PIPELINE) == {"data": "v1"}

    def test_datasets_registered_by_a_step(self, make: Callable[..., Step], tmp_path: Path) -> None:
        from airflow_azureml.runtime.dataset import Dataset

        (tmp_path / "d.csv").write_text("a\n1\n")
        definition = Dataset.Tabular.from_delimited_files(str(tmp_path / "d.csv"), validate=False).definition
        step, other = make("s1"), make("s2")

        record = step.call("dataset.register", name="table", definition=definition)

        assert record["fingerprint"]
        assert step.call("dataset.get_by_name", name="table")["version"] == 1
        with pytest.raises(UserErrorException, match="'table' isn't registered"):
            other.call("dataset.get_by_name", name="table")
        step.succeed()
        assert other.call("dataset.get_by_name", name="table")["id"] == record["id"]
        assert other.call("dataset.versions", name="table")[0]["run_id"] == "s1"
        assert step.state.to_record()["registrations"] == [
            {"kind": "dataset", "name": "table", "version": 1, "id": record["id"]}
        ]


class TestRights:
    def test_other_runs_can_be_read_and_not_written(self, make: Callable[..., Step]) -> None:
        make("s1").succeed()
        step = make("s2")

        assert step.call("run.describe", run="s1")["status"] == "Finished"
        for method, params in (
            ("run.log", {"name": "a", "kind": "scalar", "value": 1}),
            ("run.log_image", {"name": "a", "suffix": ".png"}),
            ("run.set_tags", {"tags": {"a": "b"}}),
            ("run.remove_tags", {"names": ["a"]}),
            ("run.set", {"display_name": "x"}),
            ("run.add_properties", {"properties": {"a": "b"}}),
            ("run.upload", {"name": "x"}),
            ("run.child", {}),
            ("run.complete", {}),
            ("run.fail", {}),
            ("run.cancel", {}),
        ):
            with pytest.raises(
                UserErrorException, match=r"cannot be written to|not possible inside a step|own run only"
            ):
                step.call(method, b"x", run="s1", **params)

    def test_users_may_tag_and_cancel_recorded_runs(
        self, make: Callable[..., Step], workspace: WorkspaceHandle
    ) -> None:
        make("s1").succeed()
        user = make("user")
        user.service = RunService(workspace, user.state, is_step=False)
        for run_id, status in (("p2", "Running"), ("p3", "Finished")):
            workspace.runs.create_pipeline_run(
                {"kind": "pipeline", "id": run_id, "status": status, "start": "2026"}
            )

        user.call("run.set_tags", tags={"good": "yes"}, run="s1")
        user.call("run.set", display_name="The one", run="s1")
        user.call("run.cancel", reason="enough", run="p2")
        user.call("run.cancel", reason="enough", run="p3")

        other = make("s2")
        assert other.call("run.get_tags", run="s1") == {"good": "yes"}
        assert other.call("run.describe", run="s1")["display_name"] == "The one"
        assert workspace.runs.get("p2")["status"] == "CancelRequested"
        assert workspace.runs.get("p2")["cancel"]["reason"] == "enough"
        assert workspace.runs.get("p3")["status"] == "Finished"
        with pytest.raises(UserErrorException, match="cancel its pipeline's run"):
            user.call("run.cancel", run="s1")

    def test_datastore_paths_stay_inside(self, step: Step, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("no")
        root = step.workspace.datastores.root("workspaceblobstore")
        (root / "link").symlink_to(tmp_path)

        for path in ("../../secret", "link/secret", "a/../../x"):
            with pytest.raises(UserErrorException, match=r"leave|leads out"):
                step.service.dispatch("datastore.download", {"name": "workspaceblobstore", "path": path})
            with pytest.raises(UserErrorException, match=r"leave|leads out"):
                step.call("datastore.upload", b"x", name="workspaceblobstore", path=path, overwrite=True)
        with pytest.raises(UserErrorException, match="needs a name"):
            step.call("datastore.upload", b"x", name="workspaceblobstore", path="")


def test_what_is_said_by_many_threads_is_all_there(step: Step) -> None:
    def work(number: int) -> None:
        for value in range(50):
            step.call("run.log", name=f"m{number}", kind="scalar", value=value)
            step.call("run.upload", b"x", name=f"{number}/{value}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(step.call("run.get_metrics")) == 400
    assert len(step.call("run.list_files")) == 400


class TestRecord:
    def test_fields(self, step: Step) -> None:
        step.call("run.log", name="a", kind="scalar", value=1, step=2)
        step.call("run.set_tags", tags={"t": "v"})
        step.call("run.set", display_name="Nice", description="text")
        step.call("run.upload", b"content", name="x/y")
        step.call("run.log", name="b", kind="scalar", value=1, run=PIPELINE)
        step.call("run.upload", b"report", name="r", run=PIPELINE)
        child = step.call("run.child", name="fold")["id"]
        step.call("run.fail", details="too hot", run=child)

        record = step.state.to_record()

        assert [(m["name"], m["kind"], m["value"], m["step"]) for m in record["metrics"]] == [
            ("a", "scalar", 1, 2)
        ]
        assert (record["tags"], record["display_name"], record["description"]) == ({"t": "v"}, "Nice", "text")
        (artifact,) = record["artifacts"]
        assert (artifact["name"], artifact["size_bytes"]) == ("x/y", 7)
        assert artifact["key"] == step.workspace.runs.artifact_key("s1", "x/y")
        effects = record["parent_effects"]
        assert [m["name"] for m in effects["metrics"]] == ["b"]
        assert [a["name"] for a in effects["artifacts"]] == ["r"]
        assert [(c["name"], c["status"], c["error"]) for c in record["children"]] == [
            ("fold", "Failed", "too hot")
        ]

    def test_a_step_that_said_nothing_has_no_effects(self, step: Step) -> None:
        assert not step.state.said_anything
        assert step.state.to_record()["parent_effects"] == {}

    def test_effects_of_a_reused_step_count_again(
        self, make: Callable[..., Step], workspace: WorkspaceHandle
    ) -> None:
        step = make("s1")
        step.call("run.log", name="b", kind="scalar", value=1, run=PIPELINE)
        step.call("run.upload", b"report", name="r", run=PIPELINE)
        step.succeed()
        record = workspace.runs.get("s1")
        workspace.runs.create_pipeline_run(
            {"kind": "pipeline", "id": "p2", "status": "Running", "start": "2027"}
        )
        workspace.runs.write_step({**record, "id": "s1-again", "pipeline_run_id": "p2", "reused_from": "s1"})
        workspace.runs.commit("s1-again")

        reader = make("s2")
        assert [m["value"] for m in reader.call("run.get_metrics", run="p2")] == [1]
        assert reader.read("r", "p2") == b"report"

    def test_given_properties_do_not_count_towards_the_limit(self, make: Callable[..., Step]) -> None:
        step = make("s1", properties={f"azureml.git.{n}": "x" for n in range(10)})

        step.call("run.add_properties", properties={f"p{n}": "" for n in range(50)})

        assert len(step.call("run.get_properties")) == 60

    def test_publishing_leaves_out_what_no_store_can_hold(self, step: Step) -> None:
        (step.folder / "outputs" / "good").write_text("x")
        (step.folder / "outputs" / ("x" * 251)).write_text("x")
        (step.folder / "outputs" / "link").symlink_to("/etc/passwd")

        step.state.publish()

        assert [artifact["name"] for artifact in step.state.to_record()["artifacts"]] == ["outputs/good"]

    def test_an_upload_wins_over_a_file_of_the_same_name(self, step: Step) -> None:
        (step.folder / "outputs" / "m").write_text("left there")
        step.call("run.upload", b"uploaded", name="outputs/m")

        step.state.publish()

        assert step.read("outputs/m") == b"uploaded"
        assert (
            step.workspace.store.get(step.workspace.runs.artifact_key("s1", "outputs/m")).data == b"uploaded"
        )


def test_staged_files_are_private_and_replaced_ones_removed(step: Step) -> None:
    step.call("run.upload", b"one", name="x")
    step.call("run.upload", b"two", name="x")
    staging = step.folder / "staging"

    assert staging.stat().st_mode & 0o777 == 0o700
    assert [path.read_bytes() for path in staging.iterdir()] == [b"two"]


def test_an_upload_that_breaks_off_leaves_nothing(step: Step) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(28, "No space left on device")

    broken: BinaryIO = Broken()
    with pytest.raises(AzureMLException, match="'x' cannot be kept: No space left on device"):
        step.service.dispatch("run.upload", {"name": "x"}, broken)

    assert list((step.folder / "staging").iterdir()) == []
    assert step.call("run.list_files") == []
