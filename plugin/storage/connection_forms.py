"""What Airflow's forms call the fields of a connection, so that messages can say which one to fill in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.storage.connections import ConnectionFields

AZURE_STORAGE = "azureml_storage"
"""Our connection type of an Azure storage account: blobs, Data Lake Gen2, file shares."""

S3 = "azureml_s3"
"""Our connection type of S3 and whatever speaks its protocol."""

GOOGLE_CLOUD_STORAGE = "azureml_gcs"
"""Our connection type of Google Cloud Storage."""

DBFS = "azureml_dbfs"
"""Our connection type of a Databricks workspace's file system."""

_LABELS: dict[str, dict[str, str]] = {
    AZURE_STORAGE: {
        "login": "Storage account",
        "password": "Account key",
        "host": "Endpoint",
        "sas_token": "SAS token",
        "tenant_id": "Tenant ID",
        "client_id": "Client ID",
        "client_secret": "Client secret",
        "authority": "Authority host",
        "endpoint_suffix": "Endpoint suffix",
        "connection_string": "Connection string",
        "managed_identity_client_id": "Managed identity client ID",
    },
    "wasb": {
        "login": "Blob Storage Login (optional)",
        "password": "Blob Storage Key (optional)",
        "host": "Account URL (Active Directory Auth)",
        "connection_string": "Blob Storage Connection String (optional)",
        "shared_access_key": "Blob Storage Shared Access Key (optional)",
        "tenant_id": "Tenant Id (Active Directory Auth)",
        "sas_token": "SAS Token (optional)",
    },
    "adls": {
        "login": "Client ID (Active Directory)",
        "password": "ADLS Gen2 Key / Client Secret (Active Directory)",
        "host": "ADLS Gen2 Account Name",
        "connection_string": "ADLS Gen2 Connection String (optional)",
        "tenant_id": "Tenant ID (Active Directory)",
    },
    "azure_fileshare": {
        "login": "Blob Storage Login (optional)",
        "password": "Blob Storage Key (optional)",
        "sas_token": "SAS Token (optional)",
        "connection_string": "Connection String (optional)",
    },
    S3: {
        "login": "Access key ID",
        "password": "Secret access key",
        "host": "Endpoint",
        "region_name": "Region",
        "session_token": "Session token",
    },
    "aws": {"login": "AWS Access Key ID", "password": "AWS Secret Access Key"},
    GOOGLE_CLOUD_STORAGE: {
        "keyfile_dict": "Service account key (JSON)",
        "key_path": "Service account key file",
    },
    "google_cloud_platform": {"keyfile_dict": "Keyfile JSON", "key_path": "Keyfile Path"},
    DBFS: {
        "host": "Workspace URL",
        "password": "Access token",
        "tenant_id": "Tenant ID",
        "client_id": "Client ID",
        "client_secret": "Client secret",
        "managed_identity_client_id": "Managed identity client ID",
    },
    "databricks": {"host": "Host", "login": "Login (optional)", "password": "Password (optional)"},
}

AZURE_STORAGE_TYPES = (AZURE_STORAGE, "wasb", "adls", "azure_fileshare")
S3_TYPES = (S3, "aws")
GOOGLE_TYPES = (GOOGLE_CLOUD_STORAGE, "google_cloud_platform")
DATABRICKS_TYPES = (DBFS, "databricks")


def labels(connection_type: str) -> dict[str, str]:
    """Return what a connection type's form calls its fields; extra fields that aren't here go by their name."""
    return dict(_LABELS.get(connection_type, {}))


def label(fields: ConnectionFields, name: str) -> str:
    """Return what the form of a connection calls a field."""
    return _LABELS.get(fields.type, {}).get(name) or f"Extra: {name}"


def extra(fields: ConnectionFields, name: str) -> Any:
    """Return a field beyond the standard ones, also by the prefixed name that old providers wrote; None if empty."""
    found = fields.extra.get(name)
    if found in (None, ""):
        found = fields.extra.get(f"extra__{fields.type}__{name}")
    return None if found == "" else found


def require(fields: ConnectionFields, missing: Iterable[str], purpose: str) -> None:
    """Refuse a connection that lacks fields.

    :param missing: names of the fields that are empty; nothing happens when there are none.
    :param purpose: what they are needed for.
    :raises UserErrorException: names the fields as the form does.
    """
    named = [repr(label(fields, name)) for name in missing]
    if named:
        what = "field" if len(named) == 1 else "fields"
        raise UserErrorException(
            f"connection {fields.id!r} ({fields.type}) lacks {what} {' and '.join(named)}, needed for {purpose}; "
            "fill it in under Admin, Connections, or where the connection is kept"
        )


def check_type(fields: ConnectionFields, accepted: tuple[str, ...], purpose: str) -> None:
    """Refuse a connection of a type that cannot serve.

    :raises UserErrorException: says which types can.
    """
    if fields.type not in accepted:
        raise UserErrorException(
            f"connection {fields.id!r} has type {fields.type!r}; {purpose} needs one of type {' or '.join(accepted)}"
        )
