"""What is particular to a workspace in a container: several machines, answers that get lost, and how many requests it takes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fault_proxy import FaultProxy, Seen

from airflow_azureml.runtime.exceptions import ConditionFailed, StoreError
from airflow_azureml.storage.files import StoreBusy
from airflow_azureml.storage.opening import forget
from airflow_azureml.workspace.blob_store import COMPOSED, _key, _name
from airflow_azureml.workspace.snapshots import SnapshotStore, scan_source
from airflow_azureml.workspace.store import ObjectStore, open_store

pytestmark = pytest.mark.service("azurite")

PROCESSES = 4

# Without Airflow, as on a machine that has only what this layer needs.
MACHINE = """
import json, sys
from airflow_azureml.storage import connections, opening
from airflow_azureml.runtime.exceptions import ConditionFailed
from airflow_azureml.workspace.store import open_store

url, fields, number = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
opening.get_connection = lambda id: connections.ConnectionFields(id, "wasb", **fields)
store = open_store(url)
won = []
for race in range(25):
    try:
        store.put(f"race/{race}", b"%d" % number, if_absent=True)
        won.append(race)
    except ConditionFailed:
        pass
for _ in range(15):
    while True:
        found = store.get("count")
        try:
            store.put("count", b"%d" % (int(found.data) + 1), if_match=found.tag)
            break
        except ConditionFailed:
            continue
