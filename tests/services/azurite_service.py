"""Azurite, Azure's own emulator of Blob storage: one server per test session, a fresh container per test.

A pytest plugin (``tests/conftest.py`` loads it). A test that uses it carries ``@pytest.mark.service("azurite")``.
The program is the one that ``AZURITE`` names, or ``azurite-blob`` on PATH (``npm install azurite``).
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

# Azure's own client logs every request with all its headers.
logging.getLogger("azure").setLevel(logging.WARNING)

# The emulator's account and key, the same in every installation and in its documentation.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
STARTS_WITHIN_S = 120


def azurite_program() -> str | None:
    """The program, or None where it isn't installed."""
    return shutil.which(os.environ.get("AZURITE") or "azurite-blob")


class AzuriteServer:
    """A server on a free port, over a folder of its own."""

    def __init__(self, *, port: int | None = None) -> None:
        self.port = port or _free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="azurite-"))
        program = azurite_program()
        assert program is not None, "no azurite-blob on PATH"
        options = ["--skipApiVersionCheck", "--disableTelemetry", "--silent"]
        self._process = subprocess.Popen(
            [program, *options, "--location", str(self._folder), "--blobPort", str(self.port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait()

    @property
    def endpoint(self) -> str:
        """The URL of the emulator's account."""
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    def container(self, name: str | None = None) -> AzuriteContainer:
        """Make a container; its name is a new one unless one is given."""
        container = AzuriteContainer(self.endpoint, name or f"test-{secrets.token_hex(8)}")
        container.client().create_container()
        return container

    def stop(self) -> None:
        """End the server and remove its folder."""
        # Not SIGTERM: it would wait for every idle connection to be closed.
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _wait(self) -> None:
        until = time.monotonic() + STARTS_WITHIN_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return
            except OSError:
                assert self._process.poll() is None, "Azurite ended"
                assert time.monotonic() < until, "Azurite does not start"
                time.sleep(0.02)


@dataclass(frozen=True)
class AzuriteContainer:
    """A container, and how to reach it.

    :param endpoint: the URL of the account, as a connection's ``host`` has it.
    :param container: its name.
    """

    endpoint: str
    container: str
    account: str = ACCOUNT
    key: str = field(default=KEY, repr=False)

    def connection(self, *, conn_type: str = "wasb") -> str:
        """An Airflow connection as JSON, for an ``AIRFLOW_CONN_…`` variable."""
        fields = {"conn_type": conn_type, "host": self.endpoint, "login": self.account, "password": self.key}
        return json.dumps(fields)

    def client(self, container: str | None = None) -> ContainerClient:
        """Azure's own client, which tests look through at what was written."""
        from azure.storage.blob import BlobServiceClient

        service = BlobServiceClient(self.endpoint, credential=self.key, retry_total=0)
        return service.get_container_client(container or self.container)

    def other(self) -> AzuriteContainer:
        """Make another container of the same account."""
        container = AzuriteContainer(self.endpoint, f"test-{secrets.token_hex(8)}")
        container.client().create_container()
        return container

    def blobs(self) -> dict[str, bytes]:
        """All blobs with their bytes."""
        client = self.client()
        return {name: client.download_blob(name).readall() for name in client.list_blob_names()}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: Any = probe.getsockname()[1]
    return int(port)


@pytest.fixture(scope="session")
def azurite_server() -> Iterator[AzuriteServer]:
    """The server of this test session."""
    server = AzuriteServer()
    yield server
    server.stop()


@pytest.fixture
def azurite(azurite_server: AzuriteServer) -> Iterator[AzuriteContainer]:
    """A fresh container."""
    container = azurite_server.container()
    yield container
    container.client().delete_container()


@pytest.fixture
def azurite_connection(azurite: AzuriteContainer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of an Airflow connection to the account of ``azurite``."""
    monkeypatch.setenv("AIRFLOW_CONN_AZURITE", azurite.connection())
    return "azurite"
