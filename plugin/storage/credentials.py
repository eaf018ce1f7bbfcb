"""Airflow connections read as accounts of storage services: what to call and how to sign in.

The connection types of Airflow's providers are accepted as they are, beside ours (:mod:`.connection_forms`). A connection that
lacks something is refused with the names that its form shows. Nothing here calls a service.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.storage.azure_endpoint import Endpoint, account_of, connection_string, service_endpoint
from airflow_azureml.storage.connection_forms import (
    AZURE_STORAGE,
    AZURE_STORAGE_TYPES,
    DATABRICKS_TYPES,
    GOOGLE_TYPES,
    S3_TYPES,
    check_type,
    extra,
    label,
    require,
)
from airflow_azureml.storage.connections import ConnectionFields

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

AzureService = Literal["blob", "file", "dfs"]

_PUBLIC_AUTHORITY = "login.microsoftonline.com"
_AUTHORITIES = {
    "core.chinacloudapi.cn": "login.chinacloudapi.cn",
    "core.usgovcloudapi.net": "login.microsoftonline.us",
}


class AzureSignIn(Enum):
    """How a storage account is signed in to."""

    ACCOUNT_KEY = "account key"
    SAS = "SAS"
    SERVICE_PRINCIPAL = "service principal"
    IDENTITY = "managed identity"


@dataclass(frozen=True, slots=True)
class ServicePrincipal:
    """An application of a Microsoft Entra tenant.

    :param authority: host name of the tenant's cloud.
    """

    tenant_id: str
    client_id: str
    client_secret: str = field(repr=False)
    authority: str = _PUBLIC_AUTHORITY

    def credential(self) -> TokenCredential:
        """Return it as the Azure SDKs take it."""
        from azure.identity import ClientSecretCredential

        return ClientSecretCredential(
            self.tenant_id, self.client_id, self.client_secret, authority=self.authority
        )


@dataclass(frozen=True, slots=True)
class Identity:
    """Whatever identity this machine has: managed, workload, or that of a developer's ``az login``.

    :param client_id: of a user-assigned managed identity.
    :param tenant_id: of a workload identity.
    :param authority: host name of the cloud.
    """

    client_id: str | None = None
    tenant_id: str | None = None
    authority: str = _PUBLIC_AUTHORITY

    def credential(self) -> TokenCredential:
        """Return it as the Azure SDKs take it."""
        from azure.identity import DefaultAzureCredential

        return DefaultAzureCredential(
            managed_identity_client_id=self.client_id,
            workload_identity_tenant_id=self.tenant_id,
            authority=self.authority,
        )


@dataclass(frozen=True, slots=True)
class AzureAccount:
    """A storage account as one of its services is reached. Exactly one way to sign in is set.

    :param account: its name.
    :param endpoint: URL of the service without container and without a slash at its end, such as
        ``https://account.blob.core.windows.net`` or, of an emulator, ``http://127.0.0.1:10000/devstoreaccount1``.
    :param sign_in: which of the following is set.
    :param account_key: Base64 key.
    :param sas_token: query string without its question mark.
    :param service_principal: an application.
    :param identity: what this machine is.
    """

    account: str
    endpoint: str
    sign_in: AzureSignIn
    account_key: str | None = field(default=None, repr=False)
    sas_token: str | None = field(default=None, repr=False)
    service_principal: ServicePrincipal | None = None
    identity: Identity | None = None

    @property
    def is_http(self) -> bool:
        """Whether the service is an emulator without TLS."""
        return self.endpoint.startswith("http://")

    def token_credential(self) -> TokenCredential | None:
        """Return a credential of azure-identity; None where a key or a SAS signs in."""
        principal = self.service_principal or self.identity
        return None if principal is None else principal.credential()

    def sdk_credential(self) -> Any:
        """Return what the clients of the Azure storage SDKs take as ``credential``, whatever signs in."""
        if self.account_key is not None:
            # With the name: an SDK doesn't find it in the address of an emulator.
            return {"account_name": self.account, "account_key": self.account_key}
        return self.sas_token or self.token_credential()


@dataclass(frozen=True, slots=True)
class S3Account:
    """S3 or what speaks its protocol.

    :param endpoint: URL of another service than AWS.
    :param region: region of the bucket.
    :param access_key_id: key; None for what this machine is (environment, instance, pod).
    :param secret_access_key: its secret.
    :param session_token: of temporary keys.
    """

    endpoint: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)

    @property
    def is_http(self) -> bool:
        """Whether the service is one without TLS."""
        return (self.endpoint or "").startswith("http://")


@dataclass(frozen=True, slots=True)
class GoogleAccount:
    """Google Cloud Storage. Neither key nor file: the application default credentials of this machine.

    :param service_account_key: the key as JSON text.
    :param key_path: a file with the key.
    """

    service_account_key: str | None = field(default=None, repr=False)
    key_path: str | None = None


@dataclass(frozen=True, slots=True)
class DatabricksAccount:
    """A Databricks workspace. Exactly one way to sign in is set.

    :param url: URL of the workspace without a slash at its end.
    :param token: personal access token.
    :param service_principal: an application of Microsoft Entra.
    :param identity: what this machine is.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    service_principal: ServicePrincipal | None = None
    identity: Identity | None = None

    def token_credential(self) -> TokenCredential | None:
        """Return a credential of azure-identity; None where a token signs in."""
        principal = self.service_principal or self.identity
        return None if principal is None else principal.credential()


