"""A source directory's identity, with and without ``hash_paths``."""

import os

import pytest

from airflow_azureml.runtime.exceptions import SnapshotException
from airflow_azureml.workspace import sources
from airflow_azureml.workspace.hashing import StatCache, hash_tree
from airflow_azureml.workspace.snapshots import SNAPSHOT_LIMIT_BYTES, scan_source


@pytest.fixture
def steps(tmp_path):
    root = tmp_path / "project" / "steps"
    root.mkdir(parents=True)
    (root / "train.py").write_text("import common\n")
    (root / "data").mkdir()
    (root / "data" / "big.csv").write_text("1\n")
    (root / ".amlignore").write_text("data/\n")
    (root.parent / "common").mkdir()
    (root.parent / "common" / "tools.py").write_text("x = 1\n")
    (root.parent / "pins.txt").write_text("numpy\n")
    return root


class TestWithoutHashPaths:
    def test_it_is_the_digest_of_the_tree(self, steps):
        tree = scan_source(steps)
        assert [file.path for file in tree.files()] == [".amlignore", "train.py"]
        assert tree.watched is None
        assert tree.digest == tree.manifest.digest
        assert tree.size_bytes == tree.manifest.size_bytes == 20

    def test_nothing_outside_or_left_out_matters(self, steps):
        before = scan_source(steps).digest
        (steps.parent / "pins.txt").write_text("pandas\n")
        (steps / "data" / "big.csv").write_text("2\n")
        (steps / "__pycache__").mkdir()
        (steps / "__pycache__" / "train.pyc").touch()
        assert scan_source(steps).digest == before

    def test_a_copy_elsewhere_has_the_same_identity(self, steps, tmp_path):
        before = scan_source(steps).digest
        moved = steps.rename(tmp_path / "elsewhere")
        os.utime(moved / "train.py", (1, 1))
        assert scan_source(str(moved)).digest == before

    def test_a_directory_has_to_be_there(self, steps):
        with pytest.raises(SnapshotException, match=r"source directory '.*gone' doesn't exist"):
            scan_source(steps / "gone")
        with pytest.raises(SnapshotException, match="isn't a directory"):
            scan_source(steps / "train.py")

    def test_it_may_hold_300_mib(self, steps):
        assert SNAPSHOT_LIMIT_BYTES == 300 * 1024 * 1024
        with (steps / "weights.bin").open("wb") as file:
            file.truncate(SNAPSHOT_LIMIT_BYTES)
        with pytest.raises(
            SnapshotException, match=r"300\.0 MiB in 3 files.*Largest: weights\.bin.*\.amlignore"
        ):
            scan_source(steps)
        (steps / ".amlignore").write_text("*.bin\n")
        assert scan_source(steps).size_bytes < 100


class TestHashPaths:
    @pytest.mark.parametrize(
        ("path", "changed"),
        [
            ("../pins.txt", "../pins.txt"),
            ("../common", "../common/tools.py"),
            ("../common/", "../common/tools.py"),
            ("data/big.csv", "data/big.csv"),
            ("data", "data/big.csv"),
            (".", "data/big.csv"),
        ],
    )
    def test_enter_the_identity(self, steps, path, changed):
        before = scan_source(steps, hash_paths=[path])
        assert before.digest != scan_source(steps).digest
        assert changed in [file.path for file in before.watched.files]
        assert before.locate(changed).read_bytes() == (steps / changed).read_bytes()
        (steps / changed).write_text("changed\n")
        assert scan_source(steps, hash_paths=[path]).digest != before.digest

    def test_give_an_identity_that_is_pinned(self, steps):
        """Reuse entries hold such numbers: they must not change between versions."""
        assert scan_source(steps).digest == "3d40a603a47d9a007cc1a6b45e907b81a5307d2ec06fd4ae5d76da3a0ad60d9a"
        assert (
            scan_source(steps, hash_paths=["../common", "data"]).digest
            == "96213ec04150a31a1ef1fba6d538b920c829d3b0fb6c0ca49994aa110fd8966d"
        )

    def test_are_spelled_relative_to_the_directory(self, steps, tmp_path):
        absolute = scan_source(steps, hash_paths=[steps.parent / "pins.txt"])
        assert absolute.digest == scan_source(steps, hash_paths=["./../pins.txt"]).digest
        moved = (tmp_path / "project").rename(tmp_path / "checkout")
        assert scan_source(moved / "steps", hash_paths=[moved / "pins.txt"]).digest == absolute.digest

    def test_stand_apart_from_the_tree(self, steps):
        tree = scan_source(steps, hash_paths=["../pins.txt"])
        assert [file.path for file in tree.manifest.files] == [".amlignore", "train.py"]
        assert [file.path for file in tree.files()] == [".amlignore", "train.py", "../pins.txt"]

    def test_listed_twice_or_in_another_order_are_the_same(self, steps):
        one = scan_source(steps, hash_paths=["../pins.txt", "data"])
        assert (
            scan_source(steps, hash_paths=["data", "../pins.txt", "data/big.csv", "data"]).digest
            == one.digest
        )

    def test_leave_out_what_python_writes(self, steps):
        (steps.parent / "common" / "__pycache__").mkdir()
        (steps.parent / "common" / "__pycache__" / "tools.pyc").touch()
        tree = scan_source(steps, hash_paths=["../common"])
        assert [file.path for file in tree.watched.files] == ["../common/tools.py"]

    def test_an_empty_folder_is_told_from_no_hash_paths(self, steps):
        (steps.parent / "empty").mkdir()
        assert scan_source(steps, hash_paths=["../empty"]).digest != scan_source(steps).digest

    def test_have_to_be_there(self, steps):
        with pytest.raises(
            SnapshotException, match=r"hash_paths names '\.\./gone'.*relative to the source directory"
        ):
            scan_source(steps, hash_paths=["../gone"])

    def test_count_towards_the_limit(self, steps):
        with pytest.raises(SnapshotException, match=r"Largest: .*\.\./pins\.txt"):
            scan_source(steps, hash_paths=["../pins.txt"], limit_bytes=23)


def test_a_hundred_steps_over_one_directory_look_at_it_once(steps, monkeypatch):
    looks = []

    def count(*args, **kwargs):
        looks.append(args)
        return hash_tree(*args, **kwargs)

    monkeypatch.setattr(sources, "hash_tree", count)
    cache = StatCache(None, remember_s=60)
    assert len({scan_source(steps, cache=cache).digest for _ in range(100)}) == 1
    assert len(looks) == 1
    scan_source(steps, cache=cache, hash_paths=["../pins.txt"])
    assert len(looks) == 2