print(json.dumps(won))
"""


@pytest.fixture
def store(azurite: Any, azurite_connection: str) -> ObjectStore:
    forget()
    return open_store(f"azure://{azurite_connection}/{azurite.container}/ws")


@pytest.fixture
def proxy(azurite_server: Any) -> Any:
    proxy = FaultProxy(azurite_server.port)
    yield proxy
    proxy.close()


@pytest.fixture
def through(proxy: FaultProxy, azurite: Any, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """The store of ``store`` behind a proxy that makes trouble."""
    host = f"http://127.0.0.1:{proxy.port}/devstoreaccount1"
    monkeypatch.setenv("AIRFLOW_CONN_PROXY", json.dumps({**json.loads(azurite.connection()), "host": host}))
    forget()
    return open_store(f"azure://proxy/{azurite.container}/ws")


def written(seen: Seen) -> bool:
    return seen.method == "PUT"


def test_of_several_machines_one_wins_each_race_and_none_loses_an_increment(
    store: ObjectStore, azurite: Any
) -> None:
    store.put("count", b"0")
    fields = json.dumps({"host": azurite.endpoint, "login": azurite.account, "password": azurite.key})
    url = f"azure://any/{azurite.container}/ws"
    machines = [
        subprocess.Popen([sys.executable, "-c", MACHINE, url, fields, str(n)], stdout=subprocess.PIPE)
        for n in range(PROCESSES)
    ]
    won = [json.loads(machine.communicate(timeout=300)[0]) for machine in machines]
    assert sorted(race for races in won for race in races) == list(range(25))
    assert store.get("count").data == b"%d" % (PROCESSES * 15)
    for number, races in enumerate(won):
        assert all(store.get(f"race/{race}").data == b"%d" % number for race in races)


class TestLostAnswers:
    @pytest.mark.parametrize("kind", ["done-drop", "done-status"])
    def test_a_write_whose_answer_got_lost_is_known_to_be_ours(
        self, through: ObjectStore, proxy: FaultProxy, kind: str
    ) -> None:
        proxy.add(kind, written)
        tag = through.put("leases/a", b"mine", if_absent=True)
        assert through.get("leases/a").tag == tag
        proxy.add(kind, written)
        assert through.put("leases/a", b"mine, again", if_match=tag) == through.get("leases/a").tag
        proxy.clear()
        with pytest.raises(ConditionFailed):
            through.put("leases/a", b"mine, again", if_match=tag)

    @pytest.mark.parametrize("kind", ["done-drop", "done-status"])
    def test_somebody_elses_write_stays_theirs(
        self, store: ObjectStore, through: ObjectStore, proxy: FaultProxy, kind: str
    ) -> None:
        store.put("leases/a", b"theirs")
        proxy.add(kind, written)
        with pytest.raises((ConditionFailed, StoreBusy)):
            through.put("leases/a", b"mine", if_absent=True)
        assert store.get("leases/a").data == b"theirs"

    def test_a_delete_whose_answer_got_lost_is_no_error(
        self, through: ObjectStore, proxy: FaultProxy
    ) -> None:
        tag = through.put("leases/a", b"mine")
        proxy.add("done-drop", lambda seen: seen.method == "DELETE")
        through.delete("leases/a", if_match=tag)
        assert not through.exists("leases/a")

    def test_a_service_that_stays_busy_is_told_as_trouble_that_may_pass(
        self, through: ObjectStore, proxy: FaultProxy
    ) -> None:
        proxy.add("status", lambda _: True, times=1000)
        with pytest.raises(StoreBusy):
            through.get("a")


class TestRequests:
    def requests(self, proxy: FaultProxy) -> list[str]:
        seen = [request.method for request in proxy.seen]
        proxy.seen.clear()
        return seen

    def test_an_object_of_the_package_takes_one_request(
        self, through: ObjectStore, proxy: FaultProxy
    ) -> None:
        for folder in COMPOSED:
            through.put(f"{folder}a/b/c", b"1", if_absent=True)
            assert self.requests(proxy) == ["PUT"]

    def test_elsewhere_a_new_object_takes_one_for_what_is_below_and_one_for_each_folder(
        self, through: ObjectStore, proxy: FaultProxy
    ) -> None:
        through.put("mine/a/b", b"1")
        assert self.requests(proxy) == ["PUT", "GET", "HEAD", "HEAD"]
        through.put("mine/a/b", b"2")
        assert self.requests(proxy) == ["PUT"]
        tag = through.get("mine/a/b").tag
        through.put("mine/a/b", b"3", if_match=tag)
        assert self.requests(proxy) == ["GET", "PUT"]


class TestNames:
    def test_what_no_blob_can_be_called_is_written_in_other_words(
        self, store: ObjectStore, azurite: Any
    ) -> None:
        keys = ["a\nb", "tab\there", "end.", "x./y", "...", "\u201b", "\u201bJ", "a\x7fb", "plain.txt"]
        for key in keys:
            store.put(key, key.encode())
        assert [info.key for info in store.list("")] == sorted(keys)
        for key in keys:
            assert _key(_name(key)) == key
            assert store.get(key).data == key.encode()
        names = [name.removeprefix("ws/") for name in azurite.blobs()]
        assert not any(name.endswith(".") or "./" in name or not name.isprintable() for name in names)
        assert "plain.txt" in names

    def test_blobs_of_others_are_not_listed(self, store: ObjectStore, azurite: Any) -> None:
        store.put("a", b"1")
        azurite.client().upload_blob("elsewhere", b"")
        azurite.client().upload_blob("ws/folder//x", b"")
        assert [info.key for info in store.list("")] == ["a"]


def test_a_large_object_is_streamed_and_stays_the_same_while_it_is_open(
    store: ObjectStore, tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(b"0123456789" * 1_000_000)
    tag = store.put_file("models/files/large", tmp_path / "large")
    assert store.get("models/files/large").tag == tag
    with store.open("models/files/large") as file:
        store.put("models/files/large", b"replaced", if_match=tag)
        assert file.read() == (tmp_path / "large").read_bytes()


def test_a_missing_container_is_named(azurite_connection: str) -> None:
    forget()
    store = open_store(f"azure://{azurite_connection}/no-such-container")
    for attempt in (lambda: store.put("a", b""), lambda: list(store.list("")), lambda: store.get("a")):
        with pytest.raises(StoreError, match="no-such-container"):
            attempt()


def test_snapshots_are_kept_and_laid_out(store: ObjectStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "lib").mkdir(parents=True)
    (source / "train.py").write_text("print(1)\n")
    (source / "lib" / "data.bin").write_bytes(b"x" * (5 << 20))
    tree = scan_source(source)
    snapshots = SnapshotStore(store)
    assert snapshots.upload(tree).uploaded_files == 2
    assert snapshots.upload(tree).uploaded_files == 0
    cache = tmp_path / "cache"
    for target in ("one", "two"):
        snapshots.lay_out(tree.digest, tmp_path / target, cache)
        assert (tmp_path / target / "train.py").read_text() == "print(1)\n"
        assert (tmp_path / target / "lib" / "data.bin").stat().st_size == 5 << 20
    assert any(path.is_file() for path in cache.rglob("*"))
