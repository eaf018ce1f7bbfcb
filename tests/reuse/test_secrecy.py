"""Secrets count for keys, and are never written down."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from airflow_azureml.reuse.action import Action
from airflow_azureml.reuse.actions import Earlier
from airflow_azureml.reuse.differences import differences
from airflow_azureml.reuse.secrecy import KEY, Secrecy, redacted, workspace_key
from airflow_azureml.runtime.exceptions import StoreError
from airflow_azureml.workspace.memory_store import MemoryStore

Build = Callable[..., Action]
SECRETS = ("hunter2", "s3cret", "12345678")


def mask(text: str) -> str:
    for secret in SECRETS:
        text = text.replace(secret, "***")
    return text


@pytest.fixture
def secrecy() -> Secrecy:
    store = MemoryStore()
    return Secrecy(mask, lambda: workspace_key(store))


PLACES: dict[str, Callable[[str], dict[str, Any]]] = {
    "argument": lambda secret: {"arguments": [{"text": f"--password={secret}"}]},
    "part of an argument": lambda secret: {"arguments": [{"parts": [{"text": secret}, {"input": "raw"}]}]},
    "parameter": lambda secret: {"parameters": {"password": secret}},
    "parameter with more in it": lambda secret: {"parameters": {"login": {"user": "me", "password": secret}}},
    "list": lambda secret: {"parameters": {"passwords": ["x", secret]}},
    "variable": lambda secret: {"variables": {"PASSWORD": {"text": secret}}},
    "ignored parameter": lambda secret: {"ignored": {"password": secret}},
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
class TestASecret:
    def test_is_not_in_what_is_kept(self, action: Build, secrecy: Secrecy, place: Callable[..., Any]) -> None:
        found = action(**place("hunter2"), secrecy=secrecy)
        assert "hunter2" not in json.dumps([found.document, found.details()])
        assert '"secret"' in json.dumps([found.document, found.details()])

    def test_is_not_in_the_differences(
        self, action: Build, secrecy: Secrecy, place: Callable[..., Any]
    ) -> None:
        before, after = (action(**place(secret), secrecy=secrecy) for secret in ("hunter2", "s3cret"))
        earlier = Earlier(before.key, "run-1", before.document, before.details())
        found = [item.to_document() for item in differences(earlier, after, files_of=lambda _: {})]
        assert not any(secret in json.dumps(found) for secret in SECRETS)
        assert bool(found) is (before.key != after.key)
        assert all("(secret) changed" in item["what"] for item in found)


@pytest.mark.parametrize("place", [place for name, place in PLACES.items() if "ignored" not in name])
def test_equal_secrets_give_equal_keys_and_others_give_others(
    action: Build, secrecy: Secrecy, place: Callable[..., Any]
) -> None:
    one, same, other = (
        action(**place(secret), secrecy=secrecy).key for secret in ("hunter2", "hunter2", "s3cret")
    )
    assert one == same != other


def test_a_number_may_be_a_secret(action: Build, secrecy: Secrecy) -> None:
    found = action(parameters={"pin": 12345678, "ok": True, "rate": 0.5}, secrecy=secrecy).document[
        "parameters"
    ]
    assert set(found["pin"]) == {"type", "secret"}
    assert found["ok"] == {"type": "bool", "value": True}
    assert found["rate"] == {"type": "float", "value": "0.5"}


def test_a_digest_cannot_pass_for_a_text(action: Build, secrecy: Secrecy) -> None:
    secret = action(arguments=[{"text": "hunter2"}], secrecy=secrecy)
    digest = secret.document["arguments"][0]["secret"]
    assert action(arguments=[{"text": digest}], secrecy=secrecy).key != secret.key


class TestTheKeyOfAWorkspace:
    def test_is_made_once(self) -> None:
        store = MemoryStore()
        key = workspace_key(store)
        assert len(key) == 32
        assert workspace_key(store) == key == store.get(KEY).data

    def test_is_another_in_another_workspace(self) -> None:
        assert workspace_key(MemoryStore()) != workspace_key(MemoryStore())

    def test_is_one_for_all_that_ask_at_once(self) -> None:
        store = MemoryStore()
        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(lambda _: workspace_key(store), range(50)))) == 1

    def test_is_not_made_by_who_only_looks(self) -> None:
        store = MemoryStore()
        assert workspace_key(store, create=False) != workspace_key(store, create=False)
        assert not store.exists(KEY)

    def test_that_was_damaged_is_replaced(self) -> None:
        store = MemoryStore()
        store.put(KEY, b"short")
        assert workspace_key(store) == workspace_key(store, create=False)

    @pytest.mark.parametrize("error", [StoreError("no answer"), OSError(5, "no disk")])
    def test_that_cannot_be_read_finds_nothing_and_stops_nobody(
        self, error: Exception, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = MemoryStore()

        def down(_: str) -> None:
            raise error

        key = workspace_key(store)
        monkeypatch.setattr(store, "get", down)
        assert workspace_key(store) != key

    def test_is_read_once_and_only_when_there_is_a_secret(self, action: Build) -> None:
        asked: list[int] = []

        def key() -> bytes:
            asked.append(1)
            return bytes(32)

        secrecy = Secrecy(mask, key)
        action(secrecy=secrecy)
        assert not asked
        action(**PLACES["argument"]("hunter2"), parameters={"a": "hunter2"}, secrecy=secrecy)
        assert len(asked) == 1


def test_records_hold_what_the_masker_leaves() -> None:
    found = redacted({"a": ["--pw=hunter2", 1, None, True], "b": {"c": 12345678, "d": 0.5}}, mask)
    assert found == {"a": ["--pw=***", 1, None, True], "b": {"c": "***", "d": 0.5}}
