from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from airflow_azureml.runtime.exceptions import ObjectNotFound, StepCanceled, StoreError
from airflow_azureml.storage.azure_blob_files import AzureBlobFiles
from airflow_azureml.storage.azure_copy import copy_blob, server_copy
from airflow_azureml.storage.azure_rest import AzureRest, BlobAddress, RequestFailed
from airflow_azureml.storage.credentials import AzureAccount, AzureSignIn
from airflow_azureml.storage.files import FileChanged, FileInfo, StoreAddress
from airflow_azureml.storage.local_files import LocalFiles
from airflow_azureml.storage.opening import open_files


class TestOnAzurite:
    pytestmark = pytest.mark.service("azurite")

    @pytest.fixture
    def stores(self, azurite: Any, azurite_connection: str) -> tuple[AzureBlobFiles, AzureBlobFiles]:
        def opened(container: str) -> AzureBlobFiles:
            found = open_files(StoreAddress("AzureBlob", azurite_connection, container=container, path="in"))
            assert isinstance(found, AzureBlobFiles)
            return found

        return opened(azurite.container), opened(azurite.other().container)

    def copy(self, stores: Any, path: str, **options: Any) -> FileInfo | None:
        source, target = stores
        return server_copy(source, path, target, "to/" + path, stopping=threading.Event(), **options)

    def test_a_file_goes_from_container_to_container_with_its_md5(self, stores: Any, tmp_path: Path) -> None:
        source, target = stores
        for name, size_bytes in (("small ü %", 10), ("large", 9 << 20), ("empty", 0)):
            (tmp_path / "file").write_bytes(b"x" * size_bytes)
            digest = hashlib.md5(b"x" * size_bytes).hexdigest()
            source.put_file(name, tmp_path / "file", md5=digest)
            copied = self.copy(stores, name)
            assert copied is not None
            assert (copied.size_bytes, copied.md5) == (size_bytes, digest)
            assert target.stat("to/" + name) == copied
            assert target.read("to/" + name) == b"x" * size_bytes

    def test_what_is_not_there_or_changed_since_is_not_copied(self, stores: Any) -> None:
        source, target = stores
        with pytest.raises(ObjectNotFound):
            self.copy(stores, "missing")
        old = source.put_bytes("a", b"old")
        source.put_bytes("a", b"new")
        with pytest.raises(FileChanged):
            self.copy(stores, "a", info=old)
        assert list(target.walk()) == []
        assert self.copy(stores, "a", info=source.stat("a")) is not None

    def test_a_signed_source_is_read_by_a_service_that_does_not_know_its_account(
        self, azurite: Any, stores: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source, target = stores
        source.put_bytes("a", b"content")
        # The same emulator under another name is another account to us.
        fields = json.loads(azurite.connection())
        fields["host"] = fields["host"].replace("127.0.0.1", "localhost")
        monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(fields))
        elsewhere = open_files(StoreAddress("AzureBlob", "other", container=azurite.container, path="in"))
        copied = server_copy(elsewhere, "a", target, "b", stopping=threading.Event())
        assert copied is not None
        assert target.read("b") == b"content"

    def test_other_stores_move_their_bytes_themselves(self, stores: Any, tmp_path: Path) -> None:
        source, _ = stores
        source.put_bytes("a", b"content")
        assert server_copy(source, "a", LocalFiles(tmp_path), "a", stopping=threading.Event()) is None
        assert server_copy(LocalFiles(tmp_path), "a", source, "b", stopping=threading.Event()) is None
        assert source.stat("b") is None


class Service:
    """The Blob service's side of a copy that takes its time, which the emulator's never does."""

    def __init__(self, *states: str) -> None:
        self.states = list(states)
        self.calls: list[tuple[str, str]] = []
        self.headers: list[httpx.Headers] = []
        self.on_look: Callable[[], None] = lambda: None

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.calls.append((request.method, request.url.query.decode()))
        self.headers.append(request.headers)
        if request.method == "HEAD":
            self.on_look()
            return self._status(200, self.states.pop(0) if self.states else "pending")
        if "x-ms-copy-action" in request.headers:
            return httpx.Response(204)
        return self._status(202, self.states.pop(0)) if request.method == "PUT" else httpx.Response(202)

    def _status(self, status: int, state: str) -> httpx.Response:
        code, _, copy_id = state.partition(":")
        headers = {"x-ms-copy-id": copy_id or "id-1", "x-ms-copy-status": code, "x-ms-copy-progress": "5/10"}
        return httpx.Response(status, headers=headers)


