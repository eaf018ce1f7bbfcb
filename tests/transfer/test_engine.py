"""What a transfer does, between folders of this machine and one that counts as remote."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from odd_stores import Nowhere, RemoteFolder

from airflow_azureml.runtime.exceptions import StepCanceled, UserErrorException
from airflow_azureml.transfer import engine
from airflow_azureml.transfer.engine import transfer
from airflow_azureml.transfer.reading import PIECE_BYTES
from airflow_azureml.transfer.request import TransferRequest


def counts(result: Any) -> tuple[int, int, int, int]:
    return result.copied, result.skipped, result.kept, result.deleted


# Files and folders


def test_a_folder_arrives_with_its_folders(bench: Any) -> None:
    result = bench.run("", "in/here")

    assert bench.arrived() == {
        "in/here/a.csv": b"a,b\n1,2\n",
        "in/here/sub/b.csv": b"b",
        "in/here/sub/deep/c.txt": b"c" * 1000,
    }
    assert counts(result) == (3, 0, 0, 0)
    assert result.size_bytes == 1009
    assert result.verified == 3


def test_a_part_of_a_store_arrives_under_its_own_names(bench: Any) -> None:
    bench.run("sub", "")

    assert list(bench.arrived()) == ["b.csv", "deep/c.txt"]


def test_a_file_becomes_a_file_of_another_name(bench: Any) -> None:
    bench.run("sub/b.csv", "x/renamed.csv", source_type="file", target_type="file")

    assert bench.arrived() == {"x/renamed.csv": b"b"}


def test_a_file_keeps_its_name_in_a_directory(bench: Any) -> None:
    bench.run("sub/b.csv", "x", source_type="file", target_type="directory")

    assert bench.arrived() == {"x/b.csv": b"b"}


def test_what_was_written_is_told_by_path_size_and_version(bench: Any) -> None:
    result = bench.run("", "in")

    assert [(file.path, file.size_bytes) for file in result.written] == [
        ("in/a.csv", 8),
        ("in/sub/b.csv", 1),
        ("in/sub/deep/c.txt", 1000),
    ]
    assert [file.version for file in result.written] == [
        bench.target.stat(file.path).version for file in result.written
    ]


def test_only_chosen_files_are_copied(bench: Any) -> None:
    bench.run("", "in", include=("*.csv",), exclude=("a.*",))

    assert list(bench.arrived()) == ["in/sub/b.csv"]


@pytest.mark.parametrize("path", ["missing", "a.csv"])
def test_a_folder_that_is_not_there_is_refused(bench: Any, path: str) -> None:
    with pytest.raises(UserErrorException, match=f"there is no folder '{path}'"):
        bench.run(path, "in")


def test_a_file_that_is_not_there_is_refused(bench: Any) -> None:
    with pytest.raises(UserErrorException, match="there is no file 'sub'.*source_reference_type"):
        bench.run("sub", "in", source_type="file")


def test_an_empty_file_arrives(empty_bench: Any) -> None:
    empty_bench.write({"nothing": b"", "_SUCCESS": b""})
    empty_bench.run("", "in")

    assert empty_bench.arrived() == {"in/_SUCCESS": b"", "in/nothing": b""}


def test_empty_folders_arrive_where_both_sides_have_them(bench: Any) -> None:
    (bench.from_folder / "empty" / "inner").mkdir(parents=True)
    bench.run("", "in")

    assert (bench.to_folder / "in/empty/inner").is_dir()


def test_an_empty_folder_can_be_transferred_itself(empty_bench: Any) -> None:
    result = empty_bench.run("", "in")

    assert counts(result) == (0, 0, 0, 0)
    assert (empty_bench.to_folder / "in").is_dir()


def test_empty_folders_are_nothing_to_a_store_without_folders(bench: Any) -> None:
    (bench.from_folder / "empty").mkdir()
    bench.target = RemoteFolder(bench.to_folder)

    assert bench.run("", "in").copied == 3
    assert not (bench.to_folder / "in/empty").exists()


HOSTILE = [
    "with spaces and  more.csv",
    " leading",
    "ünïcødé/日本語.csv",
    "e\u0301-and-\u00e9",
    "100%/50%25.csv",
    "a+b&c=d;e@f,g'h\"i.csv",
    "#hash?query",
    "[brackets]{braces}(x)*.txt",
    "back\\slash",
    "~tilde$dollar`tick`",
    "-rf",
    "new\nline",
    "emoji-🚀",
    "/".join(["n" * 200] * 4 + ["m" * 96]),
]


@pytest.mark.parametrize("remote", ["local", "target", "source"])
def test_names_of_all_kinds_arrive_as_they_are(empty_bench: Any, remote: str) -> None:
    files = {name: name.encode() for name in HOSTILE}
    empty_bench.write(files)
    if remote == "source":
        empty_bench.source = RemoteFolder(empty_bench.from_folder)
    if remote == "target":
        empty_bench.target = RemoteFolder(empty_bench.to_folder)

    assert max(map(len, HOSTILE)) == 900
    assert empty_bench.run().copied == len(HOSTILE)
    assert empty_bench.arrived() == files


def test_a_local_name_that_is_not_unicode_arrives(empty_bench: Any) -> None:
    Path(os.fsdecode(os.fsencode(empty_bench.from_folder) + b"/bad\xff")).write_bytes(b"x")

    assert empty_bench.run().written[0].path == "bad\udcff"


# What is there already


@pytest.mark.parametrize("remote", [False, True])
def test_a_second_transfer_copies_nothing(bench: Any, remote: bool) -> None:
    if remote:
        bench.target = RemoteFolder(bench.to_folder)
    bench.run("", "in")
    again = bench.run("", "in")

    assert counts(again) == (0, 3, 0, 0)
    assert [file.copied for file in again.written] == [False] * 3


def test_what_changed_at_the_source_is_copied_again(bench: Any) -> None:
    bench.run("", "in")
    bench.write({"sub/b.csv": b"B"})

    assert counts(bench.run("", "in")) == (1, 2, 0, 0)
    assert bench.arrived()["in/sub/b.csv"] == b"B"


def test_what_changed_at_the_target_is_copied_again(bench: Any) -> None:
    bench.run("", "in")
    (bench.to_folder / "in/sub/b.csv").write_bytes(b"X")

    assert counts(bench.run("", "in")) == (1, 2, 0, 0)
    assert bench.arrived()["in/sub/b.csv"] == b"b"


def test_what_vanished_from_the_target_is_copied_again(bench: Any) -> None:
    bench.run("", "in")
    (bench.to_folder / "in/sub/b.csv").unlink()

    assert counts(bench.run("", "in")) == (1, 2, 0, 0)


def test_without_a_journal_equal_content_is_found(bench: Any) -> None:
    bench.run("", "in")
    bench.forget_journal()

    assert counts(bench.run("", "in")) == (0, 3, 0, 0)


def test_without_a_journal_an_equal_size_says_nothing(bench: Any) -> None:
    bench.run("", "in")
    bench.forget_journal()
    bench.write({"sub/b.csv": b"B"})

    assert counts(bench.run("", "in")) == (1, 2, 0, 0)


@pytest.mark.parametrize(("age_s", "copied"), [(-10, 0), (10, 1)])
def test_by_time_a_target_that_is_not_older_is_the_same(bench: Any, age_s: float, copied: int) -> None:
    bench.run("sub", "in")
    bench.forget_journal()
    bench.write({"sub/b.csv": b"B"})
    at = os.stat(bench.to_folder / "in/b.csv").st_mtime + age_s
    os.utime(bench.from_folder / "sub/b.csv", (at, at))
    os.utime(bench.from_folder / "sub/deep/c.txt", (1, 1))

    assert bench.run("sub", "in", compare="time").copied == copied


def test_by_size_an_equal_size_is_enough(bench: Any) -> None:
    bench.run("", "in")
    bench.forget_journal()
    bench.write({"sub/b.csv": b"B", "a.csv": b"longer than before"})

    assert counts(bench.run("", "in", compare="size")) == (1, 2, 0, 0)


def test_without_overwriting_another_content_stays(bench: Any) -> None:
    (bench.to_folder / "in").mkdir(parents=True)
    (bench.to_folder / "in/a.csv").write_bytes(b"mine")
    result = bench.run("", "in", overwrite=False)

    assert counts(result) == (2, 0, 1, 0)
    assert bench.arrived()["in/a.csv"] == b"mine"
    assert [file.path for file in result.written] == ["in/sub/b.csv", "in/sub/deep/c.txt"]


def test_the_journal_of_one_transfer_is_nothing_to_another(bench: Any) -> None:
    bench.run("", "in")

    assert counts(bench.run("", "other")) == (3, 0, 0, 0)


def test_a_few_files_do_not_list_a_large_target(bench: Any) -> None:
    bench.target = RemoteFolder(bench.to_folder)
    bench.run("", "in")

    assert bench.target.calls["walk"] == 0


# Log, bandwidth, stopping


def test_the_log_begins_with_the_plan_and_ends_with_the_result(bench: Any) -> None:
    bench.run("", "in")

    first, *_, last = bench.lines
    assert first.startswith("copy of file://")
    assert first.endswith(": 3 files, 3 to copy (1009 bytes), 0 unchanged")
    assert last.startswith("done: 3 copied, 0 unchanged; 1009 bytes in 0 s, ")
    assert last.endswith("3 verified by checksum")


def test_progress_is_told_in_files_bytes_rate_and_time(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.Progress.__init__, "__defaults__", (0.0,))
    bench.run("", "in")

    assert any(
        line.startswith("1 of 3 files, ") and " of 1009 bytes (" in line and line.endswith(" left")
        for line in bench.lines
    ), bench.lines


def test_a_bandwidth_limit_is_kept(empty_bench: Any) -> None:
    empty_bench.write({str(number): bytes(20_000) for number in range(10)})
    began = time.monotonic()
    empty_bench.run(bandwidth_bytes_s=400_000)

    # The first passes at once.
    assert 0.45 <= time.monotonic() - began < 3


class Blocking:
    """A fault that holds the first write until it is released."""

    def __init__(self, on: str) -> None:
        self.reached, self.release = threading.Event(), threading.Event()
        self._on = on

    def __call__(self, method: str, path: str) -> None:
        if method == self._on:
            self.reached.set()
            self.release.wait(10)


def test_a_stopped_transfer_leaves_nothing_half_done_and_goes_on_later(empty_bench: Any) -> None:
    empty_bench.write({"big": bytes(4 * PIECE_BYTES), "small": b"x"})
    empty_bench.target = RemoteFolder(empty_bench.to_folder)
    blocking = Blocking("write")
    empty_bench.target.faults.append(lambda method, path: blocking(method, path) if path == "big" else None)

    def stop() -> None:
        blocking.reached.wait(10)
        empty_bench.stopping.set()
        time.sleep(0.3)
        blocking.release.set()

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(StepCanceled, match="1 files had been copied"):
        empty_bench.run(workers=1)
    stopper.join()
    assert empty_bench.arrived() == {"small": b"x"}

    empty_bench.stopping.clear()
    assert counts(empty_bench.run()) == (1, 1, 0, 0)


def test_no_thread_is_left(bench: Any) -> None:
    before = threading.active_count()
    bench.run("", "in")

    assert threading.active_count() == before


# Size


@pytest.fixture
def peak_bytes() -> Callable[[], int]:
    """Bytes that Python has allocated at most since the test began."""
    import tracemalloc

    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def test_memory_has_a_bound_whatever_the_size_of_files(peak_bytes: Callable[[], int]) -> None:
    source: Any = Nowhere("from", {"a": 5 << 30, "b": 70 * PIECE_BYTES, "c": PIECE_BYTES + 1})
    target: Any = Nowhere("to")
    result = transfer(
        TransferRequest(source, "", target, "", verify="size"),
        journal=None,
        stopping=threading.Event(),
        tell=lambda _: None,
    )

    assert result.size_bytes == (5 << 30) + 71 * PIECE_BYTES + 1
    assert peak_bytes() < 150 << 20


def test_many_files_cost_little_memory(peak_bytes: Callable[[], int]) -> None:
    source: Any = Nowhere("from", {f"{number % 100:02d}/{number:06d}": 10 for number in range(10_000)})
    target: Any = Nowhere("to")
    made = peak_bytes()
    result = transfer(
        TransferRequest(source, "", target, ""), journal=None, stopping=threading.Event(), tell=lambda _: None
    )

    assert result.copied == 10_000
    assert peak_bytes() - made < 25 << 20
