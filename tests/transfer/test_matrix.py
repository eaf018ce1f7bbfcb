"""From every kind of store to every kind."""

import itertools
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_azureml.runtime.exceptions import StoreError
from airflow_azureml.storage import opening
from airflow_azureml.storage.connections import ConnectionFields
from airflow_azureml.storage.files import FileStore, StoreAddress
from airflow_azureml.transfer.copying import FileCopier

KINDS = ["local", "azure", "share", "s3", "dbfs"]
MARKS = {"azure": [pytest.mark.service("azurite")]}
PAIRS = [
    pytest.param(source, target, id=f"{source}-{target}", marks=MARKS.get(source) or MARKS.get(target) or [])
    for source in KINDS
    for target in KINDS
]

FILES = {
    "a.csv": b"a,b\n1,2\n",
    "nothing": b"",
    "with  spaces & more.txt": b"spaces",
    "ünïcødé/日本語 🚀.csv": b"unicode",
    "100%/50%25.csv": b"percent",
    "a+b=c;d@e,f'g/[h]{i}(j)~$`k.txt": b"signs",
    "#hash/-rf": b"hash",
    "/".join(["n" * 200] * 4 + ["m" * 96]): b"long",
    "large.bin": bytes(range(256)) * 33_000,
}


@pytest.fixture
def store_of(
    request: pytest.FixtureRequest, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], FileStore]]:
    """Makes an empty store of a kind."""

    def fields(kind: str) -> ConnectionFields:
        if kind == "azure":
            document = json.loads(request.getfixturevalue("azurite").connection())
        elif kind == "s3":
            document = json.loads(request.getfixturevalue("s3_bucket").connection())
        else:
            document = request.getfixturevalue({"share": "azure_files", "dbfs": "dbfs"}[kind]).connection()
        names = ("host", "login", "password", "extra")
        return ConnectionFields(
            kind, document["conn_type"], **{name: document[name] for name in names if name in document}
        )

    def make(kind: str) -> FileStore:
        folder = uuid.uuid4().hex
        if kind == "local":
            return opening.open_files(StoreAddress("Local", root=str(tmp_path / folder)))
        types = {"azure": "AzureBlob", "share": "AzureFile", "s3": "S3", "dbfs": "DBFS"}
        containers = {
            "azure": lambda: request.getfixturevalue("azurite").container,
            "share": lambda: request.getfixturevalue("azure_files").share(),
            "s3": lambda: request.getfixturevalue("s3_bucket").bucket,
            "dbfs": lambda: None,
        }
        return opening.open_files(StoreAddress(types[kind], kind, container=containers[kind](), path=folder))

    opening.forget()
    monkeypatch.setattr(opening, "get_connection", fields)
    yield make
    opening.forget()


def write(store: FileStore, files: dict[str, bytes]) -> None:
    for path, data in files.items():
        with store.writer(path) as file:
            file.write(data)
            file.close()


def content(store: FileStore, folder: str) -> dict[str, bytes]:
    return {info.path[len(folder) + 1 :]: store.read(info.path) for info in store.walk(folder)}


def refusing(real: Any, *, after: int) -> Any:
    """What copies a file, until it is refused."""
    calls, over = itertools.count(), threading.Event()

    def copy(self: Any, pair: Any) -> Any:
        # The large file has threads of its own, and waits for its turn.
        if pair.path == "large.bin":
            over.wait(60)
        elif next(calls) < after:
            return real(self, pair)
        over.set()
        raise StoreError("status 403")

    return copy


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_directory_whose_first_try_is_refused_in_the_middle(
    empty_bench: Any,
    store_of: Callable[[str], FileStore],
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    target: str,
) -> None:
    empty_bench.source, empty_bench.target = store_of(source), store_of(target)
    write(empty_bench.source, {f"from/{path}": data for path, data in FILES.items()})

    with monkeypatch.context() as patch:
        patch.setattr(FileCopier, "_try", refusing(FileCopier._try, after=4))
        with pytest.raises(StoreError, match="4 files had been copied; another try continues"):
            empty_bench.run("from", "to/there", workers=1)
    rest = empty_bench.run("from", "to/there")
    assert content(empty_bench.target, "to/there") == FILES
    assert (rest.copied, rest.skipped) == (len(FILES) - 4, 4)

    write(empty_bench.source, {"from/a.csv": b"new", "from/more/b.csv": b"b"})
    again = empty_bench.run("from", "to/there")
    assert (again.copied, again.skipped) == (2, len(FILES) - 1)
    assert empty_bench.target.read("to/there/a.csv") == b"new"
    assert [file.version for file in again.written] == [
        info.version for info in empty_bench.target.walk("to/there")
    ]


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_file_and_a_mirror(
    empty_bench: Any, store_of: Callable[[str], FileStore], source: str, target: str
) -> None:
    empty_bench.source, empty_bench.target = store_of(source), store_of(target)
    write(empty_bench.source, {"from/a b.csv": b"data", "from/c": b"c"})

    empty_bench.run("from/a b.csv", "to/ü.csv", source_type="file", target_type="file")
    assert content(empty_bench.target, "to") == {"ü.csv": b"data"}

    mirrored = empty_bench.run("from", "to", mode="mirror", delete_limit=1)
    assert (mirrored.copied, mirrored.deleted) == (2, 1)
    assert content(empty_bench.target, "to") == {"a b.csv": b"data", "c": b"c"}
