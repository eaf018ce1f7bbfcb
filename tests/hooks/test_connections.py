"""Where Airflow's connections come from."""

from __future__ import annotations

import json

import pytest
from airflow.models import Connection
from airflow.utils.session import create_session

from airflow_azureml.hooks.connections import get_connection, get_hook
from airflow_azureml.runtime.exceptions import UserErrorException


@pytest.fixture
def in_database(airflow_database, monkeypatch: pytest.MonkeyPatch):
    """Keeps a connection in Airflow's database for a test."""
    monkeypatch.delenv("_AIRFLOW_PROCESS_CONTEXT", raising=False)
    with create_session() as session:
        session.add(Connection("in_database", conn_type="postgres", login="lake", password="hunter2"))
    yield "in_database"
    with create_session() as session:
        session.query(Connection).filter_by(conn_id="in_database").delete()


def test_a_connection_of_the_environment_has_all_its_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {
        "conn_type": "mssql",
        "host": "h",
        "login": "l",
        "password": "hunter2",
        "schema": "s",
        "port": 1433,
        "extra": {"driver": "x"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_IT", json.dumps(fields))
    found = get_connection("it")
    assert (found.type, found.host, found.login, found.password) == ("mssql", "h", "l", "hunter2")
    assert (found.schema, found.port, dict(found.extra)) == ("s", 1433, {"driver": "x"})
    assert "hunter2" not in repr(found)


def test_a_command_or_script_finds_those_in_airflows_database(in_database: str) -> None:
    assert get_connection(in_database).password == "hunter2"
    assert get_hook(in_database).connection.login == "lake"


def test_a_connection_whose_provider_is_not_installed_has_no_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_IT", json.dumps({"conn_type": "nobody_has_this"}))
    with pytest.raises(UserErrorException, match="install the provider"):
        get_hook("it")
