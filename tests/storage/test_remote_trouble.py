"""What a remote store says when its service makes trouble: the right kind of error, soon, and never a secret."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fault_proxy import FaultProxy

from airflow_azureml.runtime.exceptions import ObjectNotFound, StoreError, UserErrorException
from airflow_azureml.storage.azure_blob_files import AzureBlobFiles
from airflow_azureml.storage.failures import ForkGuard
from airflow_azureml.storage.files import FileStore, StoreAddress, StoreBusy
from airflow_azureml.storage.opening import forget, open_files

pytestmark = pytest.mark.service("azurite")

KEY_OF_NOBODY = "c2VjcmV0LWtleS1vZi1ub2JvZHk="


@pytest.fixture
def proxy(azurite_server: Any) -> Any:
    proxy = FaultProxy(azurite_server.port)
    yield proxy
    proxy.close()


@pytest.fixture
def connect(azurite: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., FileStore]:
    """Opens the container through a connection with some fields changed."""
    import json

    def connect(container: str | None = None, **changed: Any) -> FileStore:
        fields = {**json.loads(azurite.connection()), **changed}
        monkeypatch.setenv("AIRFLOW_CONN_CHANGED", json.dumps(fields))
        forget()
        return open_files(StoreAddress("AzureBlob", "changed", container=container or azurite.container))

    return connect


@pytest.fixture
def through(proxy: FaultProxy, connect: Callable[..., FileStore]) -> FileStore:
    return connect(host=f"http://127.0.0.1:{proxy.port}/devstoreaccount1")


def calls(store: FileStore, tmp_path: Path) -> list[Callable[[], object]]:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    digest = hashlib.md5(b"x").hexdigest()
    return [
        lambda: store.read("a"),
        lambda: store.stat("a"),
        lambda: list(store.walk("folder")),
        lambda: store.browse(),
        lambda: store.put_file("a", source),
        lambda: store.put_file("a", source, md5=digest),
        lambda: store.delete("a"),
    ]


class TestPermanent:
    def test_a_wrong_key_is_refused_with_what_to_check(self, connect, tmp_path: Path) -> None:
        store = connect(password=KEY_OF_NOBODY)
        for call in calls(store, tmp_path):
            with pytest.raises(StoreError, match="credentials") as caught:
                call()
            assert not isinstance(caught.value, StoreBusy)
            assert KEY_OF_NOBODY not in str(caught.value)

    def test_a_missing_container_is_named(self, connect, tmp_path: Path) -> None:
        store = connect("no-such-container")
        for call in calls(store, tmp_path)[2:6]:
            with pytest.raises(StoreError, match="no-such-container.*there is no such container") as caught:
                call()
            assert not isinstance(caught.value, (StoreBusy, ObjectNotFound))

    def test_a_backslash_or_a_control_character_is_no_name(self, connect) -> None:
        store = connect()
        for path in ("a\\b", "a\nb", "a\x7fb"):
            with pytest.raises(UserErrorException):
                store.writer(path).close()

    def test_what_does_not_have_its_md5_does_not_arrive(self, connect, tmp_path: Path) -> None:
        (tmp_path / "source").write_bytes(b"x")
        store = connect()
        with pytest.raises(StoreError, match="MD5"):
            store.put_file("a", tmp_path / "source", md5=hashlib.md5(b"y").hexdigest())
        assert store.stat("a") is None


class TestPassing:
    def test_a_few_refusals_of_a_busy_service_go_unnoticed(
        self, through, proxy: FaultProxy, tmp_path
    ) -> None:
        through.put_bytes("a", b"x")
        for call in calls(through, tmp_path):
            proxy.add("status", lambda _: True, times=2, status=503)
            call()
        assert not proxy.fault_for(proxy.seen[-1])

    def test_a_service_that_stays_busy_is_told_as_such_soon(self, through, proxy: FaultProxy) -> None:
        proxy.add("status", lambda _: True, times=1000, status=503)
        for call in (lambda: through.read("a"), lambda: through.stat("a")):
            began = time.monotonic()
            with pytest.raises(StoreBusy, match="status 503, ServerBusy"):
                call()
            assert time.monotonic() - began < 30

    def test_a_service_that_does_not_answer_is_told_as_such_soon(self, connect, tmp_path: Path) -> None:
        store = connect(host="http://127.0.0.1:1/devstoreaccount1")
        for call in calls(store, tmp_path)[:2]:
            began = time.monotonic()
            with pytest.raises(StoreBusy, match="no answer"):
                call()
            assert time.monotonic() - began < 30

    def test_a_byte_that_changes_on_the_way_up_is_found(
        self, through, proxy: FaultProxy, tmp_path: Path
    ) -> None:
        for size_bytes in (1000, (8 << 20) + 5):
            (tmp_path / "source").write_bytes(b"x" * size_bytes)
            proxy.add("flip-up", lambda seen: seen.method == "PUT" and seen.size_bytes > 500)
            digest = hashlib.md5(b"x" * size_bytes).hexdigest()
            with pytest.raises(StoreError, match="MD5"):
                through.put_file("a", tmp_path / "source", md5=digest)
            assert through.stat("a") is None


class TestTwoWriters:
    def test_a_large_file_is_that_of_one_writer_as_a_whole(self, connect, tmp_path: Path) -> None:
        store = connect()
        with store.writer("a") as first, store.writer("a") as second:
            for _ in range(3):
                first.write(b"1" * (8 << 20))
                second.write(b"2" * (8 << 20))
            first.close()
            # The parts that waited are gone; whoever writes again wins.
            with pytest.raises(StoreBusy, match="somebody else"):
                second.close()
        assert store.stat("a").size_bytes == 3 * (8 << 20)
        assert {store.read("a", start, 1) for start in range(0, 3 * (8 << 20), 1 << 20)} == {b"1"}


class TestSecrets:
    def test_a_sas_is_in_no_message_and_in_no_log(
        self, azurite, connect, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        from azure.storage.blob import generate_container_sas

        caplog.set_level(logging.DEBUG)
        for permission, works in (("rwdl", True), ("l", False)):
            sas = generate_container_sas(
                azurite.account,
                azurite.container,
                account_key=azurite.key,
                permission=permission,
                expiry="2099-01-01T00:00:00Z",
            )
            signature = sas.partition("sig=")[2].partition("&")[0]
            store = connect(password=None, extra={"sas_token": "?" + sas})
            for call in calls(store, tmp_path):
                try:
                    call()
                except ObjectNotFound:
                    continue
                except StoreError as error:
                    assert not works
                    assert signature not in str(error) + repr(error) + repr(error.__cause__)
                    assert error.__suppress_context__
            assert signature not in caplog.text
            assert signature not in repr(store) + store.uri

    def test_a_key_is_in_no_log(self, azurite, connect, tmp_path: Path, caplog) -> None:
        caplog.set_level(logging.DEBUG)
        for call in calls(connect(), tmp_path)[1:]:
            call()
        assert azurite.key not in caplog.text


def look(guard: ForkGuard, answers: Any) -> None:
    try:
        guard.check()
    except StoreError as error:
        answers.put(str(error))


def test_a_process_that_was_forked_after_use_is_told_instead_of_waiting_for_ever() -> None:
    guard = ForkGuard()
    guard.check()
    guard._process = os.getpid() + 1
    with pytest.raises(StoreError, match="spawn"):
        guard.check()
    answers = multiprocessing.get_context("spawn").SimpleQueue()
    look(ForkGuard(), answers)
    assert answers.empty()


class TestFoldersOfDataLakeGen2:
    def test_folders_that_exist_by_themselves_are_no_files(self, azurite, connect) -> None:
        client = azurite.client()
        client.upload_blob("folder", b"", metadata={"hdi_isfolder": "true"})
        client.upload_blob("folder/a", b"x")
        client.upload_blob("marker/", b"")
        store = connect()
        assert isinstance(store, AzureBlobFiles)
        assert store.stat("folder") is None
        level = store.browse()
        assert (level.folders, level.files) == (("folder", "marker"), ())
