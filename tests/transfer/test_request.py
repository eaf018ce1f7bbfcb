"""What can be asked for."""

from pathlib import Path
from typing import Any

import pytest

from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.storage.local_files import LocalFiles
from airflow_azureml.transfer.request import TransferRequest


@pytest.fixture
def source(tmp_path: Path) -> LocalFiles:
    return LocalFiles(tmp_path / "from")


@pytest.fixture
def target(tmp_path: Path) -> LocalFiles:
    return LocalFiles(tmp_path / "to")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source_type": "folder"}, "source_type is 'folder'; give one of file, directory"),
        ({"compare": "etag"}, "compare is 'etag'; give one of content, time, size"),
        ({"mode": "move"}, "mode is 'move'"),
        ({"verify": True}, "verify is True"),
        ({"delete_limit": 1.5}, "delete_limit is 1.5; give a number of files, or a share"),
        ({"delete_limit": -1}, "delete_limit is -1"),
        ({"workers": 0}, "workers is 0; give a number from 1 to 256"),
        ({"bandwidth_bytes_s": 0}, "bandwidth_bytes_s is 0"),
        ({"target_type": "file"}, "a directory cannot be copied into a file"),
        ({"source_type": "file", "mode": "mirror"}, "only a directory can be mirrored"),
    ],
)
def test_an_argument_that_means_nothing_is_refused_by_name(
    source: LocalFiles, target: LocalFiles, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserErrorException, match=message):
        TransferRequest(source, "a", target, "b", **options)


@pytest.mark.parametrize("path", ["/etc", "a/../b", "./a", "a//b"])
def test_a_path_that_is_none_of_a_store_is_refused(source: LocalFiles, target: LocalFiles, path: str) -> None:
    with pytest.raises(UserErrorException, match="is no path on a datastore"):
        TransferRequest(source, path, target, "b")


@pytest.mark.parametrize(("origin", "destination"), [("a", "a"), ("a", "a/b"), ("a/b", "a"), ("", "a")])
def test_a_folder_is_not_copied_into_itself(source: LocalFiles, origin: str, destination: str) -> None:
    with pytest.raises(UserErrorException, match="source and destination overlap"):
        TransferRequest(source, origin, source, destination)


def test_folders_beside_each_other_do_not_overlap(source: LocalFiles) -> None:
    TransferRequest(source, "a", source, "ab")


def test_a_link_does_not_hide_that_folders_overlap(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    with pytest.raises(UserErrorException, match="overlap"):
        TransferRequest(LocalFiles(tmp_path / "real"), "", LocalFiles(tmp_path / "link"), "x")


def test_the_key_is_that_of_the_two_places(source: LocalFiles, target: LocalFiles) -> None:
    key = TransferRequest(source, "a", target, "b").key

    assert key == TransferRequest(source, "a", target, "b", workers=3, verify="size", include=("*.csv",)).key
    assert key != TransferRequest(source, "a", target, "c").key
    assert key != TransferRequest(target, "a", source, "b").key
