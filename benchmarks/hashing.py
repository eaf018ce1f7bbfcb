"""Hashing a source directory of 10,000 files against git: ``python benchmarks/hashing.py [files] [repeats]``.

Cold is the first sight of a directory (against ``git add``), unchanged is every later DAG file parse (against
``git status``). Both sides are timed in turn, so that other work on the machine meets both; git's times include
starting its process, as anybody who asks it has to.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from airflow_azureml.workspace.local_store import LocalStore
from airflow_azureml.workspace.snapshots import SnapshotStore, scan_source
from airflow_azureml.workspace.stat_cache import StatCache

FILES = 10_000
REPEATS = 5
LONG_AGO_S = time.time() - 3600


def main() -> None:
    """Make the files, measure, print the table."""
    files = int(sys.argv[1]) if len(sys.argv) > 1 else FILES
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else REPEATS
    with tempfile.TemporaryDirectory(prefix="hashing-") as folder:
        root = Path(folder) / "steps"
        size_bytes = make_files(root, files)
        print(f"{files} files, {size_bytes / 2**20:.1f} MiB, {repeats} times each, in milliseconds")
        print("wall time: median (fastest); CPU time: median\n")
        print(f"{'':44}{'here':>24}{'git':>24}{'wall':>8}{'CPU':>8}")
        cold(root, Path(folder), repeats)
        unchanged(root, Path(folder), repeats)
        snapshots(root, Path(folder), repeats)


def make_files(root: Path, count: int) -> int:
    """Write files of the sizes that source files have, in folders of fifty."""
    sizes = random.Random(1)
    total = 0
    for number in range(count):
        folder = root / f"package{number // 500:02d}" / f"module{number // 50 % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        content = sizes.randbytes(200) + b"x = 1\n" * sizes.randint(10, 600)
        path = folder / f"file_{number:05d}.py"
        path.write_bytes(content)
        os.utime(path, (LONG_AGO_S, LONG_AGO_S))
        total += len(content)
    return total


def cold(root: Path, area: Path, repeats: int) -> None:
    """Measure the first sight: everything is read."""

    def ours(number: int) -> None:
        scan_source(root, cache=StatCache(area / f"cache{number}"))

    def add(_: int) -> None:
        git(root, "add", "-A")

    def fresh_repository(_: int) -> None:
        shutil.rmtree(root / ".git", ignore_errors=True)
        git(root, "init", "-q")

    compare("cold, against git add", ours, add, repeats, prepare=fresh_repository)


def unchanged(root: Path, area: Path, repeats: int) -> None:
    """Measure every later look: nothing has changed."""
    git(root, "-c", "user.name=b", "-c", "user.email=b@example.com", "commit", "-q", "-m", "files")
    cache = StatCache(area / "cache")
    for _ in range(2):  # git's index and our cache both settle
        scan_source(root, cache=cache)
        git(root, "status")

    def ours(_: int) -> None:
        scan_source(root, cache=cache)

    def status(_: int) -> None:
        git(root, "status")

    def floor(_: int) -> None:
        stat_all(str(root))

    compare("unchanged, against git status", ours, status, repeats)
    compare("floor: os.scandir and DirEntry.stat alone", floor, status, repeats)
    remembering = StatCache(area / "cache", remember_s=60)
    scan_source(root, cache=remembering)
    alone(
        "unchanged, next step of the same DAG file", lambda _: scan_source(root, cache=remembering), repeats
    )


def snapshots(root: Path, area: Path, repeats: int) -> None:
    """Measure a snapshot of one file: what every step pays before it starts."""
    (area / "one").mkdir()
    (area / "one" / "train.py").write_text("print('train')\n" * 20)
    store = SnapshotStore(LocalStore(area / "workspace"))
    one, whole = scan_source(area / "one"), scan_source(root)
    store.upload(one)
    alone("snapshot of one file: laid out", lambda n: store.lay_out(one.digest, area / f"one{n}"), repeats)
    alone("snapshot of all: first upload", lambda _: store.upload(whole), 1)
    alone("snapshot of all: laid out", lambda n: store.lay_out(whole.digest, area / f"all{n}"), repeats)


def compare(
    what: str,
    ours: Callable[[int], object],
    theirs: Callable[[int], object],
    repeats: int,
    *,
    prepare: Callable[[int], None] = lambda _: None,
) -> None:
    """Time two things in turn and print one line."""
    here, there = [], []
    for number in range(repeats):
        prepare(number)
        here.append(timed(ours, number))
        there.append(timed(theirs, number))
    ratios = [statistics.median(column(here, at)) / statistics.median(column(there, at)) for at in (0, 1)]
    print(f"{what:44}{shown(here):>24}{shown(there):>24}{ratios[0]:>8.2f}{ratios[1]:>8.2f}")


def alone(what: str, ours: Callable[[int], object], repeats: int) -> None:
    """Time one thing and print one line."""
    print(f"{what:44}{shown([timed(ours, number) for number in range(repeats)]):>24}")


def timed(action: Callable[[int], object], number: int) -> tuple[float, float]:
    """Return how long a call takes and what it costs, children included, in milliseconds."""
    started, spent = time.perf_counter(), cpu_s()
    action(number)
    return (time.perf_counter() - started) * 1000, (cpu_s() - spent) * 1000


def cpu_s() -> float:
    """Return the CPU seconds of this process and of its finished children."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def column(times: list[tuple[float, float]], at: int) -> list[float]:
    """Return the wall times (0) or the CPU times (1)."""
    return [time[at] for time in times]


def shown(times: list[tuple[float, float]]) -> str:
    """Write the median and fastest wall time, and the median CPU time."""
    wall, cpu = column(times, 0), column(times, 1)
    return f"{statistics.median(wall):.1f} ({min(wall):.1f}) {statistics.median(cpu):.1f}"


def stat_all(folder: str) -> None:
    """Do what no answer in Python can do without: ask for each file once."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name != ".git":
                    stat_all(entry.path)
            else:
                entry.stat(follow_symlinks=False)


def git(root: Path, *arguments: str) -> None:
    """Run git in the folder."""
    subprocess.run(["git", *arguments], cwd=root, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
