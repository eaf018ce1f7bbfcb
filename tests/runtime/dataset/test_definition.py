"""Definitions: pure JSON, checked when read, the same in every process."""

# ruff: noqa: UP017 - this runs on Python 3.8 too

import datetime
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_azureml.runtime.dataset import (
    Dataset,
    DataType,
    PromoteHeadersBehavior,
    TabularDataset,
    dataset_of,
)
from airflow_azureml.runtime.dataset.definition import (
    auto_input_name,
    check_definition,
    digest,
    has_relative_times,
    pin_times,
)
from airflow_azureml.runtime.exceptions import UserErrorException

ANY = Dataset.Tabular.from_delimited_files("/data/any.csv")
COLUMNS = st.text(min_size=1, max_size=5)
SCALARS = st.one_of(
    st.integers(-(2**40), 2**40),
    st.booleans(),
    st.text(max_size=5),
    st.floats(allow_nan=False, allow_infinity=False),
)
OPERATIONS = st.lists(
    st.one_of(
        st.integers(0, 99).map(lambda count: lambda ds: ds.skip(count)),
        st.integers(0, 99).map(lambda count: lambda ds: ds.take(count)),
        st.floats(0, 1).map(lambda share: lambda ds: ds.take_sample(share)),
        st.floats(0, 1).map(lambda share: lambda ds: ds.random_split(share, seed=3)[1]),
        st.lists(COLUMNS, min_size=1).map(lambda names: lambda ds: ds.keep_columns(names)),
        COLUMNS.map(lambda name: lambda ds: ds.drop_columns(name)),
        COLUMNS.map(
            lambda name: lambda ds: ds.with_timestamp_columns(name).time_recent(datetime.timedelta(days=2))
        ),
        st.tuples(COLUMNS, SCALARS).map(
            lambda pair: lambda ds: ds.filter((ds[pair[0]] > pair[1]) | ds["x"].is_null())
        ),
    ),
    max_size=5,
)


def declare():
    return Dataset.Tabular.from_delimited_files(
        ["/data/a.csv", "file:///data/b.csv"],
        include_path=True,
        set_column_types={"n": DataType.to_long(), "t": DataType.to_datetime("%Y")},
        header=PromoteHeadersBehavior.COMBINE_ALL_FILES_HEADERS,
        partition_format="{day:yyyy}/*.csv",
        encoding="latin1",
    )


@settings(deadline=None)
@given(OPERATIONS)
def test_a_definition_survives_the_way_through_json(operations):
    dataset = declare()
    for operation in operations:
        dataset = operation(dataset)
    document = json.loads(json.dumps(dataset.definition))
    assert dataset_of(document) == dataset
    assert dataset_of(document).definition == dataset.definition


def test_operations_leave_the_dataset_as_it_was():
    dataset = declare()
    before = dataset.definition
    dataset.skip(1).take(2).drop_columns("a")
    dataset.definition["operations"].append("mine")
    assert dataset.definition == before


def test_declaring_the_same_twice_gives_the_same_digest_also_for_random_operations():
    one, other = (declare().random_split(0.5)[0].take_sample(0.1) for _ in range(2))
    assert digest(one.definition) == digest(other.definition)


def test_the_two_random_operations_on_one_dataset_draw_differently():
    sample, (first, _) = declare().take_sample(0.5), declare().random_split(0.5)
    assert sample.definition["operations"][0]["seed"] != first.definition["operations"][0]["seed"]


def test_the_digest_is_pinned():
    # A change here changes the names of unnamed inputs for every user.
    document = Dataset.File.from_files("/data/ä").definition
    assert digest(document) == "86317fa7a0a8b2a279dae08a065fd619b00d5f33173eaaf1d9380e25711b6b53"
    assert auto_input_name(document) == "input_86317fa7"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "schema 2 .* reads schema 1"),
        ({"kind": "image"}, "kind is one of file, tabular, not 'image'"),
        ({"kind": None}, "kind is one of"),
        ({"source": {"format": "excel"}}, "format is one of delimited, parquet, jsonlines, sql, not 'excel'"),
        ({"source": None}, "a dataset definition is an object"),
        ({"operations": [{"op": "explode"}]}, "tabular dataset has no operation 'explode'"),
    ],
)
def test_a_definition_of_another_version_is_refused(change, message):
    with pytest.raises(UserErrorException, match=message):
        check_definition({**ANY.definition, **change})


