"""What a step uploads stays on its machine for the steps that read it there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_azureml.compute.outputs import remote_files
from airflow_azureml.compute.staging import OutputStaging, find_places
from airflow_azureml.model.port_types import OutputPort
from airflow_azureml.workspace.data_cache import DataCache


class Run:
    """One step run that writes two files, and what becomes of them."""

    def __init__(self, lake: Any, path: str | None, cache: DataCache | None) -> None:
        workspace = lake.lab.workspace
        port = OutputPort("out", "file_dataset", path=path or "{run-id}")
        staging = OutputStaging(
            workspace, lake.lab.root / "staged", lake.lab.root, find_places([port], "run", "lake"), cache
        )
        folder = Path(staging.prepare()["out"])
        (folder / "deep").mkdir()
        (folder / "a.txt").write_text("one")
        (folder / "deep" / "b.txt").write_text("two")
        staging.collect()
        (self.output,) = staging.publish(lake.fresh_cache())
        staging.keep()
        self.files = remote_files(workspace, self.output, lake.fresh_cache())


@pytest.mark.parametrize("path", [None, "shared"])
def test_nothing_is_downloaded(lake: Any, tmp_path: Path, path: str | None) -> None:
    with DataCache(tmp_path / "cache", None) as cache:
        run = Run(lake, path, cache)
        assert [path.read_text() for path in cache.fetch(lake.counted, run.files)] == ["one", "two"]
        assert lake.reads() == 0


def test_what_was_written_again_by_others_is_downloaded(lake: Any, tmp_path: Path) -> None:
    with DataCache(tmp_path / "cache", None) as cache:
        run = Run(lake, None, cache)
        newer = lake.put(run.files[0].path, "new")
        assert [path.read_text() for path in cache.fetch(lake.counted, [newer])] == ["new"]
        assert lake.reads() == 1


def test_a_cache_that_cannot_be_written_costs_a_download(lake: Any, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no folder")
    run = Run(lake, None, DataCache(tmp_path / "cache", None))
    assert len(run.files) == 2
    with DataCache(tmp_path / "another", None) as cache:
        assert [path.read_text() for path in cache.fetch(lake.counted, run.files)] == ["one", "two"]
