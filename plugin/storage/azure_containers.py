"""Containers and file shares of Azure storage accounts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from airflow_azureml.runtime.exceptions import StoreError, UserErrorException
from airflow_azureml.storage.connections import get_connection
from airflow_azureml.storage.credentials import AzureAccount, AzureService, azure_account
from airflow_azureml.storage.files import StoreAddress

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient

_TIMEOUT_S = 30


def create_container(address: StoreAddress) -> None:
    """Make the container, file system or share of an address; nothing happens when there is one.

    :raises UserErrorException: a type of store whose containers aren't made here.
    :raises StoreError: the service refuses.
    """
    from azure.core.exceptions import AzureError, ResourceExistsError

    if address.connection_id is None or address.container is None or address.type not in _MAKERS:
        raise UserErrorException(
            f"containers of type {address.type} are not made here; create it at the service"
        )
    make, service = _MAKERS[address.type]
    account = azure_account(get_connection(address.connection_id), service)
    try:
        with suppress(ResourceExistsError):
            make(account, address.container)
    except AzureError as error:
        # Not the text of the SDK: it may quote the request with its signature.
        code = getattr(error, "error_code", None) or type(error).__name__
        code = getattr(code, "value", code)
        raise StoreError(
            f"account {account.account!r} did not create {address.container!r}: {code}; "
            "check the name (3-63 lower-case letters, digits and dashes) and that the connection may create it"
        ) from None


def quiet_sdk() -> None:
    """Keep the Azure SDKs from writing every request into the task log, unless somebody has chosen a level for that."""
    logger = logging.getLogger("azure.core.pipeline.policies.http_logging_policy")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.WARNING)


def blob_service(account: AzureAccount) -> BlobServiceClient:
    """Return a client of an account's blob service that gives up after a few tries."""
    from azure.storage.blob import BlobServiceClient

    quiet_sdk()
    return BlobServiceClient(account.endpoint, credential=account.sdk_credential(), retry_total=2)


def _make_container(account: AzureAccount, name: str) -> None:
    with blob_service(account) as client:
        client.create_container(name, timeout=_TIMEOUT_S)


def _make_share(account: AzureAccount, name: str) -> None:
    from airflow_azureml.storage.azure_share import share_service

    with share_service(account) as client:
        client.create_share(name, timeout=_TIMEOUT_S)


_MAKERS: dict[str, tuple[Callable[[AzureAccount, str], None], AzureService]] = {
    "AzureBlob": (_make_container, "blob"),
    "AzureDataLakeGen2": (_make_container, "blob"),
    "AzureFile": (_make_share, "file"),
}
