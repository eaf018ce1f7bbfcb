"""What is particular to file shares, on the stand-in; the rest is the conformance suite's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from azure_files_server import SAS, AzureFilesServer

from airflow_azureml.runtime.exceptions import StoreError, UserErrorException
from airflow_azureml.storage.azure_containers import create_container
from airflow_azureml.storage.azure_files import AzureShareFiles
from airflow_azureml.storage.connections import get_connection
from airflow_azureml.storage.credentials import azure_account
from airflow_azureml.storage.files import FileChanged, FileStore, StoreAddress, StoreBusy
from airflow_azureml.storage.opening import forget, open_files


@pytest.fixture
def address(azure_files: AzureFilesServer, monkeypatch: pytest.MonkeyPatch) -> StoreAddress:
    forget()
    monkeypatch.setenv("AIRFLOW_CONN_SHARES", json.dumps(azure_files.connection()))
    return StoreAddress("AzureFile", "shares", container=azure_files.share(), path="in/a folder")


@pytest.fixture
def store(address: StoreAddress) -> FileStore:
    return open_files(address)


def write(store: FileStore, path: str, data: bytes):
    with store.writer(path) as writer:
        writer.write(data)
        return writer.close()


def write_and_fail(store: FileStore, path: str, data: bytes) -> None:
    with store.writer(path) as writer:
        writer.write(data)
        raise KeyError


class TestNothingHalfWritten:
    def test_what_is_being_written_is_not_listed(self, store: FileStore) -> None:
        with store.writer("model.bin") as writer:
            writer.write(b"x" * (5 << 20))
            assert list(store.walk()) == []
            assert store.browse().folders == ()
            writer.close()
        assert [file.path for file in store.walk()] == ["model.bin"]

    def test_a_writer_that_fails_leaves_the_old_file_and_no_draft(
        self, store: FileStore, azure_files: AzureFilesServer, address: StoreAddress
    ) -> None:
        write(store, "a", b"old")
        with pytest.raises(KeyError):
            write_and_fail(store, "a", b"new" * 3_000_000)
        assert store.read("a") == b"old"
        assert list(azure_files.shares[address.container or ""].files) == ["in/a folder/a"]

    def test_a_writer_takes_pieces_of_any_size(self, store: FileStore) -> None:
        pieces = [b"a" * size for size in (0, 1, 4 << 20, (9 << 20) + 7, 3)]
        with store.writer("pieces") as writer:
            for piece in pieces:
                writer.write(piece)
            found = writer.close()
        assert found == store.stat("pieces")
        assert store.read("pieces") == b"".join(pieces)


class TestNames:
    @pytest.mark.parametrize(
        "path", ["a:b", "what?", "a\\b", "x" * 256, "new\nline", "/".join(["x" * 250] * 9)]
    )
    def test_those_that_a_share_cannot_have_are_refused(self, store: FileStore, path: str) -> None:
        with pytest.raises(UserErrorException, match="a file share"):
            store.writer(path)

    @pytest.mark.parametrize(
        "path", ["a b/ü/100%", "dots.../a.", "a&b'c;d=e+f,g@h#i", "-rf", "{x}[y]^~`$!()"]
    )
    def test_others_are_kept(self, store: FileStore, path: str) -> None:
        write(store, path, b"x")
        assert [file.path for file in store.walk()] == [path]
        assert store.copy(path, "copied/" + path).size_bytes == 1
        store.delete(path)
        assert [file.path for file in store.walk()] == ["copied/" + path]

    def test_upper_and_lower_case_are_one_file(self, store: FileStore) -> None:
        write(store, "Report", b"1")
        write(store, "REPORT", b"22")
        assert len(list(store.walk())) == 1
        assert store.read("report") == b"22"


class TestFolders:
    def test_a_folder_that_somebody_removed_is_made_again(self, store: FileStore) -> None:
        write(store, "a/b/c", b"1")
        open_elsewhere = AzureShareFiles(
            azure_account(get_connection("shares"), "file"), store.uri.split("/")[3], "in/a folder"
        )
        open_elsewhere.remove_folder("a")
        assert write(store, "a/b/c", b"2").size_bytes == 1

    def test_a_listing_of_many_files_comes_in_pages(
        self, store: FileStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("azure_files_server._PAGE", 3)
        for number in range(8):
            write(store, f"f/{number}", b"")
        assert [file.path for file in store.walk("f")] == [f"f/{number}" for number in range(8)]


class TestTrouble:
    def test_a_file_that_changes_while_it_is_read_is_noticed(self, store: FileStore) -> None:
        write(store, "a", b"x" * (20 << 20))
        pieces = store.stream("a")
        next(pieces)
        write(store, "a", b"y" * (20 << 20))
        with pytest.raises(FileChanged):
            list(pieces)

    def test_a_busy_service_is_asked_again(self, store: FileStore, azure_files: AzureFilesServer) -> None:
        write(store, "a", b"x")
        azure_files.troubles.append((503, "ServerBusy"))
        assert store.stat("a") is not None

    def test_a_service_that_stays_busy_is_a_fault_that_may_pass(
        self, store: FileStore, azure_files: AzureFilesServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("time.sleep", lambda _: None)
        azure_files.troubles += [(503, "ServerBusy")] * 4
        with pytest.raises(StoreBusy, match="ServerBusy"):
            store.stat("a")
        assert azure_files.troubles == []

    def test_a_wrong_key_is_said_without_showing_it(
        self, azure_files: AzureFilesServer, address: StoreAddress, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_SHARES", json.dumps(azure_files.connection(password="aHVudGVyMg==")))
        forget()
        with pytest.raises(StoreError, match="check the connection's credentials") as caught:
            open_files(address).is_folder("")
        assert "aHVudGVyMg" not in str(caught.value)

    def test_a_share_that_is_not_there(self, address: StoreAddress) -> None:
        missing = open_files(StoreAddress("AzureFile", address.connection_id, container="nowhere"))
        for look in (lambda: missing.is_folder(""), lambda: missing.stat("a"), lambda: list(missing.walk())):
            with pytest.raises(StoreError, match="no such share"):
                look()


def test_a_sas_signs_in_too(
    azure_files: AzureFilesServer, address: StoreAddress, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    connection = azure_files.connection(extra={"sas_token": SAS})
    monkeypatch.setenv("AIRFLOW_CONN_SHARES", json.dumps(connection))
    forget()
    store = open_files(address)
    (tmp_path / "a").write_bytes(b"content")
    store.put_file("a b", tmp_path / "a")
    store.copy("a b", "c d")
    assert store.read("c d") == b"content"


def test_a_share_is_made_once(azure_files: AzureFilesServer, address: StoreAddress) -> None:
    new = StoreAddress("AzureFile", address.connection_id, container="brand-new")
    create_container(new)
    create_container(new)
    assert "brand-new" in azure_files.shares
    assert open_files(new).is_folder("")
