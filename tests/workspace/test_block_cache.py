"""Blocks of remote files on this machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from airflow_azureml.storage.files import FileInfo
from airflow_azureml.workspace import block_cache
from airflow_azureml.workspace.block_cache import (
    BLOCK_BYTES,
    SEGMENT_BLOCKS,
    block_path,
    block_size,
    has_block,
    open_block,
    touch_segment,
    write_block,
)
from airflow_azureml.workspace.data_cache import DataCache


@pytest.fixture
def copy(tmp_path: Path) -> str:
    return str(tmp_path / "cache" / "files" / "ab" / "abcd" / "name.csv")


@pytest.mark.parametrize(
    ("number", "size"),
    [(0, BLOCK_BYTES), (1, BLOCK_BYTES), (2, 5), (3, 0)],
    ids=["first", "full", "last", "none"],
)
def test_blocks_have_one_size_but_the_last(number: int, size: int) -> None:
    assert block_size(2 * BLOCK_BYTES + 5, number) == size


def test_a_block_is_read_as_it_was_written(copy: str) -> None:
    assert not has_block(copy, 3, 5)
    assert open_block(copy, 3, 5) is None
    write_block(copy, 3, b"bytes", "me")
    assert has_block(copy, 3, 5)
    descriptor = open_block(copy, 3, 5)
    assert descriptor is not None
    assert os.read(descriptor, 10) == b"bytes"
    os.close(descriptor)
    assert os.listdir(os.path.dirname(block_path(copy, 3))) == ["3"]


def test_a_block_that_is_not_whole_is_none(copy: str) -> None:
    write_block(copy, 0, b"half", "me")
    assert not has_block(copy, 0, 8)
    assert open_block(copy, 0, 8) is None
    write_block(copy, 0, b"now full", "me")
    assert has_block(copy, 0, 8)


def test_a_segment_that_is_evicted_while_a_block_arrives_is_made_again(
    copy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.rename
    evicted = iter([True, False])

    def rename(source: str, target: str) -> None:
        if next(evicted):
            shutil.rmtree(os.path.dirname(target))
        real(source, target)

    monkeypatch.setattr(block_cache.os, "rename", rename)
    write_block(copy, 0, b"bytes", "me")
    assert has_block(copy, 0, 5)


def test_segments_count_for_the_limit_and_go_when_they_are_not_wanted(tmp_path: Path) -> None:
    class Store:
        uri = "remote://store"
        local_root = None

    cache = DataCache(tmp_path / "cache", 3 * BLOCK_BYTES)
    (tmp_path / "cache").mkdir()
    copy = str(cache.path_of(Store(), FileInfo("file", 1 << 30, 0.0, "etag")))
    block = bytes(BLOCK_BYTES)
    for segment in range(5):
        write_block(copy, segment * SEGMENT_BLOCKS, block, "me")
        long_ago = 1_000_000 + segment
        os.utime(os.path.dirname(block_path(copy, segment * SEGMENT_BLOCKS)), (long_ago, long_ago))
    touch_segment(copy, 0)
    cache.make_room(0)
    kept = [segment for segment in range(5) if has_block(copy, segment * SEGMENT_BLOCKS, BLOCK_BYTES)]
    assert kept == [0, 3, 4]
