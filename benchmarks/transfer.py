"""Copying to, from and between containers, beside the tools that people copy with.

``python -m benchmarks.transfer [MiB] [files]``: one large file, and many of 64 KiB in 20 folders, on Azurite (``azurite-blob`` on
PATH, or named by ``AZURITE``). There is a fresh one for each tool, which first uploads, then copies to another container,
then downloads what it uploaded. Each copy is one process, and its start counts: wall time, CPU time and memory are those of the
process; what Azurite takes is not in the CPU time, and is most of the wall time. Every copy is compared with the original
afterwards.

"here" checks every byte: the service gets an MD5 with each request and keeps that of the whole, and what comes down is
compared with it. azcopy does so with the options it is given, rclone except for large files that come down, unless it is told
to fetch them in one stream ("checked"), the SDK when told to ("checked"; it keeps no MD5 of large files), adlfs never. Beside
them stands "here, sizes", which looks at sizes alone.

rclone and azcopy are left out where they aren't installed; azcopy is looked for as ``AZCOPY`` or on PATH, and can't copy between
containers of Azurite, which lacks the request for it. rclone comes to no end there with a large file: Azurite answers a copy
from a signed URL with an error. With ``TMPDIR=/dev/shm`` no disk takes part.
"""

from __future__ import annotations

import filecmp
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.measure import machine
from benchmarks.peer_venvs import peer_python
from benchmarks.transfer_once import ACCOUNT, KEY

sys.path.append(str(Path(__file__).parent.parent / "tests" / "services"))
from azurite_service import AzuriteContainer, AzuriteServer

LARGE_MIB = 1024
SMALL_FILES = 2000
SMALL_BYTES = 64 << 10
ADLFS = "adlfs==2026.8.0"
DIRECTIONS = ("up", "across", "down")
_ONCE = Path(__file__).parent / "transfer_once.py"


