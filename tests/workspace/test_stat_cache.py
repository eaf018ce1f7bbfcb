"""The cache never changes an answer: it only saves reading files that surely did not change."""

import os
import random
import threading
import time
from pathlib import Path

import pytest

from airflow_azureml.workspace import hashing
from airflow_azureml.workspace.hashing import FileDigest, StatCache, TreeManifest, hash_file, hash_tree
from airflow_azureml.workspace.ignore import IgnoreRules
from airflow_azureml.workspace.stat_cache import is_racy

LONG_AGO = (1_700_000_000_123_456_789, 1_700_000_000_123_456_789)


@pytest.fixture
def root(tmp_path):
    """A folder whose files have been there for a while."""
    root = tmp_path / "steps"
    (root / "lib").mkdir(parents=True)
    for name in ("train.py", "score.py", "lib/tools.py"):
        (root / name).write_text(f"# {name}\n")
        os.utime(root / name, ns=LONG_AGO)
    return root


@pytest.fixture
def cache(tmp_path):
    return StatCache(tmp_path / "cache")


@pytest.fixture
def reads(monkeypatch):
    """The names of the files whose content is read."""
    names = []
    real = hashing._read

    def spy(candidate, started_ns):
        names.append(Path(candidate.path).name)
        return real(candidate, started_ns)

    monkeypatch.setattr(hashing, "_read", spy)
    return names


def cache_file(cache, kind="trees"):
    (path,) = (path for path in (cache_folder(cache) / kind).rglob("*") if path.is_file())
    return path


def cache_folder(cache):
    return Path(cache._folder)


class TestUnchangedFiles:
    def test_are_not_read_again(self, root, cache, reads):
        first = hash_tree(root, cache=cache)
        assert sorted(reads) == ["score.py", "tools.py", "train.py"]
        reads.clear()
        second = hash_tree(root, cache=cache)
        assert reads == []
        assert (second.digest, second.size_bytes, second.files) == (
            first.digest,
            first.size_bytes,
            first.files,
        )

    def test_are_not_read_by_another_process_either(self, root, cache, reads):
        hash_tree(root, cache=cache)
        reads.clear()
        hash_tree(root, cache=StatCache(cache_folder(cache)))
        assert reads == []

    def test_are_not_read_under_other_rules(self, root, cache, reads):
        hash_tree(root, cache=cache)
        reads.clear()
        assert len(hash_tree(root, ignore=IgnoreRules(["lib"]), cache=cache).files) == 2
        assert len(hash_tree(root, cache=cache, keep_empty_directories=True).files) == 3
        assert reads == ["tools.py"]  # forgotten by the walk that left it out

    def test_save_nothing(self, root, cache):
        hash_tree(root, cache=cache)
        before = cache_file(cache).stat().st_mtime_ns
        hash_tree(root, cache=cache)
        assert cache_file(cache).stat().st_mtime_ns == before

    def test_reached_through_links_are_not_read_again(self, root, cache, reads):
        (root / "alias.py").symlink_to("train.py")
        (root / "library").symlink_to("lib")
        first = hash_tree(root, cache=cache)
        reads.clear()
        assert hash_tree(root, cache=cache).files == first.files
        assert reads == []


