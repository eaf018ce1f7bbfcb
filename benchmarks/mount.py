"""Reading a remote file where it is mounted, beside downloading it first: ``python -m benchmarks.mount [MiB] [repeats]``.

The file is on Azurite (``azurite-blob`` on PATH, or named by ``AZURITE``). Each side begins with an empty cache and ends when its
reader, a process of its own like a step's script, has what it wanted; mounting and downloading count. Then the same again with
what the first time has left in the cache. Last, looking at a folder of many files: mounted, and on this machine's disk.
"""
# ruff: noqa: PTH116, PTH208

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from airflow_azureml.compute.mounting.fetching import RangedFile
from airflow_azureml.compute.mounting.supervisor import Mount
from airflow_azureml.storage.files import FileInfo, FileStore, StoreAddress
from airflow_azureml.storage.local_files import LocalFiles
from airflow_azureml.storage.opening import open_files
from airflow_azureml.workspace.data_cache import DataCache
from benchmarks.measure import Row, alternately, print_table

sys.path.append(str(Path(__file__).parent.parent / "tests" / "services"))
from azurite_service import AzuriteServer

SIZE_MIB = 1024
REPEATS = 3
RANDOM_READS = 100
FILES = 10_000
MIB = 1 << 20

_RANDOM = """
import os, random, sys
random.seed(1)
file = os.open(sys.argv[1], os.O_RDONLY)
size = os.fstat(file).st_size
for _ in range(int(sys.argv[2])):
    assert len(os.pread(file, 65536, random.randrange(size - 65536))) == 65536
"""
_WHOLE = """
import sys
with open(sys.argv[1], "rb", buffering=0) as file:
    while file.read(1 << 20):
        pass
"""
_PART = """
import sys
with open(sys.argv[1], "rb", buffering=0) as file:
    left = 64
    while left and file.read(1 << 20):
        left -= 1
"""
READERS = {
    f"{RANDOM_READS} × 64 KiB at random": _RANDOM,
    "the first 64 MiB": _PART,
    "all of it": _WHOLE,
}


@dataclass(frozen=True, slots=True)
class Bench:
    """A remote file, and both ways to it.

    :param folder: for caches and mounts.
    """

    folder: Path
    store: FileStore
    info: FileInfo

    def mounted(self, reader: str, *, is_new: bool) -> float:
        """Mount, let a reader read, and return the time."""
        if is_new:
            shutil.rmtree(self.folder / "mount-cache", ignore_errors=True)
        place = self.folder / "mount"
        place.mkdir(exist_ok=True)
        started = time.monotonic()
        files = [("file", RangedFile(self.store, self.info), False)]
        with Mount(place, files, DataCache(self.folder / "mount-cache", None), print):
            read(reader, place / "file")
            return time.monotonic() - started

    def downloaded(self, reader: str, *, is_new: bool) -> float:
        """Download, let a reader read, and return the time."""
        if is_new:
            shutil.rmtree(self.folder / "download-cache", ignore_errors=True)
        started = time.monotonic()
        with DataCache(self.folder / "download-cache", None) as cache:
            (path,) = cache.fetch(self.store, [self.info])
            read(reader, path)
        return time.monotonic() - started


def read(reader: str, path: Path) -> None:
    """Let a new process read a file."""
    subprocess.run([sys.executable, "-I", "-S", "-c", reader, path, str(RANDOM_READS)], check=True)


def main() -> None:
    """Measure and print."""
    size_mib = int(sys.argv[1]) if len(sys.argv) > 1 else SIZE_MIB
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else REPEATS
    server = AzuriteServer()
    try:
        with tempfile.TemporaryDirectory(prefix="mount-") as folder:
            container = server.container()
            os.environ["AIRFLOW_CONN_AZURITE"] = container.connection()
            store = open_files(StoreAddress("AzureBlob", "azurite", None, container.container))
            bench = Bench(Path(folder), store, upload(store, Path(folder), size_mib))
            for when, is_new in (("with an empty cache", True), ("again", False)):
                rows = [
                    compare(bench, what, reader, repeats, is_new=is_new) for what, reader in READERS.items()
                ]
                print_table(f"{size_mib} MiB on Azurite, read {when}: mounted", "downloaded first", rows)
            print_table(f"{FILES} files: mounted", "local", looking(Path(folder), repeats))
    finally:
        server.stop()


def upload(store: FileStore, folder: Path, size_mib: int) -> FileInfo:
    """Put a file of random bytes onto the store."""
    source = folder / "source"
    piece = random.Random(1).randbytes(MIB)
    with source.open("wb") as file:
        for number in range(size_mib):
            file.write(number.to_bytes(8, "big") + piece[8:])
    info = store.put_file("file", source)
    source.unlink()
    return info


def compare(bench: Bench, what: str, reader: str, repeats: int, *, is_new: bool) -> Row:
    """Time both ways in turn."""
    sides: dict[str, Callable[[], float]] = {
        "here": lambda: bench.mounted(reader, is_new=is_new),
        "peer": lambda: bench.downloaded(reader, is_new=is_new),
    }
    times = alternately(sides, repeats)
    return Row(what, times["here"], times["peer"])


class _Elsewhere(LocalFiles):
    """A folder as a store that is no folder of this machine."""

    local_root = None  # type: ignore[assignment]
    uri = "remote://files"  # type: ignore[assignment]


def looking(folder: Path, repeats: int) -> list[Row]:
    """Time ``os.listdir`` and ``os.stat`` of a mounted folder and of one on the disk."""
    local, place = folder / "local", folder / "many"
    local.mkdir()
    place.mkdir()
    names = [f"file-{number:05}" for number in range(FILES)]
    for name in names:
        (local / name).touch()
    store = _Elsewhere(local)
    files = [(name, RangedFile(store, FileInfo(name, 0, 0.0, "etag")), False) for name in names]
    with Mount(place, files, DataCache(folder / "cache", None), print):
        sides = {"here": place, "peer": local}
        rows = []
        for what, look in (("os.listdir", listed), ("os.stat of each", seen)):
            times = alternately(
                {side: lambda at=at, look=look: look(at) for side, at in sides.items()}, repeats
            )  # type: ignore[misc]
            rows.append(Row(what, times["here"], times["peer"], 1.0))
    return rows


def listed(folder: Path) -> float:
    """Return the time to list a folder."""
    started = time.monotonic()
    if len(os.listdir(folder)) != FILES:
        raise SystemExit("files are missing")
    return time.monotonic() - started


def seen(folder: Path) -> float:
    """Return the time to look at each file."""
    paths = [f"{folder}/{name}" for name in os.listdir(folder)]
    started = time.monotonic()
    for path in paths:
        os.stat(path)
    return time.monotonic() - started


if __name__ == "__main__":
    main()
