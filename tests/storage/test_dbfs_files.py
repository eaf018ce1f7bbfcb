"""What is particular to DBFS, on the stand-in; the rest is the conformance suite's."""

from __future__ import annotations

import json
import uuid

import pytest
from dbfs_server import TOKEN, DbfsServer

from airflow_azureml.runtime.exceptions import StoreError
from airflow_azureml.storage.files import FileChanged, FileStore, StoreAddress, StoreBusy
from airflow_azureml.storage.opening import forget, open_files


@pytest.fixture(params=["azureml_dbfs", "databricks"])
def store(request: pytest.FixtureRequest, dbfs: DbfsServer, monkeypatch: pytest.MonkeyPatch) -> FileStore:
    forget()
    monkeypatch.setenv("AIRFLOW_CONN_BRICKS", json.dumps(dbfs.connection(request.param)))
    return open_files(StoreAddress("DBFS", "bricks", path=f"mnt/{uuid.uuid4().hex}"))


def write(store: FileStore, path: str, data: bytes):
    with store.writer(path) as writer:
        writer.write(data)
        return writer.close()


def write_and_fail(store: FileStore, path: str, data: bytes) -> None:
    with store.writer(path) as writer:
        writer.write(data)
        raise KeyError


def test_a_file_of_many_blocks_goes_there_and_back(store: FileStore, tmp_path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(range(256)) * 10_000)
    store.put_file("deep/er/file", source)
    store.get_file("deep/er/file", target)
    assert target.read_bytes() == source.read_bytes()
    assert store.read("deep/er/file", 999_999, 3) == source.read_bytes()[999_999:1_000_002]


def test_a_file_is_replaced_only_when_the_new_one_is_whole(store: FileStore) -> None:
    write(store, "a", b"old")
    with store.writer("a") as writer:
        writer.write(b"n" * 2_500_000)
        assert store.read("a") == b"old"
        assert [file.path for file in store.walk()] == ["a"]
        writer.close()
    assert store.stat("a").size_bytes == 2_500_000  # type: ignore[union-attr]


def test_a_writer_that_fails_leaves_nothing(store: FileStore, dbfs: DbfsServer) -> None:
    with pytest.raises(KeyError):
        write_and_fail(store, "a", b"x" * 1_500_000)
    assert list(store.walk()) == []
    assert not any(path.endswith(".part") for path in dbfs.files)


def test_a_folder_is_not_replaced_by_a_file(store: FileStore) -> None:
    write(store, "a/b", b"x")
    with pytest.raises(StoreError, match="it is a folder"):
        write(store, "a", b"y")
    store.delete("a")
    assert store.read("a/b") == b"x"


def test_a_file_that_changes_while_it_is_read_is_noticed(store: FileStore) -> None:
    write(store, "a", b"x" * 3_000_000)
    pieces = store.stream("a")
    next(pieces)
    write(store, "a", b"y" * 3_000_000)
    with pytest.raises(FileChanged):
        list(pieces)


def test_throttling_is_waited_for(store: FileStore, dbfs: DbfsServer) -> None:
    dbfs.troubles += [(429, "REQUEST_LIMIT_EXCEEDED")]
    assert write(store, "a", b"x").size_bytes == 1


def test_a_service_that_stays_busy_is_a_fault_that_may_pass(
    store: FileStore, dbfs: DbfsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    dbfs.troubles += [(503, "TEMPORARILY_UNAVAILABLE")] * 5
    with pytest.raises(StoreBusy, match="status 503"):
        store.stat("a")
    assert dbfs.troubles == []


def test_a_refused_token_is_said_without_showing_it(
    dbfs: DbfsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget()
    monkeypatch.setenv("AIRFLOW_CONN_BRICKS", json.dumps({**dbfs.connection(), "password": TOKEN[:-1]}))
    with pytest.raises(StoreError, match="check the token of the connection") as caught:
        open_files(StoreAddress("DBFS", "bricks")).stat("a")
    assert TOKEN[:-1] not in str(caught.value)