class TestChangedFiles:
    def test_alone_are_read(self, root, cache, reads):
        hash_tree(root, cache=cache)
        reads.clear()
        (root / "train.py").write_text("changed")
        assert hash_tree(root, cache=cache) == hash_tree(root)
        assert reads[0] == "train.py"
        assert len(reads) == 1 + 3

    def test_are_seen_with_their_old_time_and_size(self, root, cache):
        before = hash_tree(root, cache=cache)
        (root / "train.py").write_text("# TRAIN.py\n")
        os.utime(root / "train.py", ns=LONG_AGO)
        assert hash_tree(root, cache=cache) != before

    def test_are_seen_when_another_file_of_the_same_time_and_size_takes_their_place(self, root, cache):
        before = hash_tree(root, cache=cache)
        (root / "new").write_text("# TRAIN.py\n")
        os.utime(root / "new", ns=LONG_AGO)
        (root / "new").replace(root / "train.py")
        assert hash_tree(root, cache=cache) != before

    @pytest.mark.parametrize(
        "change",
        [
            lambda root: (root / "train.py").chmod(0o755),
            lambda root: (root / "train.py").unlink(),
            lambda root: (root / "lib" / "more.py").touch(),
            lambda root: (root / "lib").rename(root / "lab"),
            lambda root: ((root / "train.py").unlink(), (root / "train.py").mkdir()),
            lambda root: ((root / "train.py").unlink(), (root / "train.py").symlink_to("score.py")),
        ],
        ids=["executable", "removed", "added", "folder renamed", "now a folder", "now a link"],
    )
    def test_of_every_kind_are_seen(self, root, cache, change):
        before = hash_tree(root, cache=cache)
        change(root)
        after = hash_tree(root, cache=cache)
        assert after != before
        assert after == hash_tree(root)

    def test_in_empty_folders_are_seen(self, root, cache):
        before = hash_tree(root, cache=cache, keep_empty_directories=True)
        (root / "empty").mkdir()
        after = hash_tree(root, cache=cache, keep_empty_directories=True)
        assert after != before
        assert after == hash_tree(root, cache=cache, keep_empty_directories=True)

    def test_are_seen_after_any_sequence_of_edits(self, root, cache):
        shuffle = random.Random(7)
        for step in range(60):
            name = shuffle.choice(["train.py", "lib/tools.py", "new.py", "lib/deep/x.py"])
            path = root / name
            if path.exists() and shuffle.random() < 0.3:
                path.unlink()
            else:
                path.parent.mkdir(exist_ok=True)
                path.write_text(str(step % 3))
                if shuffle.random() < 0.5:
                    os.utime(path, ns=LONG_AGO)
            assert hash_tree(root, cache=cache).files == hash_tree(root).files


class TestFilesModifiedJustNow:
    def test_are_read_once_more(self, root, cache, reads):
        (root / "train.py").write_text("fresh")
        hash_tree(root, cache=cache)
        reads.clear()
        hash_tree(root, cache=cache)
        assert reads == ["train.py"]

    def test_from_the_future_are_read_each_time(self, root, cache, reads):
        future = time.time_ns() + 10**12 + 1
        os.utime(root / "train.py", ns=(future, future))
        for _ in range(2):
            hash_tree(root, cache=cache)
        assert reads.count("train.py") == 2

    @pytest.mark.parametrize(
        ("modified_ns", "racy"),
        [
            (10_000_000_000_001, True),
            (9_999_990_000_001, True),
            (9_900_000_000_001, False),
            (9_999_000_000_000, True),
            (9_998_000_000_000, True),
            (9_997_000_000_000, False),
        ],
        ids=["same moment", "within a tick", "before", "whole seconds", "of FAT", "long before"],
    )
    def test_are_judged_by_what_their_file_system_can_tell(self, modified_ns, racy):
        assert is_racy(modified_ns, 10_000_000_000_000) is racy

    def test_while_they_are_read_are_not_trusted(self, root, cache, reads, monkeypatch):
        real = os.read

        def interfere(descriptor, size):
            data = real(descriptor, size)
            os.utime(root / "train.py", ns=(LONG_AGO[0] + 5, LONG_AGO[1] + 5))
            return data

        with monkeypatch.context() as patch:
            patch.setattr(hashing.os, "read", interfere)
            hash_tree(root, cache=cache)
        reads.clear()
        hash_tree(root, cache=cache)
        assert "train.py" in reads


