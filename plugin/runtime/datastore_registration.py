"""``Datastore.register_*``: v1's names and arguments, and those of stores that v1 had not.

v1 kept the secrets it was given in the workspace. Here they are in Airflow connections: every method takes
``connection_id`` (default ``azureml_<datastore_name>``), compares what else it is given with that connection, and keeps none of
it. Where the connection is missing, the error has the command that makes it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Mapping

from airflow_azureml.runtime import service
from airflow_azureml.runtime.database_registration import DatabaseRegistration
from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.runtime.registering import datastore, note_meaningless, register

if TYPE_CHECKING:
    from airflow_azureml.runtime.datastore import Datastore
    from airflow_azureml.runtime.workspace import Workspace


class DatastoreRegistration(DatabaseRegistration):
    """The methods of ``Datastore`` that make datastores. None of them is possible inside a step."""

    @staticmethod
    def register_local_folder(
        workspace: Workspace | None,
        datastore_name: str,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        description: str | None = None,
        tags: Mapping[str, Any] | None = None,
    ) -> Datastore:
        """Register a folder of this machine as a datastore.

        :param path: the folder; relative ones are made absolute.
        :param overwrite: replace a datastore of that name.
        :raises UserErrorException: the name is taken, or this is a step: steps cannot register datastores.
        """
        record = service.call(
            "datastore.register_local_folder",
            name=datastore_name,
            root=os.path.abspath(os.fspath(path)),
            overwrite=overwrite,
            description=description,
            tags=dict(tags or {}),
        )
        return datastore(record, workspace)

    @staticmethod
    def register_azure_blob_container(
        workspace: Workspace | None,
        datastore_name: str,
        container_name: str,
        account_name: str,
        sas_token: str | None = None,
        account_key: str | None = None,
        protocol: str | None = None,
        endpoint: str | None = None,
        overwrite: bool = False,
        create_if_not_exists: bool = False,
        skip_validation: bool = False,
        blob_cache_timeout: int | None = None,
        grant_workspace_access: bool = False,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        *,
        connection_id: str | None = None,
        path: str | None = None,
    ) -> Datastore:
        """Register a container of Azure Blob Storage.

        :param container_name: the container.
        :param account_name: the storage account; the connection must be one to it.
        :param sas_token: compared with the connection's.
        :param account_key: compared with the connection's.
        :param protocol: ``https`` or ``http``, compared with the connection's.
        :param endpoint: domain of the cloud, such as ``core.windows.net``, compared with the connection's.
        :param overwrite: replace a datastore of that name.
        :param create_if_not_exists: make the container.
        :param skip_validation: don't ask the service whether the container can be read.
        :param connection_id: Airflow connection of type ``azureml_storage`` or ``wasb``.
        :param path: folder in the container that the datastore begins at.
        :raises UserErrorException: no such connection, or it is another account.
        """
        note_meaningless(
            blob_cache_timeout=blob_cache_timeout,
            grant_workspace_access=grant_workspace_access,
            subscription_id=subscription_id,
            resource_group=resource_group,
        )
        return register(
            workspace,
            datastore_name,
            "AzureBlob",
            container_name,
            account_name,
            {
                "account_name": account_name,
                "sas_token": sas_token,
                "account_key": account_key,
                "protocol": protocol,
                "endpoint": endpoint,
            },
            overwrite=overwrite,
            connection_id=connection_id,
            path=path,
            create_container=create_if_not_exists,
            validate=not skip_validation,
        )

    @staticmethod
    def register_azure_file_share(
        workspace: Workspace | None,
        datastore_name: str,
        file_share_name: str,
        account_name: str,
        sas_token: str | None = None,
        account_key: str | None = None,
        protocol: str | None = None,
        endpoint: str | None = None,
        overwrite: bool = False,
        create_if_not_exists: bool = False,
        skip_validation: bool = False,
        *,
        connection_id: str | None = None,
        path: str | None = None,
    ) -> Datastore:
        """Register a file share of Azure Files; arguments as of :meth:`register_azure_blob_container`.

        :param file_share_name: the share.
        :param connection_id: Airflow connection of type ``azureml_storage``, ``azure_fileshare`` or ``wasb``.
        :raises UserErrorException: no such connection, or it is another account.
        """
        return register(
            workspace,
            datastore_name,
            "AzureFile",
            file_share_name,
            account_name,
            {
                "account_name": account_name,
                "sas_token": sas_token,
                "account_key": account_key,
                "protocol": protocol,
                "endpoint": endpoint,
            },
            overwrite=overwrite,
            connection_id=connection_id,
            path=path,
            create_container=create_if_not_exists,
            validate=not skip_validation,
        )

    @staticmethod
    def register_azure_data_lake(
        workspace: Workspace | None,
        datastore_name: str,
        store_name: str,
        tenant_id: str | None = None,
        client_id: str | None = None,
        client_secret: str | None = None,
        resource_url: str | None = None,
        authority_url: str | None = None,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        overwrite: bool = False,
        grant_workspace_access: bool = False,
    ) -> Datastore:
        """Register what was an ADLS Gen1 account as the Gen2 file system that replaces it.

        Gen1 was shut down on 29 February 2024. The replacement is a datastore that was registered with ``--replaces
        <store_name>`` (``airflow azureml datastores register``); credentials of Gen1 are of no use and aren't kept.

        :param store_name: the Gen1 account.
        :param overwrite: replace a datastore of that name.
        :raises UserErrorException: nothing replaces that account.
        """
        note_meaningless(
            resource_url=resource_url,
            subscription_id=subscription_id,
            resource_group=resource_group,
            grant_workspace_access=grant_workspace_access,
            tenant_id=tenant_id,
            client_id=client_id,
            client_secret=client_secret,
            authority_url=authority_url,
        )
        return register(workspace, datastore_name, "AzureDataLake", None, store_name, {}, overwrite=overwrite)

    @staticmethod
    def register_azure_data_lake_gen2(
        workspace: Workspace | None,
        datastore_name: str,
        filesystem: str,
        account_name: str,
        tenant_id: str | None = None,
        client_id: str | None = None,
        client_secret: str | None = None,
        resource_url: str | None = None,
        authority_url: str | None = None,
        protocol: str | None = None,
        endpoint: str | None = None,
        overwrite: bool = False,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        grant_workspace_access: bool = False,
        *,
        connection_id: str | None = None,
        path: str | None = None,
    ) -> Datastore:
        """Register a file system of Azure Data Lake Storage Gen2.

        :param filesystem: the file system.
        :param account_name: the storage account; the connection must be one to it.
        :param tenant_id: compared with the connection's, as are the following.
        :param client_id: the application.
        :param client_secret: its secret.
        :param authority_url: where it signs in.
        :param protocol: ``https`` or ``http``.
        :param endpoint: domain of the cloud, such as ``core.windows.net``.
        :param overwrite: replace a datastore of that name.
        :param connection_id: Airflow connection of type ``azureml_storage``, ``adls`` or ``wasb``.
        :param path: folder in the file system that the datastore begins at.
        :raises UserErrorException: no such connection, or it is another account.
        """
        note_meaningless(
            resource_url=resource_url,
            subscription_id=subscription_id,
            resource_group=resource_group,
            grant_workspace_access=grant_workspace_access,
        )
        claims = {
            "account_name": account_name,
            "tenant_id": tenant_id,
            "client_id": client_id,
            "client_secret": client_secret,
            "authority_url": authority_url,
            "protocol": protocol,
            "endpoint": endpoint,
        }
        return register(
            workspace,
            datastore_name,
            "AzureDataLakeGen2",
            filesystem,
            account_name,
            claims,
            overwrite=overwrite,
            connection_id=connection_id,
            path=path,
        )

    @staticmethod
    def register_dbfs(
        workspace: Workspace | None,
        datastore_name: str,
        *,
        connection_id: str | None = None,
        path: str | None = None,
        overwrite: bool = False,
    ) -> Datastore:
        """Register the file system of a Databricks workspace.

        :param connection_id: Airflow connection of type ``azureml_dbfs`` or ``databricks``.
        :param path: folder that the datastore begins at.
        :param overwrite: replace a datastore of that name.
        :raises UserErrorException: no such connection.
        """
        return register(
            workspace,
            datastore_name,
            "DBFS",
            None,
            None,
            {},
            overwrite=overwrite,
            connection_id=connection_id,
            path=path,
        )

    @staticmethod
    def register_s3(
        workspace: Workspace | None,
        datastore_name: str,
        bucket_name: str,
        *,
        connection_id: str | None = None,
        path: str | None = None,
        overwrite: bool = False,
        skip_validation: bool = False,
    ) -> Datastore:
        """Register a bucket of S3, or of a service that speaks its protocol; v1 had none.

        :param bucket_name: the bucket.
        :param connection_id: Airflow connection of type ``azureml_s3`` or ``aws``.
        :param path: folder in the bucket that the datastore begins at.
        :param overwrite: replace a datastore of that name.
        :param skip_validation: don't ask the service whether the bucket can be read.
        :raises UserErrorException: no such connection.
        """
        return register(
            workspace,
            datastore_name,
            "S3",
            bucket_name,
            None,
            {},
            overwrite=overwrite,
            connection_id=connection_id,
            path=path,
            validate=not skip_validation,
        )

    @staticmethod
    def register_google_cloud_storage(
        workspace: Workspace | None,
        datastore_name: str,
        bucket_name: str,
        *,
        connection_id: str | None = None,
        path: str | None = None,
        overwrite: bool = False,
        skip_validation: bool = False,
    ) -> Datastore:
        """Register a bucket of Google Cloud Storage; v1 had none. Arguments as of :meth:`register_s3`.

        :param connection_id: Airflow connection of type ``azureml_gcs`` or ``google_cloud_platform``.
        :raises UserErrorException: no such connection.
        """
        return register(
            workspace,
            datastore_name,
            "GoogleCloudStorage",
            bucket_name,
            None,
            {},
            overwrite=overwrite,
            connection_id=connection_id,
            path=path,
            validate=not skip_validation,
        )

    @staticmethod
    def register_hdfs(*_: Any, **__: Any) -> Datastore:
        """Refuse: HDFS was an experiment of v1 and isn't supported.

        :raises UserErrorException: always.
        """
        raise UserErrorException(
            "Datastore.register_hdfs: HDFS isn't supported; mount it on the workers and register the folder "
            "(Datastore.register_local_folder)"
        )
