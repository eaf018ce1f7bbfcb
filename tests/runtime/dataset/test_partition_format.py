"""``partition_format``: columns out of paths."""

# ruff: noqa: DTZ001 - times in columns are UTC and carry no zone

import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_azureml.runtime.dataset.partitions import PartitionFormat
from airflow_azureml.runtime.exceptions import UserErrorException


@pytest.mark.parametrize(
    ("text", "path", "values"),
    [
        (
            "/{Department}/{Date:yyyy/MM/dd}/data.csv",
            "/in/Accounts/2019/01/31/data.csv",
            {"Department": "Accounts", "Date": datetime.datetime(2019, 1, 31)},
        ),
        ("{d:yyyyMMdd}.csv", "/x/20200229.csv", {"d": datetime.datetime(2020, 2, 29)}),
        (
            "{d:yyyy-MM-dd HH.mm.ss}/{n}.parquet",
            "/2020-01-02 03.04.05/part-1.parquet",
            {"d": datetime.datetime(2020, 1, 2, 3, 4, 5), "n": "part-1"},
        ),
        ("{d:yyyy}/*.csv", "/2021/anything at all.csv", {"d": datetime.datetime(2021, 1, 1)}),
        ("{user}/*/{shot}.jpg", "/a/u1/s2/7.jpg", {"user": "u1", "shot": "7"}),
        ("year={y}/m={m}/x.(1).csv", "/year=20/m=1/x.(1).csv", {"y": "20", "m": "1"}),
        ("{n}.csv", "a.csv", {"n": "a"}),
    ],
)
def test_values_of_a_path(text, path, values):
    found = PartitionFormat.parse(text).values(path)
    assert found == values
    assert list(found) == list(values)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("{n}.csv", "/a/b.txt"),
        ("{d:yyyy/MM/dd}/x.csv", "/2020/13/01/x.csv"),
        ("{d:yyyy/MM/dd}/x.csv", "/2020/1/1/x.csv"),
        ("b{n}.csv", "/ab1.csv"),
        ("{n}/x.csv", "/n/x.csv/more"),
        ("{n}.csv", "/a.csv\n"),
    ],
)
def test_a_path_that_does_not_fit_has_no_values(text, path):
    assert PartitionFormat.parse(text).values(path) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a/b.csv", "names no column"),
        ("{a}/{a}.csv", "names the column 'a' twice"),
        ("{d:MM/dd}.csv", "has to hold yyyy"),
        ("{d:yyyy/yyyy}.csv", "at most once"),
        ("{a/b.csv", "unbalanced brace"),
        ("{}/x.csv", "unbalanced brace"),
    ],
)
def test_malformed_formats_are_refused(text, message):
    with pytest.raises(UserErrorException, match=message):
        PartitionFormat.parse(text)


SEGMENT = st.text(
    st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=8
)


@settings(deadline=None)
@given(
    SEGMENT,
    st.datetimes(datetime.datetime(1000, 1, 1), datetime.datetime(9999, 12, 31)).map(
        lambda t: t.replace(microsecond=0)
    ),
)
def test_a_path_written_by_the_format_reads_back(text, time):
    path = f"/root/{text}/{time:%Y/%m/%d/%H-%M-%S}/file.csv"
    partition = PartitionFormat.parse("{name}/{at:yyyy/MM/dd/HH-mm-ss}/*.csv")
    assert partition.values(path) == {"name": text, "at": time}
