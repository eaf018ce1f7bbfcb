"""Airflow connections of every accepted type, read as accounts of storage services."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.storage.connections import ConnectionFields, get_connection
from airflow_azureml.storage.credentials import AzureAccount, AzureSignIn, azure_account, databricks, gcs, s3

KEY = "hunter2+key/of=="
AZURITE = "http://127.0.0.1:10000/devstoreaccount1"


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch):
    """Makes a connection as Airflow has it, and reads it as we do."""

    def make(conn_type: str, **fields: Any) -> ConnectionFields:
        monkeypatch.setenv("AIRFLOW_CONN_IT", json.dumps({"conn_type": conn_type, **fields}))
        return get_connection("it")

    return make


class TestAzureKeys:
    @pytest.mark.parametrize(
        "fields",
        [
            {"conn_type": "azureml_storage", "login": "lake", "password": KEY},
            {"conn_type": "wasb", "login": "lake", "password": KEY},
            {"conn_type": "wasb", "login": "lake", "extra": {"shared_access_key": KEY}},
            {"conn_type": "wasb", "login": "lake", "extra": {"extra__wasb__shared_access_key": KEY}},
            {"conn_type": "wasb", "host": "lake.blob.core.windows.net", "extra": {"account_key": KEY}},
            {"conn_type": "adls", "host": "lake", "password": KEY},
            {"conn_type": "azure_fileshare", "login": "lake", "password": KEY},
            {"conn_type": "azure_fileshare", "login": "https://lake.file.core.windows.net/", "password": KEY},
            {
                "conn_type": "wasb",
                "extra": {
                    "connection_string": f"DefaultEndpointsProtocol=https;AccountName=lake;AccountKey={KEY}"
                },
            },
        ],
    )
    def test_every_connection_type_says_the_same(self, connection, fields) -> None:
        found = azure_account(connection(**fields))
        assert found == AzureAccount(
            "lake", "https://lake.blob.core.windows.net", AzureSignIn.ACCOUNT_KEY, account_key=KEY
        )
        assert azure_account(connection(**fields), "file").endpoint == "https://lake.file.core.windows.net"

    @pytest.mark.parametrize(
        "fields",
        [
            {"login": "devstoreaccount1", "password": KEY, "host": AZURITE},
            {"password": KEY, "host": AZURITE + "/"},
            {
                "extra": {
                    "connection_string": f"AccountName=devstoreaccount1;AccountKey={KEY};BlobEndpoint={AZURITE};"
                }
            },
        ],
    )
    def test_an_emulator_has_its_account_in_the_path(self, connection, fields) -> None:
        found = azure_account(connection("azureml_storage", **fields))
        assert (found.account, found.endpoint, found.account_key) == ("devstoreaccount1", AZURITE, KEY)
        assert found.is_http

    def test_the_emulators_short_connection_string(self, connection) -> None:
        found = azure_account(connection("wasb", extra={"connection_string": "UseDevelopmentStorage=true"}))
        assert (found.account, found.endpoint) == ("devstoreaccount1", AZURITE)

    def test_another_cloud(self, connection) -> None:
        found = azure_account(
            connection(
                "azureml_storage",
                login="lake",
                extra={
                    "endpoint_suffix": "core.chinacloudapi.cn",
                    "tenant_id": "t",
                    "client_id": "c",
                    "client_secret": "s",
                },
            )
        )
        assert found.endpoint == "https://lake.blob.core.chinacloudapi.cn"
        assert found.service_principal is not None
        assert found.service_principal.authority == "login.chinacloudapi.cn"

    def test_an_address_of_ones_own_stays_as_it_is(self, connection) -> None:
        found = azure_account(
            connection("azureml_storage", login="lake", password=KEY, host="https://data.example.com")
        )
        assert (found.account, found.endpoint) == ("lake", "https://data.example.com")


class TestOtherAzureCredentials:
    @pytest.mark.parametrize(
        ("conn_type", "fields"),
        [
            ("wasb", {"login": "lake", "extra": {"sas_token": "sv=1&sig=hunter2"}}),
            ("azureml_storage", {"login": "lake", "extra": {"sas_token": "?sv=1&sig=hunter2"}}),
            ("wasb", {"extra": {"sas_token": "https://lake.blob.core.windows.net/?sv=1&sig=hunter2"}}),
            (
                "wasb",
                {
                    "extra": {
                        "connection_string": (
                            "BlobEndpoint=https://lake.blob.core.windows.net/;SharedAccessSignature=sv=1&sig=hunter2"
                        )
                    }
                },
            ),
        ],
    )
    def test_a_sas(self, connection, conn_type: str, fields) -> None:
        found = azure_account(connection(conn_type, **fields))
        assert (found.account, found.endpoint) == ("lake", "https://lake.blob.core.windows.net")
        assert (found.sign_in, found.sas_token) == (AzureSignIn.SAS, "sv=1&sig=hunter2")

    @pytest.mark.parametrize(
        ("conn_type", "fields"),
        [
            (
                "azureml_storage",
                {"login": "lake", "extra": {"tenant_id": "t", "client_id": "c", "client_secret": "hunter2"}},
            ),
            (
                "wasb",
                {
                    "host": "https://lake.blob.core.windows.net",
                    "login": "c",
                    "password": "hunter2",
                    "extra": {"tenant_id": "t"},
                },
            ),
            ("adls", {"host": "lake", "login": "c", "password": "hunter2", "extra": {"tenant_id": "t"}}),
        ],
    )
    def test_a_service_principal(self, connection, conn_type: str, fields) -> None:
        found = azure_account(connection(conn_type, **fields))
        assert (found.account, found.sign_in) == ("lake", AzureSignIn.SERVICE_PRINCIPAL)
        assert found.service_principal is not None
        principal = found.service_principal
        assert (principal.tenant_id, principal.client_id, principal.client_secret) == ("t", "c", "hunter2")

    def test_without_a_credential_the_machine_signs_in(self, connection) -> None:
        found = azure_account(connection("azureml_storage", login="lake"))
        assert found.sign_in is AzureSignIn.IDENTITY
        chosen = azure_account(connection("wasb", login="lake", extra={"managed_identity_client_id": "mine"}))
        assert chosen.identity is not None
        assert chosen.identity.client_id == "mine"


class TestWhatIsMissing:
    @pytest.mark.parametrize(
        ("conn_type", "fields", "labels"),
        [
            ("azureml_storage", {"password": KEY}, ["'Storage account'"]),
            (
                "azureml_storage",
                {"login": "a", "extra": {"tenant_id": "t"}},
                ["'Client ID' and 'Client secret'"],
            ),
            ("wasb", {"login": "c", "extra": {"tenant_id": "t"}}, ["'Account URL (Active Directory Auth)'"]),
            ("adls", {"password": KEY}, ["'ADLS Gen2 Account Name'"]),
            ("azure_fileshare", {"password": KEY}, ["'Blob Storage Login (optional)'"]),
        ],
    )
    def test_fields_are_named_as_the_form_does(self, connection, conn_type: str, fields, labels) -> None:
        with pytest.raises(UserErrorException, match="connection 'it'") as caught:
            azure_account(connection(conn_type, **fields))
        assert all(label in str(caught.value) for label in labels)
        assert KEY not in str(caught.value)

    @pytest.mark.parametrize(
        ("read", "fields", "labels"),
        [
            (s3, {"conn_type": "azureml_s3", "login": "AKIA"}, "'Secret access key'"),
            (s3, {"conn_type": "aws", "password": KEY}, "'AWS Access Key ID'"),
            (databricks, {"conn_type": "databricks", "password": KEY}, "'Host'"),
            (databricks, {"conn_type": "databricks", "host": "adb"}, r"'Password \(optional\)'"),
            (databricks, {"conn_type": "azureml_dbfs"}, "'Workspace URL'"),
        ],
    )
    def test_so_for_other_services(self, connection, read, fields, labels: str) -> None:
        with pytest.raises(UserErrorException, match=labels):
            read(connection(**fields))

    def test_a_connection_of_another_type_is_refused_with_those_that_serve(self, connection) -> None:
        with pytest.raises(UserErrorException, match="'http'.*azureml_storage or wasb or adls"):
            azure_account(connection("http", host="x"))

    def test_a_connection_that_is_not_there(self) -> None:
        with pytest.raises(UserErrorException, match="airflow connections add nobody"):
            get_connection("nobody")

    def test_a_connection_string_that_was_cut(self, connection) -> None:
        with pytest.raises(UserErrorException, match="neither AccountKey nor") as caught:
            azure_account(connection("wasb", extra={"connection_string": "AccountName=hunter2"}))
        assert "hunter2" not in str(caught.value)

    def test_a_key_that_is_no_json(self, connection) -> None:
        with pytest.raises(UserErrorException, match=r"'Keyfile JSON' isn't JSON") as caught:
            gcs(connection("google_cloud_platform", extra={"keyfile_dict": "hunter2{"}))
        assert "hunter2" not in str(caught.value)

    def test_what_the_amazon_provider_alone_can_do(self, connection) -> None:
        with pytest.raises(UserErrorException, match="role_arn"):
            s3(connection("aws", extra={"role_arn": "arn:aws:iam::1:role/x"}))


class TestOtherServices:
    def test_s3(self, connection) -> None:
        found = s3(
            connection(
                "aws",
                login="AKIA",
                password=KEY,
                extra={
                    "region_name": "eu-west-1",
                    "service_config": {"s3": {"endpoint_url": "http://minio:9000"}},
                },
            )
        )
        assert (found.access_key_id, found.secret_access_key) == ("AKIA", KEY)
        assert (found.region, found.endpoint, found.is_http) == ("eu-west-1", "http://minio:9000", True)
        assert (
            s3(connection("azureml_s3", host="https://s3.example.com/")).endpoint == "https://s3.example.com"
        )

    def test_google(self, connection) -> None:
        key = {"type": "service_account", "private_key": "hunter2"}
        for given in (key, json.dumps(key)):
            found = gcs(connection("google_cloud_platform", extra={"keyfile_dict": given}))
            assert json.loads(found.service_account_key or "") == key
        assert gcs(connection("azureml_gcs", extra={"key_path": "/k.json"})).key_path == "/k.json"

    def test_databricks(self, connection) -> None:
        assert (
            databricks(connection("databricks", host="adb-1.net", login="token", password=KEY)).token == KEY
        )
        assert databricks(connection("databricks", host="adb-1.net", extra={"token": KEY})).token == KEY
        assert (
            databricks(connection("azureml_dbfs", host="https://adb-1.net/", password=KEY)).url
            == "https://adb-1.net"
        )
        principal = databricks(
            connection("databricks", host="a.net", login="c", password="s", extra={"azure_tenant_id": "t"})
        ).service_principal
        assert principal is not None
        assert (principal.tenant_id, principal.client_id) == ("t", "c")


@pytest.mark.parametrize(
    ("read", "fields"),
    [
        (azure_account, {"conn_type": "wasb", "login": "lake", "password": "hunter2"}),
        (azure_account, {"conn_type": "wasb", "login": "lake", "extra": {"sas_token": "sig=hunter2"}}),
        (
            azure_account,
            {
                "conn_type": "adls",
                "host": "lake",
                "login": "c",
                "password": "hunter2",
                "extra": {"tenant_id": "t"},
            },
        ),
        (s3, {"conn_type": "aws", "login": "AKIA", "password": "hunter2"}),
        (gcs, {"conn_type": "azureml_gcs", "extra": {"keyfile_dict": '{"private_key": "hunter2"}'}}),
        (databricks, {"conn_type": "databricks", "host": "a", "password": "hunter2"}),
    ],
)
def test_no_account_shows_its_secret(connection, read, fields) -> None:
    fields = connection(**fields)
    assert "hunter2" not in repr(fields)
    assert "hunter2" not in repr(read(fields))
