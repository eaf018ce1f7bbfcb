"""Laying files over a folder that others use too."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

import pytest

from airflow_azureml.compute import overlay as module
from airflow_azureml.compute.overlay import Overlay


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "datastore"
    folder.mkdir()
    return folder


def fill(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def lay(root: Path, source: Path, group: str = "shared/out") -> Overlay:
    overlay = Overlay(root, group)
    overlay.hold()
    overlay.lay(source)
    return overlay


@pytest.fixture(params=["exchange", "without exchange"], autouse=True)
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "without exchange":
        monkeypatch.setattr(module, "_exchange", lambda one, other: False)


def test_a_new_folder_appears(root: Path, tmp_path: Path) -> None:
    lay(root, fill(tmp_path / "new", a="1")).keep()
    assert content(root) == {"shared/out/a": "1"}
    assert os.listdir(root) == ["shared"]


def test_other_files_stay_and_own_ones_are_replaced(root: Path, tmp_path: Path) -> None:
    fill(root / "shared/out", a="old", **{"deep/other": "other"})
    lay(root, fill(tmp_path / "new", a="1", **{"deep/b": "2"})).keep()
    assert content(root / "shared/out") == {"a": "1", "deep/b": "2", "deep/other": "other"}
    assert os.listdir(root) == ["shared"]


def test_files_and_folders_of_one_name_give_way_to_the_new_ones(root: Path, tmp_path: Path) -> None:
    fill(root / "shared/out", a="file", **{"b/inside": "folder"})
    (root / "shared/out/link").symlink_to("b")
    lay(root, fill(tmp_path / "new", b="file", **{"a/inside": "folder", "link/c": "folder"})).keep()
    assert content(root / "shared/out") == {"a/inside": "folder", "b": "file", "link/c": "folder"}


def test_a_file_in_the_place_of_the_folder_gives_way(root: Path, tmp_path: Path) -> None:
    fill(root / "shared", out="file")
    lay(root, fill(tmp_path / "new", a="1")).keep()
    assert content(root) == {"shared/out/a": "1"}


def test_undoing_puts_the_old_state_back(root: Path, tmp_path: Path) -> None:
    fill(root / "shared/out", a="old", b="other")
    lay(root, fill(tmp_path / "new", a="1", c="2")).undo()
    assert content(root) == {"shared/out/a": "old", "shared/out/b": "other"}
    assert os.listdir(root) == ["shared"]


def test_undoing_a_new_folder_removes_it(root: Path, tmp_path: Path) -> None:
    lay(root, fill(tmp_path / "new", a="1")).undo()
    assert not (root / "shared/out").exists()


def test_failing_half_way_changes_nothing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(root / "shared/out", a="old")

    def fail(*_: object) -> None:
        raise OSError(28, "no space left")

    monkeypatch.setattr(module.shutil, "move", fail)
    overlay = Overlay(root, "shared/out")
    overlay.hold()
    with pytest.raises(OSError, match="no space"):
        overlay.lay(fill(tmp_path / "new", a="1"))
    overlay.undo()
    assert content(root) == {"shared/out/a": "old"}
    assert os.listdir(root) == ["shared"]


def test_what_a_dead_process_left_is_not_taken_for_new_files(root: Path, tmp_path: Path) -> None:
    died = lay(root, fill(tmp_path / "one", a="1"), "out")
    fill(died._arriving, half="written")
    os.close(died._lock)
    lay(root, fill(tmp_path / "two", b="2"), "out").keep()
    assert content(root) == {"out/a": "1", "out/b": "2"}


def test_of_many_writers_at_once_none_loses_its_files(root: Path, tmp_path: Path) -> None:
    def write(number: int) -> None:
        source = fill(tmp_path / f"new{number}", **{f"own{number}": "x", "common": str(number)})
        lay(root, source).keep()

    threads = [threading.Thread(target=write, args=[number]) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = content(root / "shared/out")
    assert sorted(found) == sorted(["common", *(f"own{number}" for number in range(12))])


def test_a_writer_waits_until_the_one_before_has_kept_or_undone(root: Path, tmp_path: Path) -> None:
    fill(root / "shared/out", a="old")
    first = lay(root, fill(tmp_path / "one", a="1"))
    done = threading.Event()

    def second() -> None:
        lay(root, fill(tmp_path / "two", b="2")).keep()
        done.set()

    thread = threading.Thread(target=second)
    thread.start()
    assert not done.wait(0.2)
    first.undo()
    thread.join(10)
    assert content(root / "shared/out") == {"a": "old", "b": "2"}


def test_a_file_system_that_cannot_lock_folders_is_used_all_the_same(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(9, "bad file descriptor")

    monkeypatch.setattr(fcntl, "flock", refuse)
    lay(root, fill(tmp_path / "new", a="1")).keep()
    assert content(root) == {"shared/out/a": "1"}


# Without an exchange call there is a moment with nothing.
@pytest.mark.parametrize("system", ["exchange"], indirect=True)
def test_a_reader_in_a_loop_sees_one_state_or_the_other(root: Path, tmp_path: Path, system: None) -> None:
    names = [f"f{number}" for number in range(20)]
    fill(root / "out", **dict.fromkeys(names, "0"))
    stop, seen = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            # An open folder stays the one that was opened.
            folder = os.open(root / "out", os.O_RDONLY)
            texts = set()
            for name in names:
                with open(os.open(name, os.O_RDONLY, dir_fd=folder)) as file:
                    texts.add(file.read())
            os.close(folder)
            seen.append(texts)

    def tolerant() -> None:
        try:
            read()
        except FileNotFoundError:
            # The opened folder was removed while it was being read: it had been replaced by then.
            if not stop.is_set():
                tolerant()

    reader = threading.Thread(target=tolerant)
    reader.start()
    for number in range(1, 30):
        lay(root, fill(tmp_path / f"new{number}", **dict.fromkeys(names, str(number))), "out").keep()
    stop.set()
    reader.join()
    assert seen
    assert all(len(texts) == 1 for texts in seen)
