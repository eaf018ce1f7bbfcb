"""The runtime's folder: whole, named after its content, repaired, shared."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

from airflow_azureml.runtime import ship as shipping
from airflow_azureml.runtime.ship import ship


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_it_holds_the_runtime_and_nothing_else(tmp_path: Path) -> None:
    folder = ship(tmp_path / "new" / "runtime")

    found = files_in(folder)
    assert {
        "sitecustomize.py",
        "lib/airflow_azureml/__init__.py",
        "lib/airflow_azureml/runtime/run.py",
    } <= found
    assert {name for name in found if not name.startswith("lib/airflow_azureml/runtime/")} == {
        "sitecustomize.py",
        "lib/airflow_azureml/__init__.py",
    }
    assert all(name.endswith(".py") for name in found)


def test_a_second_call_finds_it(tmp_path: Path) -> None:
    first = ship(tmp_path)
    before = first.stat().st_mtime_ns

    assert ship(tmp_path) == first
    assert first.stat().st_mtime_ns == before
    assert list(tmp_path.iterdir()) == [first]


def test_finding_it_is_quick(tmp_path: Path) -> None:
    ship(tmp_path)
    shipping._content.cache_clear()

    started = time.perf_counter()
    ship(tmp_path)

    assert time.perf_counter() - started < 0.02


def test_what_a_cleaner_of_temporary_folders_took_comes_back(tmp_path: Path) -> None:
    folder = ship(tmp_path)
    whole = files_in(folder)
    (folder / "sitecustomize.py").unlink()
    shutil.rmtree(folder / "lib" / "airflow_azureml" / "runtime" / "dataset")

    assert ship(tmp_path) == folder
    assert files_in(folder) == whole
    assert list(tmp_path.iterdir()) == [folder]


def test_many_at_once(tmp_path: Path) -> None:
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(ship(tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 8
    assert set(found) == set(tmp_path.iterdir())