def test_rows_of_the_last_while_are_pinned_to_a_time_range():
    recent = ANY.with_timestamp_columns("at").time_recent(datetime.timedelta(hours=1))
    assert has_relative_times(recent.definition)
    now = datetime.datetime(2024, 5, 1, 12, 0, 0, 999, tzinfo=datetime.timezone.utc)
    pinned = pin_times(recent.definition, now)
    assert not has_relative_times(pinned)
    assert pinned["operations"][-1] == {
        "op": "time_range",
        "column": "at",
        "lower": "2024-05-01T11:00:00",
        "upper": None,
        "include_boundary": True,
    }
    assert pin_times(pinned, now) is pinned


def test_what_is_not_random_and_not_recent_is_left_alone_by_pinning():
    assert pin_times(ANY.definition, datetime.datetime.now(datetime.timezone.utc)) == ANY.definition


def test_a_dataset_is_no_sequence():
    with pytest.raises(TypeError):
        list(ANY)
    with pytest.raises(UserErrorException, match=r"a column is named by text, not 0"):
        ANY[0]


def test_a_definition_of_the_other_kind_is_refused():
    with pytest.raises(
        UserErrorException, match=r"TabularDataset cannot have the definition of a file dataset"
    ):
        TabularDataset(Dataset.File.from_files("/data").definition)


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        (lambda: ANY.take(-1), "take takes a whole number of 0 or more, not -1"),
        (lambda: ANY.skip(1.5), "skip takes a whole number"),
        (lambda: ANY.skip(True), "skip takes a whole number"),
        (lambda: ANY.take_sample(1.5), "take_sample: probability is a number from 0 to 1, not 1.5"),
        (lambda: ANY.take_sample("many"), "is a number from 0 to 1, not 'many'"),
        (lambda: ANY.random_split(0.5, seed="x"), "a seed is a whole number"),
        (lambda: ANY.keep_columns([]), "keep_columns takes a column name or a list of them"),
        (lambda: ANY.drop_columns([1]), "drop_columns takes a column name or a list of them"),
        (lambda: ANY.with_timestamp_columns(None, "day"), "partition_timestamp needs timestamp"),
        (lambda: ANY.with_timestamp_columns("t", "t"), "they must be two columns"),
        (lambda: Dataset.Tabular.from_sql_query("select 1"), "query is .datastore, 'select"),
        (lambda: Dataset.Tabular.from_delimited_files("/d", separator=""), "separator is a text"),
        (lambda: Dataset.Tabular.from_delimited_files("/d", header="yes"), "header is True, False or"),
        (lambda: Dataset.Tabular.from_delimited_files("/d", encoding="ebcdic"), "encoding is one of utf8, "),
        (lambda: Dataset.Tabular.from_delimited_files("/d", include_path=1), "include_path is True or False"),
        (
            lambda: Dataset.Tabular.from_delimited_files("/d", set_column_types={"a": int}),
            r"set_column_types\['a'\]",
        ),
        (lambda: Dataset.Tabular.from_delimited_files("/d", partition_format="x/y.csv"), "names no column"),
        (lambda: Dataset.Tabular.from_json_lines_files("/d", invalid_lines="skip"), "'error' or 'drop'"),
        (lambda: DataType.to_float(";"), "decimal_mark is '.' or ','"),
        (lambda: DataType.to_datetime([]), "formats is a strptime format"),
        (lambda: DataType.to_stream(None), "columns of streams are not supported"),
    ],
)
def test_wrong_arguments_are_refused_where_they_are_given(declaration, message):
    with pytest.raises(UserErrorException, match=message):
        declaration()