@dataclass(frozen=True, slots=True)
class Place:
    """What a tool is given: two containers and a folder."""

    container: AzuriteContainer
    other: AzuriteContainer
    folder: Path

    def url(self, container: str) -> str:
        """Return the URL of a container, with a SAS for it."""
        return f"{self.container.endpoint}/{container}?{account_sas()}"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a copy took."""

    wall_s: float
    cpu_s: float
    peak_mib: float


LONGEST_S = 120.0

Command = Callable[[str, Place], list[str] | None]
"""Makes the command line for a direction; None where the tool cannot do it."""


def main() -> None:
    """Measure and print."""
    large_mib = int(sys.argv[1]) if len(sys.argv) > 1 else LARGE_MIB
    files = int(sys.argv[2]) if len(sys.argv) > 2 else SMALL_FILES
    found = tools()
    with tempfile.TemporaryDirectory(prefix="transfer-") as name:
        large, small = Path(name) / "large", Path(name) / "small"
        make_large(large, large_mib)
        print_costs(f"one file of {large_mib} MiB", measure(found, large), large_mib, "MiB/s")
        make_small(small, files)
        print_costs(f"{files} files of 64 KiB", measure(found, small), files, "files/s")


def tools() -> dict[str, Command]:
    """Return the tools that are there."""
    found: dict[str, Command] = {
        "here": _library("here", sys.executable),
        "here, sizes": _library("here_sizes", sys.executable),
        "azure-storage-blob": _library("sdk", sys.executable),
        "azure-storage-blob, checked": _library("sdk_checked", sys.executable),
    }
    adlfs = peer_python(ADLFS)
    if adlfs is not None:
        found["adlfs"] = _library("adlfs", str(adlfs))
    if shutil.which("rclone"):
        found["rclone"] = rclone
        found["rclone, checked"] = rclone_checked
    if _azcopy():
        found["azcopy"] = azcopy
    return found


def measure(found: dict[str, Command], original: Path) -> dict[str, dict[str, Cost]]:
    """Let each tool copy up, across and down on a fresh server."""
    costs: dict[str, dict[str, Cost]] = {}
    for name, command in found.items():
        server = AzuriteServer()
        work = Path(tempfile.mkdtemp(prefix="down-", dir=original.parent))
        try:
            container = server.container()
            up = Place(container, container.other(), original)
            down = Place(container, up.other, work / "down")
            costs[name] = {}
            for direction in DIRECTIONS:
                line = command(direction, down if direction == "down" else up)
                cost = None if line is None else run(name, line)
                if cost is not None:
                    costs[name][direction] = cost
            check_same(name, original, down.folder)
        finally:
            server.stop()
            shutil.rmtree(work)
        print(
            f"  {name}: {', '.join(f'{way} {cost.wall_s:.1f} s' for way, cost in costs[name].items())}",
            flush=True,
        )
    return costs


def run(name: str, line: list[str]) -> Cost | None:
    """Run a tool, and return what it took; None if it comes to no end."""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        watch = threading.Timer(LONGEST_S, process.kill)
        watch.start()
        _, status, usage = os.wait4(process.pid, 0)
        watch.cancel()
        wall_s = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if wall_s >= LONGEST_S:
            print(f"  {name}: no end within {LONGEST_S:.0f} s")
            return None
        if process.returncode != 0:
            output.seek(0)
            text = output.read().decode(errors="replace")[-2000:]
            raise SystemExit(f"{name} failed with {process.returncode}: {text}")
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def check_same(name: str, original: Path, copy: Path) -> None:
    """Compare what came down with what had gone up."""
    for path in original.rglob("*"):
        if path.is_file() and not filecmp.cmp(path, copy / path.relative_to(original), shallow=False):
            raise SystemExit(f"{name}: {path.name} is not the same")


def print_costs(title: str, costs: dict[str, dict[str, Cost]], amount: int, unit: str) -> None:
    """Print a table for each direction, the fastest first."""
    print(f"\n{title}; {machine()}")
    for direction in DIRECTIONS:
        rows = [(name, found[direction]) for name, found in costs.items() if direction in found]
        print(f"\n{direction:30}{'wall s':>9}{unit:>10}{'CPU s':>9}{'peak MiB':>10}")
        for name, cost in sorted(rows, key=lambda row: row[1].wall_s):
            rate = amount / cost.wall_s
            print(f"{name:30}{cost.wall_s:>9.2f}{rate:>10.0f}{cost.cpu_s:>9.2f}{cost.peak_mib:>10.0f}")
    print(flush=True)


def rclone(direction: str, place: Place) -> list[str]:
    """Return the command line of rclone."""
    names = place.container.container, place.other.container
    source, target = {
        "up": (str(place.folder), f":azureblob:{names[0]}"),
        "down": (f":azureblob:{names[0]}", str(place.folder)),
        "across": (f":azureblob:{names[0]}", f":azureblob:{names[1]}"),
    }[direction]
    sas = f"--azureblob-sas-url={place.container.endpoint}?{account_sas()}"
    return ["rclone", "copy", source, target, "--config=", "--transfers=32", "--checkers=32", "--quiet", sas]


def rclone_checked(direction: str, place: Place) -> list[str] | None:
    """Return the command line of rclone that compares MD5s of large files, too."""
    return None if direction == "across" else [*rclone(direction, place), "--multi-thread-streams=0"]


def azcopy(direction: str, place: Place) -> list[str] | None:
    """Return the command line of azcopy."""
    if direction == "across":
        return None
    remote = place.url(place.container.container)
    options = ["--recursive", "--log-level=NONE", "--output-level=quiet"]
    if direction == "up":
        ends, way = [f"{place.folder}/*", remote], ["--from-to=LocalBlob", "--put-md5"]
    else:
        ends, way = [remote.replace("?", "/*?"), str(place.folder)], ["--from-to=BlobLocal"]
        way.append("--check-md5=FailIfDifferent")
    return [str(_azcopy()), "copy", *ends, *options, *way]


def account_sas() -> str:
    """Return a SAS for everything that Azurite has."""
    from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

    token: str = generate_account_sas(
        ACCOUNT,
        KEY,
        ResourceTypes(service=True, container=True, object=True),
        AccountSasPermissions(read=True, write=True, delete=True, list=True, add=True, create=True),
        datetime.now(UTC) + timedelta(days=1),
    )
    return token


def make_large(folder: Path, size_mib: int) -> None:
    """Write a file that nothing can compress."""
    folder.mkdir()
    made = random.Random(1)
    with (folder / "large.bin").open("wb") as file:
        for _ in range(size_mib):
            file.write(made.randbytes(1 << 20))


def make_small(folder: Path, number: int) -> None:
    """Write files in 20 folders."""
    made = random.Random(2)
    for at in range(number):
        place = folder / f"part={at % 20:02d}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{at:06d}.bin").write_bytes(made.randbytes(SMALL_BYTES))


def _library(name: str, python: str) -> Command:
    def command(direction: str, place: Place) -> list[str]:
        place.folder.mkdir(exist_ok=True)
        names = [place.container.container, place.other.container]
        return [python, str(_ONCE), name, direction, place.container.endpoint, *names, str(place.folder)]

    return command


def _azcopy() -> str | None:
    return os.environ.get("AZCOPY") or shutil.which("azcopy")


if __name__ == "__main__":
    main()