def azure_account(fields: ConnectionFields, service: AzureService = "blob") -> AzureAccount:
    """Read a connection to an Azure storage account.

    :param fields: a connection of type ``azureml_storage``, ``wasb``, ``adls`` or ``azure_fileshare``.
    :param service: which of the account's services; Data Lake Gen2 answers as ``blob``, too.
    :raises UserErrorException: another type, or a field is missing or contradicts another.
    """
    check_type(fields, AZURE_STORAGE_TYPES, "an Azure storage account")
    text = extra(fields, "connection_string")
    if text:
        return _from_connection_string(fields, str(text), service)
    endpoint = _endpoint(fields, service)
    principal = _service_principal(fields, endpoint)
    if principal is not None:
        return AzureAccount(
            endpoint.account, endpoint.url, AzureSignIn.SERVICE_PRINCIPAL, service_principal=principal
        )
    key = _account_key(fields)
    if key:
        return AzureAccount(endpoint.account, endpoint.url, AzureSignIn.ACCOUNT_KEY, account_key=key)
    sas = extra(fields, "sas_token")
    if sas:
        return AzureAccount(endpoint.account, endpoint.url, AzureSignIn.SAS, sas_token=_sas_query(str(sas)))
    identity = _identity(fields, _authority(fields, endpoint.suffix))
    return AzureAccount(endpoint.account, endpoint.url, AzureSignIn.IDENTITY, identity=identity)


def s3(fields: ConnectionFields) -> S3Account:
    """Read a connection to S3.

    :param fields: a connection of type ``azureml_s3`` or ``aws``.
    :raises UserErrorException: another type, half a key, or a way to sign in that needs the Amazon provider's hook.
    """
    check_type(fields, S3_TYPES, "S3")
    for name in ("role_arn", "profile_name", "assume_role_method"):
        if extra(fields, name):
            raise UserErrorException(
                f"connection {fields.id!r} signs in by {label(fields, name)!r}, which datastores don't; "
                "give an access key, or leave the keys empty to use the identity of the worker"
            )
    key_id = fields.login or extra(fields, "aws_access_key_id")
    secret = fields.password or extra(fields, "aws_secret_access_key")
    if bool(key_id) != bool(secret):
        require(fields, ["password" if key_id else "login"], "an access key, which has two parts")
    return S3Account(
        endpoint=_s3_endpoint(fields),
        region=extra(fields, "region_name"),
        access_key_id=key_id,
        secret_access_key=secret,
        session_token=extra(fields, "session_token") or extra(fields, "aws_session_token"),
    )


def gcs(fields: ConnectionFields) -> GoogleAccount:
    """Read a connection to Google Cloud Storage.

    :param fields: a connection of type ``azureml_gcs`` or ``google_cloud_platform``.
    :raises UserErrorException: another type, or a key that isn't JSON.
    """
    check_type(fields, GOOGLE_TYPES, "Google Cloud Storage")
    key = extra(fields, "keyfile_dict")
    if key is None:
        path = extra(fields, "key_path")
        return GoogleAccount(key_path=None if path is None else str(path))
    if isinstance(key, Mapping):
        return GoogleAccount(service_account_key=json.dumps(dict(key)))
    try:
        json.loads(str(key))
    except ValueError:
        # Without the parser's own error, which quotes the text.
        raise UserErrorException(
            f"connection {fields.id!r}: field {label(fields, 'keyfile_dict')!r} isn't JSON; paste the whole key file"
        ) from None
    return GoogleAccount(service_account_key=str(key))


def databricks(fields: ConnectionFields) -> DatabricksAccount:
    """Read a connection to a Databricks workspace.

    :param fields: a connection of type ``azureml_dbfs`` or ``databricks``.
    :raises UserErrorException: another type, or a field is missing.
    """
    check_type(fields, DATABRICKS_TYPES, "DBFS")
    require(fields, [] if fields.host else ["host"], "the address of the workspace")
    host = str(fields.host).rstrip("/")
    url = host if "://" in host else f"https://{host}"
    if fields.port:
        url = f"{url}:{fields.port}"
    if fields.type == "databricks":
        return _of_databricks_provider(fields, url)
    principal = _principal_of(fields, ("tenant_id", "client_id", "client_secret"), _PUBLIC_AUTHORITY)
    if principal is not None:
        return DatabricksAccount(url, service_principal=principal)
    if fields.password:
        return DatabricksAccount(url, token=fields.password)
    return DatabricksAccount(url, identity=_identity(fields, _PUBLIC_AUTHORITY))