class TestTheCacheItself:
    @pytest.mark.parametrize(
        "damage",
        [
            lambda data: b"",
            lambda data: data[:100],
            lambda data: data[:-1] + b"?",
            lambda data: data.replace(b"azureml-stat-1", b"azureml-stat-0"),
            lambda data: b"\0" * len(data),
            lambda data: b"\n\n\n" + data,
            lambda data: data + b"x",
        ],
    )
    def test_is_ignored_when_damaged(self, root, cache, damage):
        before = hash_tree(root, cache=cache)
        path = cache_file(cache)
        path.write_bytes(damage(path.read_bytes()))
        assert hash_tree(root, cache=cache) == before

    def test_costs_nothing_but_time_when_it_cannot_be_written(self, root, tmp_path):
        (tmp_path / "file").touch()
        assert hash_tree(root, cache=StatCache(tmp_path / "file")) == hash_tree(root)

    def test_may_be_absent(self, root):
        assert hash_tree(root, cache=StatCache(None)) == hash_tree(root)

    def test_keeps_names_that_are_no_text(self, root, cache, reads):
        name = os.fsdecode(b"\xff\n")
        (root / name).touch()
        (root / "\\udcff").touch()
        for path in root.glob("*"):
            os.utime(path, ns=LONG_AGO)
        first = hash_tree(root, ignore=IgnoreRules(["score*"]), cache=cache)
        reads.clear()
        assert hash_tree(root, ignore=IgnoreRules(["score*"]), cache=cache).files == first.files
        assert reads == []

    def test_remembers_an_empty_folder(self, tmp_path, cache):
        (tmp_path / "empty").mkdir()
        assert hash_tree(tmp_path / "empty", cache=cache) == hash_tree(tmp_path / "empty", cache=cache)

    def test_is_shared_by_concurrent_writers(self, root, cache):
        expected = hash_tree(root).digest
        wrong = []

        def work():
            for number in range(20):
                own = StatCache(cache_folder(cache))
                if hash_tree(root, cache=own, keep_empty_directories=bool(number % 2)).digest != expected:
                    wrong.append(number)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert cache_file(cache)  # one file, no drafts left


class TestSingleFiles:
    def test_large_ones_are_not_read_again(self, tmp_path, cache, reads):
        path = tmp_path / "data.bin"
        path.write_bytes(b"x" * (1 << 20))
        os.utime(path, ns=LONG_AGO)
        assert hash_file(path, cache) == hash_file(path, cache)
        assert reads == ["data.bin"]
        path.write_bytes(b"y" * (1 << 20))
        os.utime(path, ns=LONG_AGO)
        assert hash_file(path, cache) == hash_file(path)

    def test_damaged_entries_are_ignored(self, tmp_path, cache):
        path = tmp_path / "data.bin"
        path.write_bytes(b"x" * (1 << 20))
        os.utime(path, ns=LONG_AGO)
        before = hash_file(path, cache)
        for damage in (b"", b"[1]", b"nonsense", b'{"a": 1}', b"[1, 2, 3]"):
            cache_file(cache, "files").write_bytes(damage)
            assert hash_file(path, cache) == before


class TestPriming:
    def test_saves_reading_what_was_just_moved_into_place(self, root, cache, reads):
        manifest = hash_tree(root, keep_empty_directories=True)
        moved = root.rename(root.with_name("published"))
        reads.clear()
        cache.prime(moved, manifest)
        assert hash_tree(moved, keep_empty_directories=True, cache=cache) == manifest
        assert reads == []

    def test_does_not_trust_what_is_not_as_the_manifest_says(self, root, cache):
        manifest = hash_tree(root, keep_empty_directories=True)
        (root / "train.py").write_text("something else")
        (root / "score.py").unlink()
        cache.prime(root, TreeManifest([*manifest.files, FileDigest("gone", "0" * 64, 1, False)]))
        assert hash_tree(root, keep_empty_directories=True, cache=cache).files == hash_tree(root).files


class TestRemembering:
    def test_ends_after_its_time(self, tmp_path, monkeypatch):
        cache = StatCache(tmp_path, remember_s=2)
        now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: now)
        cache.remember("key", "value")
        assert cache.recall("key") == "value"
        now = 102.5
        assert cache.recall("key") is None

    def test_is_off_by_default(self, tmp_path):
        cache = StatCache(tmp_path)
        cache.remember("key", "value")
        assert cache.recall("key") is None
