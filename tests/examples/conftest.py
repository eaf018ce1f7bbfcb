"""A PostgreSQL server, and an Airflow that uses it, for the tests of this folder."""

import contextlib
from collections.abc import Iterator

import pytest
from airflow_database import airflow_database

from airflow_azureml.demo.home import AirflowHome
from airflow_azureml.demo.rest import AirflowRest
from airflow_azureml.demo.server import AirflowServer

STARTS_WITHIN_S = 300


@pytest.fixture(scope="package")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an empty database in a server of its own."""
    with airflow_database(tmp_path_factory.mktemp("database")) as url:
        yield url


class HomeOnPostgreSQL(AirflowHome):
    """A home whose database is a PostgreSQL server."""

    database_url: str

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": type(self).database_url}


@pytest.fixture(scope="package")
def home(postgresql: str, tmp_path_factory: pytest.TempPathFactory) -> AirflowHome:
    HomeOnPostgreSQL.database_url = postgresql
    return HomeOnPostgreSQL.create(tmp_path_factory.mktemp("airflow"))


@pytest.fixture(scope="package")
def rest(home: AirflowHome) -> Iterator[AirflowRest]:
    """Airflow on PostgreSQL with the LocalExecutor, logged in."""
    with AirflowServer(home) as server, contextlib.closing(AirflowRest(home, server.check)) as rest:
        rest.wait_for_health(STARTS_WITHIN_S, print)
        rest.log_in()
        rest.wait_for_dag("diabetes", STARTS_WITHIN_S)
        yield rest
