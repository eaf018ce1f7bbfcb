from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.storage import opening
from airflow_azureml.storage.files import StoreAddress
from airflow_azureml.storage.opening import open_files

SECRET = "c2VjcmV0LWtleQ=="


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Any:
    def connection(name: str, **fields: Any) -> str:
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(fields))
        return name

    return connection


@pytest.mark.parametrize(
    ("address", "found"),
    [
        (StoreAddress("Local"), "needs a root"),
        (StoreAddress("AzureBlob", container="c"), "needs connection_id"),
        (StoreAddress("AzureBlob", "conn"), "needs the name of a container"),
        (StoreAddress("S3", "aws"), "needs the name of a bucket"),
        (StoreAddress("AzureBlob", "missing", container="c"), "no Airflow connection 'missing'"),
        (StoreAddress("AzureSqlDatabase", "conn"), "'AzureSqlDatabase'; there are: Local, AzureBlob"),
        (StoreAddress("S3", "conn", container="c"), "conn"),
    ],
)
def test_an_address_that_lacks_something_says_what(
    connection: Any, address: StoreAddress, found: str
) -> None:
    connection("conn", conn_type="wasb", login="account", password=SECRET)
    connection("aws", conn_type="aws", login="id", password=SECRET)
    with pytest.raises(UserErrorException, match=found) as caught:
        open_files(address)
    assert SECRET not in str(caught.value)


def test_stores_are_known_by_what_they_are_and_nothing_is_asked_of_them(connection: Any) -> None:
    connection("azure", conn_type="wasb", login="account", password=SECRET)
    connection("aws", conn_type="aws", login="id", password=SECRET)
    connection("other", conn_type="aws", login="id", password=SECRET, extra={"endpoint_url": "http://here:9"})
    uris = {
        "azure://account/c": StoreAddress("AzureBlob", "azure", container="c"),
        "azure://account/c/a/b": StoreAddress("AzureDataLakeGen2", "azure", container="c", path="/a/b/"),
        "s3://c/a": StoreAddress("S3", "aws", container="c", path="a"),
        "s3://here:9/c": StoreAddress("S3", "other", container="c"),
    }
    for uri, address in uris.items():
        store = open_files(address)
        assert store.uri == uri
        assert SECRET not in repr(store)


def test_a_store_is_opened_once_and_its_connection_read_again_after_a_while(
    connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(opening.time, "monotonic", lambda: now[0])
    address = StoreAddress(
        "AzureBlob", connection("conn", conn_type="wasb", login="old", password=SECRET), container="c"
    )
    first = open_files(address)
    connection("conn", conn_type="wasb", login="new", password=SECRET)
    assert open_files(address) is first
    now[0] += 301
    assert open_files(address).uri == "azure://new/c"


def test_environment_variables_of_other_tools_do_not_sign_in_for_a_connection(
    connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "somebody")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "sv=1&sig=x")
    store: Any = open_files(
        StoreAddress(
            "AzureBlob", connection("conn", conn_type="wasb", login="me", password=SECRET), container="c"
        )
    )
    assert store.client.config["account_name"] == "me"
    assert store.client.config["credential_type"] == "access_key"
