"""Files of a store as a read-only file system."""

from __future__ import annotations

import concurrent.futures
import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from odd_stores import RemoteFolder

from airflow_azureml.compute.mounting import kernel
from airflow_azureml.compute.mounting.fetching import RangedFile
from airflow_azureml.compute.mounting.kernel import MountError, is_mounted, remove_mount
from airflow_azureml.compute.mounting.supervisor import Mount
from airflow_azureml.compute.working_directory import WorkingDirectory
from airflow_azureml.runtime.exceptions import StoreError
from airflow_azureml.storage.files import FileChanged, StoreBusy
from airflow_azureml.workspace.data_cache import DataCache

pytestmark = pytest.mark.service("fuse")

MIB = 1 << 20


class Place:
    """A store, a cache and a folder to mount in."""

    def __init__(self, root: Path) -> None:
        self.files = root / "files"
        self.files.mkdir()
        self.store = RemoteFolder(self.files)
        self.cache = DataCache(root / "cache", None)
        self.folder = root / "mount"
        self.folder.mkdir()
        self.told: list[str] = []
        self.opened: list[Mount] = []

    def put(self, name: str, data: bytes) -> None:
        path = self.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def mount(self, *, programs: tuple[str, ...] = (), cache: DataCache | None = None) -> Mount:
        infos = [self.store.stat(info.path) for info in self.store.walk()]
        files = [(info.path, RangedFile(self.store, info), info.path in programs) for info in infos]
        mount = Mount(self.folder, files, cache or self.cache, self.told.append)
        self.opened.append(mount)
        self.store.calls.clear()
        return mount

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    for mount in made.opened:
        mount.close()
    remove_mount(made.folder)


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Lets reads go on that a test holds up; whatever becomes of the test, none stays."""
    event = threading.Event()
    yield event
    event.set()


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "too late"
        time.sleep(0.01)


@contextmanager
def refused(*codes: int) -> Iterator[None]:
    """What the system refuses."""
    with pytest.raises(OSError, match="Errno") as refusal:
        yield
    assert not codes or refusal.value.errno in codes


def noise(size: int) -> bytes:
    return os.urandom(MIB) * (size // MIB) + os.urandom(size % MIB)


def failing(error: Exception) -> Callable[[str, str], None]:
    def fault(method: str, path: str) -> None:
        if method == "read":
            raise error

    return fault


class TestLooking:
    def test_shows_the_files_as_they_were_listed(self, place: Place) -> None:
        place.put("a b%.txt", b"one")
        place.put("Grüße/日本/c.bin", b"x" * 1000)
        place.put("empty", b"")
        os.utime(place.files / "empty", (1_000_000_000, 1_000_000_000))
        place.mount(programs=("a b%.txt",))
        shown = sorted(path.relative_to(place.folder).as_posix() for path in place.folder.rglob("*"))
        assert shown == ["Grüße", "Grüße/日本", "Grüße/日本/c.bin", "a b%.txt", "empty"]
        assert (place.folder / "Grüße/日本/c.bin").stat().st_size == 1000
        assert (place.folder / "empty").stat().st_mtime == 1_000_000_000
        assert [os.access(place.folder / name, os.X_OK) for name in ("a b%.txt", "empty")] == [True, False]
        assert stat.S_ISDIR((place.folder / "Grüße").stat().st_mode)
        assert not (place.folder / "nothing").exists()
        assert place.store.calls["read"] == 0

    def test_a_folder_with_many_files_is_listed_whole(self, place: Place) -> None:
        names = {f"file-{number:05}" for number in range(3000)}
        for name in names:
            place.put(f"many/{name}", b"")
        place.mount()
        assert set(os.listdir(place.folder / "many")) == names
        with os.scandir(place.folder / "many") as entries:
            assert all(entry.is_file() for entry in entries)

    def test_is_read_only(self, place: Place) -> None:
        place.put("a", b"one")
        place.mount()
        for change in (
            lambda: (place.folder / "a").write_text("two"),
            lambda: (place.folder / "b").write_text("new"),
            lambda: (place.folder / "a").unlink(),
            lambda: (place.folder / "a").chmod(0o777),
            lambda: (place.folder / "folder").mkdir(),
        ):
            with refused(errno.EROFS):
                change()
        assert (place.files / "a").read_bytes() == b"one"

    def test_a_name_that_is_file_and_folder_cannot_be_mounted(self, place: Place) -> None:
        place.put("a", b"")
        info = place.store.stat("a")
        files = [(path, RangedFile(place.store, info), False) for path in ("a", "a/b")]
        with pytest.raises(MountError, match="'a' is a file and a folder"):
            Mount(place.folder, files, place.cache, place.told.append)
        assert not is_mounted(str(place.folder))


class TestReading:
    @pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 9 * MIB + 5])
    def test_gives_the_bytes_of_the_file(self, place: Place, size: int) -> None:
        data = noise(size)
        place.put("file", data)
        place.mount()
        assert place.read("file") == data

    def test_fetches_only_what_is_read(self, place: Place) -> None:
        data = noise(40 * MIB)
        place.put("file", data)
        mount = place.mount()
        with (place.folder / "file").open("rb", buffering=0) as file:
            for start in (35 * MIB + 7, 3 * MIB - 2, 20 * MIB):
                assert os.pread(file.fileno(), 100, start) == data[start : start + 100]
        assert mount.fetched_bytes <= 4 * MIB

    def test_reads_ahead_of_who_reads_from_front_to_back(self, place: Place) -> None:
        place.put("file", noise(24 * MIB))
        place.mount()
        place.read("file")
        assert place.store.calls["read"] < 20

    def test_reads_ahead_of_who_reads_one_small_file_after_the_other(self, place: Place) -> None:
        names = [f"file-{number:03}" for number in range(60)]
        for name in names:
            place.put(name, name.encode())
        place.mount()
        for name in names[:20]:
            assert place.read(name) == name.encode()
        until(lambda: place.store.calls["read"] > 30)

    def test_reads_nothing_twice(self, place: Place) -> None:
        place.put("file", noise(10 * MIB))
        first = place.mount()
        place.read("file")
        assert first.fetched_bytes == 10 * MIB
        first.close()
        second = place.mount()
        place.read("file")
        assert second.fetched_bytes == 0

    def test_a_file_that_is_in_the_cache_as_a_whole_is_read_there(self, place: Place) -> None:
        data = noise(3 * MIB)
        place.put("file", data)
        place.cache.fetch(place.store, [place.store.stat("file")])
        mount = place.mount()
        assert place.read("file") == data
        assert mount.fetched_bytes == 0

    def test_many_readers_at_once_get_their_own_bytes(self, place: Place) -> None:
        data = noise(16 * MIB)
        place.put("file", data)
        place.mount()

        def read(number: int) -> bool:
            start = number * 7919 * 131 % (15 * MIB)
            with (place.folder / "file").open("rb", buffering=0) as file:
                return os.pread(file.fileno(), 300_000, start) == data[start : start + 300_000]

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            assert all(pool.map(read, range(64)))

    def test_can_be_mapped_into_memory(self, place: Place) -> None:
        data = noise(5 * MIB)
        place.put("file", data)
        place.mount()
        # In another process, because a thread that waits for a page keeps the interpreter's lock.
        code = (
            "import mmap, sys; f = open(sys.argv[1], 'rb'); m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); "
            "sys.stdout.buffer.write(m[3000000:3000100])"
        )
        seen = subprocess.run(
            [sys.executable, "-c", code, place.folder / "file"], capture_output=True, check=True, timeout=60
        )
        assert seen.stdout == data[3000000:3000100]

    def test_what_was_evicted_is_fetched_again(self, place: Place, tmp_path: Path) -> None:
        data = noise(200 * MIB)
        place.put("file", data)
        small = DataCache(tmp_path / "small", 80 * MIB)
        mount = place.mount(cache=small)
        place.read("file")
        # The kernel keeps what it has read, too.
        with (place.folder / "file").open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        held = sum(path.stat().st_size for path in (tmp_path / "small").rglob("*") if path.is_file())
        assert held <= 160 * MIB
        assert place.read("file") == data
        assert mount.fetched_bytes > 200 * MIB


class TestTrouble:
    def test_a_file_that_changes_is_not_read_any_more(self, place: Place) -> None:
        place.put("file", noise(8 * MIB))
        mount = place.mount()
        with (place.folder / "file").open("rb", buffering=0) as file:
            os.pread(file.fileno(), 10, 0)
            mount.refuse_damaged()
            place.put("file", noise(8 * MIB))
            with refused(errno.EIO):
                os.pread(file.fileno(), 10, 6 * MIB)
        with pytest.raises(FileChanged, match="'file' in .* changed"):
            mount.refuse_damaged()
        assert "the script got an I/O error" in place.told[0]

    def test_a_file_without_etag_that_changes_is_not_read_any_more(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place.put("file", noise(3 * MIB))
        plain = place.store.stat("file")

        def without_etag(path: str) -> object:
            from dataclasses import replace

            return replace(RemoteFolder(place.files).stat(path), etag=None)

        monkeypatch.setattr(place.store, "stat", without_etag, raising=False)
        mount = place.mount()
        with (place.folder / "file").open("rb", buffering=0) as file:
            os.pread(file.fileno(), 10, 0)
            place.put("file", noise(3 * MIB))
            os.utime(place.files / "file", (plain.modified + 5, plain.modified + 5))
            with refused():
                os.pread(file.fileno(), 10, 2 * MIB)
        with pytest.raises(FileChanged, match="not the file any more"):
            mount.refuse_damaged()

    @pytest.mark.parametrize("error", [StoreBusy("503 from the service"), StoreError("403: no permission")])
    def test_a_store_that_fails_fails_the_read_and_says_why(self, place: Place, error: StoreError) -> None:
        place.put("file", noise(2 * MIB))
        mount = place.mount()
        place.store.faults.append(failing(error))
        with refused():
            place.read("file")
        with pytest.raises(type(error), match=str(error)) as raised:
            mount.refuse_damaged()
        assert type(raised.value) is type(error)

    def test_trouble_while_reading_ahead_alone_is_none(self, place: Place) -> None:
        data = noise(8 * MIB)
        place.put("file", data)
        mount = place.mount()
        failures = iter([False, False, True])

        def once(method: str, path: str) -> None:
            if method == "read" and next(failures, False):
                raise StoreBusy("once")

        place.store.faults.append(once)
        with (place.folder / "file").open("rb", buffering=0) as file:
            os.pread(file.fileno(), 10, 0)
            os.pread(file.fileno(), 10, MIB)
            until(lambda: place.store.calls["read"] >= 3)
            time.sleep(0.1)
        assert place.read("file") == data
        mount.refuse_damaged()

    def test_who_is_killed_while_he_waits_is_gone_at_once(
        self, place: Place, release: threading.Event
    ) -> None:
        place.put("file", noise(MIB))
        place.mount()
        place.store.faults.append(
            lambda method, path: None if method != "read" else release.wait(60) and None
        )
        reader = subprocess.Popen(["cat", place.folder / "file"], stdout=subprocess.DEVNULL)
        until(lambda: place.store.calls["read"])
        reader.send_signal(signal.SIGKILL)
        assert reader.wait(5) == -signal.SIGKILL

    def test_the_end_of_what_serves_the_mount_is_noticed(self, place: Place) -> None:
        place.put("file", noise(MIB))
        mount = place.mount()
        mount._process.kill()
        until(lambda: place.told)
        with refused():
            place.read("file")
        with pytest.raises(StoreBusy, match="ended from outside"):
            mount.refuse_damaged()
        mount.close()
        assert not is_mounted(str(place.folder))


class TestEnding:
    def test_leaves_an_empty_folder_and_no_process(self, place: Place) -> None:
        place.put("file", b"one")
        with place.mount() as mount:
            assert place.read("file") == b"one"
        assert os.listdir(place.folder) == []
        assert mount._process.poll() is not None
        assert not [thread for thread in threading.enumerate() if thread.name == "mount-requests"]

    def test_ends_although_a_file_is_still_open(self, place: Place) -> None:
        place.put("file", noise(3 * MIB))
        mount = place.mount()
        opened = os.open(place.folder / "file", os.O_RDONLY)
        os.pread(opened, 10, 0)
        mount.close()
        with refused():
            os.pread(opened, 10, 2 * MIB)
        with suppress(OSError):
            os.close(opened)
        assert not is_mounted(str(place.folder))

    def test_a_killed_supervisor_leaves_no_mount_and_nobody_waiting(self, tmp_path: Path) -> None:
        (tmp_path / "files").mkdir()
        (tmp_path / "files" / "file").write_bytes(noise(2 * MIB))
        (tmp_path / "mount").mkdir()
        supervisor = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR, tmp_path],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2] / "services",
        )
        try:
            assert supervisor.stdout is not None
            assert supervisor.stdout.readline() == b"mounted\n"
            reader = subprocess.Popen(["cat", tmp_path / "mount" / "file"], stderr=subprocess.PIPE)
            assert supervisor.stdout.readline() == b"asked\n"
            supervisor.kill()
            _, said = reader.communicate(timeout=15)
            assert reader.returncode == 1
            assert said
            until(lambda: not is_mounted(str(tmp_path / "mount")))
        finally:
            supervisor.kill()
            supervisor.communicate()
            remove_mount(tmp_path / "mount")

    def test_a_mount_whose_processes_were_all_killed_is_taken_away(self, place: Place) -> None:
        place.put("file", b"one")
        mount = place.mount()
        mount._process.kill()
        mount._process.wait()
        with refused():
            place.read("file")
        assert is_mounted(str(place.folder))
        remove_mount(place.folder)
        assert os.listdir(place.folder) == []

    def test_the_next_step_on_the_machine_takes_away_what_was_left(
        self, place: Place, tmp_path: Path
    ) -> None:
        left = WorkingDirectory(tmp_path / "scratch", "left")
        left.create()
        left.virtual.mkdir()
        place.put("file", b"one")
        place.folder = left.virtual
        place.mount()._process.kill()
        left.release()
        again = WorkingDirectory(tmp_path / "scratch", "left")
        again.create()
        assert not is_mounted(str(again.virtual))
        assert os.listdir(again.root) == [".lock"]
        again.remove()


SUPERVISOR = """
import sys, time
from pathlib import Path
sys.path.insert(0, "")
from odd_stores import RemoteFolder
from airflow_azureml.compute.mounting.fetching import RangedFile
from airflow_azureml.compute.mounting.supervisor import Mount
from airflow_azureml.workspace.data_cache import DataCache

