"""Transfers from and to Azure Blob storage, and what happens when it makes trouble."""

import hashlib
import re
from typing import Any

import pytest
from fault_proxy import FaultProxy, Seen

from airflow_azureml.runtime.exceptions import StoreError
from airflow_azureml.storage.files import StoreBusy
from airflow_azureml.transfer import copying
from airflow_azureml.transfer.checksums import BytesDamaged
from airflow_azureml.transfer.reading import PIECE_BYTES

pytestmark = pytest.mark.service("azurite")

LARGE = bytes(range(256)) * (PIECE_BYTES // 256) + b"and some more" * 1000
FILES = {
    "a.csv": b"a,b\n1,2\n",
    "sub/large.bin": LARGE,
    "sub/nothing": b"",
    "ü/with space %.txt": b"x" * 5000,
}


def fill(store: Any, files: dict[str, bytes]) -> None:
    for path, data in files.items():
        md5 = hashlib.md5(data).hexdigest()
        store.put_bytes(path, data, md5=md5)


def content(store: Any) -> dict[str, bytes]:
    return {info.path: store.read(info.path) for info in store.walk()}


def blob_put(seen: Seen) -> bool:
    return seen.method == "PUT"


def blob_get(seen: Seen) -> bool:
    return seen.method == "GET" and "comp" not in seen.query


# Up, down, across


def test_files_go_up_with_their_md5(bench: Any, azure: Any) -> None:
    bench.target = azure
    bench.write(FILES)
    result = bench.run("", "in")

    assert content(azure) == {
        f"in/{path}": (bench.from_folder / path).read_bytes()
        for path in [*FILES, "sub/b.csv", "sub/deep/c.txt"]
    }
    assert (result.copied, result.verified) == (6, 6)
    for file in result.written:
        found = azure.stat(file.path)
        assert found.md5 == file.md5 == hashlib.md5(azure.read(file.path)).hexdigest()
        assert found.version == file.version


def test_files_come_down_checked_by_their_md5(empty_bench: Any, azure: Any) -> None:
    fill(azure, FILES)
    empty_bench.source = azure
    result = empty_bench.run()

    assert empty_bench.arrived() == FILES
    assert (result.copied, result.verified) == (4, 4)


def test_files_without_an_md5_come_down_and_count_as_unverified(
    empty_bench: Any, azurite: Any, azure: Any
) -> None:
    with azure.writer("big") as file:
        file.write(LARGE)
        file.close()
    empty_bench.source = azure

    result = empty_bench.run()
    assert empty_bench.arrived() == {"big": LARGE}
    assert (result.copied, result.verified) == (1, 0)


def test_files_go_from_container_to_container(
    empty_bench: Any, azurite: Any, azure: Any, azure_of: Any
) -> None:
    fill(azure, FILES)
    empty_bench.source, empty_bench.target = azure, azure_of(azurite.other())
    result = empty_bench.run("", "in")

    assert content(empty_bench.target) == {f"in/{path}": data for path, data in FILES.items()}
    assert result.verified == 4
    assert empty_bench.run("", "in").skipped == 4


def test_a_copy_that_the_service_shows_before_it_is_whole_is_made_under_another_name(
    empty_bench: Any,
    azurite: Any,
    azure: Any,
    azure_of: Any,
    proxy: FaultProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill(azure, {"file": LARGE})
    other = azurite.other()
    empty_bench.source, empty_bench.target = azure, azure_of(other, port=proxy.port)
    # Another address is another account, and Azurite has none of another size.
    monkeypatch.setattr(copying, "_AT_ONCE_BYTES", 1000)
    empty_bench.run("", "in")

    puts = [seen.path.rpartition(other.container)[2] for seen in proxy.seen if blob_put(seen)]
    assert [path.startswith("/.azureml-arriving/") for path in puts] == [True, False]
    assert other.blobs() == {"in/file": LARGE}


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_second_transfer_copies_nothing(empty_bench: Any, azure: Any, direction: str) -> None:
    if direction == "up":
        empty_bench.write(FILES)
        empty_bench.target = azure
    else:
        fill(azure, FILES)
        empty_bench.source = azure
    empty_bench.run()
    assert empty_bench.run().skipped == 4

    empty_bench.forget_journal()
    assert empty_bench.run().skipped == 4


def test_what_somebody_else_wrote_with_an_md5_is_not_copied_again(empty_bench: Any, azure: Any) -> None:
    empty_bench.write(FILES)
    fill(azure, FILES)
    empty_bench.target = azure

    assert empty_bench.run().skipped == 4


# Damage


def test_a_flipped_byte_on_the_way_up_is_found_and_repaired(
    empty_bench: Any, through_proxy: Any, proxy: FaultProxy, azure: Any
) -> None:
    empty_bench.write({"small": b"x" * 1000, "large": LARGE})
    for name in ("small", "large"):
        proxy.add("flip-up", lambda seen, name=name: seen.size_bytes > 500 and seen.path.endswith(name))  # type: ignore[misc]
    empty_bench.target = through_proxy
    result = empty_bench.run()

    assert content(azure) == {"small": b"x" * 1000, "large": LARGE}
    assert result.repeated == 2
    assert sum("damaged on its way" in line for line in empty_bench.lines) == 2


def test_a_flipped_byte_on_the_way_down_is_found_and_repaired(
    empty_bench: Any, through_proxy: Any, proxy: FaultProxy, azure: Any
) -> None:
    fill(azure, {"small": b"x" * 1000, "large": LARGE})
    for name in ("small", "large"):
        proxy.add("flip-down", lambda seen, name=name: blob_get(seen) and seen.path.endswith(name))  # type: ignore[misc]
    empty_bench.source = through_proxy
    result = empty_bench.run()

    assert empty_bench.arrived() == {"small": b"x" * 1000, "large": LARGE}
    assert result.repeated == 2


@pytest.mark.parametrize("direction", ["up", "down"])
def test_lasting_damage_fails_and_leaves_nothing(
    empty_bench: Any, through_proxy: Any, proxy: FaultProxy, azure: Any, direction: str
) -> None:
    if direction == "up":
        empty_bench.write({"file": b"x" * 1000})
        proxy.add("flip-up", lambda seen: seen.size_bytes > 500, times=100)
        empty_bench.target = through_proxy
    else:
        fill(azure, {"file": b"x" * 1000})
        proxy.add("flip-down", blob_get, times=100)
        empty_bench.source = through_proxy

    with pytest.raises(StoreBusy, match="stopped at 'file'.*MD5") as raised:
        empty_bench.run()
    assert isinstance(raised.value.__cause__, BytesDamaged)
    assert (content(azure) if direction == "up" else empty_bench.arrived()) == {}


# Refusals and throttling


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_refusal_in_the_middle_ends_it_and_another_try_copies_the_rest(
    empty_bench: Any, through_proxy: Any, proxy: FaultProxy, azure: Any, direction: str
) -> None:
    files = {f"{number:02d}": b"x" * number for number in range(1, 31)}
    if direction == "up":
        empty_bench.write(files)
        empty_bench.target = through_proxy
    else:
        fill(azure, files)
        empty_bench.source = through_proxy
    moving = blob_put if direction == "up" else blob_get
    proxy.add("status", moving, after=10, times=1000, status=403, code="AuthorizationPermissionMismatch")

    with pytest.raises(StoreError, match="403.*files had been copied; another try continues") as raised:
        empty_bench.run(workers=4)
    assert not raised.value.transient
    copied = int(re.search(r"(\d+) files had been copied", str(raised.value))[1])  # type: ignore[index]
    # Those under way when the refusal came were called off.
    assert 6 <= copied <= 10

    proxy.clear()
    again = empty_bench.run()
    assert (again.copied, again.skipped) == (30 - copied, copied)
    assert (content(azure) if direction == "up" else empty_bench.arrived()) == files


@pytest.mark.parametrize("status", [503, 429])
def test_a_busy_service_is_waited_for(
    empty_bench: Any, through_proxy: Any, proxy: FaultProxy, azure: Any, status: int
) -> None:
    files = {f"{number:02d}": b"x" * number for number in range(1, 20)}
    empty_bench.write(files)
    proxy.add("status", blob_put, after=3, times=4, status=status, code="ServerBusy")
    proxy.add("drop", blob_put, after=8, times=1)
    empty_bench.target = through_proxy

    assert empty_bench.run(workers=4).copied == 19
    assert content(azure) == files


def test_the_source_changing_under_way_is_noticed(
    empty_bench: Any, through_proxy: Any, proxy: FaultProxy, azure: Any
) -> None:
    fill(azure, {"file": LARGE})
    other = b"z" * len(LARGE)

    def change(seen: Seen) -> bool:
        if blob_get(seen) and not proxy.changed:  # type: ignore[attr-defined]
            proxy.changed = True  # type: ignore[attr-defined]
            fill(azure, {"file": other})
        return False

    proxy.changed = False  # type: ignore[attr-defined]
    proxy.add("status", change)
    empty_bench.source = through_proxy
    result = empty_bench.run()

    assert empty_bench.arrived() == {"file": other}
    assert result.repeated == 1


def test_no_secret_is_in_messages(
    empty_bench: Any, azurite: Any, through_proxy: Any, proxy: FaultProxy
) -> None:
    empty_bench.write({"file": b"x"})
    proxy.add("status", blob_put, times=100, status=403, code="AuthenticationFailed")
    empty_bench.target = through_proxy
    with pytest.raises(StoreError) as raised:
        empty_bench.run()

    text = f"{raised.value!r} {raised.value} {empty_bench.lines}"
    assert azurite.key not in text
    assert "sig=" not in text
