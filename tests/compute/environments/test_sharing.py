"""An environment is built once for all who ask, and kept as long as anybody uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml.compute.environments import EnvironmentCache, builder
from airflow_azureml.compute.environments.prune import folder_bytes
from airflow_azureml.runtime.exceptions import StepCanceled

Make = Callable[..., Any]
Run = Callable[[Path, str], str]
Worker = Callable[..., Any]


WORKER = """
import json, sys
from pathlib import Path
from airflow_azureml.compute.environments import EnvironmentCache, builder
class Environment:
    digest = sys.argv[2]
    def specification(self): return json.loads(sys.argv[3])
if sys.argv[4]: builder.uv_program = lambda: sys.argv[4]
print("ready", flush=True); sys.stdin.readline()
with EnvironmentCache(Path(sys.argv[1])).ensure(Environment(), lambda line: print(line, flush=True)) as interpreter:
    print("python", interpreter.python, flush=True)
"""


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a process that is ready to ask for an environment; a line on its input lets it go."""
    started = []

    def start(wanted: Any, uv: Path | str = "") -> subprocess.Popen[str]:
        arguments = [tmp_path / "environments", wanted.digest, json.dumps(wanted.specification()), uv]
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_eight_processes_at_the_same_moment_make_one_build(environment: Make, worker: Worker) -> None:
    wanted = environment("stem")
    processes = [worker(wanted) for _ in range(8)]
    for process in processes:
        process.stdin.write("go\n")
    outputs = [process.communicate()[0] for process in processes]
    assert sum("resolving" in output for output in outputs) == 1
    assert len({output.splitlines()[-1] for output in outputs}) == 1
    assert all(output.splitlines()[-1].startswith("python /") for output in outputs)


def test_after_kill_9_of_the_builder_nothing_writes_any_more_and_the_next_one_builds(
    lines: list[str], tmp_path: Path, environment: Make, output_of: Run, endless_uv: Path, worker: Worker
) -> None:
    wanted = environment("leaf")
    builder_process = worker(wanted, endless_uv)
    builder_process.stdin.write("go\n")
    assert "Building it" in builder_process.stdout.readline()
    builder_process.kill()
    interpreter = EnvironmentCache(tmp_path / "environments").ensure(wanted, lines.append)
    tool = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(tool, 0)
    assert output_of(interpreter.python, "import leaf; print(leaf.version)") == "1.1"
    assert not (interpreter.python.parent.parent / "file").exists()


def test_a_cancel_during_the_build_ends_the_tool_and_leaves_nothing(
    cache: EnvironmentCache,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: Make,
    endless_uv: Path,
) -> None:
    cancelled = threading.Event()
    monkeypatch.setattr(builder, "uv_program", lambda: str(endless_uv))

    def report(line: str) -> None:
        if "Building it" in line:
            cancelled.set()

    with pytest.raises(StepCanceled):
        cache.ensure(environment("leaf"), report, cancelled)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert [p for p in (tmp_path / "environments").iterdir() if not p.name.startswith(".")] == []


def test_a_cancel_ends_the_wait_for_another_builder(
    lines: list[str], tmp_path: Path, environment: Make, endless_uv: Path, worker: Worker
) -> None:
    wanted = environment("leaf")
    other = worker(wanted, endless_uv)
    other.stdin.write("go\n")
    other.stdout.readline()
    cancelled = threading.Event()

    def report(line: str) -> None:
        lines.append(line)
        cancelled.set()

    with pytest.raises(StepCanceled):
        EnvironmentCache(tmp_path / "environments").ensure(wanted, report, cancelled)
    assert lines == [f"environment {wanted.digest[:8]}: waiting for another process that builds it"]


def test_pruning_removes_the_longest_unused_first(
    cache: EnvironmentCache, lines: list[str], tmp_path: Path, environment: Make
) -> None:
    old, recent = environment("leaf==1.0"), environment("leaf==1.1")
    for wanted in (old, recent):
        cache.ensure(wanted, lines.append).release()
    old_again = cache.ensure(old, lines.append)
    old_again.release()
    sizes = cache.prune(10**12)
    assert (len(sizes.kept), sizes.removed, sizes.freed_bytes) == (2, (), 0)
    report = cache.prune(folder_bytes(tmp_path / "environments" / sizes.kept[0]))
    assert report.kept == (old_again.python.parent.parent.name,)
    assert len(report.removed) == 1
    assert report.freed_bytes > 0
    assert cache.prune(0).kept == ()
    lines.clear()
    cache.ensure(recent, lines.append)
    assert lines  # it was built again


def test_pruning_never_removes_what_is_in_use(
    cache: EnvironmentCache, lines: list[str], environment: Make, output_of: Run
) -> None:
    with cache.ensure(environment("leaf"), lines.append) as interpreter:
        report = cache.prune(0)
        assert report.in_use == (interpreter.python.parent.parent.name,)
        assert report.removed == ()
        assert output_of(interpreter.python, "import leaf") == ""
    assert cache.prune(0).in_use == ()


def test_pruning_removes_what_an_interrupted_build_has_left(cache: EnvironmentCache, tmp_path: Path) -> None:
    half = tmp_path / "environments" / "0123-half-built"
    half.mkdir(parents=True)
    (half / "file").write_text("x")
    assert cache.prune(10**12).removed == (half.name,)
    assert not half.exists()


def test_pruning_an_empty_cache(cache: EnvironmentCache) -> None:
    assert cache.prune(0).removed == ()
