"""What is asked for when the files of a mount are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_azureml.compute.mounting.nodes import FIRST_FILE, File
from airflow_azureml.compute.mounting.ranges import REQUEST_BLOCKS, WINDOW_BLOCKS, Ranges
from airflow_azureml.workspace.block_cache import BLOCK_BYTES, block_size, write_block

BIG, SMALL = FIRST_FILE, FIRST_FILE + 1
NOW, AHEAD = True, False


class Reader:
    """Reads a file of 100 blocks, and small ones that come after it; what was asked for arrives when a test says so."""

    def __init__(self, root: Path) -> None:
        sizes = [100 * BLOCK_BYTES, *[10] * 50]
        self.files = [
            File(f"f{i}", size, 0, False, str(root / f"k{i}" / "f")) for i, size in enumerate(sizes)
        ]
        self.asked: list[tuple[int, int, int, bool]] = []
        self.ranges = Ranges(self.files, lambda *order: self.asked.append(order))

    def read(self, block: int, node: int = BIG, size: int = 10) -> bool:
        """Whether the bytes were there."""
        start = block * BLOCK_BYTES
        found = self.ranges.read(node, start, start + size)
        self.ranges.look_ahead(node, start, start + size)
        return found is not None

    def arrive(self) -> None:
        for node, first, count, _ in self.asked:
            file = self.files[node - FIRST_FILE]
            for number in range(first, first + count):
                write_block(file.copy, number, bytes(block_size(file.size_bytes, number)), "me")
            self.ranges.arrived(node, first, count)
        self.asked.clear()

    @property
    def ahead(self) -> int:
        return sum(count for _, _, count, is_urgent in self.asked if not is_urgent)


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


def test_the_first_read_asks_for_its_block_alone(reader: Reader) -> None:
    assert not reader.read(0)
    assert reader.asked == [(BIG, 0, 1, NOW)]


def test_reading_on_asks_for_more_and_more(reader: Reader) -> None:
    asked = []
    for block in range(40):
        reader.read(block)
        asked.append(reader.ahead)
        reader.arrive()
    assert asked[:3] == [0, 1, 4]
    assert max(asked) <= WINDOW_BLOCKS
    assert sum(asked) + 2 >= 40 + WINDOW_BLOCKS / 2


def test_what_was_asked_for_ahead_is_there_when_it_is_read(reader: Reader) -> None:
    found = []
    for block in range(30):
        found.append(reader.read(block))
        reader.arrive()
    assert found == [False, False, *[True] * 28]


def test_jumping_about_asks_for_nothing_ahead(reader: Reader) -> None:
    for block in (50, 3, 70, 20, 90):
        reader.read(block)
        assert reader.asked == [(BIG, block, 1, NOW)]
        reader.arrive()


def test_nothing_is_asked_for_twice_unless_somebody_waits_now(reader: Reader) -> None:
    for block in (0, 1):
        reader.read(block)
        reader.arrive() if block == 0 else None
    assert reader.asked == [(BIG, 1, 1, NOW), (BIG, 2, 1, AHEAD)]
    reader.read(1)
    assert len(reader.asked) == 2
    reader.ranges.read(BIG, 2 * BLOCK_BYTES, 2 * BLOCK_BYTES + 5)
    reader.ranges.read(BIG, 2 * BLOCK_BYTES, 2 * BLOCK_BYTES + 5)
    assert reader.asked[2:] == [(BIG, 2, 1, NOW)]


def test_a_request_is_for_a_few_blocks_at_most(reader: Reader) -> None:
    reader.ranges.read(BIG, 0, (2 * REQUEST_BLOCKS + 2) * BLOCK_BYTES)
    assert [count for _, _, count, _ in reader.asked] == [REQUEST_BLOCKS, REQUEST_BLOCKS, 2]


def test_a_range_across_blocks_is_put_together(reader: Reader) -> None:
    for number, byte in enumerate(b"ab"):
        write_block(reader.files[0].copy, number, bytes([byte]) * BLOCK_BYTES, "me")
    parts = reader.ranges.read(BIG, BLOCK_BYTES - 2, BLOCK_BYTES + 3)
    assert parts is not None
    assert b"".join(parts) == b"aabbb"


def test_small_files_that_are_read_in_a_row_are_asked_for_ahead(reader: Reader) -> None:
    asked = []
    for number in range(6):
        reader.read(0, SMALL + number)
        asked.append(reader.ahead)
        reader.arrive()
    assert asked[0] == 0
    assert asked[-1] > 0
    assert sum(asked) >= 16


def test_small_files_that_are_read_in_no_order_are_not(reader: Reader) -> None:
    for number in (30, 4, 17, 9):
        reader.read(0, SMALL + number)
        assert reader.ahead == 0
        reader.arrive()


def test_blocks_of_a_lost_cache_are_asked_for_again(reader: Reader, tmp_path: Path) -> None:
    reader.read(5)
    reader.arrive()
    fresh = Ranges(reader.files, lambda *order: reader.asked.append(order))
    assert fresh.read(BIG, 5 * BLOCK_BYTES, 5 * BLOCK_BYTES + 1) is not None
    for block in tmp_path.rglob("*"):
        if block.is_file():
            block.unlink()
    # A block that is mapped stays; a new reader has to ask.
    assert fresh.read(BIG, 5 * BLOCK_BYTES, 5 * BLOCK_BYTES + 1) is not None
    again = Ranges(reader.files, lambda *order: reader.asked.append(order))
    assert again.read(BIG, 5 * BLOCK_BYTES, 5 * BLOCK_BYTES + 1) is None
    assert reader.asked == [(BIG, 5, 1, NOW)]
