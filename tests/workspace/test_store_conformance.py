"""What every back end of the object store does. A new back end joins ``BACKENDS`` and must pass unchanged."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_azureml.runtime.exceptions import ConditionFailed, ObjectNotFound, StoreError
from airflow_azureml.storage.opening import forget
from airflow_azureml.workspace.local_store import LocalStore
from airflow_azureml.workspace.memory_store import MemoryStore
from airflow_azureml.workspace.store import open_store

if TYPE_CHECKING:
    from airflow_azureml.workspace.store import ObjectStore

BACKENDS: dict[str, Callable[[pytest.FixtureRequest, Path], ObjectStore]] = {
    "local": lambda _, folder: LocalStore(folder / "ws"),
    "memory": lambda _, folder: MemoryStore(),
    "azurite": lambda request, _: azurite_store(request),
    "s3": lambda request, _: s3_store(request),
}
SERVICES = {"azurite"}


def azurite_store(request: pytest.FixtureRequest) -> ObjectStore:
    connection, place = request.getfixturevalue("azurite_connection"), request.getfixturevalue("azurite")
    forget()
    return open_store(f"azure://{connection}/{place.container}/a folder")


def s3_store(request: pytest.FixtureRequest) -> ObjectStore:
    connection, place = request.getfixturevalue("s3_connection"), request.getfixturevalue("s3_bucket")
    forget()
    return open_store(f"s3://{connection}/{place.bucket}/a folder")


@pytest.fixture(
    params=[
        pytest.param(name, marks=[pytest.mark.service(name)] if name in SERVICES else [])
        for name in sorted(BACKENDS)
    ]
)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    return BACKENDS[request.param](request, tmp_path)


def keys(store: ObjectStore, prefix: str) -> list[str]:
    return [info.key for info in store.list(prefix)]


class TestReadingAndWriting:
    def test_an_object_is_read_back_with_the_tag_its_write_returned(self, store: ObjectStore) -> None:
        tag = store.put("a/b", b"\x00bytes\xff")
        assert store.get("a/b").data == b"\x00bytes\xff"
        assert store.get("a/b").tag == tag

    def test_an_empty_object_exists(self, store: ObjectStore) -> None:
        store.put("marker", b"")
        assert store.exists("marker")
        assert store.get("marker").data == b""

    def test_a_write_replaces_the_whole_object(self, store: ObjectStore) -> None:
        store.put("k", b"a long first content")
        store.put("k", b"short")
        assert store.get("k").data == b"short"

    def test_replacing_with_other_bytes_changes_the_tag(self, store: ObjectStore) -> None:
        tags = {store.put("k", b"%d" % number) for number in range(50)}
        assert len(tags) == 50

    def test_the_buffer_given_may_change_afterwards(self, store: ObjectStore) -> None:
        buffer = bytearray(b"first")
        store.put("k", buffer)
        buffer[:] = b"later"
        assert store.get("k").data == b"first"

    def test_nothing_is_there_before_the_first_write(self, store: ObjectStore) -> None:
        assert not store.exists("a")
        assert keys(store, "") == []
        with pytest.raises(ObjectNotFound) as caught:
            store.get("a/b")
        assert caught.value.key == "a/b"

    def test_a_deleted_object_is_gone_and_deleting_again_is_no_error(self, store: ObjectStore) -> None:
        store.put("a/b", b"1")
        store.delete("a/b")
        store.delete("a/b")
        assert not store.exists("a/b")
        assert keys(store, "") == []

    def test_a_deleted_object_can_be_written_again(self, store: ObjectStore) -> None:
        store.put("a/b", b"1")
        store.delete("a/b")
        store.put("a/b", b"2", if_absent=True)
        assert store.get("a/b").data == b"2"


class TestConditions:
    def test_if_absent_writes_once(self, store: ObjectStore) -> None:
        store.put("k", b"1", if_absent=True)
        with pytest.raises(ConditionFailed) as caught:
            store.put("k", b"2", if_absent=True)
        assert caught.value.key == "k"
        assert store.get("k").data == b"1"

    def test_if_match_replaces_what_was_read_and_nothing_newer(self, store: ObjectStore) -> None:
        first = store.put("k", b"1")
        second = store.put("k", b"2", if_match=first)
        with pytest.raises(ConditionFailed):
            store.put("k", b"3", if_match=first)
        assert store.get("k").data == b"2"
        store.put("k", b"4", if_match=second)

    def test_an_absent_object_matches_no_tag(self, store: ObjectStore) -> None:
        tag = store.put("k", b"1")
        store.delete("k")
        with pytest.raises(ConditionFailed):
            store.put("k", b"2", if_match=tag)
        assert not store.exists("k")

    def test_delete_spares_an_object_that_changed(self, store: ObjectStore) -> None:
        old = store.put("k", b"1")
        new = store.put("k", b"2")
        with pytest.raises(ConditionFailed):
            store.delete("k", if_match=old)
        assert store.exists("k")
        store.delete("k", if_match=new)
        assert not store.exists("k")
        store.delete("k", if_match=new)

    def test_both_conditions_at_once_are_refused(self, store: ObjectStore) -> None:
        with pytest.raises(ValueError, match="not both"):
            store.put("k", b"1", if_absent=True, if_match="x")

    def test_concurrent_increments_lose_none(self, store: ObjectStore) -> None:
        store.put("n", b"0")
        run_threads(4, lambda: increment(store, "n", 25))
        assert store.get("n").data == b"100"

    def test_of_concurrent_creations_exactly_one_wins(self, store: ObjectStore) -> None:
        won: list[int] = []
        run_threads(8, lambda: won.extend(i for i in range(20) if create(store, f"race/{i}")))
        assert sorted(won) == list(range(20))


class TestListing:
    def test_keys_come_in_the_order_of_their_text_whatever_their_depth(self, store: ObjectStore) -> None:
        names = ["a-", "a.txt", "a/b", "a/b-c", "a/b.d/e", "a/b0", "a0", "B", "ä/ö", "z/%2F", "z/a b"]
        for name in reversed(names):
            store.put(name, b"x")
        assert keys(store, "") == sorted(names)

    def test_a_prefix_is_a_folder_or_any_beginning_of_a_key(self, store: ObjectStore) -> None:
        for name in ("runs", "runs2/x", "r/abc/1", "r/abd/2", "r/ab", "r/x"):
            store.put(name, b"")
        assert keys(store, "r/") == ["r/ab", "r/abc/1", "r/abd/2", "r/x"]
        assert keys(store, "r/ab") == ["r/ab", "r/abc/1", "r/abd/2"]
        assert keys(store, "r/abc") == ["r/abc/1"]
        assert keys(store, "r/ab/") == []
        assert keys(store, "runs") == ["runs", "runs2/x"]
        assert keys(store, "runs/") == []
        assert keys(store, "nothing/here/") == []

    def test_a_listing_tells_size_and_time(self, store: ObjectStore) -> None:
        store.put("old", b"")
        store.put("k", b"12345")
        (info,) = store.list("k")
        assert info.size_bytes == 5
        assert info.modified >= next(store.list("old")).modified > 1.6e9

    def test_objects_may_go_while_they_are_listed(self, store: ObjectStore) -> None:
        for number in range(20):
            store.put(f"a/{number:02d}/x", b"")
        walk = store.list("a/")
        first = next(walk)
        for number in range(20):
            store.delete(f"a/{number:02d}/x")
        assert first.key == "a/00/x"
        assert all(info.key.startswith("a/") for info in walk)


HOSTILE_KEYS = [
    "", "/", "/etc/passwd", "../x", "a/../b", "a/./b", ".", "..", "a//b", "a/", "a\0b", "a\\b", "\ud800",
    ".store/tmp/x", "k" * 251, "ö" * 126, "/".join(["k" * 200] * 5),
]  # fmt: skip
USUAL_AND_ODD_KEYS = [
    "k", "a b/ c ", "100%/%2F/%%", "ünï/cødé/\N{SNOWMAN}", "e\u0301", "\u00e9", "CON", "a:b",
    'a*?"<>|', "-rf", "~", ".hidden", "...", "line\nbreak", "k" * 250, "/".join(["k" * 99] * 9), "x/.store/y",
]  # fmt: skip


class TestKeys:
    @pytest.mark.parametrize("key", HOSTILE_KEYS)
    def test_what_is_no_key_is_refused_by_every_method(
        self, store: ObjectStore, key: str, tmp_path: Path
    ) -> None:
        file = tmp_path / "file"
        file.write_bytes(b"x")
        attempts: list[Callable[[], object]] = [
            lambda: store.get(key),
            lambda: store.put(key, b"x"),
            lambda: store.delete(key),
            lambda: store.exists(key),
            lambda: store.put_file(key, file),
            lambda: store.get_file(key, file),
            lambda: store.open(key),
            lambda: store.local_path(key),
        ]
        for attempt in attempts:
            with pytest.raises(StoreError, match="refused") as caught:
                attempt()
            assert not isinstance(caught.value, ObjectNotFound)
        assert file.read_bytes() == b"x"

    @pytest.mark.parametrize("prefix", ["/", "../", "a/../", "a//", "a//b", ".store/", "..//x"])
    def test_a_prefix_with_a_hostile_folder_is_refused(self, store: ObjectStore, prefix: str) -> None:
        with pytest.raises(StoreError, match="refused"):
            list(store.list(prefix))

    @pytest.mark.parametrize("key", USUAL_AND_ODD_KEYS)
    def test_any_other_text_is_a_key(self, store: ObjectStore, key: str) -> None:
        tag = store.put(key, key.encode())
        assert store.get(key).data == key.encode()
        assert keys(store, "") == [key]
        assert keys(store, key[:3]) == [key]
        store.put(key, b"2", if_match=tag)
        store.delete(key)
        assert keys(store, "") == []

    def test_keys_that_look_alike_are_different_objects(self, store: ObjectStore) -> None:
        alike = ["e\u0301", "\u00e9", "a%2Fb", "a/b", "A", "a+", "a "]
        for key in alike:
            store.put(key, key.encode(), if_absent=True)
        assert [store.get(key).data for key in alike] == [key.encode() for key in alike]

    def test_a_key_under_an_object_is_refused(self, store: ObjectStore) -> None:
        store.put("a/b", b"1")
        for key in ("a/b/c", "a/b/c/d"):
            with pytest.raises(StoreError, match="is refused: a part of its folder is an object"):
                store.put(key, b"2", if_absent=True)
            assert not store.exists(key)
            with pytest.raises(ObjectNotFound):
                store.get(key)
            store.delete(key)
        assert keys(store, "") == ["a/b"]

    def test_a_key_over_objects_is_refused(self, store: ObjectStore) -> None:
        store.put("a/b/c", b"1")
        for key in ("a", "a/b"):
            with pytest.raises(StoreError, match="holds other objects"):
                store.put(key, b"2")
            assert not store.exists(key)
            with pytest.raises(ObjectNotFound):
                store.get(key)
            with pytest.raises(ObjectNotFound):
                store.open(key)
            store.delete(key)
        assert keys(store, "") == ["a/b/c"]

    def test_a_folder_without_objects_is_no_obstacle(self, store: ObjectStore) -> None:
        store.put("a/b/c", b"1")
        store.delete("a/b/c")
        store.put("a", b"2")
        store.delete("a")
        store.put("a/b/c", b"3")
        assert keys(store, "") == ["a/b/c"]


class TestFiles:
    def test_a_file_becomes_an_object_and_a_file_again(self, store: ObjectStore, tmp_path: Path) -> None:
        content = b"0123456789" * 300_000
        source, target = tmp_path / "source", tmp_path / "new" / "folder" / "target"
        source.write_bytes(content)
        tag = store.put_file("big/one", source)
        source.write_bytes(b"changed later")
        assert store.get("big/one").tag == tag
        store.get_file("big/one", target)
        assert target.read_bytes() == content
        assert [path.name for path in target.parent.iterdir()] == ["target"]

    def test_a_file_and_its_bytes_have_one_tag(self, store: ObjectStore, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"same")
        store.put("k", b"other", if_match=store.put_file("k", tmp_path / "f"))
        assert store.get("k").data == b"other"

    def test_if_absent_holds_for_files(self, store: ObjectStore, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"file")
        store.put_file("k", tmp_path / "f", if_absent=True)
        with pytest.raises(ConditionFailed):
            store.put_file("k", tmp_path / "f", if_absent=True)

    def test_a_missing_source_file_writes_nothing(self, store: ObjectStore, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            store.put_file("k", tmp_path / "missing")
        assert not store.exists("k")

    def test_a_missing_object_leaves_the_target_alone(self, store: ObjectStore, tmp_path: Path) -> None:
        target = tmp_path / "target"
        target.write_bytes(b"mine")
        with pytest.raises(ObjectNotFound):
            store.get_file("k", target)
        assert target.read_bytes() == b"mine"

    def test_an_open_object_reads_on_after_it_was_replaced_and_deleted(self, store: ObjectStore) -> None:
        store.put("k", b"first")
        with store.open("k") as file:
            store.put("k", b"second")
            assert file.read(2) == b"fi"
            store.delete("k")
            assert file.read() == b"rst"
        with pytest.raises(ObjectNotFound):
            store.open("k")

    def test_local_path_is_where_the_bytes_are_or_none(self, store: ObjectStore) -> None:
        store.put("a/k", b"bytes")
        path = store.local_path("a/k")
        assert path is None or path.read_bytes() == b"bytes"


def increment(store: ObjectStore, key: str, times: int) -> None:
    for _ in range(times):
        while True:
            present = store.get(key)
            try:
                store.put(key, b"%d" % (int(present.data) + 1), if_match=present.tag)
                break
            except ConditionFailed:
                continue


def create(store: ObjectStore, key: str) -> bool:
    try:
        store.put(key, b"mine", if_absent=True)
    except ConditionFailed:
        return False
    return True


def run_threads(count: int, work: Callable[[], object]) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
