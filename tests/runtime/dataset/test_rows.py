"""Operations on rows."""

# ruff: noqa: DTZ001 - times in columns are UTC and carry no zone

import datetime

import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_azureml.runtime.dataset import Dataset
from airflow_azureml.runtime.dataset.engine.evaluate import with_timestamp_index
from airflow_azureml.runtime.dataset.engine.rows import apply_operations, rows_needed
from airflow_azureml.runtime.exceptions import (
    DatasetExecutionError,
    DatasetTimestampMissingError,
    UserErrorException,
)

ANY = Dataset.Tabular.from_parquet_files("/data/any.parquet")


def after(frame, dataset):
    return apply_operations(frame, dataset.definition["operations"])


def numbers(frame):
    return list(frame["n"])


FRAMES = st.integers(0, 60).map(lambda count: pandas.DataFrame({"n": range(count)}))


@settings(deadline=None)
@given(FRAMES, st.integers(0, 70))
def test_skip_and_take_are_complementary(frame, count):
    assert numbers(after(frame, ANY.take(count))) + numbers(after(frame, ANY.skip(count))) == numbers(frame)


@settings(deadline=None)
@given(FRAMES, st.floats(0, 1), st.one_of(st.none(), st.integers(0, 2**64)))
def test_a_split_puts_each_row_into_exactly_one_part(frame, percentage, seed):
    first, second = (numbers(after(frame, part)) for part in ANY.random_split(percentage, seed))
    assert sorted(first + second) == numbers(frame)
    assert first == sorted(first)
    assert second == sorted(second)


def test_a_split_is_about_as_large_as_asked():
    frame = pandas.DataFrame({"n": range(10_000)})
    first, _ = ANY.random_split(0.8, seed=7)
    assert 7_800 < len(after(frame, first)) < 8_200


def test_chosen_rows_are_pinned_for_a_seed():
    # A training set must stay the same over versions of Python, pandas and this package.
    frame = pandas.DataFrame({"n": range(12)})
    assert numbers(after(frame, ANY.take_sample(0.5, seed=42))) == [1, 2, 3, 7, 8, 9, 10]


def test_splitting_a_part_again_draws_anew():
    frame = pandas.DataFrame({"n": range(1000)})
    first, _ = ANY.random_split(0.5)
    again, rest = first.random_split(0.5)
    assert 200 < len(after(frame, again)) < 300
    assert len(after(frame, rest)) == len(after(frame, first)) - len(after(frame, again))


def test_the_index_counts_from_zero_after_every_operation():
    frame = pandas.DataFrame({"n": range(10)}, index=range(5, 15))
    for dataset in (ANY, ANY.skip(3), ANY.filter(ANY["n"] > 3), ANY.random_split(0.5)[1]):
        assert list(after(frame, dataset).index) == list(range(len(after(frame, dataset))))


def test_columns_are_kept_in_the_order_of_the_data():
    frame = pandas.DataFrame({"a": [1], "b": [2], "c": [3]})
    assert list(after(frame, ANY.keep_columns(["c", "a"]))) == ["a", "c"]
    assert list(after(frame, ANY.drop_columns("b"))) == ["a", "c"]
    for dataset in (ANY.keep_columns(["a", "z"]), ANY.drop_columns(["z"]), ANY.filter(ANY["z"] == 1)):
        with pytest.raises(
            DatasetExecutionError, match=r"names the column 'z'; the data has the columns a, b, c"
        ):
            after(frame, dataset)


CASES = pandas.DataFrame(
    {
        "n": [0, 1, 2, 3],
        "m": [3, 1, 1, 3],
        "s": ["ab", None, "cd", "abc"],
        "t": pandas.to_datetime(["2020-01-01", "2020-01-02", None, "2020-01-04"]),
        "o": pandas.Series([True, None, False, True], dtype=object),
    }
)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (ANY["n"] > 1, [2, 3]),
        (ANY["n"] >= 1, [1, 2, 3]),
        (ANY["n"] < 1, [0]),
        (ANY["n"] <= 1, [0, 1]),
        (ANY["n"] == 1, [1]),
        (ANY["n"] != 1, [0, 2, 3]),
        (ANY["n"] == ANY["m"], [1, 3]),
        ((ANY["n"] > 0) & (ANY["m"] == 1), [1, 2]),
        ((ANY["n"] == 0) | ~(ANY["m"] == 1), [0, 3]),
        (ANY["n"].isin([0, 3, 9]), [0, 3]),
        (ANY["n"].is_in((1,)), [1]),
        (ANY["s"] == "ab", [0]),
        (ANY["s"] != "ab", [1, 2, 3]),
        (ANY["s"] > "b", [2]),
        (ANY["s"].isin(["ab", "cd"]), [0, 2]),
        (ANY["s"].is_null(), [1]),
        (ANY["s"].is_not_null(), [0, 2, 3]),
        (ANY["s"] == None, []),  # noqa: E711
        (ANY["s"].startswith("a"), [0, 3]),
        (ANY["s"].endswith("d"), [2]),
        (ANY["s"].contains("b"), [0, 3]),
        (ANY["s"].contains("."), []),
        (~ANY["s"].contains("b"), [1, 2]),
        (ANY["t"] > datetime.datetime(2020, 1, 1), [1, 3]),
        (ANY["t"] <= datetime.date(2020, 1, 2), [0, 1]),
        (
            ANY["t"]
            == datetime.datetime(2020, 1, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=1))),
            [0],
        ),
        (ANY["t"].isin([datetime.datetime(2020, 1, 4)]), [3]),
        (~ANY["o"], [1, 2]),
        ((ANY["o"] == True) & (ANY["n"] > 0), [3]),  # noqa: E712
        (ANY["n"] > 0.5, [1, 2, 3]),
    ],
)
def test_filters(condition, expected):
    assert numbers(after(CASES, ANY.filter(condition))) == expected


