"""A collection that dies at any of its writes leaves everything consistent, and the next one finishes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml.compute.collection import sweep
from airflow_azureml.reuse.entries import HeadState
from airflow_azureml.runtime.exceptions import StoreError
from airflow_azureml.workspace.memory_store import MemoryStore
from airflow_azureml.workspace.sources import scan_source


class Killed(BaseException):
    """Ends a collection as a signal would: nothing handles it."""


class FailingStore(MemoryStore):
    """A store whose n-th change fails, before or after it is done; removals of folders count as well."""

    def __init__(self) -> None:
        super().__init__()
        self.fail_at: int | None = None
        self.after = False
        self.error: type[BaseException] = Killed
        self.changes = 0

    def change(self, what: Any) -> Any:
        self.changes += 1
        fails = self.changes == self.fail_at
        if fails and not self.after:
            raise self.error("injected")
        result = what()
        if fails:
            raise self.error("injected")
        return result

    def put(self, key: str, data: bytes, **options: Any) -> str:
        return self.change(lambda: MemoryStore.put(self, key, data, **options))

    def delete(self, key: str, **options: Any) -> None:
        self.change(lambda: MemoryStore.delete(self, key, **options))


def fill(stock: Any, names: Any, folder: Path) -> None:
    """Put something of everything into a workspace."""
    folder.mkdir(exist_ok=True)
    (folder / "main.py").write_text("print()")
    stock.workspace.snapshots.upload(scan_source(folder))
    stock.result("live")
    stock.result("dead")
    stock.forget("dead")
    stock.result("retired and wanted")
    stock.forget("retired and wanted", HeadState.RETIRED)
    stock.reuse("young", "retired and wanted", ended=95)
    stock.result("dear", "xxxx", took_s=1000)
    stock.result("cheap", "x" * 100, took_s=0.1)
    stock.step("old", content="data")
    stock.pipeline("p", ended=None)
    stock.step("try 1", pipeline="p", committed=False)
    stock.output(names.id("try 1"), "half")
    stock.workspace.datasets.register("wine", {"source": {}}, pending_run=names.id("try 1"))
    stock.workspace.datasets.register("wine", {"source": {"a": 1}}, create_new_version=True)
    stock.store.put("runs/lost/artifacts/a", b"a")


def state(stock: Any) -> Mapping[str, Any]:
    """What is there, and which results count."""
    return {
        key: json.loads(data)["state"] if key.endswith("head.json") else None
        for key, data in stock.everything().items()
    }


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, names: Any, tmp_path: Path, stock: Any) -> Any:
    """Return a way to make equal workspaces and collect garbage in them, with a fault."""
    made: list[Any] = []
    real = sweep._remove_path
    monkeypatch.setattr(sweep, "_remove_path", lambda path: made[-1].store.change(lambda: real(path)))

    def run(fail_at: int | None, *, after: bool, error: type[BaseException]) -> Any:
        it = type(stock)(FailingStore())
        it.began = stock.began
        made.append(it)
        fill(it, names, tmp_path / "code")
        plan = it.plan(quota_bytes=50)
        it.store.changes, it.store.fail_at, it.store.after, it.store.error = 0, fail_at, after, error
        try:
            it.collect(plan)
        except (Killed, StoreError):
            pass
        it.store.fail_at = None
        return it

    yield run
    for it in made:
        shutil.rmtree(it.datastore, ignore_errors=True)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("error", [Killed, StoreError])
def test_a_fault_at_any_change_leaves_everything_consistent_and_the_next_collection_finishes(
    started: Any, after: bool, error: type[BaseException]
) -> None:
    whole = started(None, after=after, error=error)
    changes = whole.store.changes
    assert changes > 30
    whole.check_consistent()
    for _ in range(2):
        whole.collect(quota_bytes=50)
    expected = state(whole)
    for number in range(1, changes + 1):
        it = started(number, after=after, error=error)
        it.check_consistent()
        for _ in range(3):
            it.collect(quota_bytes=50)
            it.check_consistent()
        assert state(it) == expected, f"after a fault at change {number}"
