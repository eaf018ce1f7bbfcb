"""Datasets as a script sees them, over a real blob store and a real database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_azureml.runtime import service
from airflow_azureml.runtime.dataset import Dataset
from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.workspace.data_cache import DataCache
from airflow_azureml.workspace.dataset_content import saved_content
from airflow_azureml.workspace.dataset_difference import compare_versions
from airflow_azureml.workspace.dataset_files import DatasetFiles
from airflow_azureml.workspace.dataset_reading import read_first_rows
from airflow_azureml.workspace.datastores import DatastoreRecord
from airflow_azureml.workspace.handle import WorkspaceHandle, open_workspace
from airflow_azureml.workspace.offline import LocalService, offline_state
from airflow_azureml.workspace.run_service import RunService

# What the database's libraries warn of is not ours.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Named:
    """What a dataset needs to know of a datastore."""

    def __init__(self, name: str) -> None:
        self.name = name


@pytest.fixture
def workspace(tmp_path: Path) -> WorkspaceHandle:
    return open_workspace(str(tmp_path / "workspace"))


@pytest.fixture
def data(workspace: WorkspaceHandle, tmp_path: Path) -> Iterator[DatasetFiles]:
    """What a script's questions are answered with."""
    with DataCache(tmp_path / "cache", 1 << 20) as cache:
        files = DatasetFiles(workspace.datastores, cache, tmp_path / "scratch")
        state = offline_state(workspace, tmp_path / "staging")
        with service.using(LocalService(RunService(workspace, state, is_step=False, data=files))):
            yield files


@pytest.fixture
def blobs(azurite, azurite_connection, workspace):
    """A datastore in Azurite with three tables."""
    record = DatastoreRecord(
        "blobs", "AzureBlob", connection_id=azurite_connection, container=azurite.container, path="data"
    )
    workspace.datastores.register(record)
    with azurite.client() as client:
        for name, rows in (
            ("de/a b.csv", "n,t\n1,x\n"),
            ("fr/a.csv", "n,t\n2,y\n"),
            ("fr/é.csv", "n,t\n3,z\n"),
        ):
            client.upload_blob(f"data/{name}", rows.encode())
    return Named("blobs")


@pytest.fixture
def numbers(postgresql_database, monkeypatch, workspace):
    """A datastore that is a database with one table."""
    monkeypatch.setenv("AIRFLOW_CONN_NUMBERS", postgresql_database.connection())
    postgresql_database.execute("CREATE TABLE numbers (n bigint, price numeric(10, 2), day date, word text)")
    postgresql_database.execute(
        "INSERT INTO numbers VALUES (1, 1.5, '2024-01-02', 'eins'), (2, NULL, NULL, NULL)"
    )
    record = DatastoreRecord(
        "numbers", "AzurePostgreSql", connection_id="numbers", container=postgresql_database.name
    )
    workspace.datastores.register(record)
    return Named("numbers")


@pytest.mark.service("azurite")
def test_a_table_over_blobs_is_read_like_one_over_folders(blobs, data):
    table = Dataset.Tabular.from_delimited_files((blobs, "**/*.csv"), partition_format="{country}/*.csv")
    assert table.to_pandas_dataframe().to_dict("list") == {
        "country": ["de", "fr", "fr"],
        "n": [1, 2, 3],
        "t": ["x", "y", "z"],
    }
    assert table.get_partition_key_values() == [{"country": "de"}, {"country": "fr"}]
    assert table.data_changed_time is not None


@pytest.mark.service("azurite")
def test_files_on_blobs_are_listed_downloaded_and_shown(blobs, data, tmp_path):
    files = Dataset.File.from_files((blobs, "fr"))
    assert files.to_path() == ["/a.csv", "/é.csv"]
    assert not (tmp_path / "cache").exists()

    copies = files.download(str(tmp_path / "copies"))
    assert [Path(copy).read_text() for copy in copies] == ["n,t\n2,y\n", "n,t\n3,z\n"]
    with files.mount() as mounted:
        assert Path(mounted.mount_point, "é.csv").read_text() == "n,t\n3,z\n"


@pytest.mark.service("azurite")
def test_a_preview_fetches_no_more_files_than_it_needs(blobs, data, tmp_path):
    table = Dataset.Tabular.from_delimited_files((blobs, "**/*.csv"))
    assert read_first_rows(data, table.definition, 1)["n"].tolist() == [1]
    assert [path.name for path in (tmp_path / "cache/files").glob("*/*/*")] == ["a b.csv"]
    assert read_first_rows(data, table.definition, 9)["n"].tolist() == [1, 2, 3]


@pytest.mark.service("azurite")
def test_versions_over_blobs_are_told_apart_without_downloading(blobs, azurite, workspace, data, tmp_path):
    table = Dataset.Tabular.from_delimited_files((blobs, "fr"))
    first = table.register(None, "french")
    assert table.register(None, "french").version == first.version
    assert not (tmp_path / "cache").exists()
    with azurite.client() as client:
        client.upload_blob("data/fr/é.csv", b"n,t\n4,zz\n", overwrite=True)

    second = table.register(None, "french", create_new_version=True)

    assert second.version == 2
    records = workspace.datasets.versions("french")
    known = [saved_content(workspace.store, record.fingerprint) for record in records]
    assert all(content is not None and len(content.files) == 2 for content in known)
    found = compare_versions(workspace.store, data, *records)
    assert list(found.files.changed) == ["é.csv"]
    assert found.unknown == "the data of version 1 changed since it was registered"


@pytest.mark.service("postgresql")
def test_a_query_is_a_table_with_the_types_of_the_database(numbers, data):
    table = Dataset.Tabular.from_sql_query((numbers, "SELECT * FROM numbers ORDER BY n"))
    frame = table.to_pandas_dataframe()
    assert frame["n"].tolist() == [1, 2]
    assert frame["price"].tolist()[0] == 1.5
    assert frame["price"].isna().tolist() == [False, True]
    assert str(frame["day"].dtype) == "datetime64[ns]"
    assert table.filter(table["word"] == "eins").keep_columns("n").to_pandas_dataframe()["n"].tolist() == [1]


@pytest.mark.service("postgresql")
def test_a_query_is_asked_again_when_its_table_has_changed(
    numbers, data, postgresql_database, tmp_path, workspace
):
    query = Dataset.Tabular.from_sql_query((numbers, "SELECT n FROM numbers")).definition

    def count() -> int:
        with DataCache(tmp_path / "cache", None) as cache:
            return len(read_first_rows(DatasetFiles(workspace.datastores, cache, tmp_path / "s"), query, 9))

    assert count() == count() == 2
    postgresql_database.execute("INSERT INTO numbers (n) VALUES (3)")
    assert count() == 3


@pytest.mark.service("postgresql")
@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM numbers", "SELECT 1; SELECT 2", "INSERT INTO numbers (n) VALUES (9) RETURNING n"],
)
def test_a_query_can_only_read(statement, numbers, data, postgresql_database):
    table = Dataset.Tabular.from_sql_query((numbers, statement), validate=False)
    with pytest.raises(UserErrorException):
        table.to_pandas_dataframe()
    assert postgresql_database.rows("SELECT count(*) FROM numbers") == [(2,)]
