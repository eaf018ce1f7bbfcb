"""The demonstration's Airflow is its own: settings, folders and ports."""

import json
import socket
from pathlib import Path

import pytest

from airflow_azureml.demo.home import AirflowHome, free_port


def test_ports_are_free_and_differ(tmp_path: Path) -> None:
    home = AirflowHome.create(tmp_path / "home")

    assert len({home.port, *home.log_ports}) == 3
    for port in (home.port, *home.log_ports):
        with socket.socket() as probe:
            probe.bind(("", port))


def test_another_port_is_taken_when_the_wanted_one_is_in_use() -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        port = taken.getsockname()[1]

        assert free_port(port) not in (port, 0)


def test_settings_of_another_airflow_do_not_reach_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", "/elsewhere")
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy")

    environment = AirflowHome.create(tmp_path).environment()

    assert environment["AIRFLOW_HOME"] == str(tmp_path)
    assert environment["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert "AIRFLOW__CORE__FERNET_KEY" not in environment
    assert environment["HTTPS_PROXY"] == "http://proxy"


def test_it_reads_the_examples_alone(tmp_path: Path) -> None:
    environment = AirflowHome.create(tmp_path).environment()

    (bundle,) = json.loads(environment["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"])
    assert (Path(bundle["kwargs"]["path"]) / "diabetes.py").is_file()
    assert environment["AIRFLOW__CORE__LOAD_EXAMPLES"] == "False"
