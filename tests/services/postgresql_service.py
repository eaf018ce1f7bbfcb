"""PostgreSQL: one server per test session, a fresh database per test.

A pytest plugin (``tests/conftest.py`` loads it). A test that uses it carries ``@pytest.mark.service("postgresql")``.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

STARTS_WITHIN_S = 120
PASSWORD = "not-a-real-secret"


def postgresql_programs() -> str:
    """The folder of initdb and postgres."""
    initdb = shutil.which("initdb") or max(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")))
    return str(Path(initdb).parent)


class PostgreSQLServer:
    """A server on a free port, over a folder of its own; it asks for a password over TCP."""

    def __init__(self) -> None:
        self.port = _free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="pg-"))
        # The server refuses to run as root.
        user = "nobody" if os.geteuid() == 0 else None
        if user:
            shutil.chown(self._folder, user)
        programs, data = postgresql_programs(), str(self._folder / "data")
        self._initialize(programs, data, user)
        self._process = subprocess.Popen(
            [
                f"{programs}/postgres",
                "-D",
                data,
                "-k",
                str(self._folder),
                "-h",
                "127.0.0.1",
                "-p",
                str(self.port),
                "-F",
            ],
            user=user,
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait()

    def database(self) -> PostgreSQLDatabaseOfATest:
        """Make an empty database."""
        name = f"test_{secrets.token_hex(6)}"
        PostgreSQLDatabaseOfATest(self.port, "postgres").execute(f"CREATE DATABASE {name}")
        return PostgreSQLDatabaseOfATest(self.port, name)

    def stop(self) -> None:
        """End the server and remove its folder."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _initialize(self, programs: str, data: str, user: str | None) -> None:
        password = self._folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        options = [
            "-U",
            "airflow",
            "-A",
            "scram-sha-256",
            "--pwfile",
            str(password),
            "--no-sync",
            "-E",
            "UTF8",
        ]
        subprocess.run(
            [f"{programs}/initdb", "-D", data, *options], user=user, check=True, capture_output=True, cwd="/"
        )

    def _wait(self) -> None:
        until = time.monotonic() + STARTS_WITHIN_S
        # Its socket is there before it takes anybody in.
        while not self._answers():
            assert self._process.poll() is None, "PostgreSQL ended"
            assert time.monotonic() < until, "PostgreSQL does not start"
            time.sleep(0.05)

    def _answers(self) -> bool:
        import psycopg2

        try:
            PostgreSQLDatabaseOfATest(self.port, "postgres").rows("select 1")
        except psycopg2.OperationalError:
            return False
        return True


@dataclass(frozen=True)
class PostgreSQLDatabaseOfATest:
    """An empty database, how to reach it, and how to look at it without the code under test."""

    port: int
    name: str

    def connection(self, **changes: Any) -> str:
        """An Airflow connection as JSON, for an ``AIRFLOW_CONN_…`` variable."""
        fields = {
            "conn_type": "postgres",
            "host": "127.0.0.1",
            "port": self.port,
            "login": "airflow",
            "password": PASSWORD,
            "schema": self.name,
        }
        return json.dumps({**fields, **changes})

    def execute(self, text: str) -> None:
        """Run statements."""
        self._run(text, fetch=False)

    def rows(self, text: str) -> list[tuple[Any, ...]]:
        """Run a query."""
        return self._run(text, fetch=True)

    def _run(self, text: str, *, fetch: bool) -> list[tuple[Any, ...]]:
        import psycopg2

        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, user="airflow", password=PASSWORD, dbname=self.name
        )
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(text)
                return list(cursor.fetchall()) if fetch else []
        finally:
            connection.close()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgreSQLServer]:
    """One PostgreSQL server for all tests."""
    server = PostgreSQLServer()
    yield server
    server.stop()


@pytest.fixture
def postgresql_database(
    postgresql_server: PostgreSQLServer, monkeypatch: pytest.MonkeyPatch
) -> PostgreSQLDatabaseOfATest:
    """A fresh database, with the Airflow connection ``postgresql`` to it."""
    database = postgresql_server.database()
    monkeypatch.setenv("AIRFLOW_CONN_POSTGRESQL", database.connection())
    return database


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