def _of_databricks_provider(fields: ConnectionFields, url: str) -> DatabricksAccount:
    tenant = extra(fields, "azure_tenant_id")
    if tenant:
        missing = [name for name in ("login", "password") if not getattr(fields, name)]
        require(fields, missing, "a service principal")
        return DatabricksAccount(
            url, service_principal=ServicePrincipal(str(tenant), str(fields.login), str(fields.password))
        )
    if extra(fields, "use_azure_managed_identity"):
        return DatabricksAccount(url, identity=_identity(fields, _PUBLIC_AUTHORITY))
    token = extra(fields, "token") or fields.password
    require(fields, [] if token else ["password"], "a personal access token")
    return DatabricksAccount(url, token=str(token))


def _from_connection_string(fields: ConnectionFields, text: str, service: AzureService) -> AzureAccount:
    parts = connection_string(text, f"connection {fields.id!r}: {label(fields, 'connection_string')!r}")
    endpoint = parts.endpoint(service)
    if parts.account_key:
        return AzureAccount(
            endpoint.account, endpoint.url, AzureSignIn.ACCOUNT_KEY, account_key=parts.account_key
        )
    return AzureAccount(
        endpoint.account, endpoint.url, AzureSignIn.SAS, sas_token=_sas_query(parts.sas_token or "")
    )


def _endpoint(fields: ConnectionFields, service: AzureService) -> Endpoint:
    """Return where the service is, from whichever field the connection type keeps it in."""
    sas = extra(fields, "sas_token")
    if sas and str(sas).startswith("http"):
        return service_endpoint(str(sas).partition("?")[0], None, service)
    if fields.type == "adls":
        address = extra(fields, "account_url") or fields.host
        require(fields, [] if address else ["host"], "the address of the storage account")
        return service_endpoint(str(address), None, service)
    if fields.type == "azure_fileshare":
        require(fields, [] if fields.login else ["login"], "the address of the storage account")
        return service_endpoint(str(fields.login), None, service)
    if fields.type == "wasb" and extra(fields, "tenant_id"):
        # The login is the application's id then, and says nothing about the account.
        require(fields, [] if fields.host else ["host"], "the address of the storage account")
        return service_endpoint(str(fields.host), None, service)
    suffix = extra(fields, "endpoint_suffix")
    address = fields.host or fields.login
    require(fields, [] if address else ["login"], "the address of the storage account")
    found = service_endpoint(str(address), suffix, service)
    return Endpoint(found.url, account_of(found.url, fields.login), found.suffix)


def _account_key(fields: ConnectionFields) -> str | None:
    found = fields.password or extra(fields, "shared_access_key") or extra(fields, "account_key")
    return None if found is None else str(found)


def _service_principal(fields: ConnectionFields, endpoint: Endpoint) -> ServicePrincipal | None:
    names = ("tenant_id", "client_id", "client_secret")
    if fields.type != AZURE_STORAGE:
        if not extra(fields, "tenant_id"):
            return None
        names = ("tenant_id", "login", "password")
    return _principal_of(fields, names, _authority(fields, endpoint.suffix))


def _principal_of(
    fields: ConnectionFields, names: tuple[str, str, str], authority: str
) -> ServicePrincipal | None:
    values = [
        getattr(fields, name) if name in ("login", "password") else extra(fields, name) for name in names
    ]
    if not any(values):
        return None
    missing = [name for name, value in zip(names, values, strict=True) if not value]
    require(fields, missing, "a service principal, which has three parts")
    return ServicePrincipal(str(values[0]), str(values[1]), str(values[2]), authority)


def _identity(fields: ConnectionFields, authority: str) -> Identity:
    return Identity(
        client_id=extra(fields, "managed_identity_client_id"),
        tenant_id=extra(fields, "workload_identity_tenant_id"),
        authority=authority,
    )


def _authority(fields: ConnectionFields, suffix: str) -> str:
    given = extra(fields, "authority")
    if given:
        return str(given).removeprefix("https://").strip("/")
    return _AUTHORITIES.get(suffix, _PUBLIC_AUTHORITY)


def _s3_endpoint(fields: ConnectionFields) -> str | None:
    service: Any = (extra(fields, "service_config") or {}).get("s3", {})
    found = service.get("endpoint_url") or extra(fields, "endpoint_url") or fields.host
    if not found:
        return None
    port = f":{fields.port}" if fields.port else ""
    return str(found).rstrip("/") if "://" in str(found) else f"https://{found}{port}"


def _sas_query(text: str) -> str:
    """Return a SAS without the URL or question mark it may come with."""
    return text.partition("?")[2] if "?" in text else text
