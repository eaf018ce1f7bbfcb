from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from airflow_azureml.runtime.exceptions import StoreError, UserErrorException
from airflow_azureml.storage import drafts
from airflow_azureml.storage.files import StoreBusy
from airflow_azureml.storage.local_files import LocalFiles


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def files(root: Path) -> LocalFiles:
    return LocalFiles(root)


def put(files: LocalFiles, path: str, data: bytes = b"x") -> None:
    with files.writer(path) as file:
        file.write(data)
        file.close()


def tree(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_reading_makes_no_folder(files: LocalFiles, root: Path) -> None:
    assert list(files.walk()) == []
    assert files.stat("a") is None
    files.delete("a")
    files.remove_folder("a")
    assert not root.exists()


def test_nothing_but_the_file_is_left_by_writing(files: LocalFiles, root: Path) -> None:
    put(files, "a/b")
    with files.writer("a/c") as file:
        file.write(b"half")
    assert tree(root) == ["a", "a/b"]


def test_what_killed_writers_left_goes_after_a_while(files: LocalFiles, root: Path) -> None:
    drafts_folder = root / ".azureml-arriving" / "drafts"
    drafts_folder.mkdir(parents=True)
    for name, age_s in ((".old.part", 8 * 24 * 3600), (".new.part", 3600)):
        (drafts_folder / name).write_bytes(b"half")
        os.utime(drafts_folder / name, (time.time() - age_s,) * 2)
    put(files, "a")
    assert [path.name for path in drafts_folder.iterdir()] == [".new.part"]


class TestLinks:
    def test_links_below_the_root_are_followed_but_not_round_and_round(
        self, files: LocalFiles, root: Path
    ) -> None:
        put(files, "data/a", b"content")
        (root / "file").symlink_to("data/a")
        (root / "folder").symlink_to("data")
        (root / "data" / "up").symlink_to("..")
        assert [info.path for info in files.walk()] == ["data/a", "file", "folder/a"]
        assert files.read("file") == files.read("folder/a") == b"content"

    def test_a_link_that_leads_out_is_refused(self, files: LocalFiles, root: Path, tmp_path: Path) -> None:
        (tmp_path / "secret").write_bytes(b"secret")
        root.mkdir()
        (root / "file").symlink_to(tmp_path / "secret")
        (root / "folder").symlink_to(tmp_path)
        for attempt in (
            lambda: files.read("file"),
            lambda: files.stat("folder/secret"),
            lambda: files.get_file("folder/secret", tmp_path / "copy"),
            lambda: files.copy("file", "copy"),
            lambda: files.delete("folder/secret"),
            lambda: files.remove_folder("folder/root"),
            lambda: put(files, "folder/new"),
            lambda: list(files.walk()),
        ):
            with pytest.raises(UserErrorException, match="leads out"):
                attempt()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["root", "secret"]

    def test_a_link_itself_can_be_replaced_and_removed(
        self, files: LocalFiles, root: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "outside").mkdir()
        root.mkdir()
        (root / "a").symlink_to(tmp_path / "outside")
        (root / "b").symlink_to(tmp_path / "outside")
        files.remove_folder("a")
        files.delete("b")
        assert tree(root) == []
        assert (tmp_path / "outside").is_dir()

    def test_a_broken_link_is_no_file(self, files: LocalFiles, root: Path) -> None:
        put(files, "a")
        (root / "b").symlink_to("nowhere")
        assert [info.path for info in files.walk()] == ["a"]
        assert files.stat("b") is None


class TestTrouble:
    def test_a_file_cannot_be_a_folder(self, files: LocalFiles) -> None:
        put(files, "a/b")
        for path in ("a", "a/b/c"):
            with pytest.raises(StoreError, match="cannot write"):
                put(files, path)

    @pytest.mark.parametrize(
        ("number", "kind"),
        [(errno.ENOSPC, StoreError), (errno.EACCES, StoreError), (errno.ESTALE, StoreBusy)],
    )
    def test_the_system_says_why_and_which_file_is_named(
        self, files: LocalFiles, root: Path, tmp_path: Path, monkeypatch, number: int, kind: type[StoreError]
    ) -> None:
        def refuse(*_: object) -> int:
            raise OSError(number, os.strerror(number))

        put(files, "kept", b"before")
        (tmp_path / "source").write_bytes(b"x")
        monkeypatch.setattr(drafts.os, "sendfile", refuse)
        with pytest.raises(StoreError, match=f"'kept'.*{os.strerror(number)}") as caught:
            files.put_file("kept", tmp_path / "source")
        assert type(caught.value) is kind
        with pytest.raises(StoreError, match=f"{tmp_path}/target.*{os.strerror(number)}"):
            files.get_file("kept", tmp_path / "target")
        assert tree(root) == ["kept"]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["root", "source"]

    def test_files_move_where_the_kernel_does_not_copy(
        self, files: LocalFiles, tmp_path: Path, monkeypatch
    ) -> None:
        def refuse(*_: object) -> int:
            raise OSError(errno.EINVAL, "no")

        monkeypatch.setattr(drafts.os, "sendfile", refuse)
        (tmp_path / "source").write_bytes(b"content" * 2_000_000)
        files.put_file("a", tmp_path / "source")
        assert files.get_file("a", tmp_path / "back").size_bytes == 14_000_000
        assert (tmp_path / "back").read_bytes() == (tmp_path / "source").read_bytes()

    def test_a_folder_on_another_file_system_gets_its_files_whole(
        self, files: LocalFiles, root: Path, monkeypatch
    ) -> None:
        replace = os.replace

        def across(source: str, target: str) -> None:
            if os.path.dirname(source) != os.path.dirname(target):
                raise OSError(errno.EXDEV, "another file system")
            replace(source, target)

        monkeypatch.setattr(drafts.os, "replace", across)
        put(files, "a/b", b"content")
        assert files.read("a/b") == b"content"
        assert tree(root) == ["a", "a/b"]

    def test_a_file_that_is_written_while_it_is_streamed_is_told(self, files: LocalFiles, root: Path) -> None:
        put(files, "a", b"x" * (9 << 20))
        pieces = files.stream("a")
        next(pieces)
        with (root / "a").open("ab") as file:
            file.write(b"more")
        with pytest.raises(StoreError, match="changed while it was read"):
            list(pieces)
