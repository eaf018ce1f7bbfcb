"""Mirrors, which delete, and dry runs, which do nothing."""

from typing import Any

import pytest
from odd_stores import RemoteFolder

from airflow_azureml.runtime.exceptions import UserErrorException

ALL = ["a.csv", "sub/b.csv", "sub/deep/c.txt"]


def counts(result: Any) -> tuple[int, int, int, int]:
    return result.copied, result.skipped, result.kept, result.deleted


def test_a_mirror_deletes_what_the_source_does_not_have(bench: Any) -> None:
    bench.run("", "in")
    (bench.from_folder / "sub/b.csv").unlink()
    (bench.to_folder / "beside.csv").write_bytes(b"x")

    assert counts(bench.run("", "in", mode="mirror", delete_limit=0.5)) == (0, 2, 0, 1)
    assert list(bench.arrived()) == ["beside.csv", "in/a.csv", "in/sub/deep/c.txt"]


def test_a_mirror_removes_folders_that_became_empty(bench: Any) -> None:
    bench.run("", "in")
    (bench.from_folder / "sub/deep/c.txt").unlink()
    (bench.from_folder / "sub/deep").rmdir()
    (bench.from_folder / "kept").mkdir()
    (bench.to_folder / "in/old/older").mkdir(parents=True)
    bench.run("", "in", mode="mirror", delete_limit=1)

    assert sorted(path.name for path in (bench.to_folder / "in").rglob("*") if path.is_dir()) == [
        "kept",
        "sub",
    ]


@pytest.mark.parametrize("limit", [0, 1, 0.25, 0.6])
def test_a_mirror_that_would_delete_too_much_does_nothing(bench: Any, limit: float) -> None:
    bench.run("", "in")
    (bench.from_folder / "sub/b.csv").unlink()
    (bench.from_folder / "sub/deep/c.txt").unlink()
    bench.write({"new": b"x"})

    with pytest.raises(
        UserErrorException, match=f"2 of 3 files .* delete_limit={limit!r} allows; nothing was changed"
    ):
        bench.run("", "in", mode="mirror", delete_limit=limit)
    assert list(bench.arrived()) == ["in/a.csv", "in/sub/b.csv", "in/sub/deep/c.txt"]


def test_a_mirror_of_a_source_that_lost_all_its_files_is_stopped_by_the_usual_limit(bench: Any) -> None:
    bench.run("", "in")
    bench.source = RemoteFolder(bench.from_folder, has_folders=True)
    for path in ALL:
        (bench.from_folder / path).unlink()

    with pytest.raises(UserErrorException, match="3 of 3 files"):
        bench.run("", "in", mode="mirror")


def test_a_mirror_leaves_alone_what_is_excluded(bench: Any) -> None:
    bench.run("", "in")
    (bench.to_folder / "in/notes.md").write_bytes(b"mine")

    assert counts(bench.run("", "in", mode="mirror", exclude=("*.md",))) == (0, 3, 0, 0)
    assert "in/notes.md" in bench.arrived()


def test_a_dry_run_says_what_would_be_done_and_does_nothing(bench: Any) -> None:
    bench.run("sub", "in")
    (bench.to_folder / "in/extra").write_bytes(b"x")
    bench.write({"sub/b.csv": b"other"})
    bench.lines.clear()
    before = bench.arrived()

    result = bench.run("sub", "in", mode="mirror", delete_limit=1, dry_run=True)

    assert counts(result) == (1, 1, 0, 1)
    assert "would copy 'b.csv'" in bench.lines
    assert "would delete 'extra'" in bench.lines
    assert bench.lines[-1].startswith("dry run: 1 copied, 1 unchanged, 1 deleted")
    assert bench.arrived() == before
    assert counts(bench.run("sub", "in")) == (1, 1, 0, 0)
