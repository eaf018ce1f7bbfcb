from __future__ import annotations

import threading
from pathlib import Path

import pytest

from airflow_azureml.runtime.exceptions import ObjectNotFound
from airflow_azureml.storage.files import FileChanged, FileInfo, FileStore
from airflow_azureml.storage.moving import download_many, in_parallel, upload_many


@pytest.fixture
def sources(tmp_path: Path) -> list[tuple[Path, str]]:
    folder = tmp_path / "sources"
    folder.mkdir()
    for number in range(40):
        (folder / str(number)).write_bytes(b"content %d" % number)
    return [(folder / str(number), f"to/{number % 4}/{number:02d}") for number in range(40)]


def test_many_files_go_there_and_back(store: FileStore, sources, tmp_path: Path) -> None:
    told: list[str] = []
    written = upload_many(store, sources, overwrite=False, on_file=lambda path, _: told.append(path))
    assert told == [path for _, path in sources] == [info.path for info in written]
    listed = list(store.walk("to"))
    assert {info.etag for info in listed} == {info.etag for info in written}
    targets = [(info, tmp_path / "back" / info.path) for info in listed]
    told.clear()
    download_many(store, targets, on_file=lambda path, _: told.append(path))
    assert told == [info.path for info in listed]
    for source, path in sources:
        assert (tmp_path / "back" / path).read_bytes() == source.read_bytes()


def test_files_that_are_there_stay_unless_they_are_to_be_replaced(store: FileStore, sources) -> None:
    upload_many(store, [(sources[5][0], "a")], overwrite=False)
    assert upload_many(store, [(sources[6][0], "a"), (sources[7][0], "b")], overwrite=False)[0] is None
    assert (store.read("a"), store.read("b")) == (b"content 5", b"content 7")
    assert upload_many(store, [(sources[6][0], "a")], overwrite=True)[0] is not None
    assert store.read("a") == b"content 6"


def test_a_file_that_changed_since_it_was_listed_is_not_fetched(
    store: FileStore, sources, tmp_path: Path
) -> None:
    upload_many(store, sources[:3], overwrite=False)
    listed = list(store.walk())
    store.put_file(listed[1].path, sources[33][0])
    with pytest.raises(FileChanged):
        download_many(store, [(info, tmp_path / "x" / str(n)) for n, info in enumerate(listed)])
    assert not (tmp_path / "x" / "1").exists()


def test_the_first_trouble_is_the_one_that_is_told(store: FileStore, sources, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        upload_many(store, [(tmp_path / "missing", "a"), *sources], overwrite=True)
    with pytest.raises(ObjectNotFound):
        download_many(store, [(FileInfo("missing", 1, 0.0), tmp_path / "x")])


def test_arguments_are_taken_a_few_ahead_and_nothing_is_begun_after_an_error() -> None:
    taken: list[int] = []
    done: list[int] = []

    def numbers():
        for number in range(1000):
            taken.append(number)
            yield number

    def work(number: int) -> int:
        if number == 20:
            raise KeyError(number)
        done.append(number)
        return number

    got: list[int] = []
    with pytest.raises(KeyError):
        got.extend(in_parallel(work, numbers(), workers=2))
    assert got == [] or got == list(range(20))
    assert len(taken) < 60
    assert len(done) < 60
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("azureml-files")]
