"""The connection types that this package adds to Airflow, and their forms.

For whoever has not installed the provider of a service: the types of Airflow's own providers do as well. Airflow imports this
module in every one of its processes, so it is plain data.
"""

from __future__ import annotations

from typing import Any

_TEXT = {"type": ["string", "null"]}
_SECRET = {"type": ["string", "null"], "format": "password"}

CONNECTION_TYPES: list[dict[str, Any]] = [
    {
        "connection-type": "azureml_storage",
        "hook-class-name": "airflow_azureml.hooks.storage.AzureStorageHook",
        "hook-name": "Azure storage account (Azure ML)",
        "ui-field-behaviour": {
            "hidden-fields": ["schema", "port", "extra"],
            "relabeling": {"login": "Storage account", "password": "Account key", "host": "Endpoint"},
            "placeholders": {
                "login": "name of the account",
                "password": "empty for a SAS, a service principal or a managed identity",
                "host": "only for other addresses, such as http://127.0.0.1:10000/devstoreaccount1",
            },
        },
        "conn-fields": {
            "sas_token": {"label": "SAS token", "schema": _SECRET, "description": "instead of a key"},
            "tenant_id": {"label": "Tenant ID", "schema": _TEXT, "description": "of a service principal"},
            "client_id": {"label": "Client ID", "schema": _TEXT, "description": "of a service principal"},
            "client_secret": {
                "label": "Client secret",
                "schema": _SECRET,
                "description": "of a service principal",
            },
            "managed_identity_client_id": {
                "label": "Managed identity client ID",
                "schema": _TEXT,
                "description": "of a user-assigned identity; without any credential the worker's own identity signs in",
            },
            "connection_string": {
                "label": "Connection string",
                "schema": _SECRET,
                "description": "instead of all other fields",
            },
            "endpoint_suffix": {
                "label": "Endpoint suffix",
                "schema": _TEXT,
                "description": "domain of another cloud, such as core.chinacloudapi.cn; default: core.windows.net",
            },
            "authority": {
                "label": "Authority host",
                "schema": _TEXT,
                "description": "where identities sign in, if not at the public cloud's or that of the endpoint suffix",
            },
        },
    },
    {
        "connection-type": "azureml_s3",
        "hook-class-name": "airflow_azureml.hooks.storage.S3Hook",
        "hook-name": "S3 (Azure ML)",
        "ui-field-behaviour": {
            "hidden-fields": ["schema", "port", "extra"],
            "relabeling": {
                "login": "Access key ID",
                "password": "Secret access key",
                "host": "Endpoint",
            },
            "placeholders": {
                "login": "empty to use the identity of the worker",
                "host": "only for other services than AWS: https://minio.example.com:9000",
            },
        },
        "conn-fields": {
            "region_name": {"label": "Region", "schema": _TEXT},
            "session_token": {
                "label": "Session token",
                "schema": _SECRET,
                "description": "of temporary keys",
            },
        },
    },
    {
        "connection-type": "azureml_gcs",
        "hook-class-name": "airflow_azureml.hooks.storage.GoogleCloudStorageHook",
        "hook-name": "Google Cloud Storage (Azure ML)",
        "ui-field-behaviour": {
            "hidden-fields": ["host", "schema", "login", "password", "port", "extra"],
            "relabeling": {},
        },
        "conn-fields": {
            "keyfile_dict": {
                "label": "Service account key (JSON)",
                "schema": _SECRET,
                "description": "the whole key file; empty for a file or for application default credentials",
            },
            "key_path": {
                "label": "Service account key file",
                "schema": _TEXT,
                "description": "path on the workers",
            },
        },
    },
    {
        "connection-type": "azureml_dbfs",
        "hook-class-name": "airflow_azureml.hooks.storage.DbfsHook",
        "hook-name": "Databricks file system (Azure ML)",
        "ui-field-behaviour": {
            "hidden-fields": ["schema", "login", "port", "extra"],
            "relabeling": {"host": "Workspace URL", "password": "Access token"},
            "placeholders": {
                "host": "https://adb-1234567890123456.7.azuredatabricks.net",
                "password": "empty for a service principal or a managed identity",
            },
        },
        "conn-fields": {
            "tenant_id": {"label": "Tenant ID", "schema": _TEXT, "description": "of a service principal"},
            "client_id": {"label": "Client ID", "schema": _TEXT, "description": "of a service principal"},
            "client_secret": {
                "label": "Client secret",
                "schema": _SECRET,
                "description": "of a service principal",
            },
            "managed_identity_client_id": {
                "label": "Managed identity client ID",
                "schema": _TEXT,
                "description": "of a user-assigned identity",
            },
        },
    },
]
"""As ``connection-types`` of the provider's description has them."""
