"""What every store of files does. A new back end joins ``KINDS`` (conftest.py) and must pass unchanged."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_azureml.runtime.exceptions import ObjectNotFound, UserErrorException
from airflow_azureml.storage.files import FileChanged, FileStore

LARGE = 20 * 1024 * 1024 + 17


def put(store: FileStore, path: str, data: bytes):
    with store.writer(path) as file:
        file.write(data)
        return file.close()


def write_half(store: FileStore, path: str, data: bytes, error: Exception | None) -> None:
    with store.writer(path) as file:
        file.write(data)
        if error is not None:
            raise error


def paths(store: FileStore, folder: str = "") -> list[str]:
    return [info.path for info in store.walk(folder)]


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(os.urandom(1 << 20) * 20 + b"the end of it all")
    return path


class TestOneFile:
    def test_a_written_file_is_read_back(self, store: FileStore) -> None:
        written = put(store, "folder/a.txt", b"0123456789")
        assert (written.path, written.size_bytes) == ("folder/a.txt", 10)
        assert store.read("folder/a.txt") == b"0123456789"
        assert b"".join(store.stream("folder/a.txt")) == b"0123456789"

    def test_ranges_end_where_the_file_ends(self, store: FileStore) -> None:
        put(store, "a", b"0123456789")
        assert store.read("a", 2, 3) == b"234"
        assert store.read("a", 7) == b"789"
        assert store.read("a", 8, 100) == b"89"
        assert store.read("a", 10, 5) == b""
        assert store.read("a", 200) == b""
        assert store.read("a", 3, 0) == b""

    def test_an_empty_file_is_a_file(self, store: FileStore, tmp_path: Path) -> None:
        put(store, "empty", b"")
        assert store.stat("empty").size_bytes == 0
        assert store.read("empty") == b""
        assert list(store.stream("empty")) == []
        assert store.read("empty", 0, 10) == b""
        assert store.get_file("empty", tmp_path / "x").size_bytes == 0
        assert (tmp_path / "x").read_bytes() == b""
        assert store.put_file("again", tmp_path / "x").size_bytes == 0
        assert paths(store) == ["again", "empty"]

    def test_looking_shows_what_writing_returned(self, store: FileStore) -> None:
        written = put(store, "a", b"x")
        found = store.stat("a")
        assert (found.path, found.size_bytes, found.etag) == ("a", 1, written.etag)
        assert next(store.walk()).etag == written.etag
        assert found.modified > 1.6e9

    def test_every_write_is_another_version(self, store: FileStore) -> None:
        versions = [put(store, "a", b"same size %d" % (number % 10)).version for number in range(10)]
        assert len(set(versions)) == 10
        assert store.read("a") == b"same size 9"

    def test_what_is_not_there(self, store: FileStore, tmp_path: Path) -> None:
        put(store, "folder/a", b"x")
        for path in ("b", "folder", "folder/a/b"):
            assert store.stat(path) is None
            for read in (
                lambda: store.read(path),  # noqa: B023
                lambda: store.read(path, 1, 5),  # noqa: B023
                lambda: list(store.stream(path)),  # noqa: B023
                lambda: store.get_file(path, tmp_path / "target"),  # noqa: B023
                lambda: store.copy(path, "c"),  # noqa: B023
            ):
                with pytest.raises(ObjectNotFound):
                    read()
        assert not (tmp_path / "target").exists()
        assert paths(store) == ["folder/a"]

    def test_a_deleted_file_is_gone_and_deleting_again_is_no_error(self, store: FileStore) -> None:
        put(store, "folder/a", b"x")
        put(store, "folder/b", b"x")
        store.delete("folder/a")
        store.delete("folder/a")
        store.delete("folder")
        assert paths(store) == ["folder/b"]

    def test_a_file_that_changed_is_not_read_by_its_old_etag(self, store: FileStore, tmp_path: Path) -> None:
        old = put(store, "a", b"old")
        new = put(store, "a", b"newer")
        assert store.read("a", etag=new.etag) == b"newer"
        assert b"".join(store.stream("a", etag=new.etag)) == b"newer"
        assert store.get_file("a", tmp_path / "t", etag=new.etag).etag == new.etag
        for read in (
            lambda: store.read("a", etag=old.etag),
            lambda: store.read("a", 1, 1, etag=old.etag),
            lambda: list(store.stream("a", etag=old.etag)),
            lambda: store.get_file("a", tmp_path / "t", etag=old.etag),
        ):
            with pytest.raises(FileChanged):
                read()

    def test_a_file_is_copied_within_the_store(self, store: FileStore) -> None:
        put(store, "a", b"content")
        put(store, "b/c", b"older, longer content")
        copied = store.copy("a", "b/c")
        assert (copied.path, copied.size_bytes) == ("b/c", 7)
        assert store.read("b/c") == b"content"
        assert store.stat("b/c").version == copied.version


class TestLocalFiles:
    def test_a_small_file_goes_there_and_back(self, store: FileStore, tmp_path: Path) -> None:
        source, target = tmp_path / "source", tmp_path / "new" / "folder" / "target"
        source.write_bytes(b"content")
        written = store.put_file("a/b", source)
        assert written.size_bytes == 7
        found = store.get_file("a/b", target)
        assert target.read_bytes() == b"content"
        assert found.version == store.stat("a/b").version
        assert [path.name for path in target.parent.iterdir()] == ["target"]

    def test_a_large_file_goes_there_and_back_in_parts(
        self, store: FileStore, tmp_path: Path, large: Path
    ) -> None:
        written = store.put_file("large", large)
        assert written.size_bytes == LARGE == store.stat("large").size_bytes
        assert store.get_file("large", tmp_path / "back").etag == written.etag
        expected = hashlib.sha256(large.read_bytes()).hexdigest()
        assert hashlib.sha256((tmp_path / "back").read_bytes()).hexdigest() == expected
        digest = hashlib.sha256()
        for piece in store.stream("large"):
            digest.update(piece)
        assert digest.hexdigest() == expected

    def test_a_large_file_is_written_piece_by_piece(self, store: FileStore, large: Path) -> None:
        with store.writer("large") as file, large.open("rb") as source:
            while piece := source.read(3 << 20):
                file.write(piece)
            written = file.close()
        assert written.size_bytes == LARGE
        assert (
            store.read("large", LARGE - 10) == b"of it all"[-10:]
            or store.read("large", LARGE - 9) == b"of it all"
        )

    def test_a_writer_that_is_left_early_leaves_nothing(self, store: FileStore, large: Path) -> None:
        put(store, "kept", b"before")
        for data in (b"small", large.read_bytes()):
            for path in ("kept", "new"):
                with pytest.raises(KeyError):
                    write_half(store, path, data, KeyError())
                write_half(store, path, data, None)
        assert paths(store) == ["kept"]
        assert store.read("kept") == b"before"

    def test_an_md5_that_is_given_is_kept_where_the_store_can(
        self, store: FileStore, tmp_path: Path, large: Path
    ) -> None:
        small = tmp_path / "small"
        small.write_bytes(b"content")
        for source in (small, large):
            digest = hashlib.md5(source.read_bytes()).hexdigest()
            store.put_file("a", source, md5=digest)
            assert store.stat("a").md5 in (digest, None)
            if store.local_root is None:
                assert store.stat("a").md5 == digest
            assert store.read("a", 0, 5) == source.read_bytes()[:5]

    def test_a_missing_source_writes_nothing(self, store: FileStore, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            store.put_file("a", tmp_path / "missing")
        assert store.stat("a") is None

    def test_a_source_that_is_written_meanwhile_is_refused(
        self, store: FileStore, large: Path, monkeypatch
    ) -> None:
        put(store, "large", b"before")
        real, calls = os.fstat, []

        def fstat(descriptor: int):
            calls.append(descriptor)
            if len(calls) == 2:
                with large.open("ab") as file:
                    file.write(b"more")
            return real(descriptor)

        monkeypatch.setattr(os, "fstat", fstat)
        with pytest.raises(FileChanged):
            store.put_file("large", large)
        monkeypatch.undo()
        assert store.read("large") == b"before"


class TestFolders:
    def test_a_walk_goes_by_the_text_of_whole_paths(self, store: FileStore) -> None:
        names = ["a-", "a.txt", "a/b", "a/b-c", "a/b.d/e", "a/b0", "a0", "B", "ä/ö", "z/%2F", "z/a b"]
        for name in reversed(names):
            put(store, name, b"x")
        assert paths(store) == sorted(names)
        assert paths(store, "a") == ["a/b", "a/b-c", "a/b.d/e", "a/b0"]
        assert paths(store, "a/b.d") == ["a/b.d/e"]
        assert paths(store, "a/b") == []
        assert paths(store, "nothing/here") == []

    def test_a_level_shows_folders_and_files(self, store: FileStore) -> None:
        assert (store.browse().folders, store.browse().files) == ((), ())
        for name in ("b.txt", "a/x", "a/y/z", "c/d/e", "a.txt"):
            put(store, name, b"x")
        top = store.browse()
        assert top.folders == ("a", "c")
        assert [info.path for info in top.files] == ["a.txt", "b.txt"]
        below = store.browse("a")
        assert below.folders == ("y",)
        assert [info.path for info in below.files] == ["a/x"]
        assert store.browse("nothing") == store.browse("a/x/nothing")

    def test_a_folder_is_what_files_are_in(self, store: FileStore) -> None:
        put(store, "a/b/c", b"x")
        assert store.is_folder("")
        assert store.is_folder("a")
        assert store.is_folder("a/b")
        assert not store.is_folder("a/b/c")
        assert not store.is_folder("a/bb")

    def test_a_removed_folder_is_gone_with_all_that_was_in_it(self, store: FileStore) -> None:
        for name in ("a/x", "a/y/z", "a-b", "b"):
            put(store, name, b"x")
        store.remove_folder("a")
        store.remove_folder("a")
        store.remove_folder("nothing")
        assert paths(store) == ["a-b", "b"]
        assert not store.is_folder("a")
        with pytest.raises(UserErrorException, match="root"):
            store.remove_folder("")

    def test_empty_folders_are_known_where_folders_exist(self, store: FileStore) -> None:
        store.make_folder("a/empty")
        store.make_folder("b")
        store.make_folder("b")
        put(store, "a/x", b"x")
        assert list(store.empty_folders()) == (["a/empty", "b"] if store.has_folders else [])
        assert list(store.empty_folders("a")) == (["a/empty"] if store.has_folders else [])
        assert paths(store) == ["a/x"]

    def test_what_arrives_is_seen_only_by_who_names_it(self, store: FileStore) -> None:
        put(store, ".azureml-arriving/run/a", b"x")
        put(store, "b", b"x")
        assert paths(store) == ["b"]
        assert store.browse().folders == ()
        assert paths(store, ".azureml-arriving/run") == [".azureml-arriving/run/a"]
        assert store.read(".azureml-arriving/run/a") == b"x"


ODD_PATHS = [
    "a b/ c ", "100%/%2F/%%", "ünï/cødé/\N{SNOWMAN}", "e\u0301", "\u00e9", "a:b", 'a*?"<>|', "-rf", "~", ".hidden", "...",
    "a#b?c&d=e+f", "k" * 250, "/".join(["k" * 99] * 9), "{x}[y]^`'$;,@!()",
]  # fmt: skip


class TestPaths:
    def test_what_is_no_path_is_refused(self, store: FileStore) -> None:
        for path in ("/etc/passwd", "../x", "a/../b", "a/./b", ".", "a//b", "a/", "a\0b"):
            self.check_refused(store, path)

    def check_refused(self, store: FileStore, path: str) -> None:
        calls: list[Callable[[], object]] = [
            lambda: store.stat(path),
            lambda: store.read(path),
            lambda: list(store.walk(path)),
            lambda: store.browse(path),
            lambda: put(store, path, b"x"),
            lambda: store.put_file(path, Path(__file__)),
            lambda: store.delete(path),
            lambda: store.remove_folder(path),
            lambda: store.copy("a", path),
        ]
        for call in calls:
            with pytest.raises(UserErrorException):
                call()

    def test_any_other_text_is_a_path(self, store: FileStore, tmp_path: Path) -> None:
        (tmp_path / "y").write_bytes(b"y")
        digest = hashlib.md5(b"y").hexdigest()
        for path in ODD_PATHS:
            put(store, path, path.encode())
            assert store.read(path) == path.encode()
            assert store.get_file(path, tmp_path / "x").path == path
            assert store.put_file(path, tmp_path / "y", md5=digest).size_bytes == 1
            assert store.stat(path).size_bytes == 1
            assert store.copy(path, "copied").size_bytes == 1
        assert paths(store) == sorted([*ODD_PATHS, "copied"])
        for path in ODD_PATHS:
            store.delete(path)
        assert paths(store) == ["copied"]

    def test_paths_that_look_alike_are_different_files(self, store: FileStore) -> None:
        alike = ["e\u0301", "\u00e9", "a%2Fb", "a/b", "A", "a+", "a "]
        for path in alike:
            put(store, path, path.encode())
        assert [store.read(path) for path in alike] == [path.encode() for path in alike]


def test_a_store_is_known_by_an_address_without_credentials(store: FileStore) -> None:
    assert "://" in store.uri
    assert "not-a-real-secret" not in store.uri + repr(store)
    assert "Eby8vdM02xNOcqF" not in store.uri + repr(store)
