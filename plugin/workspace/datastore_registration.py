"""Datastores registered as v1 did it: with everything about the account in the call, but the secrets in a connection.

v1 took keys and passwords and kept them in the workspace. Here a datastore names an Airflow connection. What a call says
about the account is compared with that connection, secrets too; none of it is kept. Without the connection the call is
refused with the command that makes it.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.storage.azure_endpoint import PUBLIC_SUFFIX
from airflow_azureml.storage.connection_commands import add_command
from airflow_azureml.storage.connection_forms import (
    AZURE_STORAGE,
    DBFS,
    GOOGLE_CLOUD_STORAGE,
    S3,
    check_type,
    require,
)
from airflow_azureml.storage.connections import ConnectionFields, get_connection
from airflow_azureml.storage.credentials import azure_account, databricks, gcs, s3
from airflow_azureml.workspace.datastores import (
    GEN1_TYPE,
    DatastoreRecord,
    DatastoreRegistry,
    check_record,
)

SECRETS = frozenset({"account_key", "sas_token", "client_secret", "password"})
"""Arguments whose values are never shown."""

_AZURE_FILE_TYPES = ("AzureBlob", "AzureFile", "AzureDataLakeGen2")
_OWN_CONNECTION_TYPES = {"S3": S3, "GoogleCloudStorage": GOOGLE_CLOUD_STORAGE, "DBFS": DBFS}
_DATABASE_CONNECTION_TYPES = {
    "AzureSqlDatabase": ("mssql", "odbc"),
    "AzurePostgreSql": ("postgres",),
    "AzureMySql": ("mysql",),
}
_SERVER_DOMAINS = {
    "AzureSqlDatabase": "database.windows.net",
    "AzurePostgreSql": "postgres.database.azure.com",
    "AzureMySql": "mysql.database.azure.com",
}
_NOT_IN_AN_ID = re.compile(r"[^\w#!()\-.]")

Claims = Mapping[str, str]


def connection_id_for(datastore_name: str) -> str:
    """Return the id of the connection that a datastore uses when its registration names none."""
    return "azureml_" + _NOT_IN_AN_ID.sub("_", datastore_name)


def register(
    datastores: DatastoreRegistry,
    record: DatastoreRecord,
    claims: Claims | None = None,
    *,
    overwrite: bool = False,
    create_container: bool = False,
    validate: bool = False,
) -> DatastoreRecord:
    """Register a datastore behind a connection.

    :param record: the datastore; without a connection id it gets :func:`connection_id_for` its name.
    :param claims: what the caller says about account or server, by v1's argument names.
    :param overwrite: whether a name that is taken gets this record.
    :param create_container: make the container or share when it isn't there.
    :param validate: ask the service whether the container can be read.
    :raises UserErrorException: there is no such connection, it lacks something, or it contradicts the claims.
    :raises StoreError: the service refuses.
    """
    if record.type == GEN1_TYPE:
        return _register_gen1(datastores, record, overwrite=overwrite)
    if record.connection_id is None:
        record = replace(record, connection_id=connection_id_for(record.name))
    check_record(record)
    fields = _connection(record, claims or {})
    _compare(record, fields, claims or {})
    if create_container:
        from airflow_azureml.storage.azure_containers import create_container as create

        create(record.address)
    if validate and not record.is_database:
        from airflow_azureml.storage.opening import open_files

        open_files(record.address).is_folder("")
    return datastores.register(record, overwrite=overwrite)


def connection_summary(record: DatastoreRecord) -> str:
    """Return what a datastore's connection is, without its secrets.

    :raises UserErrorException: there is no such connection, or it lacks something.
    """
    fields = get_connection(str(record.connection_id))
    if record.type in (*_AZURE_FILE_TYPES, GEN1_TYPE):
        account = azure_account(fields, "file" if record.type == "AzureFile" else "blob")
        return f"account {account.account} at {account.endpoint}, signed in by {account.sign_in.value}"
    facts = _facts(record, fields)
    server = facts.get("server_name")
    return f"a connection of type {fields.type}" + (f" to {server}" if server else "")


def _register_gen1(
    datastores: DatastoreRegistry, record: DatastoreRecord, *, overwrite: bool
) -> DatastoreRecord:
    """Register an ADLS Gen1 store as the place that its data moved to."""
    now = datastores.replacement(record.account or record.name)
    moved = replace(record, connection_id=now.connection_id, container=now.container, path=now.path)
    return datastores.register(moved, overwrite=overwrite)


def _connection(record: DatastoreRecord, claims: Claims) -> ConnectionFields:
    connection_id = str(record.connection_id)
    try:
        return get_connection(connection_id)
    except UserErrorException as error:
        raise UserErrorException(
            f"datastore {record.name!r}: {str(error).partition(';')[0]}; credentials are kept in Airflow connections only. "
            f"Create it, with the secrets in the shell's variables, and register again: {_command(record, claims)}"
        ) from None


def _compare(record: DatastoreRecord, fields: ConnectionFields, claims: Claims) -> None:
    """Refuse a connection that doesn't serve the datastore, or isn't the account that the caller means."""
    facts = _facts(record, fields)
    for name, claimed in claims.items():
        if _agrees(name, claimed, facts.get(name)):
            continue
        what = f"datastore {record.name!r}: {name}"
        if name in SECRETS:
            raise UserErrorException(
                f"{what} is not what connection {fields.id!r} has; correct the connection, which is what counts, "
                "or leave the argument out"
            )
        raise UserErrorException(
            f"{what} is {claimed.partition('?')[0]!r}, but connection {fields.id!r} says {facts.get(name)!r}; "
            "correct one of them, or name another connection in connection_id"
        )


def _facts(record: DatastoreRecord, fields: ConnectionFields) -> dict[str, str | None]:
    """Return what a connection says, by v1's argument names."""
    if record.type in _AZURE_FILE_TYPES:
        return _storage_facts(record, fields)
    if record.type in _DATABASE_CONNECTION_TYPES:
        return _database_facts(record, fields)
    {"S3": s3, "GoogleCloudStorage": gcs, "DBFS": databricks}[record.type](fields)
    return {}


