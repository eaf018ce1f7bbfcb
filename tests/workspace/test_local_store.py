"""What only a store on a disk can promise: many processes, crashes, full disks, leftovers."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_azureml.runtime.exceptions import ObjectNotFound, StoreError
from airflow_azureml.workspace import local_store
from airflow_azureml.workspace.local_store import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "ws")


@pytest.fixture
def start(store: LocalStore) -> Iterator[object]:
    """Start Python processes that have ``store``, ``os``, ``sys`` and the store's exceptions at hand."""
    started: list[subprocess.Popen[str]] = []

    def start_process(code: str, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", PREAMBLE + code, str(store.root), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start_process
    for process in started:
        process.kill()
        process.communicate()


PREAMBLE = """
import os, sys
from pathlib import Path
from airflow_azureml.workspace.local_store import LocalStore
from airflow_azureml.runtime.exceptions import ConditionFailed, ObjectNotFound, StoreError
store = LocalStore(sys.argv[1])

def ready():
    print("ready", flush=True)
    while not Path(sys.argv[1] + ".go").exists():
        pass
"""

INCREMENT = """
ready()
for _ in range(int(sys.argv[2])):
    while True:
        present = store.get("n")
        try:
            store.put("n", b"%d" % (int(present.data) + 1), if_match=present.tag)
            break
        except ConditionFailed:
            pass
"""

CREATE_ALL = """
ready()
for number in range(100):
    try:
        store.put(f"race/{number}/k", sys.argv[2].encode(), if_absent=True)
    except ConditionFailed:
        continue
    print(number)
"""

REPLACE_FOR_EVER = """
import random
while True:
    store.put("k", bytes([random.randrange(256)]) * random.choice([10, 100_000, 1_000_000]))
"""

COME_AND_GO = """
ready()
for number in range(300):
    store.put(f"shared/folder/{sys.argv[2]}", b"x")
    store.delete(f"shared/folder/{sys.argv[2]}")
"""

WRITE_BEYOND_A_LIMIT = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))
try:
    store.put("k", b"new" * 1_000_000)
except StoreError as error:
    print(type(error).__name__, str(error).rpartition(": ")[2])
"""

STOP_BEFORE_THE_RENAME = """
def stop(*_):
    print("stopped", flush=True)
    sys.stdin.read()
