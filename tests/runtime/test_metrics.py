"""What may be logged, and how records of one name read together."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_azureml.runtime import metrics
from airflow_azureml.runtime.exceptions import AzureMLException, UserErrorException


def record(kind: str, value: Any, name: str = "m", step: int | None = None) -> dict[str, Any]:
    return {"name": name, "kind": kind, "value": value, "step": step, "time": "2026-01-01T00:00:00+00:00"}


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (numpy.float64(0.5), 0.5),
        (numpy.float32(0.5), 0.5),
        (numpy.int64(3), 3),
        (numpy.bool_(True), True),
        (numpy.array(2.5), 2.5),
        (numpy.str_("x"), "x"),
        (numpy.float64("nan"), "NaN"),
        (numpy.longdouble(0.5), 0.5),
        (-math.inf, "-Infinity"),
        (None, None),
        (True, True),
        (10**30, 10**30),
        (b"x", "b'x'"),
        (numpy.datetime64("2026-01-01"), repr(numpy.datetime64("2026-01-01"))),
    ],
)
def test_values_become_plain_json(value: object, kept: object) -> None:
    found = metrics.single("m", value)

    assert found == kept
    assert type(found) is type(kept)
    json.dumps(found, allow_nan=False)


def test_arrays_are_lists_and_columns() -> None:
    assert metrics.many("m", numpy.arange(3)) == [0, 1, 2]
    assert metrics.table("m", {"x": numpy.arange(2), "y": (n for n in "ab")}) == {
        "x": [0, 1],
        "y": ["a", "b"],
    }
    assert metrics.table("m", {"x": 1, "y": "text"}) == {"x": [1], "y": ["text"]}


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: metrics.many("m", "text"), "found a str; use log"),
        (lambda: metrics.many("m", 5), "found a int; use log"),
        (lambda: metrics.single("m", "x" * 256), "256 characters; at most 255"),
        (lambda: metrics.row("m", {f"c{n}": 1 for n in range(16)}), "16 columns; at most 15"),
        (lambda: metrics.table("m", {"x": range(101)}), "101 rows; at most 100"),
        (lambda: metrics.many("m", range(101)), "101 rows; at most 100"),
        (lambda: metrics.table("m", [1]), "takes a dict of column"),
        (lambda: metrics.step_number("m", "one"), "step is a whole number, found 'one'"),
        (lambda: metrics.step_number("m", True), "step is a whole number"),
        (lambda: metrics.row("m", {"": 1}), "name is a text"),
    ],
)
def test_limits_say_what_to_do(check: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MAX_ROWS", 100)

    with pytest.raises(AzureMLException, match=message):
        check()


def test_a_bad_value_in_a_list_is_the_users_error() -> None:
    with pytest.raises(UserErrorException, match=r"run\.upload_file"):
        metrics.many("m", ["x" * 256])


def test_step_numbers() -> None:
    assert metrics.step_number("m", numpy.int64(3)) == 3
    assert metrics.step_number("m", None) is None


def test_nothing_folds_to_nothing() -> None:
    assert metrics.fold([]) == {}


def test_steps_order_scalars_and_ties_keep_their_order() -> None:
    records = [record("scalar", value, step=step) for value, step in ((1, 2), (2, 1), (3, 1))]

    assert metrics.fold(records) == {"m": [2, 3, 1]}


def test_rows_and_tables_join_into_one_table() -> None:
    records = [record("table", {"a": [1, 2]}), record("row", {"b": 3}), record("table", {"a": [4], "b": [5]})]

    assert metrics.fold(records) == {"m": {"a": [1, 2, None, 4], "b": [None, None, 3, 5]}}


def test_a_table_without_rows_keeps_its_columns() -> None:
    assert metrics.fold([record("table", {"a": []})]) == {"m": {"a": []}}


def test_charts_and_images() -> None:
    chart = {"schema_type": "residuals", "schema_version": "v1", "data": {}}

    assert metrics.fold([record("residuals", chart)]) == {"m": chart}
    assert metrics.fold([record("image", "a.png"), record("image", "b.png")]) == {"m": ["a.png", "b.png"]}


@given(st.lists(st.floats() | st.integers() | st.text(max_size=255) | st.booleans() | st.none()))
def test_what_goes_in_comes_out(values: list[Any]) -> None:
    kept = json.loads(json.dumps(metrics.many("m", values), allow_nan=False))
    found = metrics.fold([record("list", kept)])["m"]

    assert len(found) == len(values)
    for before, after in zip(values, found, strict=True):
        # The documented exception: texts that spell a number that isn't finite read as that number.
        if before not in ("NaN", "Infinity", "-Infinity"):
            assert before == after or (math.isnan(before) and math.isnan(after))


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(), min_size=1), min_size=2))
def test_all_columns_of_a_table_are_as_long_as_it_has_rows(rows: list[dict[str, int]]) -> None:
    folded = metrics.fold([record("row", row) for row in rows])["m"]

    assert {len(column) for column in folded.values()} == {len(rows)}
    for number, row in enumerate(rows):
        assert {name: column[number] for name, column in folded.items() if column[number] is not None} == row