def account(service: Service, name: str = "one", **sign_in: Any) -> AzureRest:
    given = sign_in or {"sign_in": AzureSignIn.ACCOUNT_KEY, "account_key": "a2V5"}
    rest = AzureRest(AzureAccount(name, f"https://{name}.blob.core.windows.net", **given))
    rest._client = httpx.Client(transport=httpx.MockTransport(service.answer))
    return rest


class TestLongCopies:
    @pytest.fixture(autouse=True)
    def _short_waits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("airflow_azureml.storage.azure_copy._FIRST_WAIT_S", 0.001)
        monkeypatch.setattr("airflow_azureml.storage.azure_copy._TELL_EVERY_S", 0.0)

    def run(self, service: Service, stopping: threading.Event | None = None, **options: Any) -> None:
        rest = account(service)
        info = FileInfo("a", 10, 0.0, "0x1")
        target = BlobAddress("to", "b")
        copy_blob(
            options.pop("source", rest), BlobAddress("from", "a"), rest, target,
            info=options.pop("info", info), stopping=stopping or threading.Event(), **options,
        )  # fmt: skip

    def test_the_end_is_awaited(self) -> None:
        service, told = Service("pending", "pending", "pending", "success"), []
        self.run(service, tell=told.append)
        assert [method for method, _ in service.calls] == ["PUT", "HEAD", "HEAD", "HEAD"]
        assert told[0] == "copying a: 5/10 bytes"

    def test_a_copy_that_fails_later_is_a_failure(self) -> None:
        with pytest.raises(StoreError, match="did not copy 'a'"):
            self.run(Service("pending", "pending", "failed"))

    def test_a_copy_that_is_stopped_is_called_off_and_its_empty_file_removed(self) -> None:
        service, stopping = Service("pending", "pending"), threading.Event()
        service.on_look = stopping.set
        with pytest.raises(StepCanceled):
            self.run(service, stopping)
        assert service.calls[-2:] == [("PUT", "comp=copy&copyid=id-1"), ("DELETE", "")]

    def test_somebody_else_who_writes_the_target_is_noticed(self) -> None:
        with pytest.raises(StoreError, match="somebody else"):
            self.run(Service("pending", "pending:id-2"))

    def test_within_an_account_the_request_needs_no_further_signature(self) -> None:
        service = Service("success")
        self.run(service)
        assert service.headers[0]["x-ms-copy-source"] == "https://one.blob.core.windows.net/from/a"
        assert service.headers[0]["x-ms-source-if-match"] == '"0x1"'

    def test_between_accounts_the_source_is_signed_and_small_files_are_there_at_once(self) -> None:
        sas = {"sign_in": AzureSignIn.SAS, "sas_token": "sv=1&sig=s"}
        for source, size_bytes, sync in (
            (account(Service(), "two"), 10, "true"),
            (account(Service(), "two", **sas), 10, "true"),
            (account(Service(), "two"), 300 << 20, None),
        ):
            service = Service("success")
            self.run(service, source=source, info=FileInfo("a", size_bytes, 0.0, "0x1"))
            assert "sig=" in service.headers[0]["x-ms-copy-source"]
            assert service.headers[0].get("x-ms-requires-sync") == sync

    def test_a_source_that_nobody_may_read_is_left_to_others(self) -> None:
        class Tokens(AzureRest):
            def bearer(self) -> str:
                return "token"

        identity = AzureAccount("two", "https://two.blob.core.windows.net", AzureSignIn.IDENTITY)
        service = Service("success")
        self.run(service, source=Tokens(identity))
        assert service.headers[0]["x-ms-copy-source-authorization"] == "Bearer token"
        with pytest.raises(RequestFailed):
            self.run(service, source=Tokens(identity), info=FileInfo("a", 300 << 20, 0.0))
