"""File or directory, where nobody says so: as v1 found out."""

from pathlib import Path
from typing import Any

import pytest
from odd_stores import Nowhere

from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.storage.local_files import LocalFiles
from airflow_azureml.transfer.reference_types import infer_types


@pytest.fixture
def store(tmp_path: Path) -> LocalFiles:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.csv").write_bytes(b"x")
    return LocalFiles(tmp_path)


@pytest.mark.parametrize(
    ("source", "target", "types"),
    [
        ("folder", "new", ("directory", "directory")),
        ("file.csv", "new", ("file", "file")),
        ("file.csv", "folder", ("file", "directory")),
        ("folder", "file.csv", ("directory", "file")),
        ("", "new", ("directory", "directory")),
        ("file.csv", "", ("file", "directory")),
    ],
)
def test_a_type_is_that_of_the_path_and_for_the_destination_else_the_sources(
    store: LocalFiles, source: str, target: str, types: tuple[str, str]
) -> None:
    assert infer_types(store, source, None, store, target, None) == types


def test_what_is_given_counts(store: LocalFiles) -> None:
    assert infer_types(store, "nothing", "directory", store, "file.csv", "directory") == (
        "directory",
        "directory",
    )


def test_a_source_that_is_not_there_is_refused(store: LocalFiles) -> None:
    with pytest.raises(UserErrorException, match="neither a file nor a folder 'nothing'"):
        infer_types(store, "nothing", None, store, "new", None)


def test_a_blob_and_a_folder_of_one_name_have_to_be_told_apart() -> None:
    blobs: Any = Nowhere("blobs", {"data": 1, "data/part": 1})

    with pytest.raises(UserErrorException, match="source_reference_type='file' or 'directory'"):
        infer_types(blobs, "data", None, blobs, "new", None)
    assert infer_types(blobs, "data", "file", blobs, "new", None) == ("file", "file")
