"""Reading Parquet files."""

# ruff: noqa: DTZ001 - times in columns are UTC and carry no zone

import datetime

import pandas
import pyarrow as arrow
import pyarrow.parquet
import pytest

from airflow_azureml.runtime.dataset import Dataset, DataType
from airflow_azureml.runtime.exceptions import DatasetExecutionError

declare = Dataset.Tabular.from_parquet_files


@pytest.fixture
def store(tmp_path):
    """Writes a table of columns as a Parquet file and returns its path."""

    def store(name, **columns):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        arrow.parquet.write_table(arrow.table(columns), path)
        return path

    return store


def test_types_come_from_the_file(store, rows):
    frame = rows(declare(store("a.parquet", n=[1, 2], s=["x", None], d=[datetime.date(2020, 1, 1), None])))
    assert frame["n"].dtype == "int64"
    assert list(frame["s"].isna()) == [False, True]
    assert frame["d"].dtype == "datetime64[ns]"


def test_times_are_utc_without_zone(store, rows):
    times = arrow.array([datetime.datetime(2020, 1, 1, 12)], arrow.timestamp("ms", tz="Europe/Berlin"))
    frame = rows(declare(store("a.parquet", t=times)))
    assert str(frame["t"].dtype) == "datetime64[ns]"
    assert frame["t"][0] == datetime.datetime(2020, 1, 1, 12)


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_times_out_of_range_are_missing_or_an_error(store, rows, unit):
    times = arrow.array(
        [datetime.datetime(9999, 1, 1), datetime.datetime(2020, 1, 1), None], arrow.timestamp(unit)
    )
    dataset = declare(store("a.parquet", t=times))
    assert list(rows(dataset)["t"].isna()) == [True, False, True]
    with pytest.raises(DatasetExecutionError, match=r"column 't': .*9999.* out of range"):
        rows(dataset, fail_on_range=True)


def test_dates_out_of_range_are_missing(store, rows):
    assert rows(declare(store("a.parquet", d=[datetime.date(1, 1, 1)])))["d"].isna().all()


def test_an_index_that_pandas_stored_is_a_column(tmp_path, rows):
    pandas.DataFrame({"a": [1]}, index=pandas.Index(["x"], name="key")).to_parquet(tmp_path / "a.parquet")
    frame = rows(declare(tmp_path / "a.parquet"))
    assert list(frame.columns) == ["a", "key"]
    assert list(frame.index) == [0]


def test_files_with_other_columns_are_combined(store, rows):
    store("p/1.parquet", a=[1], t=arrow.array([None], arrow.timestamp("us")))
    path = store("p/2.parquet", a=[2], b=["x"], t=[datetime.datetime(2020, 1, 1)]).parent
    frame = rows(declare(path))
    assert list(frame.columns) == ["a", "t", "b"]
    assert [frame[name].dtype.kind for name in "at"] == ["i", "M"]
    assert list(frame["b"].isna()) == [True, False]


def test_folders_called_like_hive_partitions_add_no_columns(store, rows):
    path = store("p/year=2020/1.parquet", a=[1]).parent.parent
    assert list(rows(declare(path)).columns) == ["a"]
    assert list(rows(declare(path, partition_format="year={year}/*.parquet")).columns) == ["year", "a"]


def test_a_column_of_the_file_wins_over_one_from_the_path(store, rows):
    path = store("p/7.parquet", n=[7]).parent
    assert list(rows(declare(path, partition_format="{n}.parquet"))["n"]) == [7]


def test_a_few_rows_do_not_need_all_files(store, rows):
    store("p/1.parquet", a=[1, 2], s=["x", "y"])
    store("p/2.parquet", a=[3, 4], t=[datetime.datetime(2020, 1, 1)] * 2)
    whole = declare((store("p/3.parquet", a=[5], s=["z"])).parent)
    frame = rows(whole.skip(1).take(2))
    pandas.testing.assert_frame_equal(frame, rows(whole).iloc[1:3].reset_index(drop=True))
    assert list(rows(whole.take(0)).columns) == ["a", "s", "t"]


def test_columns_that_nobody_sees_are_not_read(store, rows, monkeypatch):
    path = store("a.parquet", a=[1, 2], b=["x", "y"], c=[0, 0])
    read = []
    original = arrow.parquet.ParquetFile.read

    def spy(self, columns=None, **options):
        read.append(columns)
        return original(self, columns=columns, **options)

    monkeypatch.setattr(arrow.parquet.ParquetFile, "read", spy)
    dataset = declare(path)
    assert list(rows(dataset.filter(dataset["b"] == "y").keep_columns("a"))["a"]) == [2]
    assert read == [["a", "b"]]
    with pytest.raises(
        DatasetExecutionError, match=r"keep_columns names the column 'z'; the data has the columns a, b, c"
    ):
        rows(dataset.keep_columns(["a", "z"]))


def test_set_types_apply(store, values):
    dataset = declare(store("a.parquet", n=[1, 2]), set_column_types={"n": DataType.to_string()})
    assert values(dataset) == {"n": ["1", "2"]}


def test_another_file_is_refused_by_name(write, rows):
    with pytest.raises(DatasetExecutionError, match=r"a.parquet is no Parquet file"):
        rows(declare(write("a.parquet", "a,b\n1,2\n")))


def test_without_pyarrow_the_error_says_what_to_install(store, rows, monkeypatch):
    path = store("a.parquet", a=[1])
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(
        DatasetExecutionError, match=r"Parquet needs pyarrow, which this Python environment doesn't have"
    ):
        rows(declare(path))