setattr(os, sys.argv[2], stop)
store.put("k", b"new" * 100_000)
"""


def go(store: LocalStore, processes: list[subprocess.Popen[str]]) -> None:
    """Let processes that called ``ready`` begin at the same moment."""
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    Path(f"{store.root}.go").touch()


def finished(process: subprocess.Popen[str]) -> list[str]:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return output.split()


class TestManyProcesses:
    def test_increments_by_compare_and_swap_lose_none(self, store, start) -> None:
        store.put("n", b"0")
        processes = [start(INCREMENT, 40) for _ in range(4)]
        go(store, processes)
        for process in processes:
            finished(process)
        assert store.get("n").data == b"160"

    def test_every_creation_has_exactly_one_winner(self, store, start) -> None:
        processes = [start(CREATE_ALL, name) for name in "abcd"]
        go(store, processes)
        winners = [finished(process) for process in processes]
        assert sorted((number for won in winners for number in won), key=int) == [
            str(number) for number in range(100)
        ]
        for name, won in zip("abcd", winners, strict=True):
            assert all(store.get(f"race/{number}/k").data == name.encode() for number in won)

    def test_a_reader_never_sees_a_torn_object(self, store, start) -> None:
        store.put("k", b"\x01" * 10)
        writers = [start(REPLACE_FOR_EVER) for _ in range(2)]
        sizes = set()
        begun = time.monotonic()
        while time.monotonic() < begun + (0.5 if len(sizes) == 3 else 20):
            found = store.get("k")
            assert len(found.data) in (10, 100_000, 1_000_000)
            assert found.data.count(found.data[0]) == len(found.data)
            assert found.tag == hashlib.sha256(found.data).hexdigest()
            sizes.add(len(found.data))
        assert len(sizes) == 3
        assert all(writer.poll() is None for writer in writers)

    def test_writers_survive_others_removing_the_folder_they_share(self, store, start) -> None:
        processes = [start(COME_AND_GO, name) for name in "abc"]
        go(store, processes)
        for process in processes:
            finished(process)
        assert list(store.list("")) == []


class TestFaults:
    @pytest.mark.parametrize("point", ["fsync", "replace"])
    def test_a_writer_killed_in_the_middle_leaves_the_old_object(self, store, start, point: str) -> None:
        store.put("k", b"old")
        writer = start(STOP_BEFORE_THE_RENAME, point)
        assert writer.stdout.readline() == "stopped\n"
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        assert store.get("k").data == b"old"
        assert [info.key for info in store.list("")] == ["k"]
        store.put("k", b"newer")
        assert store.get("k").data == b"newer"

    def test_what_a_killed_writer_left_is_swept_after_a_day(self, store: LocalStore) -> None:
        drafts = store.root / ".store" / "tmp"
        drafts.mkdir(parents=True)
        for name, age_s in (("old", 25 * 3600), ("young", 60)):
            (drafts / name).write_bytes(b"x")
            os.utime(drafts / name, (time.time() - age_s,) * 2)
        store.put("k", b"x")
        assert [path.name for path in drafts.iterdir()] == ["young"]

    @pytest.mark.parametrize("point", ["fsync", "replace"])
    def test_a_full_disk_changes_nothing(
        self, store: LocalStore, monkeypatch, point: str, tmp_path: Path
    ) -> None:
        store.put("k", b"old")
        (tmp_path / "file").write_bytes(b"new")

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, point, full)
        for write in (
            lambda: store.put("k", b"new"),
            lambda: store.put("a/k2", b"new", if_absent=True),
            lambda: store.put_file("k", tmp_path / "file"),
        ):
            with pytest.raises(StoreError, match=r"cannot write object .* No space left on device"):
                write()
        monkeypatch.undo()
        assert store.get("k").data == b"old"
        assert [info.key for info in store.list("")] == ["k"]
        assert list((store.root / ".store" / "tmp").iterdir()) == []

    def test_a_disk_that_fills_up_in_the_middle_of_a_write_changes_nothing(self, store, start) -> None:
        store.put("k", b"old")
        assert finished(start(WRITE_BEYOND_A_LIMIT)) == ["StoreError", "File", "too", "large"]
        assert store.get("k").data == b"old"
        assert list((store.root / ".store" / "tmp").iterdir()) == []

    def test_an_interrupted_copy_leaves_no_part_of_the_target(
        self, store, tmp_path: Path, monkeypatch
    ) -> None:
        store.put("k", b"x")
        monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            store.get_file("k", tmp_path / "out" / "target")
        assert list((tmp_path / "out").iterdir()) == []

    def test_an_unreadable_object_is_not_taken_for_an_absent_one(
        self, store: LocalStore, monkeypatch
    ) -> None:
        def broken(*_: object, **__: object) -> None:
            raise OSError(errno.EIO, "Input/output error")

        store.put("k", b"x")
        monkeypatch.setattr(local_store, "open", broken, raising=False)
        with pytest.raises(StoreError, match=r"cannot read object 'k' .* Input/output error") as caught:
            store.get("k")
        assert not isinstance(caught.value, ObjectNotFound)


class TestTheFolder:
    def test_reading_makes_no_folder(self, store: LocalStore) -> None:
        assert list(store.list("")) == []
        assert not store.exists("a/b")
        store.delete("a/b")
        with pytest.raises(ObjectNotFound):
            store.get("a/b")
        assert not store.root.exists()

    def test_objects_are_files_of_their_keys(self, store: LocalStore) -> None:
        store.put("runs/r1/record.json", b"{}")
        assert (store.root / "runs" / "r1" / "record.json").read_bytes() == b"{}"
        assert store.local_path("runs/r1/record.json") == store.root / "runs/r1/record.json"

    def test_objects_get_the_permissions_of_ordinary_files(self, store: LocalStore, tmp_path: Path) -> None:
        (tmp_path / "ordinary").touch()
        store.put("k", b"x")
        assert (store.root / "k").stat().st_mode == (tmp_path / "ordinary").stat().st_mode

    def test_deleting_leaves_no_empty_folders(self, store: LocalStore) -> None:
        store.put("a/b/c", b"x")
        store.put("a/d", b"x")
        store.delete("a/b/c")
        assert [path.name for path in (store.root / "a").iterdir()] == ["d"]

    def test_files_that_can_be_no_objects_are_not_listed(self, store: LocalStore) -> None:
        store.put("k", b"x")
        (store.root / "back\\slash").touch()
        os.close(os.open(os.fsencode(store.root) + b"/\xff", os.O_CREAT))
        (store.root / "link").symlink_to("/etc/passwd")
        (store.root / "loop").symlink_to(".")
        os.mkfifo(store.root / "pipe")
        assert [info.key for info in store.list("")] == ["k"]

    def test_two_stores_on_one_folder_are_one(self, store: LocalStore) -> None:
        store.put("k", b"x", if_absent=True)
        assert LocalStore(str(store.root)).get("k").data == b"x"