root = Path(sys.argv[1])
store = RemoteFolder(root / "files")
files = [(info.path, RangedFile(store, info), False) for info in store.walk()]
mount = Mount(root / "mount", files, DataCache(root / "cache", None), print)
print("mounted", flush=True)

def hang(method, path):
    print("asked", flush=True)
    time.sleep(600)

store.faults.append(hang)
time.sleep(600)
"""


class TestWhere:
    def test_a_user_without_rights_mounts_by_the_helper(
        self, without_root: Callable[[Callable[[], None]], None]
    ) -> None:
        if shutil.which("fusermount3") is None and shutil.which("fusermount") is None:
            pytest.skip("needs fusermount3")
        if Path(kernel.DEVICE).stat().st_mode & 0o006 != 0o006:
            pytest.skip(f"needs a {kernel.DEVICE} that users may open")
        folder = Path(tempfile.mkdtemp())
        folder.chmod(0o777)

        # Without a process that serves: its interpreter may be where only root can look.
        def mount() -> None:
            device = kernel.Device(kernel.mount(str(folder)))
            assert is_mounted(str(folder))
            until(lambda: device.next() is not None)
            kernel.unmount(str(folder))
            assert not is_mounted(str(folder))

        without_root(mount)
        folder.rmdir()

    def test_a_machine_without_the_device_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(kernel, "DEVICE", "/dev/no-such-device")
        assert "there is no /dev/no-such-device" in str(kernel.why_not())

    def test_a_user_who_may_not_open_the_device_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "access", lambda *_: False)
        assert "this user may not open /dev/fuse" in str(kernel.why_not())

    def test_a_user_without_the_helper_is_told_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        monkeypatch.setenv("PATH", str(tmp_path))
        assert "fusermount3 is not installed (package fuse3)" in str(kernel.why_not())

    def test_a_folder_that_cannot_be_mounted_on_is_told(self, place: Place) -> None:
        place.put("file", b"")
        info = place.store.stat("file")
        with pytest.raises(MountError, match="the kernel refuses to mount: No such file"):
            Mount(
                place.folder / "nowhere", [("file", RangedFile(place.store, info), False)], place.cache, print
            )

    @pytest.mark.parametrize("name", ["plain", "with space", "tab\tand\\backslash", "ümlaut"])
    def test_mounts_are_found_by_any_name(self, place: Place, name: str) -> None:
        place.put("file", b"one")
        place.folder = place.folder / name
        place.folder.mkdir()
        assert not is_mounted(str(place.folder))
        with place.mount():
            assert is_mounted(str(place.folder))
        assert not is_mounted(str(place.folder))
