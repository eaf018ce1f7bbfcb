from __future__ import annotations

from pathlib import Path

import pytest

from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.workspace.handle import open_workspace
from airflow_azureml.workspace.local_store import LocalStore
from airflow_azureml.workspace.store import open_store


class TestStoreUrls:
    def test_a_path_a_home_path_and_a_file_url_are_folders(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        folders = {
            str(tmp_path / "a?b#c"): tmp_path / "a?b#c",
            "relative/ws": tmp_path / "relative" / "ws",
            "~/ws": tmp_path / "home" / "ws",
            f"file://{tmp_path}/a%20b": tmp_path / "a b",
            f"file://localhost{tmp_path}/x": tmp_path / "x",
        }
        for url, folder in folders.items():
            store = open_store(url)
            assert isinstance(store, LocalStore)
            assert store.root == folder
            assert not folder.exists()

    def test_memory_stores_are_known_by_name_within_a_process(self) -> None:
        open_store("memory://one").put("k", b"1")
        assert open_store("memory://one/").get("k").data == b"1"
        assert not open_store("memory://one/sub").exists("k")

    @pytest.mark.parametrize("url", ["", " ", "gs://bucket/ws", "file://host/share", "memory://", "http://x"])
    def test_other_urls_are_refused_with_the_ones_that_work(self, url: str) -> None:
        for open_it in (open_store, open_workspace):
            with pytest.raises(
                UserErrorException, match="give a folder path, file:///folder or memory://name"
            ):
                open_it(url)

    def test_containers_and_buckets_are_named_behind_a_connection_and_nothing_is_asked_of_them(self) -> None:
        assert repr(open_store("azure://my-conn/ws")) == "BlobStore('my-conn', 'ws', None)"
        assert repr(open_store("s3://My_Conn/bucket/a%20b/c/")) == "BlobStore('My_Conn', 'bucket', 'a b/c')"
        assert open_workspace("azure://my-conn/ws/team-a").name == "team-a"

    @pytest.mark.parametrize(
        "url", ["azure://", "azure://conn", "s3://conn/", "azure:///ws", "azure://c:secret@a/ws"]
    )
    def test_a_container_without_a_connection_is_refused(self, url: str) -> None:
        with pytest.raises(UserErrorException, match=r"give \w+://connection/container/folder") as caught:
            open_store(url)
        assert "secret" not in str(caught.value)

    def test_the_refusal_keeps_a_password_in_the_url_to_itself(self) -> None:
        with pytest.raises(UserErrorException) as caught:
            open_store("abfs://user:hunter2@host/c?sig=hunter2")
        assert "hunter2" not in str(caught.value)


class TestWorkspace:
    def test_opening_touches_no_disk(self, tmp_path: Path) -> None:
        workspace = open_workspace(str(tmp_path / "ws"))
        assert workspace.datasets.list() == []
        assert workspace.datastores.default().name == "workspaceblobstore"
        assert not (tmp_path / "ws").exists()

    def test_a_workspace_is_opened_once_per_process(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert open_workspace("ws") is open_workspace(str(tmp_path / "ws"))
        (tmp_path / "other").mkdir()
        monkeypatch.chdir(tmp_path / "other")
        assert open_workspace("ws").url == str(tmp_path / "other" / "ws")

    @pytest.mark.parametrize(
        ("url", "name"),
        [
            ("/data/my-ws", "my-ws"),
            ("/data/my-ws/", "my-ws"),
            ("memory://trial", "trial"),
            ("/", "workspace"),
        ],
    )
    def test_its_name_is_the_last_segment(self, url: str, name: str) -> None:
        assert open_workspace(url).name == name

    def test_snapshots_are_those_of_its_store(self) -> None:
        workspace = open_workspace("memory://with-snapshots")
        assert workspace.snapshots is workspace.snapshots
