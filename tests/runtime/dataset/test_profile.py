"""What a profile says of columns of every type."""

from __future__ import annotations

import json
import math

import pandas
import pytest

from airflow_azureml.runtime.dataset.engine.profile import BINS, profile


def column(values, dtype=None):
    frame = pandas.DataFrame({"c": pandas.Series(values, dtype=dtype)})
    found = profile(frame).columns["c"]
    json.dumps(found.to_document(), allow_nan=False)
    return found


def test_numbers_are_measured():
    found = column([1, 2, 3, 4, None])
    assert (found.type, found.count, found.missing, found.distinct) == ("decimal", 5, 1, 4)
    assert (found.min, found.max, found.mean) == (1.0, 4.0, 2.5)
    assert found.std == pytest.approx(1.2909944487)
    assert found.quantiles["0.5"] == 2.5


def test_whole_numbers_stay_whole():
    found = column([3, 1, 2])
    assert (found.type, found.min, found.max) == ("integer", 1, 3)
    assert isinstance(found.min, int)


def test_a_histogram_holds_every_value_once():
    found = column([0.1 * step for step in range(1001)])
    assert len(found.histogram) == BINS
    assert sum(bar.count for bar in found.histogram) == 1001
    assert (found.histogram[0].lower, found.histogram[-1].upper) == (0.0, 100.0)


@pytest.mark.parametrize("values", [[5, 5], [0.0, 5e-324], [-1e150, 1e150]])
def test_a_histogram_of_extreme_numbers_has_all_of_them(values):
    assert sum(bar.count for bar in column(values).histogram) == 2


def test_what_is_not_finite_is_named_but_not_averaged():
    found = column([1.0, math.inf, 3.0])
    assert (found.max, found.mean) == ("inf", 2.0)


def test_times_are_times_again():
    found = column(["2024-01-01", "2024-01-03", None], dtype="datetime64[ns]")
    assert (found.type, found.missing) == ("datetime", 1)
    assert (found.min, found.max, found.mean) == (
        "2024-01-01T00:00:00",
        "2024-01-03T00:00:00",
        "2024-01-02T00:00:00",
    )
    assert found.std == pytest.approx(math.sqrt(2) * 86400)


def test_text_is_counted():
    found = column(["b", "a", "b", None, "c"])
    assert (found.type, found.min, found.max, found.distinct) == ("text", "a", "c", 3)
    assert found.frequent == [("b", 2), ("a", 1), ("c", 1)]
    assert (found.mean, found.histogram) == (None, [])


def test_truth_values_are_counted_and_their_share_is_the_mean():
    for found in (column([True, False, True]), column([True, None, True, False])):
        assert found.type == "boolean"
        assert found.mean == pytest.approx(2 / 3)
        assert found.frequent == [(True, 2), (False, 1)]


def test_columns_without_values_and_of_objects_have_counts_alone():
    empty = column([None, None])
    assert (empty.count, empty.missing, empty.distinct, empty.min) == (2, 2, 0, None)
    objects = column([[1], [2]])
    assert (objects.type, objects.distinct) == ("other", None)
