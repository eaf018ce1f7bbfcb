"""Datasets over stores that are not on this machine, over web addresses and over queries: listed, then fetched."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml.runtime import service
from airflow_azureml.runtime.dataset import Dataset
from airflow_azureml.runtime.exceptions import DatasetValidationError, StoreError, UserErrorException
from airflow_azureml.sql.database import Exported, Fingerprint
from airflow_azureml.storage.files import FileChanged, StoreBusy
from airflow_azureml.storage.local_files import LocalFiles
from airflow_azureml.workspace.data_cache import DataCache
from airflow_azureml.workspace.dataset_files import DatasetFiles
from airflow_azureml.workspace.datastores import DatastoreRecord
from airflow_azureml.workspace.handle import open_workspace
from airflow_azureml.workspace.offline import LocalService, offline_state
from airflow_azureml.workspace.run_service import RunService


class Named:
    """What a dataset needs to know of a datastore."""

    def __init__(self, name: str) -> None:
        self.name = name


class Remote(LocalFiles):
    """A folder of this machine that says it is none."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.local_root = None
        self.asked: list[str] = []

    @property
    def uri(self) -> str:
        return "test://account/container"

    def get_file(self, path: str, target: Path, *, etag: str | None = None) -> Any:
        self.asked.append(path)
        return super().get_file(path, target, etag=etag)


class Counting:
    """A database whose only table holds numbers up to the last one."""

    uri = "test://server/numbers"

    def __init__(self, *, knows_its_state: bool) -> None:
        self.last = 2
        self.knows_its_state = knows_its_state
        self.asked: list[str] = []
        self.timeout_s: float | None = None

    def fingerprint(self, source: Any, job: Any = None) -> Fingerprint | None:
        return Fingerprint("version", str(self.last)) if self.knows_its_state else None

    def query_to_parquet(
        self, statement: str, target: Path, *, parameters: Any = None, timeout_s: float | None = None
    ) -> Exported:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.asked.append(statement)
        self.timeout_s = timeout_s
        pq.write_table(pa.table({"n": list(range(1, self.last + 1))}), target)
        return Exported(self.last, {"n": "int64"})


class Datastores:
    """Datastores ``remote``, ``local`` and ``numbers``."""

    def __init__(self, folder: Path) -> None:
        self.remote = Remote(folder / "remote")
        self.local = folder / "local"
        self.numbers = Counting(knows_its_state=True)

    def is_local(self, name: str) -> bool:
        return name == "local"

    def root(self, name: str) -> Path:
        self.local.mkdir(exist_ok=True)
        return self.local

    def files(self, name: str) -> LocalFiles:
        return self.remote

    def database(self, name: str) -> Counting:
        return self.numbers

    def replacement(self, account: str) -> DatastoreRecord:
        assert account.startswith("adl://old.")
        return DatastoreRecord("remote", "AzureDataLakeGen2", connection_id="c", container="x")


@pytest.fixture
def datastores(tmp_path: Path) -> Datastores:
    return Datastores(tmp_path)


@pytest.fixture
def data(datastores: Datastores, tmp_path: Path) -> DatasetFiles:
    return DatasetFiles(datastores, DataCache(tmp_path / "cache", None), tmp_path / "scratch")


def put(datastores: Datastores, tmp_path: Path, files: dict[str, str]) -> None:
    for path, content in files.items():
        source = tmp_path / "put"
        source.write_text(content)
        datastores.remote.put_file(path, source)


REMOTE = Named("remote")


def test_remote_files_are_listed_without_being_downloaded(datastores, data, tmp_path):
    put(datastores, tmp_path, {"in/a.csv": "n\n1\n", "in/b/c.csv": "n\n2\n", "in.csv": "n\n3\n"})

    files = data.list_files(Dataset.File.from_files((REMOTE, "in")).definition)

    assert [(file.name, file.origin, file.size_bytes) for file in files] == [
        ("a.csv", "/in/a.csv", 4),
        ("b/c.csv", "/in/b/c.csv", 4),
    ]
    assert [file.remote.path for file in files] == ["in/a.csv", "in/b/c.csv"]
    assert all(file.remote.version and file.remote.datastore == "remote" for file in files)
    assert datastores.remote.asked == []
    assert not Path(files[0].path).exists()


