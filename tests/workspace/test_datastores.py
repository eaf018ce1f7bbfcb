from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.workspace.datastores import DatastoreRecord, DatastoreRegistry
from airflow_azureml.workspace.local_store import LocalStore
from airflow_azureml.workspace.memory_store import MemoryStore
from airflow_azureml.workspace.store import open_store

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


class TestFiles:
    def test_a_folder_is_a_store_of_its_files(self, datastores, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "a.csv").write_text("a")
        datastores.register(DatastoreRecord("here", "Local", root=str(tmp_path / "data")))
        store = datastores.files("here")
        assert store.local_root == tmp_path / "data"
        assert [file.path for file in store.walk()] == ["a.csv"]
        assert datastores.is_local("here")
        assert datastores.is_local("workspaceblobstore")

    def test_one_behind_a_connection_is_reached_by_it(self, datastores, azure_files, monkeypatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_SHARES", json.dumps(azure_files.connection()))
        share = azure_files.share()
        datastores.register(DatastoreRecord("shared", "AzureFile", "shares", container=share, path="in/it"))
        store = datastores.files("shared")
        assert store.uri == f"azurefile://filesaccount/{share}/in/it"
        assert not datastores.is_local("shared")
        assert not datastores.is_database("shared")

    def test_a_database_has_no_files_and_files_are_no_database(self, datastores) -> None:
        datastores.register(DatastoreRecord("sales", "AzureSqlDatabase", "sql", container="db"))
        datastores.register(LANDING)
        assert datastores.is_database("sales")
        with pytest.raises(UserErrorException, match="'sales'.*is a database and holds no files"):
            datastores.files("sales")
        with pytest.raises(UserErrorException, match="'landing'.*holds files and is no database"):
            datastores.database("landing")

    def test_a_database_is_opened_by_its_connection(self, datastores, monkeypatch) -> None:
        fields = {"conn_type": "postgres", "host": "srv", "login": "me", "password": "hunter2"}
        monkeypatch.setenv("AIRFLOW_CONN_FACTS", json.dumps(fields))
        datastores.register(DatastoreRecord("facts", "AzurePostgreSql", "facts", container="db"))
        assert "hunter2" not in datastores.database("facts").uri

    @pytest.mark.service("azurite")
    def test_the_built_in_ones_lie_beside_the_objects_of_a_remote_workspace(
        self, azurite, azurite_connection: str
    ) -> None:
        url = f"azure://{azurite_connection}/{azurite.container}/team/ws"
        datastores = DatastoreRegistry(open_store(url))
        record = datastores.default()
        assert (record.name, record.type, record.connection_id) == (
            "workspaceblobstore",
            "AzureBlob",
            azurite_connection,
        )
        assert record.path == "team/ws/datastores/workspaceblobstore"
        with datastores.files("workspaceblobstore").writer("a/b") as writer:
            writer.write(b"x")
            writer.close()
        assert [file.path for file in datastores.files("workspaceblobstore").walk()] == ["a/b"]
        assert list(datastores.files("workspacefilestore").walk()) == []


class TestRecords:
    @pytest.mark.parametrize(
        ("record", "said"),
        [
            (replace(LANDING, type="Nonsense"), "'Nonsense' is none of Local, AzureBlob"),
            (replace(LANDING, container=None), "name the container"),
            (DatastoreRecord("x", "S3", "c"), "name the bucket"),
            (DatastoreRecord("x", "AzureMySql", "c"), "name the database"),
            (DatastoreRecord("x", "AzureMySql", "c", container="db", path="in"), "path must stay empty"),
            (DatastoreRecord("x", "DBFS", "c", container="c"), "has no containers"),
            (DatastoreRecord("x", "AzureBlob", root="/data", container="c"), "has type Local"),
            (replace(LANDING, path="../up"), "no path on a datastore"),
            (DatastoreRecord("x", "DBFS", "c", replaces="old"), "only a store of files in the cloud"),
        ],
    )
    def test_one_that_makes_no_sense_is_refused(self, datastores, record, said: str) -> None:
        with pytest.raises(UserErrorException, match=said):
            datastores.register(record)

    def test_one_of_an_earlier_version_is_read(self, tmp_path: Path) -> None:
        store = LocalStore(tmp_path / "ws")
        earlier = {
            name: value
            for name, value in LANDING.to_document().items()
            if name not in ("account", "replaces")
        }
        store.put("registry/datastores/landing.json", json.dumps(earlier).encode())
        assert DatastoreRegistry(store).get("landing") == LANDING

    @pytest.mark.parametrize(
        "name", ["oldlake", "oldlake.azuredatalakestore.net", "adl://oldlake.azuredatalakestore.net/a/b"]
    )
    def test_the_replacement_of_a_gen1_account_is_found(self, datastores, name: str) -> None:
        with pytest.raises(UserErrorException, match="'oldlake' cannot be read"):
            datastores.replacement(name)
        datastores.register(replace(LANDING, replaces="oldlake"))
        assert datastores.replacement(name).name == "landing"


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