def test_a_comparison_that_makes_no_sense_is_an_error_that_says_so():
    with pytest.raises(
        DatasetExecutionError, match=r"filter: gt doesn't work on column 'n' of type int64 and 'x'"
    ):
        after(CASES, ANY.filter(ANY["n"] > "x"))


def test_conditions_cannot_be_combined_with_words():
    with pytest.raises(UserErrorException, match=r"combine with &, \| and ~"):
        ANY.filter((ANY["n"] > 1) and (ANY["n"] < 3))
    with pytest.raises(UserErrorException, match=r"combine with &, \| and ~"):
        ANY.filter(1 < ANY["n"] < 3)
    with pytest.raises(UserErrorException, match=r"put each comparison in parentheses"):
        ANY.filter((ANY["n"] > 1) & 3)


@pytest.mark.parametrize("wrong", [ANY["n"], True, "n > 1", None])
def test_a_filter_is_a_condition(wrong):
    with pytest.raises(UserErrorException, match=r"filter takes a condition such as"):
        ANY.filter(wrong)


def test_values_that_json_cannot_hold_are_refused():
    for value in (float("nan"), object(), b"x"):
        with pytest.raises(UserErrorException, match=r"compare"):
            ANY["n"] == value  # noqa: B015
    with pytest.raises(UserErrorException, match=r"isin takes a list"):
        ANY["s"].isin("ab")


def test_numpy_values_are_values():
    import numpy

    assert numbers(after(CASES, ANY.filter(ANY["n"] > numpy.int64(2)))) == [3]


TIMES = pandas.DataFrame(
    {"n": range(4), "t": pandas.to_datetime(["2020-01-01", "2020-01-02", "2020-01-03", None])}
)
SERIES = ANY.with_timestamp_columns("t")


def day(number, **options):
    return datetime.datetime(2020, 1, number, **options)


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (SERIES.time_before(day(2)), [0, 1]),
        (SERIES.time_before(day(2), include_boundary=False), [0]),
        (SERIES.time_after(day(2)), [1, 2]),
        (SERIES.time_after(day(2), include_boundary=False), [2]),
        (SERIES.time_between(day(1), day(2)), [0, 1]),
        (SERIES.time_between(day(1), day(3), include_boundary=False), [1]),
        # v1's rounding: the lower bound is cut, the upper one rounded.
        (SERIES.time_after(day(2, microsecond=999_999)), [1, 2]),
        (SERIES.time_before(day(1, hour=23, minute=59, second=59, microsecond=500_000)), [0, 1]),
        (SERIES.time_before(day(1, hour=23, minute=59, second=59, microsecond=499_999)), [0]),
        (SERIES.time_before(day(2, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))), [0]),
        (SERIES.time_recent(datetime.timedelta(days=100_000)), [0, 1, 2]),
        (SERIES.time_recent(datetime.timedelta(days=1)), []),
    ],
)
def test_time_filters(dataset, expected):
    assert numbers(after(TIMES, dataset)) == expected


def test_time_filters_need_a_timestamp_column():
    for filtered in (
        lambda ds: ds.time_before(day(1)),
        lambda ds: ds.time_recent(datetime.timedelta(1)),
    ):
        for dataset in (
            ANY,
            SERIES.drop_columns("t"),
            SERIES.keep_columns("n"),
            SERIES.with_timestamp_columns(),
        ):
            with pytest.raises(DatasetTimestampMissingError, match=r"name it with with_timestamp_columns"):
                filtered(dataset)


def test_time_filters_take_times():
    with pytest.raises(UserErrorException, match=r"time_before: end_time is a datetime.datetime, not '2020'"):
        SERIES.time_before("2020")
    with pytest.raises(UserErrorException, match=r"start time .* is later than the end time"):
        SERIES.time_between(day(2), day(1))
    with pytest.raises(UserErrorException, match=r"time_delta is a datetime.timedelta, not 3"):
        SERIES.time_recent(3)


def test_a_timestamp_column_of_text_is_an_error_that_says_how_to_read_it():
    frame = pandas.DataFrame({"t": ["soon"]})
    with pytest.raises(DatasetExecutionError, match=r"set_column_types=\{'t': DataType.to_datetime\(\)\}"):
        after(frame, SERIES)


def test_the_timestamp_column_is_the_index_too():
    definition = SERIES.definition
    frame = with_timestamp_index(definition, TIMES)
    assert list(frame.columns) == ["n", "t"]
    assert frame.index.name is None
    assert list(frame.index[:3]) == list(TIMES["t"][:3])
    assert with_timestamp_index(ANY.definition, TIMES) is TIMES


def test_dropping_a_timestamp_column_drops_the_trait():
    both = ANY.with_timestamp_columns("t", "day")
    assert both.timestamp_columns == ("t", "day")
    assert both.drop_columns("day").timestamp_columns == ("t", None)
    assert both.drop_columns("t").timestamp_columns == (None, None)
    assert both.keep_columns(["t", "n"]).timestamp_columns == ("t", None)


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (ANY, None),
        (ANY.take(5), 5),
        (ANY.skip(2).take(5).filter(ANY["n"] > 1), 7),
        (ANY.keep_columns("n").take(3), 3),
        (ANY.filter(ANY["n"] > 1).take(5), None),
        (ANY.skip(3), None),
        (ANY.take_sample(0.1).take(1), None),
    ],
)
def test_how_many_rows_have_to_be_read(dataset, expected):
    assert rows_needed(dataset.definition["operations"]) == expected
