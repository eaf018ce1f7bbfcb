"""A script that fills the disk on which it works, and on which the workspace is: the run fails, and the disk is free again."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml.workspace.handle import open_workspace

pytestmark = pytest.mark.airflow

SIZE_BYTES = 64 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    options = f"size={SIZE_BYTES}"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        missing = f"needs a small file system: {mounted.stderr.strip()}"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


def free_bytes(disk: Path) -> int:
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


@pytest.mark.usefixtures("airflow_database")
def test_a_full_disk(small_disk: Path) -> None:
    ended = run_dag(
        "fills_the_disk",
        SCRATCH_DIRECTORY=str(small_disk / "scratch"),
        WORKSPACE=str(small_disk / "workspace"),
        DEFAULT_PIP_PACKAGES="",
    )

    printed = ended.stdout + ended.stderr
    assert "state=failed" in printed, printed
    first = printed.index("OSError: [Errno 28] No space left on device")
    assert (
        first < printed.index("script fills_the_disk.py: exit code 1") < printed.index("the disk is full: ")
    )
    assert free_bytes(small_disk) > SIZE_BYTES / 2
    workspace = open_workspace(str(small_disk / "workspace"))
    (run,) = workspace.runs.in_experiment("fills_the_disk")
    (step,) = workspace.runs.children(run["id"])
    assert (run["status"], step["status"]) == ("Failed", "Failed")
    assert not workspace.runs.is_committed(step["id"])
    assert not workspace.models.list()


def run_dag(dag_id: str, **options: str) -> subprocess.CompletedProcess[str]:
    airflow = str(Path(sys.executable).with_name("airflow"))
    bundle: dict[str, Any] = {
        "name": "faults",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(Path(__file__).parent / "pipelines")},
    }
    settings = {f"AIRFLOW__AZUREML__{name}": value for name, value in options.items()}
    settings["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"] = json.dumps([bundle])
    return subprocess.run(
        [airflow, "dags", "test", dag_id, "--bundle-name", "faults"],
        capture_output=True,
        text=True,
        env={**os.environ, **settings},
        check=False,
    )
