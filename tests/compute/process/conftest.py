"""Programs that play a step, and what they have written."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml.compute.process import run_process
from airflow_azureml.compute.process_status import ExitStatus


class Output:
    """Collects the lines of a program; acts when a certain one comes."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.actions: dict[str, Callable[[], object]] = {}

    def __call__(self, stream: str, line: str) -> None:
        self.lines.append((stream, line))
        if line in self.actions:
            self.actions[line]()

    def of(self, stream: str) -> list[str]:
        return [line for name, line in self.lines if name == stream]


class Tree:
    """The processes of one test, found wherever they have gone by a variable in their environment."""

    variable = "AZUREML_TEST_TREE"

    def __init__(self, value: str) -> None:
        self.value = value

    def pids(self) -> list[int]:
        wanted = f"{self.variable}={self.value}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                pass
        return found


@pytest.fixture
def output() -> Output:
    return Output()


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    tree = Tree(str(tmp_path))
    yield tree
    for pid in tree.pids():  # only after a test has failed
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def run(output: Output, tree: Tree, tmp_path: Path) -> Callable[..., ExitStatus]:
    """Runs Python code as a step."""

    def run_code(code: str, **options: Any) -> ExitStatus:
        options = {"grace_s": 5.0, "on_line": output, **options}
        env = {"PATH": os.environ["PATH"], tree.variable: tree.value}
        return run_process([sys.executable, "-S", "-c", code], cwd=tmp_path, env=env, **options)

    return run_code
