"""Every kind of store, opened as the package opens it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_azureml.storage.files import FileStore, StoreAddress
from airflow_azureml.storage.opening import forget, open_files

KINDS = [
    "local",
    "memory",
    "s3",
    pytest.param("azurite", marks=pytest.mark.service("azurite")),
]


@pytest.fixture(autouse=True)
def _nothing_opened_before() -> None:
    forget()


@pytest.fixture
def open_kind(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], FileStore]:
    """Opens an empty store of a kind."""

    def local() -> FileStore:
        return open_files(StoreAddress("Local", root=str(tmp_path / "store")))

    def memory() -> FileStore:
        from obstore.store import MemoryStore

        from airflow_azureml.storage.obstore_files import ObstoreFiles

        return ObstoreFiles(MemoryStore(), "memory://test", "in/a folder")

    def s3() -> FileStore:
        connection = request.getfixturevalue("s3_connection")
        bucket = request.getfixturevalue("s3_bucket").bucket
        return open_files(StoreAddress("S3", connection, container=bucket, path="in/a folder"))

    def azurite() -> FileStore:
        connection = request.getfixturevalue("azurite_connection")
        container = request.getfixturevalue("azurite").container
        return open_files(StoreAddress("AzureBlob", connection, container=container, path="in/a folder"))

    kinds = {"local": local, "memory": memory, "s3": s3, "azurite": azurite}
    return lambda kind: kinds[kind]()


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, open_kind: Callable[[str], FileStore]) -> FileStore:
    """A store of every kind."""
    return open_kind(request.param)