def _storage_facts(record: DatastoreRecord, fields: ConnectionFields) -> dict[str, str | None]:
    account = azure_account(fields, "file" if record.type == "AzureFile" else "blob")
    url = urlsplit(account.endpoint)
    principal = account.service_principal
    facts = {
        "account_name": account.account,
        "account_key": account.account_key,
        "sas_token": account.sas_token,
        "protocol": url.scheme,
        # Without account and service: core.windows.net. An emulator has neither before its address.
        "endpoint": url.netloc if url.path else url.netloc.split(".", 2)[-1],
    }
    if principal is not None:
        facts |= {
            "tenant_id": principal.tenant_id,
            "client_id": principal.client_id,
            "client_secret": principal.client_secret,
            "authority_url": principal.authority,
        }
    return facts


def _database_facts(record: DatastoreRecord, fields: ConnectionFields) -> dict[str, str | None]:
    check_type(fields, _DATABASE_CONNECTION_TYPES[record.type], f"a datastore of type {record.type}")
    require(fields, [] if fields.host else ["host"], "the address of the server")
    port = None if fields.port is None else str(fields.port)
    mode = fields.extra.get("sslmode") or fields.extra.get("ssl_mode")
    return {
        "server_name": fields.host,
        "username": fields.login,
        "client_id": fields.login,
        "password": fields.password,
        "client_secret": fields.password,
        "port_number": port,
        "sslmode": None if mode is None else str(mode),
    }


def _agrees(name: str, claimed: str, found: str | None) -> bool:
    if name in SECRETS:
        if name == "sas_token":
            claimed = claimed.partition("?")[2] if "?" in claimed else claimed
        return hmac.compare_digest(claimed.encode(), (found or "").encode())
    if name == "server_name":
        # Its first part, or all of it; v1 took either.
        return found is not None and claimed.lower() in (found.lower(), found.partition(".")[0].lower())
    if name == "port_number":
        return found is None or claimed == found
    if name == "sslmode":
        # The datastore wants encryption; only a connection that forbids it contradicts.
        return found != "disable"
    if name == "authority_url":
        return urlsplit(claimed).hostname == found or claimed == found
    # A database's tenant is part of how its driver signs in, and not to be seen in the connection.
    return claimed == found or (name == "tenant_id" and found is None)


def _command(record: DatastoreRecord, claims: Claims) -> str:
    connection_id = str(record.connection_id)
    if record.type in _AZURE_FILE_TYPES:
        return add_command(connection_id, AZURE_STORAGE, _storage_values(record, claims))
    if record.type in _DATABASE_CONNECTION_TYPES:
        return _database_command(record, claims)
    needed = {"DBFS": {"host": "https://WORKSPACE.azuredatabricks.net", "password": ""}}
    return add_command(connection_id, _OWN_CONNECTION_TYPES[record.type], needed.get(record.type, {}))


def _storage_values(record: DatastoreRecord, claims: Claims) -> dict[str, str | None]:
    suffix = claims.get("endpoint", PUBLIC_SUFFIX)
    account = claims.get("account_name") or record.account or "ACCOUNT"
    service = "file" if record.type == "AzureFile" else "blob"
    return {
        "login": account,
        "password": claims.get("account_key"),
        "host": f"http://{account}.{service}.{suffix}" if claims.get("protocol") == "http" else None,
        "sas_token": claims.get("sas_token"),
        "tenant_id": claims.get("tenant_id"),
        "client_id": claims.get("client_id"),
        "client_secret": claims.get("client_secret"),
        "authority": claims.get("authority_url"),
        "endpoint_suffix": None if suffix == PUBLIC_SUFFIX else suffix,
    }


def _database_command(record: DatastoreRecord, claims: Claims) -> str:
    server = claims.get("server_name") or record.account or "SERVER"
    if "." not in server and server != "localhost":
        server = f"{server}.{_SERVER_DOMAINS[record.type]}"
    connection_type = _DATABASE_CONNECTION_TYPES[record.type][0]
    values = {
        "host": server,
        "login": claims.get("username") or claims.get("client_id"),
        "password": claims.get("password") or claims.get("client_secret"),
        "schema": record.container,
        "port": claims.get("port_number"),
        "sslmode": claims.get("sslmode"),
    }
    if claims.get("client_id"):
        # Only ODBC signs in as an application.
        connection_type = "odbc"
        values["Authentication"] = "ActiveDirectoryServicePrincipal"
    return add_command(str(record.connection_id), connection_type, values)
