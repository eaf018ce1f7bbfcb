"""A transfer in a process of its own that is killed, or has no room, and the next one that goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

SCRIPT = """
import resource, sys, threading
from pathlib import Path
from airflow_azureml.storage.local_files import LocalFiles
from airflow_azureml.transfer.engine import transfer
from airflow_azureml.transfer.journal import Journal
from airflow_azureml.transfer.request import TransferRequest

root, endpoint, container, rate, largest = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
if largest:
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
if endpoint:
    from airflow_azureml.storage import opening
    from airflow_azureml.storage.connections import ConnectionFields
    from airflow_azureml.storage.files import StoreAddress
    key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
    fields = ConnectionFields("azurite", "wasb", host=endpoint, login="devstoreaccount1", password=key)
    target = opening._open_azure_blob(StoreAddress("AzureBlob", "azurite", container=container), fields)
else:
    target = LocalFiles(root / "to")
request = TransferRequest(LocalFiles(root / "from"), "", target, "", workers=2, bandwidth_bytes_s=rate or None)
result = transfer(
    request,
    journal=Journal.in_folder(root / "journal", request.key),
    stopping=threading.Event(),
    tell=lambda line: print(line, flush=True),
)
# Not getrusage, which remembers the memory of the process that started this one.
(peak,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print("RESULT", result.copied, result.skipped, int(peak) // 1024, flush=True)
"""


class Process:
    """The transfer from ``from`` to ``to``, or to a container, in a process of its own."""

    def __init__(self, root: Path, container: Any = None, *, rate: int = 0, largest: int = 0) -> None:
        where = ["", ""] if container is None else [container.endpoint, container.container]
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(root), *where, str(rate), str(largest)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def output(self) -> str:
        return self.process.communicate(timeout=120)[0]

    def result(self) -> tuple[int, int, int]:
        """Files copied and skipped, and the most memory in MiB."""
        output = self.output()
        assert self.process.returncode == 0, output
        copied, skipped, peak = output.rsplit("RESULT", 1)[1].split()
        return int(copied), int(skipped), int(peak)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=60)


def write_files(bench: Any, number: int, size: int) -> None:
    bench.write({f"{at % 7}/{at:03d}": os.urandom(size) for at in range(number)})


@pytest.mark.parametrize("kind", ["local", pytest.param("azure", marks=pytest.mark.service("azurite"))])
def test_after_a_kill_only_the_rest_is_copied(
    empty_bench: Any, kind: str, request: pytest.FixtureRequest
) -> None:
    container = request.getfixturevalue("azurite") if kind == "azure" else None
    write_files(empty_bench, 200, 10_000)
    # Two seconds for all of it.
    killed = Process(empty_bench.root, container, rate=800_000)
    journal = empty_bench.root / "journal"
    until = time.monotonic() + 60
    while time.monotonic() < until and not (journal.exists() and list(journal.rglob("*-*"))):
        time.sleep(0.02)
    time.sleep(0.4)
    killed.kill()

    copied, skipped, _ = Process(empty_bench.root, container).result()

    assert copied + skipped == 200
    # What was noted, and what was written after that and is found to be the same.
    assert 50 < skipped < 200
    if container is None:
        assert len(empty_bench.arrived()) == 200
        assert all(
            data == (empty_bench.from_folder / path).read_bytes()
            for path, data in empty_bench.arrived().items()
        )
    else:
        assert container.blobs() == {
            path.relative_to(empty_bench.from_folder).as_posix(): path.read_bytes()
            for path in empty_bench.from_folder.rglob("*")
            if path.is_file()
        }


def test_a_kill_leaves_no_file_half_written(empty_bench: Any) -> None:
    empty_bench.write({"big": bytes(64 << 20)})
    killed = Process(empty_bench.root, rate=8 << 20)
    until = time.monotonic() + 60
    arriving = empty_bench.to_folder / ".azureml-arriving"
    while time.monotonic() < until and not any(path.stat().st_size for path in arriving.rglob("*.part")):
        time.sleep(0.02)
    killed.kill()

    assert not (empty_bench.to_folder / "big").exists()
    assert Process(empty_bench.root).result()[:2] == (1, 0)
    assert (empty_bench.to_folder / "big").stat().st_size == 64 << 20


def test_without_room_at_the_destination_it_fails_and_goes_on_when_there_is_some(empty_bench: Any) -> None:
    write_files(empty_bench, 30, 1000)
    empty_bench.write({"9/too-large": bytes(300_000)})
    process = Process(empty_bench.root, largest=100_000)
    output = process.output()

    assert process.process.returncode == 1
    assert "cannot write '9/too-large'" in output
    assert "another try continues with the rest" in output
    assert "9/too-large" not in empty_bench.arrived()

    copied, skipped, _ = Process(empty_bench.root).result()
    assert copied + skipped == 31
    assert skipped > 0
    assert len(empty_bench.arrived()) == 31


@pytest.mark.service("azurite")
def test_a_large_file_takes_little_memory(empty_bench: Any, azurite: Any) -> None:
    size = 240 << 20
    with (empty_bench.from_folder / "sparse").open("wb") as file:
        file.truncate(size)
    copied, _, peak_mib = Process(empty_bench.root, azurite).result()

    assert copied == 1
    assert azurite.client().get_blob_client("sparse").get_blob_properties().size == size
    assert peak_mib < 300


def test_a_source_that_changes_while_it_is_copied_arrives_as_it_is_at_the_end(empty_bench: Any) -> None:
    from odd_stores import RemoteFolder

    empty_bench.write({"file": b"old" * 3_000_000})
    empty_bench.target = RemoteFolder(empty_bench.to_folder)
    changed = []

    def change(method: str, path: str) -> None:
        if method == "write" and not changed:
            changed.append(path)
            empty_bench.write({"file": b"new" * 3_000_000})

    empty_bench.target.faults.append(change)
    result = empty_bench.run()

    assert empty_bench.arrived() == {"file": b"new" * 3_000_000}
    assert result.repeated == 1


def test_a_source_that_never_rests_is_given_up(empty_bench: Any) -> None:
    from odd_stores import RemoteFolder

    from airflow_azureml.storage.files import StoreBusy

    empty_bench.write({"file": b"x"})
    empty_bench.target = RemoteFolder(empty_bench.to_folder)
    counter = iter(range(1000))
    empty_bench.target.faults.append(
        lambda method, _: empty_bench.write({"file": b"x" * next(counter)}) if method == "writer" else None
    )

    with pytest.raises(StoreBusy, match="stopped at 'file': .*changed"):
        empty_bench.run()
    assert empty_bench.arrived() == {}


def test_a_source_that_is_deleted_meanwhile_is_named(empty_bench: Any) -> None:
    from odd_stores import RemoteFolder

    from airflow_azureml.runtime.exceptions import StoreError

    empty_bench.write({"file": b"x"})
    empty_bench.source = RemoteFolder(empty_bench.from_folder)
    empty_bench.source.faults.append(
        lambda method, path: (
            (empty_bench.from_folder / path).unlink(missing_ok=True) if method == "read" else None
        )
    )

    with pytest.raises(StoreError, match="stopped at 'file': there is no file 'file'"):
        empty_bench.run()
