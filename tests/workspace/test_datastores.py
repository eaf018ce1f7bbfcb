from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.workspace.datastores import DatastoreRecord, DatastoreRegistry
from airflow_azureml.workspace.local_store import LocalStore
from airflow_azureml.workspace.memory_store import MemoryStore

LANDING = DatastoreRecord("landing", "AzureBlob", connection_id="wasb_landing", container="raw", path="in")


@pytest.fixture
def datastores(tmp_path: Path) -> DatastoreRegistry:
    return DatastoreRegistry(LocalStore(tmp_path / "ws"))


class TestBuiltIn:
    def test_the_two_of_v1_are_always_there_and_the_blob_store_is_the_default(self, datastores) -> None:
        assert [record.name for record in datastores.list()] == ["workspaceblobstore", "workspacefilestore"]
        assert datastores.default().name == "workspaceblobstore"

    def test_they_are_folders_of_the_workspace_made_at_first_use(self, datastores, tmp_path: Path) -> None:
        folder = tmp_path / "ws" / "datastores" / "workspaceblobstore"
        assert datastores.get("workspaceblobstore").root == str(folder)
        assert not folder.exists()
        assert datastores.root("workspaceblobstore") == folder
        assert folder.is_dir()

    def test_without_a_disk_they_are_temporary_folders(self) -> None:
        datastores = DatastoreRegistry(MemoryStore())
        folder = datastores.root("workspaceblobstore")
        assert folder.is_dir()
        assert datastores.root("workspaceblobstore") == folder
        assert datastores.root("workspacefilestore") != folder
        del datastores
        assert not folder.exists()

    def test_they_can_be_neither_replaced_nor_removed(self, datastores) -> None:
        with pytest.raises(UserErrorException, match="built in"):
            datastores.register(replace(LANDING, name="workspaceblobstore"), overwrite=True)
        with pytest.raises(UserErrorException, match="built in"):
            datastores.unregister("workspacefilestore")


class TestRegistration:
    def test_a_registered_datastore_is_found_and_listed(self, datastores) -> None:
        datastores.register(LANDING)
        assert datastores.get("landing") == LANDING
        assert LANDING in datastores.list()

    def test_an_unknown_one_names_those_there_are(self, datastores) -> None:
        datastores.register(LANDING)
        with pytest.raises(
            UserErrorException, match=r"'nope' .* landing, workspaceblobstore, workspacefilestore"
        ):
            datastores.get("nope")

    def test_a_taken_name_needs_overwrite_unless_nothing_changes(self, datastores) -> None:
        datastores.register(LANDING)
        datastores.register(LANDING)
        changed = replace(LANDING, container="other")
        with pytest.raises(UserErrorException, match="overwrite=True"):
            datastores.register(changed)
        assert datastores.register(changed, overwrite=True) == datastores.get("landing") == changed

    def test_unregistering_takes_the_record_only(self, datastores, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        datastores.register(DatastoreRecord("here", "Local", root=str(tmp_path / "data")))
        datastores.unregister("here")
        assert (tmp_path / "data").is_dir()
        with pytest.raises(UserErrorException, match="no datastore 'here'"):
            datastores.unregister("here")

    def test_another_one_can_be_the_default_and_then_stays(self, datastores) -> None:
        datastores.register(LANDING)
        datastores.set_default("landing")
        assert datastores.default() == LANDING
        with pytest.raises(UserErrorException, match="is the default"):
            datastores.unregister("landing")
        with pytest.raises(UserErrorException, match="no datastore 'nope'"):
            datastores.set_default("nope")

    @pytest.mark.parametrize("name", ["../up", "a/b", ".", "..", "ünï", "a%2Fb"])
    def test_hostile_names_stay_in_their_place(self, datastores, name: str) -> None:
        datastores.register(replace(LANDING, name=name))
        assert datastores.get(name).name == name
        assert len(datastores.list()) == 3


class TestFolders:
    def test_a_local_datastore_is_its_folder(self, datastores, tmp_path: Path) -> None:
        datastores.register(DatastoreRecord("here", "Local", root=str(tmp_path / "new" / "data")))
        assert datastores.root("here") == tmp_path / "new" / "data"
        assert (tmp_path / "new" / "data").is_dir()

    def test_a_remote_one_has_none(self, datastores) -> None:
        datastores.register(LANDING)
        with pytest.raises(UserErrorException, match="connection 'wasb_landing' and has no folder"):
            datastores.root("landing")

    def test_a_record_says_connection_or_folder(self, datastores) -> None:
        for record in (
            DatastoreRecord("x", "AzureBlob"),
            replace(LANDING, root="/data"),
            DatastoreRecord("x", "Local", root="relative"),
        ):
            with pytest.raises(UserErrorException):
                datastores.register(record)


class TestSecrets:
    @pytest.mark.parametrize(
        "record",
        [
            replace(LANDING, connection_id="wasb://user:hunter2@host"),
            replace(LANDING, path="in?sv=2020&sig=hunter2"),
            replace(LANDING, description="AccountKey=hunter2=="),
            replace(LANDING, tags={"sas_token": "hunter2"}),
            replace(LANDING, tags={"accountKey": "hunter2"}),
            replace(LANDING, tags={"x": "https://me:hunter2@host/"}),
            replace(LANDING, container="-----BEGIN RSA PRIVATE KEY-----hunter2"),
        ],
    )
    def test_a_record_with_a_credential_is_refused_without_showing_it(self, datastores, record) -> None:
        with pytest.raises(UserErrorException, match=r"(?i)airflow connection") as caught:
            datastores.register(record)
        assert "hunter2" not in str(caught.value)
        assert len(datastores.list()) == 2

    def test_harmless_texts_pass(self, datastores) -> None:
        harmless = {
            "partition_key": "day",
            "owner": "key account team",
            "link": "https://wiki/x?page=2",
            "token": "",
        }
        datastores.register(replace(LANDING, tags=harmless, description="password is in the connection"))
