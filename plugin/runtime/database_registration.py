"""``Datastore.register_*`` of databases: v1's names and arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_azureml.runtime.registering import note_meaningless, register, whole_server

if TYPE_CHECKING:
    from airflow_azureml.runtime.datastore import Datastore
    from airflow_azureml.runtime.workspace import Workspace


class DatabaseRegistration:
    """The methods of ``Datastore`` that make datastores of databases. None of them is possible inside a step."""

    @staticmethod
    def register_azure_sql_database(
        workspace: Workspace | None,
        datastore_name: str,
        server_name: str,
        database_name: str,
        tenant_id: str | None = None,
        client_id: str | None = None,
        client_secret: str | None = None,
        resource_url: str | None = None,
        authority_url: str | None = None,
        endpoint: str | None = None,
        overwrite: bool = False,
        username: str | None = None,
        password: str | None = None,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        grant_workspace_access: bool = False,
        *,
        connection_id: str | None = None,
    ) -> Datastore:
        """Register an Azure SQL database.

        :param server_name: the server, with or without its domain; the connection must be one to it.
        :param database_name: the database.
        :param client_id: of a service principal, compared with the connection's login.
        :param client_secret: compared with the connection's password.
        :param endpoint: domain of the server, such as ``database.windows.net``.
        :param overwrite: replace a datastore of that name.
        :param username: compared with the connection's login.
        :param password: compared with the connection's password.
        :param connection_id: Airflow connection of type ``mssql`` or ``odbc``.
        :raises UserErrorException: no such connection, or it is another server.
        """
        note_meaningless(
            tenant_id=tenant_id,
            resource_url=resource_url,
            authority_url=authority_url,
            subscription_id=subscription_id,
            resource_group=resource_group,
            grant_workspace_access=grant_workspace_access,
        )
        claims = {
            "server_name": whole_server(server_name, endpoint),
            "client_id": client_id,
            "client_secret": client_secret,
            "username": username,
            "password": password,
        }
        return register(
            workspace,
            datastore_name,
            "AzureSqlDatabase",
            database_name,
            server_name,
            claims,
            overwrite=overwrite,
            connection_id=connection_id,
        )

    @staticmethod
    def register_azure_postgre_sql(
        workspace: Workspace | None,
        datastore_name: str,
        server_name: str,
        database_name: str,
        user_id: str,
        user_password: str | None = None,
        port_number: int | str | None = None,
        endpoint: str | None = None,
        overwrite: bool = False,
        enforce_ssl: bool = True,
        *,
        connection_id: str | None = None,
    ) -> Datastore:
        """Register an Azure Database for PostgreSQL.

        :param server_name: the server, with or without its domain; the connection must be one to it.
        :param database_name: the database.
        :param user_id: compared with the connection's login.
        :param user_password: compared with the connection's password.
        :param port_number: compared with the connection's, where that has one.
        :param endpoint: domain of the server, such as ``postgres.database.azure.com``.
        :param overwrite: replace a datastore of that name.
        :param enforce_ssl: whether a connection with ``sslmode`` ``disable`` is refused.
        :param connection_id: Airflow connection of type ``postgres``.
        :raises UserErrorException: no such connection, or it is another server.
        """
        claims = {
            "server_name": whole_server(server_name, endpoint),
            "username": user_id,
            "password": user_password,
            "port_number": port_number,
            "sslmode": "require" if enforce_ssl else None,
        }
        return register(
            workspace,
            datastore_name,
            "AzurePostgreSql",
            database_name,
            server_name,
            claims,
            overwrite=overwrite,
            connection_id=connection_id,
        )

    @staticmethod
    def register_azure_my_sql(
        workspace: Workspace | None,
        datastore_name: str,
        server_name: str,
        database_name: str,
        user_id: str,
        user_password: str | None = None,
        port_number: int | str | None = None,
        endpoint: str | None = None,
        overwrite: bool = False,
        *,
        connection_id: str | None = None,
    ) -> Datastore:
        """Register an Azure Database for MySQL; arguments as of :meth:`register_azure_postgre_sql`.

        :param connection_id: Airflow connection of type ``mysql``.
        :raises UserErrorException: no such connection, or it is another server.
        """
        claims = {
            "server_name": whole_server(server_name, endpoint),
            "username": user_id,
            "password": user_password,
            "port_number": port_number,
        }
        return register(
            workspace,
            datastore_name,
            "AzureMySql",
            database_name,
            server_name,
            claims,
            overwrite=overwrite,
            connection_id=connection_id,
        )
