"""Hooks of our connection types: what Airflow's form tests, and a client for whoever wants one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_azureml.hooks.connections import get_connection
from airflow_azureml.runtime.exceptions import AzureMLException
from airflow_azureml.storage.connections import ConnectionFields
from airflow_azureml.storage.credentials import azure_account, databricks, gcs, s3

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient

    from airflow_azureml.storage.credentials import GoogleAccount, S3Account
    from airflow_azureml.storage.dbfs_client import DbfsClient

_TIMEOUT_S = 15
_COMPLETE = (
    "The fields are complete. Whether they open a bucket shows when a datastore is registered with it."
)


class _StorageHook(BaseHook):
    """What the hooks share.

    :param connection_id: the Airflow connection.
    """

    conn_name_attr = "connection_id"

    def __init__(self, connection_id: str, **_: Any) -> None:
        super().__init__()
        self.connection_id = connection_id

    def test_connection(self) -> tuple[bool, str]:
        """Return whether the connection works, and a sentence; reads only, and raises nothing."""
        try:
            return True, self._test(get_connection(self.connection_id))
        except AzureMLException as error:
            return False, str(error)
        except Exception as error:  # noqa: BLE001 - Airflow wants an answer whatever happens
            # Not its text: an SDK's may quote the request with its signature.
            code = getattr(error, "error_code", None) or type(error).__name__
            code = getattr(code, "value", code)
            return False, f"The service did not answer as it should: {code}"

    def _test(self, fields: ConnectionFields) -> str:
        raise NotImplementedError


class AzureStorageHook(_StorageHook):
    """An Azure storage account."""

    conn_type = "azureml_storage"
    default_conn_name = "azureml_storage_default"
    hook_name = "Azure storage account (Azure ML)"

    def get_conn(self) -> BlobServiceClient:
        """Return a client of the account's blob service.

        :raises UserErrorException: the connection lacks something.
        """
        from airflow_azureml.storage.azure_containers import blob_service

        return blob_service(azure_account(get_connection(self.connection_id)))

    def _test(self, fields: ConnectionFields) -> str:
        account = azure_account(fields)
        with self.get_conn() as client:
            next(iter(client.list_containers(results_per_page=1, timeout=_TIMEOUT_S)), None)
        return f"Account {account.account!r} answers; signed in by {account.sign_in.value}."


class S3Hook(_StorageHook):
    """S3, or a service that speaks its protocol."""

    conn_type = "azureml_s3"
    default_conn_name = "azureml_s3_default"
    hook_name = "S3 (Azure ML)"

    def get_conn(self) -> S3Account:
        """Return what the connection says.

        :raises UserErrorException: it lacks something.
        """
        return s3(get_connection(self.connection_id))

    def _test(self, fields: ConnectionFields) -> str:
        s3(fields)
        return _COMPLETE


class GoogleCloudStorageHook(_StorageHook):
    """Google Cloud Storage."""

    conn_type = "azureml_gcs"
    default_conn_name = "azureml_gcs_default"
    hook_name = "Google Cloud Storage (Azure ML)"

    def get_conn(self) -> GoogleAccount:
        """Return what the connection says.

        :raises UserErrorException: it lacks something.
        """
        return gcs(get_connection(self.connection_id))

    def _test(self, fields: ConnectionFields) -> str:
        gcs(fields)
        return _COMPLETE


class DbfsHook(_StorageHook):
    """The file system of a Databricks workspace."""

    conn_type = "azureml_dbfs"
    default_conn_name = "azureml_dbfs_default"
    hook_name = "Databricks file system (Azure ML)"

    def get_conn(self) -> DbfsClient:
        """Return a client of the workspace's file system.

        :raises UserErrorException: the connection lacks something.
        """
        from airflow_azureml.storage.dbfs_client import DbfsClient

        return DbfsClient(databricks(get_connection(self.connection_id)))

    def _test(self, fields: ConnectionFields) -> str:
        with self.get_conn() as client:
            client.status("/")
        return f"{databricks(fields).url} answers."
