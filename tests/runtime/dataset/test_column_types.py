"""``set_column_types``: conversions, and what becomes of values that don't convert."""

# ruff: noqa: DTZ001 - times in columns are UTC and carry no zone

import datetime

import pandas
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_azureml.runtime.dataset import Dataset, DataType
from airflow_azureml.runtime.dataset.engine.options import EvaluationOptions
from airflow_azureml.runtime.dataset.engine.types import convert_columns
from airflow_azureml.runtime.exceptions import DatasetExecutionError, UserErrorException


def convert(cells, kind, **options):
    frame = pandas.DataFrame({"c": cells})
    column = convert_columns(frame, {"c": kind.to_document()}, EvaluationOptions(**options))["c"]
    return [None if missing else value for value, missing in zip(column, column.isna())]  # noqa: B905 - Python 3.8 has no strict


DAY = datetime.datetime(2020, 2, 1)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (DataType.to_long(), {"7": 7, " -7 ": -7, "+0012": 12}, ["7.0", "1,000", "x", str(2**63)]),
        (
            DataType.to_float(),
            {"1.5": 1.5, "1,234.5": 1234.5, "-2e3": -2000.0, ".5": 0.5, "inf": float("inf")},
            ["1,5", "1.2.3", "x"],
        ),
        (DataType.to_float(","), {"1,5": 1.5, "1.234,5": 1234.5, "2": 2.0}, ["1.5", "x"]),
        (
            DataType.to_bool(),
            {"true": True, "FALSE": False, "1": True, "0": False, "Yes": True, "no": False},
            ["2", "wahr"],
        ),
        (DataType.to_string(), {"007": "007", " x ": " x "}, []),
        (DataType.to_datetime("%d.%m.%Y"), {"01.02.2020": DAY}, ["2020-02-01", "32.01.2020"]),
        (DataType.to_datetime(["%Y%m%d", "%d.%m.%Y"]), {"20200201": DAY, "01.02.2020": DAY}, ["1.2"]),
        (
            DataType.to_datetime(),
            {
                "2020-02-01": DAY,
                "2020-02-01T00:00": DAY,
                "2020-02-01 01:00:00+01:00": DAY,
                "2020-02-01T00:00:00.000Z": DAY,
                "2020/2/1": DAY,
                "2/1/2020": DAY,
                "2/1/2020 12:00:00 AM": DAY,
                "02-01-2020 00:00": DAY,
            },
            ["yesterday", "2020-13-01", "12", "2020-02-01 junk"],
        ),
    ],
)
def test_values_convert_or_become_missing(kind, good, bad):
    assert convert(list(good), kind) == list(good.values())
    assert convert([*good, *bad, None], kind) == [*good.values(), *[None] * len(bad), None]
    for value in bad:
        with pytest.raises(DatasetExecutionError, match=r"column 'c': .* is no .*on_error='null' makes"):
            convert([*good, value], kind, fail_on_error=True)
    assert convert([*good, None], kind, fail_on_error=True) == [*good.values(), None]


@pytest.mark.parametrize("text", ["9999-12-31", "0001-01-01 00:00:00", "1/1/1600"])
def test_times_that_pandas_cannot_hold(text):
    assert convert(["2020-02-01", text], DataType.to_datetime(), fail_on_error=True) == [DAY, None]
    assert convert([text], DataType.to_datetime(["%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%d/%m/%Y"])) == [None]
    with pytest.raises(DatasetExecutionError, match=r"is out of range for a datetime"):
        convert(["2020-02-01", text], DataType.to_datetime(), fail_on_range=True)


def test_integers_have_64_bits():
    assert convert([str(2**63 - 1), str(-(2**63))], DataType.to_long()) == [2**63 - 1, -(2**63)]


def test_typed_columns_convert_too():
    assert convert([1.0, 2.5, None], DataType.to_long()) == [1, None, None]
    assert convert([1, 2], DataType.to_float()) == [1.0, 2.0]
    assert convert([1, None], DataType.to_string()) == ["1.0", None]
    assert convert([True, False], DataType.to_long()) == [1, 0]
    assert convert([True, False], DataType.to_string()) == ["True", "False"]
    assert convert([0, 1, 2], DataType.to_bool()) == [False, True, None]
    assert convert([datetime.datetime(2020, 1, 2, 3)], DataType.to_string()) == ["2020-01-02 03:00:00"]


def test_a_column_without_missing_values_has_the_plain_type():
    frame = pandas.DataFrame({"n": ["1"], "f": ["1"], "b": ["1"], "t": ["2020-01-01"]})
    kinds = {
        "n": DataType.to_long(),
        "f": DataType.to_float(),
        "b": DataType.to_bool(),
        "t": DataType.to_datetime(),
    }
    converted = convert_columns(
        frame, {name: kind.to_document() for name, kind in kinds.items()}, EvaluationOptions()
    )
    assert [str(dtype) for dtype in converted.dtypes] == ["int64", "float64", "bool", "datetime64[ns]"]


def test_a_type_for_a_column_that_is_not_there_is_an_error(write, rows):
    dataset = Dataset.Tabular.from_delimited_files(
        write("a.csv", "a,b\n1,2\n"), set_column_types={"c": DataType.to_long()}
    )
    with pytest.raises(
        DatasetExecutionError, match=r"set_column_types names 'c'; the data has the columns a, b"
    ):
        rows(dataset)


def test_text_columns_keep_leading_zeros_when_declared_as_text(write, values):
    dataset = Dataset.Tabular.from_delimited_files(
        write("a.csv", "id\n007\n"), set_column_types={"id": DataType.to_string()}
    )
    assert values(dataset) == {"id": ["007"]}


def test_ambiguous_dates_are_month_first_with_a_warning(write, rows, caplog):
    frame = rows(Dataset.Tabular.from_delimited_files(write("a.csv", "d\n01/02/2020\n03/04/2020\n")))
    assert list(frame["d"].dt.month) == [1, 3]
    assert "may be month-day or day-month" in caplog.text


def test_dates_that_can_only_be_day_first_are(write, rows):
    frame = rows(Dataset.Tabular.from_delimited_files(write("a.csv", "d\n01/02/2020\n31/12/2020\n")))
    assert list(frame["d"].dt.month) == [2, 12]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.none(), st.integers(-(2**53), 2**53)), min_size=1))
def test_integers_written_as_text_read_back(numbers):
    assert (
        convert([None if number is None else str(number) for number in numbers], DataType.to_long())
        == numbers
    )


@settings(deadline=None)
@given(st.lists(st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1)), min_size=1))
def test_times_written_as_iso_text_read_back(times):
    found = convert([time.isoformat() for time in times], DataType.to_datetime(), fail_on_error=True)
    assert [time.to_pydatetime() for time in found] == times


def test_types_compare_by_value():
    assert DataType.to_float(",") == DataType.to_float(",") != DataType.to_float()
    assert hash(DataType.to_datetime("%Y")) == hash(DataType.to_datetime(["%Y"]))
    assert repr(DataType.to_datetime("%Y")) == "DataType.to_datetime(formats=['%Y'])"


def test_the_error_options_are_checked():
    assert EvaluationOptions.of("fail", "null") == EvaluationOptions(fail_on_error=True)
    for arguments in (("ignore", "null"), ("null", None)):
        with pytest.raises(UserErrorException, match=r"is 'null' or 'fail'"):
            EvaluationOptions.of(*arguments)