def test_fetched_files_are_where_the_listing_said(datastores, data, tmp_path):
    put(datastores, tmp_path, {"a.csv": "n\n1\n"})
    definition = Dataset.File.from_files((REMOTE, "a.csv")).definition

    listed = data.list_files(definition)
    fetched = data.fetch(listed)

    assert fetched[0].path == listed[0].path
    assert Path(fetched[0].path).read_text() == "n\n1\n"
    assert fetched[0].remote == listed[0].remote


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("", ["2024/01/a.csv", "2024/02/b.csv", "2024/b.txt", "c.csv"]),
        ("*.csv", ["c.csv"]),
        ("2024/*/*.csv", ["01/a.csv", "02/b.csv"]),
        ("**/b.*", ["2024/02/b.csv", "2024/b.txt"]),
        ("2024/**", ["01/a.csv", "02/b.csv", "b.txt"]),
        ("c.csv", ["c.csv"]),
    ],
)
def test_wildcards_mean_the_same_as_on_local_folders(path, found, datastores, data, tmp_path):
    names = ["2024/01/a.csv", "2024/02/b.csv", "2024/b.txt", "c.csv"]
    put(datastores, tmp_path, dict.fromkeys(names, "x"))
    for name in names:
        file = datastores.root("local") / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")

    def listed(store: str) -> list[str]:
        files = data.list_files(Dataset.File.from_files((Named(store), path)).definition)
        return [file.name for file in files]

    assert listed("remote") == listed("local") == found


@pytest.mark.parametrize("path", ["nothing", "*.csv", "no/such/folder/**"])
def test_a_path_that_means_nothing_is_refused(path, data):
    with pytest.raises(DatasetValidationError, match="on datastore remote does not exist or means no file"):
        data.list_files(Dataset.File.from_files((REMOTE, path)).definition)


def test_a_file_that_two_paths_mean_counts_once(datastores, data, tmp_path):
    put(datastores, tmp_path, {"d/a.csv": "1", "d/b.csv": "2"})
    definition = Dataset.File.from_files([(REMOTE, "d/*.csv"), (REMOTE, "d/a.csv")]).definition
    assert [file.name for file in data.list_files(definition)] == ["a.csv", "b.csv"]


def test_two_datastores_are_two_folders(datastores, data, tmp_path):
    put(datastores, tmp_path, {"a.csv": "1"})
    (datastores.root("local") / "a.csv").write_text("2")
    definition = Dataset.File.from_files([(REMOTE, "a.csv"), (Named("local"), "a.csv")]).definition
    assert [file.name for file in data.list_files(definition)] == ["remote/a.csv", "local/a.csv"]


def test_what_is_on_its_way_to_a_store_is_no_data(datastores, data, tmp_path):
    put(datastores, tmp_path, {".azureml-arriving/run/a.csv": "1", "b.csv": "2"})
    definition = Dataset.File.from_files((REMOTE, "**")).definition
    assert [file.name for file in data.list_files(definition)] == ["b.csv"]


def test_a_file_that_changes_between_listing_and_fetching_is_noticed(datastores, data, tmp_path):
    put(datastores, tmp_path, {"a.csv": "1"})
    listed = data.list_files(Dataset.File.from_files((REMOTE, "a.csv")).definition)
    put(datastores, tmp_path, {"a.csv": "22"})
    with pytest.raises(FileChanged):
        data.fetch(listed)


def test_files_made_of_a_remote_table_are_made_of_its_rows(datastores, data, tmp_path):
    put(datastores, tmp_path, {"a.csv": "n\n1\n2\n"})
    table = Dataset.Tabular.from_delimited_files((REMOTE, "a.csv")).take(1)
    (file,) = data.files(table.to_csv_files().definition)
    assert Path(file.path).read_text() == "n\n1\n"


def test_partition_columns_come_from_remote_paths(datastores, data, tmp_path):
    put(datastores, tmp_path, {"d/de/a.csv": "n\n1\n", "d/fr/a.csv": "n\n2\n"})
    definition = Dataset.File.from_files((REMOTE, "d"), partition_format="d/{country}/*.csv").definition
    assert len(data.list_files(definition)) == 2
    with pytest.raises(DatasetValidationError, match="doesn't fit partition_format"):
        data.list_files(Dataset.File.from_files((REMOTE, "d"), partition_format="x/{a}/*.csv").definition)


