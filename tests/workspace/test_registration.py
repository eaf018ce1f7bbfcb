"""Datasets and models: names, versions, and who sees what before a step is committed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml.runtime.exceptions import ModelNotFoundException, UserErrorException, WebserviceException
from airflow_azureml.workspace.handle import WorkspaceHandle
from airflow_azureml.workspace.local_store import LocalStore
from airflow_azureml.workspace.memory_store import MemoryStore


@pytest.fixture
def workspace() -> WorkspaceHandle:
    return WorkspaceHandle("memory://x", MemoryStore())


def files(path: str) -> dict[str, Any]:
    return {
        "schema": 1,
        "kind": "file",
        "source": {"format": "files", "paths": [{"local": path}]},
        "operations": [],
    }


def finish(workspace: WorkspaceHandle, step_id: str) -> None:
    workspace.runs.write_step({"kind": "step", "id": step_id, "pipeline_run_id": "p1"})
    workspace.runs.commit(step_id)


class TestSavedDatasets:
    def test_an_id_is_made_of_the_definition_alone(self, workspace: WorkspaceHandle) -> None:
        definition = files("/data/*.csv")
        dataset_id = workspace.datasets.save(definition)
        assert workspace.datasets.save(dict(reversed(definition.items()))) == dataset_id
        assert workspace.datasets.save(files("/other")) != dataset_id
        assert workspace.datasets.get(dataset_id) == definition

    @pytest.mark.parametrize("dataset_id", ["unknown", "../../x"])
    def test_an_unknown_id_is_a_user_error(self, workspace: WorkspaceHandle, dataset_id: str) -> None:
        with pytest.raises(UserErrorException, match="no dataset with id"):
            workspace.datasets.get(dataset_id)


class TestDatasetVersions:
    def test_the_first_registration_is_version_1(self, workspace: WorkspaceHandle) -> None:
        record = workspace.datasets.register(
            "d", files("a"), fingerprint="f1", description="text", tags={"k": "v"}
        )
        assert (record.version, record.fingerprint, record.description, record.tags) == (
            1,
            "f1",
            "text",
            {"k": "v"},
        )
        assert record.id == workspace.datasets.save(files("a"))
        assert record.definition == files("a")
        assert workspace.datasets.get_by_name("d") == record

    def test_a_taken_name_needs_create_new_version(self, workspace: WorkspaceHandle) -> None:
        workspace.datasets.register("d", files("a"))
        with pytest.raises(UserErrorException, match="create_new_version=True"):
            workspace.datasets.register("d", files("b"))
        assert workspace.datasets.register("d", files("b"), create_new_version=True).version == 2
        assert workspace.datasets.get_by_name("d").definition == files("b")
        assert workspace.datasets.get_by_name("d", 1).definition == files("a")
        assert [record.version for record in workspace.datasets.versions("d")] == [1, 2]

    @pytest.mark.parametrize("create_new_version", [True, False])
    def test_the_latest_version_again_is_that_version(self, workspace, create_new_version: bool) -> None:
        first = workspace.datasets.register("d", files("a"), fingerprint="f1")
        for fingerprint in ("f1", None):
            again = workspace.datasets.register(
                "d", files("a"), fingerprint=fingerprint, create_new_version=create_new_version
            )
            assert again == first

    def test_other_data_under_the_same_definition_is_a_new_version(self, workspace: WorkspaceHandle) -> None:
        workspace.datasets.register("d", files("a"), fingerprint="f1")
        with pytest.raises(UserErrorException, match="create_new_version=True"):
            workspace.datasets.register("d", files("a"), fingerprint="f2")
        record = workspace.datasets.register("d", files("a"), fingerprint="f2", create_new_version=True)
        assert (record.version, record.fingerprint) == (2, "f2")

    def test_going_back_to_an_older_definition_is_a_new_version(self, workspace: WorkspaceHandle) -> None:
        for path in ("a", "b", "a"):
            workspace.datasets.register("d", files(path), create_new_version=True)
        assert workspace.datasets.get_by_name("d").version == 3

    def test_a_missing_name_or_version_is_a_user_error(self, workspace: WorkspaceHandle) -> None:
        with pytest.raises(UserErrorException, match="dataset 'd' isn't registered"):
            workspace.datasets.get_by_name("d")
        workspace.datasets.register("d", files("a"))
        for version in (2, 0, -1):
            with pytest.raises(UserErrorException, match=f"version {version} of dataset 'd'"):
                workspace.datasets.get_by_name("d", version)

    def test_the_list_has_the_latest_of_each_name(self, workspace: WorkspaceHandle) -> None:
        for name, path in (("b", "1"), ("a", "1"), ("b", "2")):
            workspace.datasets.register(name, files(path), create_new_version=True)
        assert [(record.name, record.version) for record in workspace.datasets.list()] == [("a", 1), ("b", 2)]

    @pytest.mark.parametrize(
        "name", ["../../up", "a/b", "a", ".", "..", "ünï cødé", "a%2Fb", "x" * 255, "ö" * 255]
    )
    def test_hostile_names_stay_in_their_place_and_apart(self, workspace: WorkspaceHandle, name: str) -> None:
        for other in ("a", "a/b", "a%2Fb", "x" * 254):
            if other != name:
                workspace.datasets.register(other, files(other))
        workspace.datasets.register(name, files("mine"))
        assert workspace.datasets.get_by_name(name).definition == files("mine")
        assert name in [record.name for record in workspace.datasets.list()]


class TestDatasetNotes:
    def test_description_and_tags_can_change_and_nothing_else(self, workspace: WorkspaceHandle) -> None:
        first = workspace.datasets.register("d", files("a"), description="old", tags={"a": "1"})
        changed = workspace.datasets.update("d", description="new", add_tags={"b": "2"})
        assert changed == replace(first, description="new", tags={"a": "1", "b": "2"})
        changed = workspace.datasets.update("d", 1, remove_tags=["a", "absent"])
        assert changed.tags == {"b": "2"}
        assert workspace.datasets.update("d", tags={"c": "3"}).tags == {"c": "3"}
        assert workspace.datasets.list() == [workspace.datasets.get_by_name("d")]
        assert workspace.datasets.get_by_name("d").description == "new"

    def test_each_version_has_its_own(self, workspace: WorkspaceHandle) -> None:
        for path in "ab":
            workspace.datasets.register("d", files(path), create_new_version=True)
        workspace.datasets.update("d", 1, description="first")
        assert [record.description for record in workspace.datasets.versions("d")] == ["first", None]
        assert workspace.datasets.register("d", files("c"), create_new_version=True).version == 3


class TestUnregistering:
    def test_no_version_is_found_any_more_but_saved_definitions_are(self, workspace: WorkspaceHandle) -> None:
        record = workspace.datasets.register("d", files("a"))
        workspace.datasets.unregister("d")
        for version in (None, 1):
            with pytest.raises(UserErrorException, match="isn't registered"):
                workspace.datasets.get_by_name("d", version)
        assert workspace.datasets.list() == workspace.datasets.versions("d") == []
        assert workspace.datasets.get(record.id) == files("a")
        with pytest.raises(UserErrorException, match="isn't registered"):
            workspace.datasets.unregister("d")

    def test_a_version_number_never_means_something_else_later(self, workspace: WorkspaceHandle) -> None:
        workspace.datasets.register("d", files("a"))
        workspace.datasets.unregister("d")
        assert workspace.datasets.register("d", files("b")).version == 2
        assert [record.version for record in workspace.datasets.versions("d")] == [2]


class TestPendingRegistrations:
    def test_only_the_step_itself_sees_them_until_it_is_committed(self, workspace: WorkspaceHandle) -> None:
        datasets, models = workspace.datasets, workspace.models
        datasets.register("d", files("old"))
        datasets.register("d", files("new"), create_new_version=True, pending_run="s1")
        datasets.register("e", files("e"), pending_run="s1")
        models.register("m", [], pending_run="s1")

        assert datasets.get_by_name("d").version == 1
        assert [record.name for record in datasets.list()] == ["d"]
        assert models.list() == []
        for viewer in (None, "s2"):
            with pytest.raises(UserErrorException):
                datasets.get_by_name("d", 2, viewer_run=viewer)
            with pytest.raises(ModelNotFoundException):
                models.get("m", viewer_run=viewer)
        assert datasets.get_by_name("d", viewer_run="s1").run_id == "s1"
        assert models.get("m", viewer_run="s1").version == 1
        assert [record.version for record in datasets.versions("d", viewer_run="s1")] == [1, 2]

        finish(workspace, "s1")
        assert datasets.get_by_name("d").definition == files("new")
        assert [record.name for record in datasets.list()] == ["d", "e"]
        assert models.get("m").id == "m:1"

    def test_a_step_that_fails_leaves_a_gap_and_nothing_else(self, workspace: WorkspaceHandle) -> None:
        workspace.datasets.register("d", files("a"))
        workspace.datasets.register("d", files("b"), create_new_version=True, pending_run="failed")
        record = workspace.datasets.register("d", files("c"), create_new_version=True)
        assert record.version == 3
        assert [found.version for found in workspace.datasets.versions("d")] == [1, 3]

    def test_a_name_only_a_failed_step_used_is_free(self, workspace: WorkspaceHandle) -> None:
        workspace.datasets.register("d", files("a"), pending_run="failed")
        assert workspace.datasets.register("d", files("b")).version == 2

    def test_a_step_registers_the_same_twice_and_gets_one_version(self, workspace: WorkspaceHandle) -> None:
        first = workspace.datasets.register("d", files("a"), pending_run="s1")
        assert workspace.datasets.register("d", files("a"), pending_run="s1") == first


class TestModels:
    FILES = ({"path": "model.pkl", "key": "runs/r/artifacts/model.pkl", "size_bytes": 3, "sha256": "ab"},)

    def test_every_registration_is_a_version(self, workspace: WorkspaceHandle) -> None:
        record = workspace.models.register(
            "m", self.FILES, tags={"t": "1"}, properties={"p": "2"}, description="d",
            framework="ScikitLearn", framework_version="1.1", run_id="r",
        )  # fmt: skip
        assert workspace.models.get("m") == record
        assert record.files == self.FILES
        assert (record.id, record.framework, record.framework_version, record.run_id) == (
            "m:1",
            "ScikitLearn",
            "1.1",
            "r",
        )
        assert workspace.models.register("m", self.FILES).version == 2
        assert workspace.models.get("m").version == 2
        assert workspace.models.get("m", 1) == record

    def test_a_missing_model_is_v1s_exception(self, workspace: WorkspaceHandle) -> None:
        with pytest.raises(WebserviceException, match="model 'm' isn't registered"):
            workspace.models.get("m")
        workspace.models.register("m", [])
        with pytest.raises(ModelNotFoundException, match="version 2 of model 'm'"):
            workspace.models.get("m", 2)

    def test_the_list_is_newest_first_and_filtered_as_in_v1(self, workspace: WorkspaceHandle) -> None:
        models = workspace.models
        models.register("a", [], tags={"stage": "dev", "x": "1"}, run_id="r1")
        models.register("b", [], tags={"stage": "prod"}, properties={"p": "1"})
        models.register("a", [], tags={"stage": "prod"})

        def listed(**conditions: Any) -> list[str]:
            return [record.id for record in models.list(**conditions)]

        assert listed() == ["a:2", "b:1", "a:1"]
        assert listed(name="a") == ["a:2", "a:1"]
        assert listed(name="unknown") == []
        assert listed(tags=["x"]) == ["a:1"]
        assert listed(tags=[["stage", "prod"]]) == ["a:2", "b:1"]
        assert listed(tags=[("stage", "dev"), "x"]) == ["a:1"]
        assert listed(tags={"stage": "prod"}, properties=["p"]) == ["b:1"]
        assert listed(run_id="r1") == ["a:1"]
        assert listed(latest=True) == ["a:2", "b:1"]
        assert listed(tags=["x"], latest=True) == ["a:1"]

    @pytest.mark.parametrize("name", ["../../up", "a/b", "..", "ünï", "m:1"])
    def test_hostile_names_stay_in_their_place(self, workspace: WorkspaceHandle, name: str) -> None:
        workspace.models.register(name, [])
        assert [record.name for record in workspace.models.list()] == [name]


REGISTER = """
import os, sys
from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.workspace.handle import open_workspace
workspace = open_workspace(sys.argv[1])
print("ready", flush=True)
while not os.path.exists(sys.argv[1] + ".go"):
    pass
