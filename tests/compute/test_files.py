"""Moving, linking, settling and removing files."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_azureml.compute import files
from airflow_azureml.compute.files import (
    FileState,
    WatchedFile,
    copy_file,
    link_file,
    move_tree,
    pin_file,
    remove_tree,
)
from airflow_azureml.compute.settling import settle_tree
from airflow_azureml.runtime.exceptions import AzureMLException

WithoutRoot = Callable[[Callable[[], None]], None]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "stored" / "a.csv"
    path.parent.mkdir()
    path.write_text("1")
    return path


@pytest.fixture
def other_file_system(tmp_path: Path) -> Path:
    folder = Path("/dev/shm") / tmp_path.name
    if not folder.parent.is_dir() or folder.parent.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system here")
    folder.mkdir()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


class TestALink:
    def test_leaves_the_stored_file_alone_so_that_it_need_not_be_hashed_again(
        self, file: Path, tmp_path: Path
    ) -> None:
        before = file.stat()
        link_file(file, tmp_path / "view" / "a.csv")
        after = file.stat()
        assert (after.st_ctime_ns, after.st_nlink) == (before.st_ctime_ns, before.st_nlink)
        assert (tmp_path / "view" / "a.csv").read_text() == "1"

    def test_of_a_relative_link_leads_to_the_file_itself(self, file: Path, tmp_path: Path) -> None:
        latest = file.with_name("latest.csv")
        latest.symlink_to("a.csv")
        link_file(latest, tmp_path / "view" / "a.csv")
        pin_file(latest, tmp_path / "view" / "b.csv")
        assert (tmp_path / "view" / "a.csv").read_text() == "1"
        assert (tmp_path / "view" / "b.csv").read_text() == "1"
        assert not (tmp_path / "view" / "b.csv").is_symlink()


class TestAPin:
    def test_keeps_the_bytes_when_another_file_takes_the_place(self, file: Path, tmp_path: Path) -> None:
        assert pin_file(file, tmp_path / "view")
        file.with_name("new").write_text("2")
        file.with_name("new").rename(file)
        assert (tmp_path / "view").read_text() == "1"

    def test_is_a_link_on_another_file_system(self, file: Path, other_file_system: Path) -> None:
        assert not pin_file(file, other_file_system / "view")
        assert (other_file_system / "view").read_text() == "1"

    def test_says_when_there_is_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            pin_file(tmp_path / "nothing", tmp_path / "view")


class TestAWatchedFile:
    @pytest.mark.parametrize("pinned", [True, False])
    def test_notices_a_write_in_place(self, file: Path, pinned: bool) -> None:
        watched = WatchedFile(file, FileState.of(file), pinned)
        assert watched.is_unchanged()
        file.write_text("2")
        os.utime(file, ns=(1, 1))
        assert not watched.is_unchanged()

    @pytest.mark.parametrize("pinned", [True, False])
    def test_is_unchanged_by_another_file_in_its_place_only_if_it_is_held(
        self, file: Path, pinned: bool
    ) -> None:
        watched = WatchedFile(file, FileState.of(file), pinned)
        file.with_name("new").write_text("2")
        file.with_name("new").rename(file)
        assert watched.is_unchanged() is pinned
        file.unlink()
        assert watched.is_unchanged() is pinned


def test_a_copy_may_be_changed_and_keeps_its_executable_bit(file: Path, tmp_path: Path) -> None:
    file.chmod(0o555)
    copy_file(file, tmp_path / "copy")
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o755


class TestMovingATree:
    def test_works_across_file_systems_and_leaves_nothing_behind(
        self, file: Path, other_file_system: Path
    ) -> None:
        target = other_file_system / "deep" / "stored"
        move_tree(file.parent, target)
        assert (target / "a.csv").read_text() == "1"
        assert not file.parent.exists()
        assert os.listdir(target.parent) == ["stored"]

    def test_that_fails_leaves_nothing_behind_either(
        self, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def across(self: Path, target: Path) -> None:
            raise OSError(errno.EXDEV, "across")

        def full(source: Path, target: Path) -> None:
            target.mkdir()
            (target / "half").write_text("")
            raise OSError(errno.ENOSPC, "full")

        monkeypatch.setattr(Path, "rename", across)
        monkeypatch.setattr(files.shutil, "copytree", full)
        with pytest.raises(OSError, match="full"):
            move_tree(file.parent, tmp_path / "target" / "stored")
        assert os.listdir(tmp_path / "target") == []
        assert file.exists()

    def test_of_an_unwritable_folder_works_once_it_is_settled(
        self, tmp_path: Path, without_root: WithoutRoot
    ) -> None:
        tmp_path.chmod(0o777)
        for parent in tmp_path.parents[:2]:
            parent.chmod(0o755)

        def task() -> None:
            out = tmp_path / "work" / "out"
            (out / "deep").mkdir(parents=True)
            (out / "deep" / "a.csv").write_text("1")
            (out / "deep" / "a.csv").chmod(0)
            (out / "deep").chmod(0o555)
            out.chmod(0o555)
            settle_tree(out)
            move_tree(out, tmp_path / "target")
            assert (tmp_path / "target" / "deep" / "a.csv").read_text() == "1"

        without_root(task)


class TestRemovingATree:
    def test_takes_folders_without_permissions(self, tmp_path: Path, without_root: WithoutRoot) -> None:
        tmp_path.chmod(0o777)
        for parent in tmp_path.parents[:2]:
            parent.chmod(0o755)

        def task() -> None:
            for number, mode in enumerate((0o000, 0o555, 0o300)):
                deep = tmp_path / "tree" / str(number) / "deep"
                deep.mkdir(parents=True)
                (deep / "file").write_text("")
                deep.chmod(mode)
                deep.parent.chmod(mode)
            remove_tree(tmp_path / "tree")
            assert not (tmp_path / "tree").exists()

        without_root(task)

    def test_does_not_follow_links(self, file: Path, tmp_path: Path) -> None:
        tree = tmp_path / "tree"
        tree.mkdir()
        (tree / "link").symlink_to(file.parent)
        remove_tree(tree)
        assert file.exists()
        (tmp_path / "link").symlink_to(file.parent)
        remove_tree(tmp_path / "link")
        assert file.exists()
        assert not (tmp_path / "link").is_symlink()

    def test_takes_pipes_and_dangling_links_and_nothing_at_all(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "dangling").symlink_to("nowhere")
        for name in ("pipe", "dangling", "never there"):
            remove_tree(tmp_path / name)
        assert os.listdir(tmp_path) == []


class TestSettling:
    """What a script wrote has to stand by itself."""

    def test_makes_files_read_only_and_keeps_executable_bits(self, tmp_path: Path) -> None:
        (tmp_path / "tool").write_text("")
        (tmp_path / "tool").chmod(0o777)
        (tmp_path / "locked").write_text("")
        (tmp_path / "locked").chmod(0o000)
        settle_tree(tmp_path)
        assert stat.S_IMODE((tmp_path / "tool").stat().st_mode) == 0o555
        assert stat.S_IMODE((tmp_path / "locked").stat().st_mode) == 0o400

    def test_replaces_links_by_what_they_point_at(self, file: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        (out / "deep").mkdir(parents=True)
        (out / "file").symlink_to(file)
        (out / "folder").symlink_to(file.parent)
        (out / "deep" / "relative").symlink_to("../file")
        settle_tree(out)
        for name in ("file", "folder/a.csv", "deep/relative"):
            path = out / name
            assert path.read_text() == "1"
            assert not path.is_symlink()
            assert path.stat().st_nlink == 1
        assert not (out / "folder").is_symlink()
        assert file.stat().st_mode & stat.S_IWUSR, "the file behind the link is not ours"

    def test_parts_hard_links_from_files_elsewhere(self, file: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        out.mkdir()
        os.link(file, out / "b.csv")
        settle_tree(out)
        file.write_text("2")
        assert (out / "b.csv").read_text() == "1"
        assert file.stat().st_nlink == 1
        assert os.listdir(out) == ["b.csv"]

    def test_drops_what_has_no_content(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        settle_tree(tmp_path)
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize("target", ["nowhere", "/no/where", "link"])
    def test_refuses_a_link_to_nothing_and_names_it(self, tmp_path: Path, target: str) -> None:
        (tmp_path / "deep").mkdir()
        (tmp_path / "deep" / "link").symlink_to(target)
        with pytest.raises(AzureMLException, match=r"'deep/link' is a link to '.*', where there is nothing"):
            settle_tree(tmp_path)

    @pytest.mark.parametrize("target", [".", "..", "../..", "/"])
    def test_refuses_a_link_to_a_folder_around_it(self, tmp_path: Path, target: str) -> None:
        (tmp_path / "deep").mkdir()
        (tmp_path / "deep" / "self").symlink_to(target)
        with pytest.raises(AzureMLException, match="'deep/self' is a link to a folder that it is in"):
            settle_tree(tmp_path)

    def test_takes_any_depth_and_any_name(self, tmp_path: Path) -> None:
        deep = tmp_path.joinpath(*["d"] * 300)
        deep.mkdir(parents=True)
        name = "ü \n'\"\\" + os.fsdecode(b"\xff")
        (deep / name).write_text("")
        settle_tree(tmp_path)
        assert not (deep / name).stat().st_mode & stat.S_IWUSR