def test_pinned_files_stay_the_same_for_all_that_is_made_of_them(datastores, data, tmp_path):
    put(datastores, tmp_path, {"d/a.csv": "n\n1\n"})
    table = Dataset.Tabular.from_delimited_files((REMOTE, "d"))
    data.pin(table.definition, data.files(table.definition))
    put(datastores, tmp_path, {"d/b.csv": "n\n2\n"})
    assert [file.name for file in data.files(table.take(1).definition)] == ["a.csv"]


# -- queries -----------------------------------------------------------------------------------------------------

QUERY = Dataset.Tabular.from_sql_query((Named("numbers"), "select n from numbers"), query_timeout=7)


def test_a_query_is_not_run_to_know_whether_its_result_is_the_same(datastores, data):
    (listed,) = data.list_files(QUERY.definition)
    assert datastores.numbers.asked == []
    assert listed.remote.version

    data.fetch([listed])
    data.fetch([listed])

    assert datastores.numbers.asked == ["select n from numbers"]
    assert datastores.numbers.timeout_s == 7


def test_a_result_is_another_one_when_the_database_says_so(datastores, tmp_path):
    def versions() -> set[str]:
        data = DatasetFiles(datastores, DataCache(tmp_path / "cache", None), tmp_path / "scratch")
        return {file.remote.version for file in data.list_files(QUERY.definition)}

    before = versions()
    assert before == versions()
    datastores.numbers.last = 3
    assert before != versions()


def test_a_result_that_changes_while_it_is_read_is_not_kept(datastores, data):
    (listed,) = data.list_files(QUERY.definition)
    datastores.numbers.last = 3
    with pytest.raises(FileChanged, match="changed while it was read"):
        data.fetch([listed])
    assert not Path(listed.path).exists()


def test_where_the_database_cannot_say_the_query_is_run_once(datastores, data):
    datastores.numbers.knows_its_state = False

    first, second = data.files(QUERY.definition), data.files(QUERY.take(1).definition)

    assert first == second
    assert first[0].remote is None
    assert Path(first[0].path).stat().st_size == first[0].size_bytes
    assert len(datastores.numbers.asked) == 1


# -- web addresses -----------------------------------------------------------------------------------------------


