"""How tables are compared, whatever the order of their rows and the types their files gave them."""

from __future__ import annotations

import pandas as pd
import pytest

from airflow_azureml.workspace.dataset_difference import Difference, compare_rows


@pytest.mark.parametrize(
    ("first", "second", "added", "removed"),
    [
        ({"a": [1, 2]}, {"a": [2, 1]}, 0, 0),
        ({"a": [1, 2, 2]}, {"a": [2, 3]}, 1, 2),
        ({"a": [1, 2]}, {"a": [1.0, 2.0]}, 0, 0),
        ({"a": ["x", None]}, {"a": [None, "x"]}, 0, 0),
        ({"a": [1, 2]}, {"a": ["1", "2"]}, 0, 0),
        ({"a": [True]}, {"a": [1]}, 1, 1),
        ({"a": [[1], [2]]}, {"a": [[1], [3]]}, 1, 1),
        ({"a": [1], "b": [1]}, {"a": [1], "c": [2]}, 0, 0),
        ({"a": [1]}, {"b": [1, 2]}, 1, 0),
        ({"a": []}, {"a": [1]}, 1, 0),
    ],
)
def test_rows_are_counted_as_often_as_they_occur(first, second, added, removed):
    found = compare_rows(pd.DataFrame(first), pd.DataFrame(second))
    assert (found.added, found.removed) == (added, removed)


def test_mappings_differ_in_three_ways():
    found = Difference.of({"a": 1, "b": 2, "n": None}, {"b": 3, "c": 4, "n": 1})
    assert (found.added, found.removed) == (("c",), ("a",))
    assert dict(found.changed) == {"b": (2, 3), "n": (None, 1)}
    assert Difference.of({"a": 1}, {"a": 1}).is_empty
