"""A PostgreSQL server, and an Airflow that uses it, for the tests of this folder."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_azureml.demo.home import AirflowHome, free_port
from airflow_azureml.demo.rest import AirflowRest
from airflow_azureml.demo.server import AirflowServer

STARTS_WITHIN_S = 300


def postgresql_programs() -> str:
    """The folder of initdb and postgres."""
    initdb = shutil.which("initdb") or max(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")))
    return str(Path(initdb).parent)


@pytest.fixture(scope="package")
def postgresql() -> Iterator[str]:
    """The URL of an empty database in a server of its own."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    programs, port = postgresql_programs(), free_port()
    # The server refuses to run as root.
    user = "nobody" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    data = str(folder / "data")
    subprocess.run(
        [f"{programs}/initdb", "-D", data, "-U", "airflow", "-A", "trust", "--no-sync"],
        user=user,
        check=True,
        capture_output=True,
        cwd="/",
    )
    server = subprocess.Popen(
        [f"{programs}/postgres", "-D", data, "-k", str(folder), "-h", "127.0.0.1", "-p", str(port), "-F"],
        user=user,
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_socket(folder / f".s.PGSQL.{port}", server)
        yield f"postgresql+psycopg2://airflow@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def wait_for_socket(path: Path, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + STARTS_WITHIN_S
    while not path.exists():
        assert server.poll() is None, "PostgreSQL ended"
        assert time.monotonic() < until, "PostgreSQL does not start"
        time.sleep(0.05)


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
