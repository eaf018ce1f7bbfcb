"""A transfer with little to write down: source and target folders, a journal, what was said."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fault_proxy import FaultProxy

from airflow_azureml.storage.local_files import LocalFiles
from airflow_azureml.transfer.engine import transfer
from airflow_azureml.transfer.journal import Journal
from airflow_azureml.transfer.request import TransferRequest, TransferResult


@dataclass
class Bench:
    """Two folders and a way to copy between them."""

    root: Path
    lines: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.from_folder, self.to_folder = self.root / "from", self.root / "to"
        self.from_folder.mkdir()
        self.source: Any = LocalFiles(self.from_folder)
        self.target: Any = LocalFiles(self.to_folder)

    def write(self, files: dict[str, bytes]) -> None:
        """Write files of the source."""
        for path, data in files.items():
            place = self.from_folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)

    def request(self, source_path: str = "", target_path: str = "", **options: Any) -> TransferRequest:
        return TransferRequest(self.source, source_path, self.target, target_path, **options)

    def journal(self, request: TransferRequest) -> Journal:
        return Journal.in_folder(self.root / "journal", request.key)

    def run(self, source_path: str = "", target_path: str = "", **options: Any) -> TransferResult:
        """Transfer, with a journal."""
        request = self.request(source_path, target_path, **options)
        return transfer(
            request, journal=self.journal(request), stopping=self.stopping, tell=self.lines.append
        )

    def arrived(self) -> dict[str, bytes]:
        """The files of the target by path."""
        return {
            path.relative_to(self.to_folder).as_posix(): path.read_bytes()
            for path in sorted(self.to_folder.rglob("*"))
            if path.is_file() and ".azureml-arriving" not in path.parts
        }

    def forget_journal(self) -> None:
        import shutil

        shutil.rmtree(self.root / "journal", ignore_errors=True)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A source folder with three files, and an empty target."""
    made = Bench(tmp_path)
    made.write({"a.csv": b"a,b\n1,2\n", "sub/b.csv": b"b", "sub/deep/c.txt": b"c" * 1000})
    return made


@pytest.fixture
def empty_bench(tmp_path: Path) -> Bench:
    """An empty source folder and an empty target."""
    return Bench(tmp_path)


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_azureml.transfer.copying.FIRST_PAUSE_S", 0.001)


def open_azure(container: Any, *, port: int | None = None, prefix: str = "") -> Any:
    """The store of a container of Azurite.

    :param port: of a proxy before it.
    """
    from airflow_azureml.storage import opening
    from airflow_azureml.storage.connections import ConnectionFields
    from airflow_azureml.storage.files import StoreAddress

    endpoint = container.endpoint if port is None else f"http://127.0.0.1:{port}/{container.account}"
    fields = ConnectionFields(
        "azurite", "wasb", host=endpoint, login=container.account, password=container.key
    )
    address = StoreAddress("AzureBlob", "azurite", container=container.container, path=prefix)
    return opening._open_azure_blob(address, fields)


@pytest.fixture
def azure_of() -> Iterator[Any]:
    """Makes the store of a container, see :func:`open_azure`."""
    from airflow_azureml.storage import opening

    yield open_azure
    opening.forget()


@pytest.fixture
def azure(azurite: Any, azure_of: Any) -> Any:
    """A fresh container of Azurite."""
    return azure_of(azurite)


@pytest.fixture
def proxy(azurite_server: Any) -> Iterator[FaultProxy]:
    """What makes trouble between a store and Azurite."""
    made = FaultProxy(azurite_server.port)
    yield made
    made.close()


@pytest.fixture
def through_proxy(azurite: Any, azure_of: Any, proxy: FaultProxy) -> Any:
    """The same container as ``azure``, reached through the proxy."""
    return azure_of(azurite, port=proxy.port)
