"""The cache of remote files: each version downloaded once, shared by processes, bounded, and never taken from who needs it."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml.runtime.exceptions import StoreError
from airflow_azureml.storage.files import FileChanged, FileInfo
from airflow_azureml.workspace.data_cache import DataCache

FORK = multiprocessing.get_context("fork")


class FolderBehindAWire:
    """A folder as if it were remote. Each download leaves a line in a log, also those of other processes."""

    local_root = None

    def __init__(self, root: Path, *, slow_s: float = 0.0) -> None:
        self.root = root
        self.slow_s = slow_s
        self.log = root.with_suffix(".log")
        self.log.touch()

    @property
    def uri(self) -> str:
        return "test://server/container"

    def write(self, path: str, content: str = "content", etag: str = '"1"') -> FileInfo:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        Path(f"{file}.etag").write_text(etag)
        return FileInfo(path, len(content), 1_700_000_000.5, etag)

    def get_file(self, path: str, target: Path, *, etag: str | None = None) -> FileInfo:
        with self.log.open("a") as log:
            log.write(f"{path}\n")
        time.sleep(self.slow_s)
        if Path(f"{self.root / path}.etag").read_text() != etag:
            raise FileChanged(f"{path} is another one now")
        shutil.copyfile(self.root / path, target)
        return FileInfo(path, target.stat().st_size, 0.0, etag)

    @property
    def downloads(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def store(tmp_path: Path) -> FolderBehindAWire:
    return FolderBehindAWire(tmp_path / "remote")


@pytest.fixture
def cache(tmp_path: Path) -> DataCache:
    return DataCache(tmp_path / "cache", None)


def limited(tmp_path: Path, limit_bytes: int) -> DataCache:
    return DataCache(tmp_path / "cache", limit_bytes)


def in_another_process(work: Callable[[], Any]) -> multiprocessing.process.BaseProcess:
    process = FORK.Process(target=work)
    process.start()
    return process


def test_a_version_of_a_file_is_downloaded_once(store, cache):
    info = store.write("a/data.csv", "1,2")

    (first,) = cache.fetch(store, [info])
    (second,) = cache.fetch(store, [info, info])[:1]

    assert first == second == cache.path_of(store, info)
    assert first.read_text() == "1,2"
    assert store.downloads == ["a/data.csv"]


def test_a_copy_has_the_files_name_and_time_and_cannot_be_written_to(store, cache):
    info = store.write("a/data.csv")

    (path,) = cache.fetch(store, [info])

    assert path.name == "data.csv"
    assert path.stat().st_mtime == info.modified
    assert stat.S_IMODE(path.stat().st_mode) == 0o444


def test_nobody_else_on_the_machine_can_look_into_it(store, cache, tmp_path):
    cache.fetch(store, [store.write("data.csv")])
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700


def test_a_file_that_is_used_again_keeps_all_its_times(store, cache):
    info = store.write("data.csv")
    (path,) = cache.fetch(store, [info])
    before = path.stat()

    cache.fetch(store, [info])

    after = path.stat()
    assert (before.st_mtime_ns, before.st_ctime_ns) == (after.st_mtime_ns, after.st_ctime_ns)


def test_a_name_that_is_too_long_for_a_copy_or_is_hostile_is_not_its_name(store, cache):
    info = FileInfo("é" * 120, 1, 0.0, '"1"')
    assert cache.path_of(store, info).name == "data"


def test_a_changed_file_gets_a_place_of_its_own(store, cache):
    (old,) = cache.fetch(store, [store.write("data.csv", "old", '"1"')])
    (new,) = cache.fetch(store, [store.write("data.csv", "new", '"2"')])
    assert (old.read_text(), new.read_text()) == ("old", "new")


def test_the_same_path_of_another_store_is_another_file(store, cache, tmp_path):
    info = store.write("data.csv")
    other = FolderBehindAWire(tmp_path / "other")
    other.__class__ = type("Other", (FolderBehindAWire,), {"uri": "test://server/other"})
    assert cache.path_of(store, info) != cache.path_of(other, info)


def test_a_file_that_changed_since_it_was_listed_is_refused(store, cache):
    listed = store.write("data.csv", "old", '"1"')
    store.write("data.csv", "new", '"2"')
    with pytest.raises(FileChanged):
        cache.fetch(store, [listed])
    assert not cache.path_of(store, listed).exists()


def test_a_download_with_another_size_is_refused(store, cache):
    info = store.write("data.csv", "four")
    wrong = FileInfo(info.path, 5, info.modified, info.etag)
    with pytest.raises(FileChanged, match="has 4 bytes and had 5 when it was listed"):
        cache.fetch(store, [wrong])
    assert list((cache._folder / "arriving").iterdir()) == []


def test_a_size_that_is_not_known_is_not_compared(store, cache):
    info = store.write("data.csv", "four")
    (path,) = cache.fetch(store, [FileInfo(info.path, -1, info.modified, info.etag)])
    assert path.read_text() == "four"


def test_a_full_disk_is_said_plainly(store, cache):
    def full(path: str, target: Path, *, etag: str | None = None) -> FileInfo:
        raise OSError(errno.ENOSPC, "No space left on device")

    info = store.write("data.csv")
    store.get_file = full
    with pytest.raises(StoreError, match="no space for 0.0 MiB of data in the cache"):
        cache.fetch(store, [info])


def test_a_file_of_a_local_store_is_its_own_copy(store, cache, tmp_path):
    info = store.write("a/data.csv")
    store.local_root = tmp_path / "remote"
    assert cache.fetch(store, [info]) == [tmp_path / "remote/a/data.csv"]
    assert store.downloads == []


def test_processes_that_want_a_file_at_the_same_time_download_it_once(tmp_path):
    store = FolderBehindAWire(tmp_path / "remote", slow_s=0.2)
    infos = [store.write(f"{number}.csv") for number in range(3)]
    others = [in_another_process(lambda: limited(tmp_path, 1000).fetch(store, infos)) for _ in range(3)]

    limited(tmp_path, 1000).fetch(store, infos)

    for other in others:
        other.join(30)
        assert other.exitcode == 0
    assert sorted(store.downloads) == ["0.csv", "1.csv", "2.csv"]


def test_what_was_wanted_longest_ago_goes_first(store, tmp_path):
    paths = {}
    for name in ("old", "wanted", "new"):
        with limited(tmp_path, 30) as cache:
            info = store.write(name, "0123456789")
            (paths[name],) = cache.fetch(store, [info])
            os.utime(paths[name].parent, ns=(0, len(paths)))
    with limited(tmp_path, 30) as cache:
        cache.fetch(store, [FileInfo("old", 10, 1_700_000_000.5, '"1"')])
    with limited(tmp_path, 30) as cache:
        cache.fetch(store, [store.write("newest", "0123456789")])

    assert [name for name, path in paths.items() if path.exists()] == ["old", "new"]


def test_what_a_living_process_needs_stays_whatever_the_limit(store, tmp_path):
    one, two = store.write("one", "0123456789"), store.write("two", "0123456789")
    with limited(tmp_path, 5) as first, limited(tmp_path, 5) as second:
        (kept,) = first.fetch(store, [one])
        second.fetch(store, [two])
        assert kept.exists()
    with limited(tmp_path, 5) as cache:
        cache.fetch(store, [store.write("three", "0")])
    assert not kept.exists()


def test_a_killed_process_needs_nothing_any_more(store, tmp_path):
    info = store.write("data", "0123456789")
    ready = FORK.Event()

    def fetch_and_wait() -> None:
        needed = limited(tmp_path, 5)
        needed.fetch(store, [info])
        ready.set()
        time.sleep(60)

    process = in_another_process(fetch_and_wait)
    assert ready.wait(30)
    path = limited(tmp_path, 5).path_of(store, info)

    with limited(tmp_path, 5) as cache:
        cache.fetch(store, [store.write("small", "0")])
        assert path.exists()
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    with limited(tmp_path, 5) as cache:
        cache.fetch(store, [store.write("smaller", "")])
        assert not path.exists()


def test_what_a_killed_download_left_is_removed(tmp_path):
    store = FolderBehindAWire(tmp_path / "remote", slow_s=60)
    info = store.write("big", "0123456789")
    process = in_another_process(lambda: limited(tmp_path, 1).fetch(store, [info]))
    until = time.monotonic() + 30
    while not store.downloads:
        assert time.monotonic() < until
        time.sleep(0.01)
    (
        tmp_path / "cache/arriving" / f"{limited(tmp_path, 1).path_of(store, info).parent.name}.part"
    ).write_text("01")
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    store.slow_s = 0

    with limited(tmp_path, 1) as cache:
        cache.fetch(store, [store.write("other", "0123456789")])

    assert list((tmp_path / "cache/arriving").iterdir()) == []
    with limited(tmp_path, 100) as cache:
        (path,) = cache.fetch(store, [info])
    assert path.read_text() == "0123456789"


def test_a_forked_process_has_needs_of_its_own(store, tmp_path):
    info = store.write("data", "0123456789")
    cache = limited(tmp_path, 5)
    cache.fetch(store, [store.write("first", "0")])
    fetched, done = FORK.Event(), FORK.Event()

    def work() -> None:
        cache.fetch(store, [info])
        fetched.set()
        done.wait(30)

    process = in_another_process(work)
    assert fetched.wait(30)
    cache.close()
    with limited(tmp_path, 5) as other:
        other.fetch(store, [store.write("second", "0")])
        assert cache.path_of(store, info).exists()
    done.set()
    process.join(30)


def test_the_caller_is_told_what_is_downloaded(store, cache):
    said: list[str] = []
    infos = [store.write("a", "x" * 1024), store.write("b")]
    cache.fetch(store, infos, tell=said.append)
    cache.fetch(store, infos, tell=said.append)
    assert said == ["downloading 2 files, 0.0 MiB, from test://server/container"]
