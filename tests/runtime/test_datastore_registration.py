"""``Datastore.register_*`` with v1's names and arguments, on Airflow connections."""

from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from azure_files_server import KEY as SHARE_KEY
from azure_files_server import AzureFilesServer
from dbfs_server import DbfsServer

from airflow_azureml import Datastore, Workspace
from airflow_azureml.runtime.exceptions import StoreError, UserErrorException
from airflow_azureml.storage.opening import forget

SECRET = "aHVudGVyMg=="
Connect = Callable[..., None]


@pytest.fixture
def ws(offline: Any) -> Workspace:
    forget()
    return Workspace.from_config()


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Makes an Airflow connection."""

    def make(connection_id: str, conn_type: str = "azureml_storage", **fields: Any) -> None:
        document = json.dumps({"conn_type": conn_type, **fields})
        monkeypatch.setenv(f"AIRFLOW_CONN_{connection_id.upper()}", document)

    return make


def register_blob(ws: Workspace, **arguments: Any) -> Datastore:
    given = {"container_name": "raw", "account_name": "lake", "skip_validation": True, **arguments}
    return Datastore.register_azure_blob_container(ws, "landing", **given)


class TestOnItsConnection:
    def test_the_connection_has_the_datastores_name_unless_another_is_named(
        self, ws: Workspace, connect: Connect
    ) -> None:
        connect("azureml_landing", login="lake", password=SECRET)
        connect("other", "wasb", login="lake", password=SECRET)
        assert register_blob(ws).connection_id == "azureml_landing"
        store = register_blob(ws, connection_id="other", path="/in/", overwrite=True)
        assert store.connection_id == "other"
        assert (store.name, store.datastore_type) == ("landing", "AzureBlob")
        assert (store.container_name, store.account_name) == ("raw", "lake")
        assert Datastore(ws, "landing") == ws.datastores["landing"] == store

    def test_secrets_that_the_connection_has_may_stay_in_the_call(
        self, ws: Workspace, connect: Connect, workspace: Any
    ) -> None:
        connect("azureml_landing", login="lake", password=SECRET)
        register_blob(ws, account_key=SECRET, protocol="https", endpoint="core.windows.net")
        written = workspace.store.get("registry/datastores/landing.json").data
        assert SECRET.encode() not in written

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ({"account_key": "b3RoZXI="}, "account_key is not what connection 'azureml_landing' has"),
            ({"sas_token": "sv=1&sig=b3RoZXI="}, "sas_token is not what connection"),
            (
                {"account_name": "pond"},
                "account_name is 'pond', but connection 'azureml_landing' says 'lake'",
            ),
            ({"protocol": "http"}, "protocol is 'http', but"),
            ({"endpoint": "core.chinacloudapi.cn"}, "endpoint is 'core.chinacloudapi.cn', but"),
        ],
    )
    def test_a_call_that_means_another_account_is_refused(
        self, ws: Workspace, connect: Connect, arguments: Any, said: str
    ) -> None:
        connect("azureml_landing", login="lake", password=SECRET)
        with pytest.raises(UserErrorException) as caught:
            register_blob(ws, **arguments)
        assert said in str(caught.value)
        assert SECRET not in str(caught.value)
        assert "b3RoZXI" not in str(caught.value)
        assert "landing" not in ws.datastores

    def test_arguments_that_mean_nothing_here_are_named(self, ws: Workspace, connect: Connect) -> None:
        connect("azureml_landing", login="lake", password=SECRET)
        with pytest.warns(UserWarning, match="blob_cache_timeout, subscription_id") as warned:
            register_blob(ws, subscription_id="s", blob_cache_timeout=3600)
        assert warned[0].filename == str(Path(__file__))

    def test_a_name_that_is_taken_needs_overwrite(self, ws: Workspace, connect: Connect) -> None:
        connect("azureml_landing", login="lake", password=SECRET)
        register_blob(ws)
        register_blob(ws)
        with pytest.raises(UserErrorException, match="overwrite=True"):
            register_blob(ws, container_name="other")


class TestWithoutAConnection:
    @pytest.mark.parametrize(
        ("arguments", "fields"),
        [
            ({"account_key": SECRET}, ["--conn-login", "lake", "--conn-password", "$PASSWORD"]),
            (
                {"sas_token": SECRET},
                ["--conn-login", "lake", "--conn-extra", '{"sas_token": "$SAS_TOKEN"}'],
            ),
            (
                {"endpoint": "core.chinacloudapi.cn"},
                ["--conn-login", "lake", "--conn-extra", '{"endpoint_suffix": "core.chinacloudapi.cn"}'],
            ),
            (
                {"protocol": "http"},
                ["--conn-host", "http://lake.blob.core.windows.net", "--conn-login", "lake"],
            ),
        ],
    )
    def test_the_command_that_makes_it_is_said_without_the_secret(
        self, ws: Workspace, arguments: Any, fields: Any
    ) -> None:
        with pytest.raises(UserErrorException, match="Airflow connection 'azureml_landing'") as caught:
            register_blob(ws, **arguments)
        assert SECRET not in str(caught.value)
        command = shlex.split(str(caught.value).partition("register again: ")[2])
        assert command[:6] == [
            "airflow",
            "connections",
            "add",
            "azureml_landing",
            "--conn-type",
            "azureml_storage",
        ]
        assert command[6:] == fields

    def test_the_command_works(self, ws: Workspace, connect: Connect) -> None:
        with pytest.raises(UserErrorException) as caught:
            Datastore.register_azure_data_lake_gen2(ws, "lake2", "fs", "lake", "t", "c", SECRET)
        command = shlex.split(str(caught.value).partition("register again: ")[2])
        extra = command[command.index("--conn-extra") + 1].replace("$CLIENT_SECRET", SECRET)
        connect("azureml_lake2", login="lake", extra=json.loads(extra))
        store = Datastore.register_azure_data_lake_gen2(ws, "lake2", "fs", "lake", "t", "c", SECRET)
        assert (store.datastore_type, store.container_name) == ("AzureDataLakeGen2", "fs")
        with pytest.raises(UserErrorException, match="client_secret is not"):
            Datastore.register_azure_data_lake_gen2(ws, "lake2", "fs", "lake", "t", "c", "other")


class TestDatabases:
    def test_azure_sql(self, ws: Workspace, connect: Connect) -> None:
        connect("azureml_sales", "mssql", host="srv.database.windows.net", login="me", password=SECRET)
        store = Datastore.register_azure_sql_database(
            ws, "sales", "srv", "db", username="me", password=SECRET, endpoint="database.windows.net"
        )
        assert (store.datastore_type, store.server_name, store.database_name) == (
            "AzureSqlDatabase",
            "srv",
            "db",
        )
        assert (store.container_name, store.account_name) == (None, None)

    def test_azure_sql_as_an_application(self, ws: Workspace, connect: Connect) -> None:
        with pytest.raises(UserErrorException) as caught:
            Datastore.register_azure_sql_database(
                ws, "sales", "srv", "db", client_id="c", client_secret=SECRET
            )
        assert "--conn-type odbc --conn-host srv.database.windows.net --conn-login c" in str(caught.value)
        connect("azureml_sales", "odbc", host="srv.database.windows.net", login="c", password=SECRET)
        Datastore.register_azure_sql_database(ws, "sales", "srv", "db", client_id="c", client_secret=SECRET)

    def test_postgresql(self, ws: Workspace, connect: Connect) -> None:
        arguments = {"user_id": "me", "user_password": SECRET, "port_number": "5432"}
        with pytest.raises(UserErrorException) as caught:
            Datastore.register_azure_postgre_sql(ws, "facts", "srv", "db", **arguments)
        assert "--conn-host srv.postgres.database.azure.com --conn-login me" in str(caught.value)
        assert '--conn-schema db --conn-port 5432 --conn-extra \'{"sslmode": "require"}\'' in str(
            caught.value
        )
        host = "srv.postgres.database.azure.com"
        connect("azureml_facts", "postgres", host=host, login="me", password=SECRET, port=5432)
        store = Datastore.register_azure_postgre_sql(ws, "facts", host, "db", **arguments)
        assert store.datastore_type == "AzurePostgreSql"
        connect(
            "azureml_facts", "postgres", host=host, login="me", password=SECRET, extra={"sslmode": "disable"}
        )
        with pytest.raises(UserErrorException, match="sslmode"):
            Datastore.register_azure_postgre_sql(ws, "facts", host, "db", **arguments)
        Datastore.register_azure_postgre_sql(ws, "facts", host, "db", **arguments, enforce_ssl=False)

    def test_mysql(self, ws: Workspace, connect: Connect) -> None:
        connect("azureml_shop", "mysql", host="srv", login="me", password=SECRET)
        store = Datastore.register_azure_my_sql(ws, "shop", "srv", "db", "me", SECRET)
        assert store.datastore_type == "AzureMySql"
        with pytest.raises(UserErrorException, match="username is 'you'"):
            Datastore.register_azure_my_sql(ws, "shop", "srv", "db", "you", SECRET)

    def test_a_connection_to_another_kind_of_database(self, ws: Workspace, connect: Connect) -> None:
        connect("azureml_shop", "postgres", host="srv", login="me")
        with pytest.raises(UserErrorException, match="has type 'postgres'.*mysql"):
            Datastore.register_azure_my_sql(ws, "shop", "srv", "db", "me")

    def test_a_database_has_no_files(self, ws: Workspace, connect: Connect) -> None:
        connect("azureml_shop", "mysql", host="srv", login="me")
        store = Datastore.register_azure_my_sql(ws, "shop", "srv", "db", "me")
        with pytest.raises(UserErrorException, match="is a database and holds no files"):
            store.browse()


class TestGen1:
    def test_it_is_gone(self, ws: Workspace) -> None:
        with pytest.raises(UserErrorException, match="shut down on 29 February 2024.*--replaces oldlake"):
            Datastore.register_azure_data_lake(ws, "old", "oldlake")

    def test_it_is_read_where_its_data_moved_to(
        self, ws: Workspace, connect: Connect, workspace: Any
    ) -> None:
        connect("azureml_new", login="lake", password=SECRET)
        from airflow_azureml.workspace.datastores import DatastoreRecord

        workspace.datastores.register(
            DatastoreRecord(
                "new", "AzureDataLakeGen2", "azureml_new", container="fs", path="moved", replaces="oldlake"
            )
        )
        with pytest.warns(UserWarning, match="client_id, client_secret, tenant_id"):
            store = Datastore.register_azure_data_lake(ws, "old", "oldlake", "t", "c", SECRET)
        assert (store.datastore_type, store.container_name) == ("AzureDataLake", "fs")
        address = workspace.datastores.get("old").address
        assert (address.type, address.connection_id, address.path) == (
            "AzureDataLakeGen2",
            "azureml_new",
            "moved",
        )
        assert workspace.datastores.replacement("adl://oldlake.azuredatalakestore.net/x/y").name == "new"


@pytest.mark.service("azurite")
class TestAtTheService:
    def test_a_container_is_looked_at_and_made_when_asked_for(
        self, ws: Workspace, azurite: Any, azurite_connection: str, tmp_path: Path
    ) -> None:
        arguments = {"account_name": "devstoreaccount1", "connection_id": azurite_connection}
        name = azurite.container + "-new"
        with pytest.raises(StoreError, match=r"(?i)container"):
            register_blob(ws, container_name=name, **arguments, skip_validation=False)
        assert "landing" not in ws.datastores
        store = register_blob(
            ws, container_name=name, **arguments, skip_validation=False, create_if_not_exists=True
        )
        goes_there_and_back(store, tmp_path)


def test_a_file_share(ws: Workspace, azure_files: AzureFilesServer, connect: Connect, tmp_path: Path) -> None:
    connect("azureml_shared", **azure_files.connection())
    share = f"new-{tmp_path.name.replace('_', '-').lower()}"[:60]
    with pytest.raises(StoreError, match="no such share"):
        Datastore.register_azure_file_share(ws, "shared", share, azure_files.account)
    store = Datastore.register_azure_file_share(
        ws, "shared", share, azure_files.account, account_key=SHARE_KEY, create_if_not_exists=True
    )
    assert store.datastore_type == "AzureFile"
    goes_there_and_back(store, tmp_path)


def test_a_bucket(ws: Workspace, s3_bucket: Any, s3_connection: str, tmp_path: Path) -> None:
    store = Datastore.register_s3(ws, "bucket", s3_bucket.bucket, connection_id=s3_connection, path="in")
    assert store.datastore_type == "S3"
    goes_there_and_back(store, tmp_path)


def test_dbfs(ws: Workspace, dbfs: DbfsServer, connect: Connect, tmp_path: Path) -> None:
    connect("azureml_bricks", **dbfs.connection())
    store = Datastore.register_dbfs(ws, "bricks", path=f"mnt/{tmp_path.name}")
    assert store.datastore_type == "DBFS"
    goes_there_and_back(store, tmp_path)


def goes_there_and_back(store: Datastore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "a.csv").write_text("a")
    (source / "deep" / "b c.csv").write_text("bb" * 2_000_000)

    reference = store.upload(str(source), "data", show_progress=False)
    assert (reference.datastore.name, reference.path_on_datastore) == (store.name, "data")
    level = store.browse("data")
    assert level.folders == ["deep"]
    assert [(file.path, file.size_bytes) for file in level.files] == [("data/a.csv", 1)]

    (source / "a.csv").write_text("changed")
    store.upload_files([str(source / "a.csv")], target_path="data", show_progress=False)
    assert store.download(str(tmp_path / "got"), prefix="data", show_progress=False) == 2
    assert (tmp_path / "got" / "data" / "a.csv").read_text() == "a"
    assert (tmp_path / "got" / "data" / "deep" / "b c.csv").stat().st_size == 4_000_000
    assert store.download(str(tmp_path / "one"), prefix="data/a.csv", show_progress=False) == 1
    with pytest.raises(UserErrorException, match="without"):
        store.browse("data/../..")


class TestInAStep:
    def test_nothing_can_be_registered_and_no_secret_is_sent(self, online: Any) -> None:
        ws = Workspace.from_config()
        with pytest.raises(UserErrorException, match="not possible inside a step"):
            register_blob(ws, account_key=SECRET)


def test_hdfs_is_refused(ws: Workspace) -> None:
    with pytest.raises(UserErrorException, match="HDFS isn't supported"):
        Datastore.register_hdfs(ws, "h", "http", "node")


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        (
            "azure_blob_container",
            (
                "container_name account_name sas_token account_key protocol endpoint overwrite create_if_not_exists "
                "skip_validation blob_cache_timeout grant_workspace_access subscription_id resource_group"
            ),
        ),
        (
            "azure_file_share",
            (
                "file_share_name account_name sas_token account_key protocol endpoint overwrite create_if_not_exists "
                "skip_validation"
            ),
        ),
        (
            "azure_data_lake",
            (
                "store_name tenant_id client_id client_secret resource_url authority_url subscription_id resource_group "
                "overwrite grant_workspace_access"
            ),
        ),
        (
            "azure_data_lake_gen2",
            (
                "filesystem account_name tenant_id client_id client_secret resource_url authority_url protocol endpoint "
                "overwrite subscription_id resource_group grant_workspace_access"
            ),
        ),
        (
            "azure_sql_database",
            (
                "server_name database_name tenant_id client_id client_secret resource_url authority_url endpoint overwrite "
                "username password subscription_id resource_group grant_workspace_access"
            ),
        ),
        (
            "azure_postgre_sql",
            "server_name database_name user_id user_password port_number endpoint overwrite enforce_ssl",
        ),
        ("azure_my_sql", "server_name database_name user_id user_password port_number endpoint overwrite"),
        ("dbfs", ""),
    ],
)
def test_arguments_are_v1s_in_v1s_order(method: str, arguments: str) -> None:
    parameters = inspect.signature(getattr(Datastore, f"register_{method}")).parameters.values()
    positional = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
    assert positional == ["workspace", "datastore_name", *arguments.split()]