class WebSite:
    """A web server over a dictionary, on a free port."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.headers: dict[str, str] = {}
        self.head_status = 200
        self.failures = 0
        self.asked: list[str] = []
        handler = functools.partial(_Handler, self)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    def __init__(self, site: WebSite, *arguments: Any) -> None:
        self.site = site
        super().__init__(*arguments)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        self.site.asked.append(f"{self.command} {self.path}")
        content = self.site.files.get(self.path)
        status = 404 if content is None else 200
        if not with_body and self.site.head_status != 200:
            status = self.site.head_status
        if self.site.failures:
            self.site.failures -= 1
            status = 503
        self.send_response(status)
        if status == 200:
            for name, value in self.site.headers.items():
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content or b"") if status == 200 else 0))
        self.end_headers()
        if with_body and status == 200:
            self.wfile.write(content or b"")

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


@pytest.fixture
def site() -> Iterator[WebSite]:
    server = WebSite()
    yield server
    server.stop()


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_azureml.storage.web_files._FIRST_PAUSE_S", 0.0)


def test_a_web_address_with_a_version_is_downloaded_once(site, data):
    site.files["/data/a.csv"] = b"n\n1\n"
    site.headers["ETag"] = '"v1"'
    definition = Dataset.Tabular.from_delimited_files(f"{site.url}/data/a.csv").definition

    (listed,) = data.list_files(definition)
    assert site.asked == ["HEAD /data/a.csv"]
    (fetched,) = data.fetch([listed])
    data.fetch([listed])

    assert (fetched.name, fetched.origin) == ("a.csv", f"{site.url}/data/a.csv")
    assert Path(fetched.path).read_bytes() == b"n\n1\n"
    assert site.asked[1:] == ["GET /data/a.csv"]


@pytest.mark.parametrize("headers", [{"Last-Modified": "Sun, 22 Nov 2026 09:20:00 GMT"}, {}])
@pytest.mark.parametrize("head_status", [200, 405])
def test_an_address_is_known_by_what_its_server_says_or_by_its_content(headers, head_status, site, data):
    site.files["/a.csv"] = b"one"
    site.headers.update(headers)
    site.head_status = head_status
    definition = Dataset.File.from_files(f"{site.url}/a.csv").definition

    first, again = data.list_files(definition), data.list_files(definition)
    assert first[0].remote.version == again[0].remote.version
    assert Path(data.fetch(first)[0].path).read_bytes() == b"one"

    site.files["/a.csv"] = b"two"
    if not headers:
        assert data.list_files(definition)[0].remote.version != first[0].remote.version


def test_another_file_at_the_address_is_noticed(site, data):
    site.files["/a.csv"] = b"one"
    site.headers["ETag"] = '"v1"'
    listed = data.list_files(Dataset.File.from_files(f"{site.url}/a.csv").definition)
    site.headers["ETag"] = '"v2"'
    with pytest.raises(FileChanged):
        data.fetch(listed)


def test_an_address_with_a_query_is_asked_with_it(site, data):
    site.files["/a.csv?year=2024"] = b"one"
    (file,) = data.files(Dataset.File.from_files(f"{site.url}/a.csv?year=2024").definition)
    assert Path(file.path).read_bytes() == b"one"


def test_a_missing_page_is_a_missing_path(site, data):
    with pytest.raises(DatasetValidationError, match="/nothing.csv does not exist"):
        data.list_files(Dataset.File.from_files(f"{site.url}/nothing.csv").definition)


def test_a_server_that_is_busy_is_asked_again_and_then_called_busy(site, data, no_pauses):
    site.files["/a.csv"] = b"one"
    site.headers["ETag"] = '"v1"'
    definition = Dataset.File.from_files(f"{site.url}/a.csv").definition
    site.failures = 2
    assert data.list_files(definition)
    site.failures = 100
    with pytest.raises(StoreBusy, match="cannot be read now, tried 4 times: HTTP 503"):
        data.list_files(definition)


def test_an_address_that_wants_a_sign_in_names_the_way_out(site, data):
    site.files["/a.csv"] = b"one"
    site.head_status = 401
    with pytest.raises(StoreError, match=r"without signing in \(HTTP 401\); register a datastore"):
        data.list_files(Dataset.File.from_files(f"{site.url}/a.csv").definition)


def test_wildcards_in_web_addresses_are_refused(site, data):
    with pytest.raises(UserErrorException, match="a web address names one file"):
        data.list_files(Dataset.File.from_files(f"{site.url}/*.csv").definition)


def test_an_old_data_lake_is_read_where_its_data_moved_to(datastores, data, tmp_path):
    put(datastores, tmp_path, {"in/a.csv": "n\n1\n"})
    address = "adl://old.azuredatalakestore.net/in/*.csv"
    (file,) = data.files(Dataset.File.from_files(address).definition)
    assert (file.name, file.remote.datastore) == ("a.csv", "remote")


@pytest.mark.service("azurite")
def test_a_public_container_is_listed_and_read_without_signing_in(azurite, data):
    from azure.storage.blob import PublicAccess

    with azurite.client() as client:
        client.set_container_access_policy({}, public_access=PublicAccess.CONTAINER)
        for name in ("d/a b.csv", "d/é%.csv", "d/e.txt"):
            client.upload_blob(name, name.encode())
    store = data._web_files(f"{azurite.endpoint}/{azurite.container}", is_container=True)

    assert [info.path for info in store.walk("d")] == ["d/a b.csv", "d/e.txt", "d/é%.csv"]
    cached = DataCache(Path(data._scratch), None)
    for info in store.walk("d"):
        assert store.stat(info.path).etag == info.etag
        (copy,) = cached.fetch(store, [info])
        assert copy.read_text() == info.path


# -- in a script -------------------------------------------------------------------------------------------------


def test_a_script_reads_rows_of_a_query_and_of_the_web_like_any_others(site, datastores, data, tmp_path):
    site.files["/a.csv"] = b"n\n5\n"
    workspace = open_workspace(str(tmp_path / "workspace"))
    state = offline_state(workspace, tmp_path / "staging")
    with service.using(LocalService(RunService(workspace, state, is_step=False, data=data))):
        assert QUERY.to_pandas_dataframe()["n"].tolist() == [1, 2]
        assert QUERY.filter(QUERY["n"] > 1).to_pandas_dataframe()["n"].tolist() == [2]
        web = Dataset.Tabular.from_delimited_files(f"{site.url}/a.csv")
        assert web.to_pandas_dataframe()["n"].tolist() == [5]
        assert web.data_changed_time is not None
