"""Datastores that are no folders of this machine: a folder that is only used through its store, and Azurite."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml.compute.outputs import StoredOutput
from airflow_azureml.storage import opening
from airflow_azureml.storage.files import FileInfo, FileStore, StoreAddress
from airflow_azureml.storage.local_files import LocalFiles
from airflow_azureml.workspace.datastores import DatastoreRecord
from airflow_azureml.workspace.stat_cache import StatCache

LAKE = "lake"
READING = ("read", "stream", "get_file")


class CountedStore:
    """A store that counts what is asked of it, and fails where a test wants it to."""

    local_root = None

    def __init__(self, store: FileStore) -> None:
        self.store = store
        self.calls: Counter[str] = Counter()
        self.faults: dict[str, Callable[[int], None]] = {}
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.store, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **more: Any) -> Any:
            with self._lock:
                self.calls[name] += 1
                number = self.calls[name]
            if name in self.faults:
                self.faults[name](number)
            return found(*arguments, **more)

        return call

    def fails(self, method: str, error: BaseException, *, at: int = 1) -> None:
        """Make the calls of a method fail from some number on."""

        def fail(number: int) -> None:
            if number >= at:
                raise error

        self.calls[method] = 0
        self.faults[method] = fail

    def works(self) -> None:
        self.faults.clear()


class Lake:
    """The datastore "lake" of a lab, and looks at what is on it."""

    def __init__(self, lab: Any, store: FileStore) -> None:
        self.lab = lab
        self.counted = CountedStore(store)
        self.store = store

    def put(self, path: str, text: str) -> FileInfo:
        source = self.lab.root / "put"
        source.write_text(text)
        return self.store.put_file(path, source)

    def content(self, folder: str = "") -> dict[str, str]:
        """The texts of all files below a folder, what is put aside included."""
        start = len(folder) + 1 if folder else 0
        infos = [*self.store.walk(folder), *([] if folder else self.store.walk(".azureml-arriving"))]
        return {info.path[start:]: self.store.read(info.path).decode() for info in infos}

    def output(self, outcome: Any, name: str = "out") -> StoredOutput:
        return StoredOutput.from_document(outcome.document["outputs"][name])

    def fresh_cache(self) -> StatCache:
        """A cache that knows what the lab's knows on its disk, and nothing of the last seconds."""
        return StatCache(self.lab.root / "hashes", remember_s=0)

    def reads(self) -> int:
        return sum(self.counted.calls[name] for name in READING)


@pytest.fixture(params=["folder", pytest.param("azurite", marks=pytest.mark.service("azurite"))])
def lake_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FileStore]:
    """The files of the datastore."""
    if request.param == "folder":
        yield LocalFiles(tmp_path / "lake")
        return
    connection = request.getfixturevalue("azurite_connection")
    container = request.getfixturevalue("azurite").container
    opening.forget()
    yield opening.open_files(StoreAddress("AzureBlob", connection, None, container, "some/folder"))
    opening.forget()


@pytest.fixture
def lake(lab: Any, lake_store: FileStore, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A datastore that is the default of the lab's workspace."""
    made = Lake(lab, lake_store)
    datastores = lab.workspace.datastores
    datastores.register(DatastoreRecord(LAKE, "AzureBlob", connection_id="lake", container="data"))
    datastores.set_default(LAKE)
    real = datastores.files
    monkeypatch.setattr(
        datastores, "files", lambda name: made.counted if name == LAKE else real(name), raising=True
    )
    return made
