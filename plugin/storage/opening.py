"""Opening stores of files by their addresses: connections are read here, and clients kept for the next one who asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.storage.connections import ConnectionFields, get_connection
from airflow_azureml.storage.credentials import AzureAccount, azure_account, databricks, gcs, s3
from airflow_azureml.storage.files import FileStore, StoreAddress
from airflow_azureml.storage.local_files import LocalFiles

if TYPE_CHECKING:
    from airflow_azureml.storage.azure_rest import AzureRest

LOCAL = "Local"
S3 = "S3"
GOOGLE = "GoogleCloudStorage"

_CONNECT_TIMEOUT = timedelta(seconds=10)
# Of one request, which moves 8 MiB at most; a slower network is one that doesn't answer.
_TIMEOUT = timedelta(seconds=120)
_READ_TIMEOUT = timedelta(seconds=30)
_RETRIES: dict[str, Any] = {
    "max_retries": 4,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=8), "base": 2},
}
# A connection is read again after this time, so that a new key is found without a restart.
_READ_AGAIN_AFTER_S = 300.0

_lock = threading.Lock()
_stores: dict[StoreAddress, tuple[float, FileStore]] = {}
_accounts: dict[AzureAccount, AzureRest] = {}


def open_files(address: StoreAddress) -> FileStore:
    """Return the store at an address; nothing is asked of the service yet.

    :raises UserErrorException: the address lacks something, there is no such connection, or it doesn't fit.
    """
    now = time.monotonic()
    with _lock:
        known = _stores.get(address)
    if known is not None and now - known[0] < _READ_AGAIN_AFTER_S:
        return known[1]
    store = _open(address)
    with _lock:
        _stores[address] = (now, store)
    return store


def forget() -> None:
    """Close idle connections and forget what was opened, for tests and for processes that are about to fork."""
    with _lock:
        _stores.clear()
        for account in _accounts.values():
            account.close()
        _accounts.clear()


def _open(address: StoreAddress) -> FileStore:
    if address.type == LOCAL:
        if address.root is None:
            raise UserErrorException("a local store needs a root, the absolute path of a folder")
        return LocalFiles(Path(address.root))
    opener = _OPENERS.get(address.type)
    if opener is None:
        raise UserErrorException(
            f"files cannot be kept in a store of type {address.type!r}; there are: {', '.join([LOCAL, *sorted(_OPENERS)])}"
        )
    if address.connection_id is None:
        raise UserErrorException(
            f"a store of type {address.type!r} needs connection_id, the id of an Airflow connection"
        )
    return opener(address, get_connection(address.connection_id))


def _open_azure_blob(address: StoreAddress, fields: ConnectionFields) -> FileStore:
    from obstore.store import AzureStore

    from airflow_azureml.storage.azure_blob_files import AzureBlobFiles

    account, container = azure_account(fields, "blob"), _container(address, "container")
    config: dict[str, Any] = {"account_name": account.account, "endpoint": account.endpoint}
    provider: Callable[[], Any] | None = None
    if account.account_key is not None:
        config |= {"account_key": account.account_key, "credential_type": "access_key"}
    elif account.sas_token is not None:
        config |= {"sas_key": account.sas_token, "credential_type": "sas_token"}
    else:
        provider = _AzureTokens(account)
    client = AzureStore(
        container,
        config=cast("Any", config),
        client_options=_client_options(allow_http=account.is_http),
        retry_config=cast("Any", _RETRIES),
        credential_provider=provider,
    )
    return AzureBlobFiles(client, _rest(account), container, address.path or "")


def _open_s3(address: StoreAddress, fields: ConnectionFields) -> FileStore:
    from obstore.store import S3Store

    from airflow_azureml.storage.obstore_files import ObstoreFiles

    account, bucket = s3(fields), _container(address, "bucket")
    config = {
        "endpoint": account.endpoint,
        "region": account.region or "us-east-1",
        "access_key_id": account.access_key_id,
        "secret_access_key": account.secret_access_key,
        "session_token": account.session_token,
    }
    client = S3Store(
        bucket,
        config=cast("Any", {name: value for name, value in config.items() if value}),
        client_options=_client_options(allow_http=account.is_http),
        retry_config=cast("Any", _RETRIES),
    )
    host = (account.endpoint or "").partition("://")[2]
    return ObstoreFiles(client, _uri("s3", host, bucket, address.path), address.path or "")


def _open_google(address: StoreAddress, fields: ConnectionFields) -> FileStore:
    from obstore.store import GCSStore

    from airflow_azureml.storage.obstore_files import ObstoreFiles

    account, bucket = gcs(fields), _container(address, "bucket")
    config = {"service_account_key": account.service_account_key, "service_account": account.key_path}
    client = GCSStore(
        bucket,
        config=cast("Any", {name: value for name, value in config.items() if value}),
        client_options=_client_options(allow_http=False),
        retry_config=cast("Any", _RETRIES),
    )
    return ObstoreFiles(client, _uri("gs", bucket, address.path), address.path or "")


def _open_azure_share(address: StoreAddress, fields: ConnectionFields) -> FileStore:
    from airflow_azureml.storage.azure_files import AzureShareFiles

    return AzureShareFiles(
        azure_account(fields, "file"), _container(address, "file share"), address.path or ""
    )


def _open_dbfs(address: StoreAddress, fields: ConnectionFields) -> FileStore:
    from airflow_azureml.storage.dbfs_files import DbfsFiles

    return DbfsFiles(databricks(fields), address.path or "")


_OPENERS: dict[str, Callable[[StoreAddress, ConnectionFields], FileStore]] = {
    "AzureBlob": _open_azure_blob,
    "AzureDataLakeGen2": _open_azure_blob,
    "AzureFile": _open_azure_share,
    "DBFS": _open_dbfs,
    GOOGLE: _open_google,
    S3: _open_s3,
}


class _AzureTokens:
    """Tokens of Microsoft Entra, as obstore asks for them."""

    def __init__(self, account: AzureAccount) -> None:
        self._credential = account.token_credential()

    def __call__(self) -> dict[str, Any]:
        from airflow_azureml.storage.azure_rest import SCOPE

        if self._credential is None:
            raise UserErrorException("no way to sign in")
        token = self._credential.get_token(SCOPE)
        return {"token": token.token, "expires_at": datetime.fromtimestamp(token.expires_on, UTC)}


def _rest(account: AzureAccount) -> AzureRest:
    from airflow_azureml.storage.azure_rest import AzureRest

    with _lock:
        found = _accounts.get(account)
        if found is None:
            found = _accounts[account] = AzureRest(account)
        return found


def _container(address: StoreAddress, what: str) -> str:
    if not address.container:
        raise UserErrorException(f"a store of type {address.type!r} needs the name of a {what}")
    return address.container


def _client_options(*, allow_http: bool) -> Any:
    from airflow_azureml import __version__

    return {
        "allow_http": allow_http,
        "connect_timeout": _CONNECT_TIMEOUT,
        "timeout": _TIMEOUT,
        "read_timeout": _READ_TIMEOUT,
        "user_agent": f"airflow-azureml/{__version__}",
    }


def _uri(scheme: str, *parts: str | None) -> str:
    return f"{scheme}://" + "/".join(part.strip("/") for part in parts if part)
