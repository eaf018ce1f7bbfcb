"""Workspace, experiments and datastores as scripts use them, inside a step and outside any."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml import Dataset, Datastore, Experiment, Run, Workspace
from airflow_azureml.runtime.datastore import DatastorePath
from airflow_azureml.runtime.exceptions import UserErrorException


@pytest.fixture
def ws(place: Any) -> Workspace:
    return Workspace.from_config()


class TestWorkspace:
    def test_members(self, place: Any, ws: Workspace) -> None:
        assert ws.name == place.workspace.name
        assert ws.url == ws.discovery_url == place.workspace.url
        assert (ws.subscription_id, ws.resource_group, ws.location) == ("local", "local", "local")
        assert ws.get_details()["name"] == ws.name
        assert set(ws.datastores) == {"workspaceblobstore", "workspacefilestore"}
        assert set(ws.compute_targets) == {"local"}
        assert ws.compute_targets["local"].name == "local"
        assert (dict(ws.datasets), ws.models) == ({}, {})
        assert set(ws.experiments) == ({"houses"} if place.online else set())
        assert ws.environments == ws.images == ws.webservices == ws.linked_services == ws.tags == {}

    def test_there_is_one_whatever_it_was_called_in_azure(self, ws: Workspace) -> None:
        same = Workspace.get(name="azure-name", subscription_id="s", resource_group="r")

        assert (same.name, same.subscription_id, same.resource_group) == (ws.name, "s", "r")
        assert Workspace("s", "r", "azure-name").name == ws.name

    def test_config_files_of_v1_are_read_from_the_folders_above(self, ws: Workspace, tmp_path: Path) -> None:
        (tmp_path / ".azureml").mkdir()
        (tmp_path / ".azureml" / "config.json").write_text(
            json.dumps({"subscription_id": "s", "resource_group": "r", "workspace_name": "w"})
        )
        # The kind of place counts before the nearness, and a config.json of something else doesn't count.
        Path("config.json").write_text(
            '{"subscription_id": "near", "resource_group": "r", "workspace_name": "w"}'
        )

        assert Workspace.from_config().subscription_id == "s"
        assert Workspace.from_config(path=str(tmp_path / "code")).subscription_id == "s"
        assert Workspace.from_config(path="config.json").subscription_id == "near"

    def test_a_config_json_of_something_else_is_no_matter(self, ws: Workspace) -> None:
        Path("config.json").write_text('{"epochs": 3}')

        assert Workspace.from_config().subscription_id == "local"

    def test_what_is_written_can_be_read(self, ws: Workspace) -> None:
        Workspace("s", "r", "w").write_config()

        assert Workspace.from_config().subscription_id == "s"

    def test_bad_configuration(self, ws: Workspace) -> None:
        with pytest.raises(UserErrorException, match="doesn't exist"):
            Workspace.from_config("nowhere")
        Path("bad.json").write_text("{")
        with pytest.raises(UserErrorException, match=r"'bad\.json' cannot be read as JSON"):
            Workspace.from_config("bad.json")

    def test_mlflow_is_refused_with_advice(self, ws: Workspace) -> None:
        with pytest.raises(UserErrorException, match="MLFLOW_TRACKING_URI"):
            ws.get_mlflow_tracking_uri()

    def test_datasets_are_loaded_when_asked_for(self, ws: Workspace, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("a\n1\n")
        Dataset.Tabular.from_delimited_files(str(tmp_path / "t.csv")).register(ws, "table")

        assert list(ws.datasets) == ["table"]
        assert ws.datasets["table"].version == 1
        with pytest.raises(KeyError):
            ws.datasets["nobody"]


class TestExperiment:
    @pytest.mark.parametrize("name", ["", "-x", "a b", "x" * 256, None])
    def test_names(self, ws: Workspace, name: Any) -> None:
        with pytest.raises(UserErrorException, match="Experiment"):
            Experiment(ws, name)

    def test_submit_hands_over_to_what_is_submitted(self, ws: Workspace) -> None:
        class Submitted:
            def submit(self, experiment_name: str, **options: Any) -> Any:
                self.got = (experiment_name, options)
                return Run.get_context().child_run()

        config = Submitted()
        run = Experiment(ws, "houses").submit(config, tags={"a": "b"}, pipeline_parameters={"x": 1})

        assert config.got == ("houses", {"pipeline_parameters": {"x": 1}})
        assert run.get_tags() == {"a": "b"}
        with pytest.raises(UserErrorException, match="a int cannot be submitted"):
            Experiment(ws, "houses").submit(5)

    def test_a_run_by_hand(self, ws: Workspace) -> None:
        run = Experiment(ws, "houses").start_logging(name="by hand")
        run.log("a", 1)
        run.complete()

        assert (run.name, run.get_status()) == ("by hand", "Finished")

    def test_runs_of_an_experiment(self, place: Any, ws: Workspace) -> None:
        for number in (1, 2):
            place.workspace.runs.create_pipeline_run(
                {
                    "kind": "pipeline",
                    "id": f"p{number}",
                    "experiment": "old",
                    "name": "p",
                    "status": "Failed" if number == 2 else "Finished",
                    "start": f"2025-01-0{number}",
                }
            )
        place.workspace.runs.write_step(
            {
                "kind": "step",
                "id": "p1-s",
                "pipeline_run_id": "p1",
                "name": "s",
                "status": "Finished",
                "tags": {"a": "b"},
            }
        )
        experiment = ws.experiments["old"]

        assert [run.id for run in experiment.get_runs()] == ["p2", "p1"]
        assert [run.id for run in Run.list(experiment, status="Failed")] == ["p2"]
        assert [run.id for run in experiment.get_runs(include_children=True, tags="a")] == ["p1-s"]
        (step,) = ws.get_run("p1").get_children()
        assert (step.id, step.pipeline_run_id) == ("p1-s", "p1")  # type: ignore[attr-defined]
        assert ws.get_run("p1").wait_for_completion(show_output=False) == "Finished"


class TestDatastore:
    def test_the_default(self, ws: Workspace) -> None:
        default = ws.get_default_datastore()

        assert default.name == "workspaceblobstore"
        assert (
            default == Datastore(ws) == Datastore.get(ws, "workspaceblobstore") == Datastore.get_default(ws)
        )

    def test_an_unknown_one_is_what_scripts_catch(self, ws: Workspace) -> None:
        with pytest.raises(UserErrorException, match=r"'nobody'.*workspaceblobstore"):
            Datastore.get(ws, "nobody")

    def test_upload_and_download_a_folder(self, ws: Workspace, tmp_path: Path) -> None:
        source = tmp_path / "source"
        (source / "deep").mkdir(parents=True)
        (source / "a.csv").write_text("a")
        (source / "deep" / "b.csv").write_text("b")
        store = ws.get_default_datastore()

        reference = store.upload(str(source), "../data", show_progress=False)
        count = store.download(str(tmp_path / "got"), prefix="data", show_progress=False)

        assert reference.path_on_datastore == "data"
        assert count == 2
        assert (tmp_path / "got" / "data" / "deep" / "b.csv").read_text() == "b"

    def test_what_is_there_stays_unless_overwritten(
        self, ws: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        store = ws.get_default_datastore()
        file = tmp_path / "a.csv"
        for content, overwrite in (("old", False), ("new", False), ("newest", True)):
            file.write_text(content)
            store.upload_files([str(file)], target_path="x", overwrite=overwrite)
            store.download(str(tmp_path / content), show_progress=False)
            assert (tmp_path / content / "x" / "a.csv").read_text() == ("newest" if overwrite else "old")
        assert store.download(str(tmp_path / "new"), show_progress=True) == 0
        assert "kept" in capsys.readouterr().out

    def test_paths_of_uploaded_files(self, ws: Workspace, tmp_path: Path) -> None:
        for name in ("a/b/1", "a/c/2"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(name)
        files = [str(tmp_path / "a/b/1"), str(tmp_path / "a/c/2")]
        store = ws.get_default_datastore()

        store.upload_files(files, target_path="common", show_progress=False)
        store.upload_files(files[:1], target_path="single", show_progress=False)
        store.upload_files(files, relative_root=str(tmp_path), target_path="root", show_progress=False)

        store.download(str(tmp_path / "got"), show_progress=False)
        got = tmp_path / "got"
        assert sorted(path.relative_to(got).as_posix() for path in got.rglob("*") if path.is_file()) == [
            "common/b/1",
            "common/c/2",
            "root/a/b/1",
            "root/a/c/2",
            "single/1",
        ]
        with pytest.raises(UserErrorException, match="isn't below relative_root"):
            store.upload_files(files, relative_root=str(tmp_path / "a/b"))
        with pytest.raises(UserErrorException, match="'nowhere' is no file"):
            store.upload_files(["nowhere"])
        with pytest.raises(UserErrorException, match="no folder 'nowhere'"):
            store.upload("nowhere")

    def test_paths_for_steps_and_datasets(self, ws: Workspace) -> None:
        reference = ws.get_default_datastore().path("a/b", data_reference_name="mine")

        assert (reference.path_on_datastore, reference.data_reference_name) == ("a/b", "mine")
        assert reference.datastore.name == "workspaceblobstore"


def test_a_folder_becomes_a_datastore_outside_steps(offline: Any, tmp_path: Path) -> None:
    ws = Workspace.from_config()
    (tmp_path / "land").mkdir()
    (tmp_path / "land" / "x").write_text("x")

    store = Datastore.register_local_folder(ws, "landing", tmp_path / "land", tags={"a": "b"})
    store.set_as_default()

    assert ws.get_default_datastore().name == "landing"
    assert store.tags == {"a": "b"}
    assert store.download(str(tmp_path / "got"), show_progress=False) == 1
    ws.set_default_datastore("workspaceblobstore")
    store.unregister()
    assert "landing" not in ws.datastores


def test_a_step_cannot_change_datastores(online: Any, tmp_path: Path) -> None:
    ws = Workspace.from_config()

    for change in (
        lambda: Datastore.register_local_folder(ws, "root", "/"),
        lambda: ws.set_default_datastore("workspacefilestore"),
        lambda: ws.get_default_datastore().unregister(),
    ):
        with pytest.raises(UserErrorException, match="not possible inside a step"):
            change()


def test_a_path_where_only_the_runtime_is(online: Any) -> None:
    store = Workspace.from_config().get_default_datastore()

    assert DatastorePath(store, None, None).data_reference_name == "workspaceblobstore"
