"""Datasets through the service of a workspace: saving, registering, uploading, reading."""

# ruff: noqa: DTZ001 - times in columns are UTC and carry no zone

import datetime
import tempfile
from pathlib import Path

import pandas
import pytest

from airflow_azureml.runtime.dataset import Dataset, DatasetConsumptionConfig, FileDataset, TabularDataset
from airflow_azureml.runtime.exceptions import DatasetValidationError, UserErrorException

pytestmark = pytest.mark.usefixtures("workspace")


@pytest.fixture(autouse=True)
def _temporary_files_of_its_own(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


@pytest.fixture
def store(workspace):
    """The default datastore, and the folder behind it."""

    class Store:
        name = "workspaceblobstore"
        root = workspace.datastores.root("workspaceblobstore")

    return Store()


@pytest.fixture
def table(store):
    """A tabular dataset of two files on the default datastore."""
    (store.root / "in").mkdir()
    (store.root / "in" / "1.csv").write_text("n,s\n1,x\n2,y\n")
    (store.root / "in" / "2.csv").write_text("n,s\n3,z\n")
    return Dataset.Tabular.from_delimited_files((store, "in/*.csv"))


def test_reading(table):
    frame = table.filter(table["n"] > 1).to_pandas_dataframe()
    assert list(frame["n"]) == [2, 3]
    assert list(frame.index) == [0, 1]


def test_reading_a_time_series_gives_its_times_as_index(store):
    (store.root / "t.csv").write_text("t,n\n2020-01-01,1\n2020-01-02,2\n")
    dataset = Dataset.Tabular.from_delimited_files((store, "t.csv")).with_timestamp_columns("t")
    frame = dataset.time_after(datetime.datetime(2020, 1, 2)).to_pandas_dataframe()
    assert list(frame.index) == [pandas.Timestamp("2020-01-02")]
    assert list(frame.columns) == ["t", "n"]


def test_the_same_definition_has_the_same_id_and_is_found_by_it(table):
    assert table.id == Dataset.Tabular.from_delimited_files(table_path(table)).id
    again = Dataset.get_by_id(None, table.id)
    assert isinstance(again, TabularDataset)
    assert again == table
    with pytest.raises(UserErrorException, match=r"no dataset with id 'nothing'"):
        Dataset.get_by_id(None, "nothing")


def table_path(table):
    class Datastore:
        name = "workspaceblobstore"

    return (Datastore(), table.definition["source"]["paths"][0]["path"])


def test_an_unregistered_dataset_has_no_name(table):
    assert (table.name, table.version, table.description, table.tags) == (None, None, None, None)
    for change in (
        lambda: table.update("x"),
        lambda: table.add_tags({"a": "b"}),
        table.unregister_all_versions,
    ):
        with pytest.raises(UserErrorException, match=r"works on registered datasets"):
            change()


def test_registering_and_looking_up(table, store):
    first = table.register(None, "numbers", description="some", tags={"a": 1})
    assert (first.name, first.version, first.description, first.tags) == ("numbers", 1, "some", {"a": "1"})
    with pytest.raises(UserErrorException, match=r"'numbers' is taken"):
        table.take(1).register(None, "numbers")
    second = table.take(1).register(None, "numbers", create_new_version=True)
    assert second.version == 2
    assert Dataset.get_by_name(None, "numbers") == second
    assert Dataset.get_by_name(None, "numbers", version=1) == first
    assert Dataset.get_by_name(None, "numbers", version="2") == second
    assert Dataset.get_all(None) == {"numbers": second}
    assert first.take(1).name is None


def test_registering_again_after_the_data_changed_adds_a_version(table, store):
    table.register(None, "numbers")
    assert table.register(None, "numbers").version == 1
    (store.root / "in" / "3.csv").write_text("n,s\n4,x\n")
    assert table.register(None, "numbers", create_new_version=True).version == 2


@pytest.mark.parametrize("version", ["newest", 0, -1, 1.5, True])
def test_versions_are_numbers_or_latest(version):
    with pytest.raises(UserErrorException, match=r"version is a number or 'latest'"):
        Dataset.get_by_name(None, "numbers", version=version)


def test_unknown_names_and_versions(table):
    table.register(None, "numbers")
    with pytest.raises(UserErrorException, match=r"'words'"):
        Dataset.get_by_name(None, "words")
    with pytest.raises(UserErrorException, match=r"version 9 of dataset 'numbers'"):
        Dataset.get_by_name(None, "numbers", version=9)


def test_description_and_tags_change_in_place(table):
    dataset = table.register(None, "numbers", tags={"a": "1"})
    assert dataset.add_tags({"b": "2"}) is dataset
    assert dataset.remove_tags(["a", "zzz"]).tags == {"b": "2"}
    assert dataset.update(description="new").description == "new"
    assert dataset.update(tags={"c": "3"}).tags == {"c": "3"}
    assert Dataset.get_by_name(None, "numbers").tags == {"c": "3"}
    dataset.unregister_all_versions()
    assert dataset.name is None
    assert Dataset.get_all(None) == {}


def test_missing_data_is_an_error_that_names_the_path(store):
    dataset = Dataset.Tabular.from_delimited_files((store, "nowhere/x.csv"))
    for use in (dataset.to_pandas_dataframe, dataset.validate):
        with pytest.raises(DatasetValidationError, match=r"nowhere/x.csv on datastore workspaceblobstore"):
            use()


def test_validate_finds_data_that_is_not_as_declared(store, table):
    table.validate()
    (store.root / "bad.csv").write_bytes(b"n\n\xff\n")
    with pytest.raises(DatasetValidationError, match=r"not encoded as utf8"):
        Dataset.Tabular.from_delimited_files((store, "bad.csv")).validate()
    with pytest.raises(DatasetValidationError, match=r"keep_columns names the column 'z'"):
        table.keep_columns("z").validate()


def test_only_a_running_step_validates_at_once(store, table, monkeypatch):
    table.keep_columns("z", validate=True)
    monkeypatch.setenv("AZUREML_RUN_SOCKET", "/run/x.sock")
    for declare in (
        lambda: table.keep_columns("z", validate=True),
        lambda: Dataset.Tabular.from_delimited_files((store, "nowhere.csv")),
        lambda: Dataset.File.from_files((store, "nowhere"), partition_format="{n}.csv"),
        lambda: table.with_timestamp_columns("s", validate=True),
    ):
        with pytest.raises(DatasetValidationError):
            declare()
    Dataset.Tabular.from_delimited_files((store, "nowhere.csv"), validate=False)
    Dataset.File.from_files((store, "nowhere"))


def test_files_are_downloaded_under_their_names(store, table, tmp_path):
    files = Dataset.File.from_files((store, "**/*.csv"))
    assert files.to_path() == ["/in/1.csv", "/in/2.csv"]
    target = tmp_path / "target"
    paths = files.download(str(target))
    assert paths == [str(target / "in" / "1.csv"), str(target / "in" / "2.csv")]
    assert (target / "in" / "2.csv").read_text() == "n,s\n3,z\n"
    with pytest.raises(UserErrorException, match=r"1.csv exists already; overwrite=True"):
        files.download(str(target))
    (target / "in" / "1.csv").write_text("old")
    assert files.take(1).download(str(target), overwrite=True) == paths[:1]
    assert (target / "in" / "1.csv").read_text() == "n,s\n1,x\n2,y\n"


def test_downloading_nothing_is_an_error_unless_that_is_allowed(store, tmp_path):
    files = Dataset.File.from_files((store, "nowhere"))
    with pytest.raises(DatasetValidationError, match=r"nowhere"):
        files.download(str(tmp_path / "x"))
    assert files.download(str(tmp_path / "x"), ignore_not_found=True) == []


def test_a_mount_shows_the_files_and_goes_away(store, table, tmp_path):
    files = Dataset.File.from_files((store, "**"))
    point = tmp_path / "point"
    with files.mount(str(point)) as mounted:
        assert mounted.mount_point == str(point)
        assert (point / "in" / "1.csv").read_text() == "n,s\n1,x\n2,y\n"
        assert (point / "in").stat().st_mode & 0o222 == 0
        with pytest.raises(UserErrorException, match=r"is mounted already"):
            mounted.start()
    assert not point.exists()
    assert (store.root / "in" / "1.csv").exists()
    point.mkdir()
    with files.mount(str(point)):
        assert (point / "in" / "2.csv").exists()
    assert list(point.iterdir()) == []
    (point / "mine").write_text("")
    with pytest.raises(UserErrorException, match=r"is no empty folder"):
        files.mount(str(point))


def test_uploading_a_folder(store, tmp_path, capsys):
    for name in ("a.txt", "sub/b.txt", "sub/c.bin"):
        (tmp_path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / name).write_text(name)
    dataset = Dataset.File.upload_directory(str(tmp_path / "src"), (store, "up"), pattern="**/*.txt")
    assert dataset.to_path() == ["/a.txt", "/sub/b.txt"]
    assert "uploaded up/sub/b.txt on workspaceblobstore" in capsys.readouterr().out
    (tmp_path / "src" / "a.txt").write_text("new")
    Dataset.File.upload_directory(str(tmp_path / "src"), (store, "up"), show_progress=False)
    assert (store.root / "up" / "a.txt").read_text() == "a.txt"
    Dataset.File.upload_directory(str(tmp_path / "src"), (store, "up"), overwrite=True, show_progress=False)
    assert (store.root / "up" / "a.txt").read_text() == "new"
    with pytest.raises(UserErrorException, match=r"has no file like"):
        Dataset.File.upload_directory(str(tmp_path / "src"), store, pattern="*.csv")
    with pytest.raises(UserErrorException, match=r"is no folder"):
        Dataset.File.upload_directory(str(tmp_path / "nothing"), store)


def test_a_dataframe_becomes_a_registered_dataset(store, capsys):
    frame = pandas.DataFrame({"a.b": [1, 2], "s": ["x", None]}, index=[7, 8])
    dataset = Dataset.Tabular.register_pandas_dataframe(frame, (store, "frames"), "frame", tags={"k": "v"})
    assert (dataset.name, dataset.version, dataset.tags) == ("frame", 1, {"k": "v"})
    read = dataset.to_pandas_dataframe()
    assert list(read["a_b"]) == [1, 2]
    assert list(read.index) == [0, 1]
    frame["a.b"] += 1
    assert Dataset.Tabular.register_pandas_dataframe(frame, store, "frame", show_progress=False).version == 2
    assert list(Dataset.get_by_name(None, "frame").to_pandas_dataframe()["a_b"]) == [2, 3]
    assert list(Dataset.get_by_name(None, "frame", 1).to_pandas_dataframe()["a_b"]) == [1, 2]


@pytest.mark.parametrize(("method", "suffix"), [("to_csv_files", "csv"), ("to_parquet_files", "parquet")])
def test_rows_as_files(table, method, suffix):
    files = getattr(table.skip(1), method)()
    assert isinstance(files, FileDataset)
    assert files.to_path() == ["/part-00000." + suffix]
    (path,) = files.download()
    read = pandas.read_csv(path) if suffix == "csv" else pandas.read_parquet(path)
    pandas.testing.assert_frame_equal(read, table.skip(1).to_pandas_dataframe())
    assert DatasetConsumptionConfig("x", files, mode="mount").mode == "mount"


def test_rows_as_files_follow_their_data(store, table):
    files = table.to_csv_files(separator=";")
    assert Path(files.download()[0]).read_text() == "n;s\n1;x\n2;y\n3;z\n"
    (store.root / "in" / "2.csv").write_text("n,s\n30,z\n")
    assert Path(files.download()[0]).read_text() == "n;s\n1;x\n2;y\n30;z\n"


def test_rows_in_a_folder_per_value(store):
    (store.root / "p.csv").write_text("side,year,n\nn/s,2020,1\n..,2021,2\nn/s,2020,3\n,2021,4\n")
    source = Dataset.Tabular.from_delimited_files((store, "p.csv"))
    written = source.partition_by(["side", "year"], (store, "out"), name="parts", show_progress=False)
    assert (written.name, written.version, written.partition_keys) == ("parts", 1, ["side", "year"])
    read = written.to_pandas_dataframe().sort_values("n").reset_index(drop=True)
    pandas.testing.assert_frame_equal(read[["side", "year", "n"]], source.to_pandas_dataframe())
    assert {"side": "n%2Fs", "year": "2020"} in written.get_partition_key_values()
    assert sorted(value["year"] for value in written.get_partition_key_values(["year"])) == ["2020", "2021"]
    files = source.partition_by(["side"], store, show_progress=False, partition_as_file_dataset=True)
    assert isinstance(files, FileDataset)
    assert len(files.to_path()) == 3


@pytest.mark.parametrize(
    ("keys", "message"),
    [([], "takes a column name"), (["z"], "is none of the columns n, s"), (["n", "n"], "twice")],
)
def test_partition_keys_are_columns(table, store, keys, message):
    with pytest.raises(UserErrorException, match=message):
        table.partition_by(keys, store)


def test_when_the_data_changed(table, store):
    changed = datetime.datetime.fromtimestamp(
        max(path.stat().st_mtime for path in (store.root / "in").iterdir()), datetime.UTC
    )
    assert table.data_changed_time == changed


def test_a_dataset_has_a_profile(write, workspace):
    dataset = Dataset.Tabular.from_delimited_files(str(write("a.csv", "n,t\n1,x\n2,y\n")))
    found = dataset.get_profile()
    assert found.rows == 2
    assert list(found.columns) == ["n", "t"]
    assert found.to_pandas_dataframe()["mean"].tolist()[0] == 1.5
    assert [item["name"] for item in found.to_document()["columns"]] == ["n", "t"]
