"""Any store to any store: a folder and a file, with names that need care, and nothing copied twice."""

import json
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml.storage.files import FileStore, StoreAddress, joined
from airflow_azureml.storage.opening import forget, open_files
from airflow_azureml.transfer.engine import transfer
from airflow_azureml.transfer.journal import Journal
from airflow_azureml.transfer.request import TransferRequest, TransferResult

KINDS = ["local", "azurite", "azure_files", "dbfs", "s3"]
PAIRS = [
    pytest.param(source, target, marks=pytest.mark.service("azurite"))
    if "azurite" in (source, target)
    else (source, target)
    for source in KINDS
    for target in KINDS
]
# What every store takes: file shares refuse some characters.
FILES = {"a b.csv": b"1,2\n", "ä/100%.txt": b"\xff" * 70_000, "ä/empty": b"", "deep/er/c.bin": b"c"}


@pytest.fixture
def open_store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], FileStore]:
    """Opens an empty store of a kind."""
    forget()

    def opened(kind: str) -> FileStore:
        folder = f"in/{secrets.token_hex(4)}"
        if kind == "local":
            return open_files(StoreAddress("Local", root=str(tmp_path / folder)))
        if kind == "azurite":
            container = request.getfixturevalue("azurite").other()
            monkeypatch.setenv("AIRFLOW_CONN_BLOB", container.connection())
            return open_files(StoreAddress("AzureBlob", "blob", container=container.container, path=folder))
        if kind == "s3":
            bucket = request.getfixturevalue("s3_bucket").bucket
            connection = request.getfixturevalue("s3_connection")
            return open_files(StoreAddress("S3", connection, container=bucket, path=folder))
        server = request.getfixturevalue(kind)
        monkeypatch.setenv(f"AIRFLOW_CONN_{kind.upper()}", json.dumps(server.connection()))
        if kind == "dbfs":
            return open_files(StoreAddress("DBFS", kind, path=folder))
        return open_files(StoreAddress("AzureFile", kind, container=server.share(), path=folder))

    return opened


def run(journal: Path, *ends: Any, **options: Any) -> TransferResult:
    request = TransferRequest(*ends, **options)
    return transfer(
        request,
        journal=Journal.in_folder(journal, request.key),
        stopping=threading.Event(),
        tell=lambda line: None,
    )


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_folder_and_a_file_arrive_once(
    open_store: Callable[[str], FileStore], tmp_path: Path, source: str, target: str
) -> None:
    origin, destination = open_store(source), open_store(target)
    for path, data in FILES.items():
        with origin.writer(joined("raw", path)) as file:
            file.write(data)
            file.close()

    first = run(tmp_path / "journal", origin, "raw", destination, "copied")
    again = run(tmp_path / "journal", origin, "raw", destination, "copied")
    one = {"source_type": "file", "target_type": "file"}
    single = run(tmp_path / "journal", origin, "raw/a b.csv", destination, "one.csv", **one)

    assert {info.path: destination.read(info.path) for info in destination.walk("copied")} == {
        joined("copied", path): data for path, data in FILES.items()
    }
    assert (first.copied, again.copied, again.skipped) == (len(FILES), 0, len(FILES))
    assert (single.copied, destination.read("one.csv")) == (1, FILES["a b.csv"])
