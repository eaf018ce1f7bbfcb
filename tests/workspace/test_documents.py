from __future__ import annotations

import threading

import pytest

from airflow_azureml.runtime.exceptions import ConditionFailed, ObjectNotFound, StoreError
from airflow_azureml.workspace import documents
from airflow_azureml.workspace.documents import read_json, update_json, write_json
from airflow_azureml.workspace.memory_store import MemoryStore


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def test_a_document_is_stored_in_canonical_form(store: MemoryStore) -> None:
    write_json(store, "d.json", {"b": "ä", "a": [1, None]})
    assert store.get("d.json").data == '{"a":[1,null],"b":"ä"}'.encode()
    assert read_json(store, "d.json") == {"a": [1, None], "b": "ä"}


def test_what_json_cannot_hold_is_refused_and_nothing_written(store: MemoryStore) -> None:
    for value in ({"x": float("nan")}, {"x": object()}, {1: "x"}):
        with pytest.raises((ValueError, TypeError)):
            write_json(store, "d.json", value)
    assert not store.exists("d.json")


def test_an_absent_document_is_an_error_or_the_default(store: MemoryStore) -> None:
    with pytest.raises(ObjectNotFound):
        read_json(store, "d.json")
    assert read_json(store, "d.json", None) is None


def test_a_damaged_document_is_named(store: MemoryStore) -> None:
    store.put("d.json", b'{"half":')
    with pytest.raises(StoreError, match=r"'d\.json' isn't a JSON document"):
        read_json(store, "d.json")


class TestUpdate:
    def test_an_absent_document_starts_from_the_default(self, store: MemoryStore) -> None:
        default: dict[str, int] = {}
        assert update_json(store, "d.json", lambda d: {**d, "n": 1}, default=default) == {"n": 1}
        assert default == {}
        with pytest.raises(ObjectNotFound):
            update_json(store, "other.json", lambda d: d)

    def test_the_default_itself_is_never_handed_out(self, store: MemoryStore) -> None:
        default = {"list": []}
        update_json(store, "d.json", lambda d: d["list"].append(1) or d, default=default)
        assert default == {"list": []}

    def test_an_exception_of_the_change_leaves_the_document(self, store: MemoryStore) -> None:
        write_json(store, "d.json", {"n": 1})
        with pytest.raises(ZeroDivisionError):
            update_json(store, "d.json", lambda d: d["n"] / 0)
        assert read_json(store, "d.json") == {"n": 1}

    def test_no_change_writes_nothing(self, store: MemoryStore) -> None:
        write_json(store, "d.json", {"n": 1})
        before = next(store.list("d.json"))
        update_json(store, "d.json", lambda d: d)
        assert next(store.list("d.json")) is before

    def test_a_change_is_made_again_on_what_somebody_else_wrote_meanwhile(self, store: MemoryStore) -> None:
        write_json(store, "d.json", {"n": 1})
        seen = []

        def change(document: dict[str, int]) -> dict[str, int]:
            if not seen:
                write_json(store, "d.json", {"n": 10})
            seen.append(document["n"])
            return {"n": document["n"] + 1}

        assert update_json(store, "d.json", change) == {"n": 11}
        assert seen == [1, 10]

    def test_concurrent_updates_lose_none(self, store: MemoryStore) -> None:
        def add_many(name: str) -> None:
            for number in range(25):
                update_json(store, "d.json", lambda d, item=f"{name}{number}": [*d, item], default=[])

        threads = [threading.Thread(target=add_many, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(read_json(store, "d.json"))) == 100

    def test_it_gives_up_when_others_always_come_first(self, store: MemoryStore, monkeypatch) -> None:
        monkeypatch.setattr(documents, "_UPDATE_PATIENCE_S", 0.02)
        write_json(store, "d.json", 0)

        def change(number: int) -> int:
            write_json(store, "d.json", number + 1)
            return -1

        with pytest.raises(ConditionFailed):
            update_json(store, "d.json", change)