own = {"schema": 1, "kind": "file", "by": sys.argv[2]}
shared = {"schema": 1, "kind": "file", "by": "all"}
for number in range(15):
    print("dataset", workspace.datasets.register(
        "d", {**own, "number": number}, create_new_version=True, pending_run=sys.argv[2]).version)
    print("model", workspace.models.register("m", []).version)
    workspace.datasets.register(f"same{number}", shared, create_new_version=True)
    try:
        workspace.datasets.register(f"race{number}", own)
        print("won", number)
    except UserErrorException:
        pass
"""


def test_processes_that_register_at_once_get_versions_of_their_own(tmp_path: Path) -> None:
    url = str(tmp_path / "ws")
    processes = [
        subprocess.Popen([sys.executable, "-c", REGISTER, url, who], stdout=subprocess.PIPE, text=True)
        for who in "abc"
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    Path(f"{url}.go").touch()
    lines: list[tuple[str, ...]] = []
    for process in processes:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        lines.extend(tuple(line.split()) for line in output.splitlines())
    numbers = {
        kind: sorted(int(line[1]) for line in lines if line[0] == kind)
        for kind in ("dataset", "model", "won")
    }
    assert numbers == {"dataset": list(range(1, 46)), "model": list(range(1, 46)), "won": list(range(15))}

    workspace = WorkspaceHandle(url, LocalStore(url))
    assert [len(workspace.datasets.versions(f"same{number}")) for number in range(15)] == [1] * 15
    assert len(workspace.models.list("m")) == 45
    assert list(workspace.datasets.versions("d")) == []
    finish(workspace, "b")
    assert [record.definition["number"] for record in workspace.datasets.versions("d")] == list(range(15))
