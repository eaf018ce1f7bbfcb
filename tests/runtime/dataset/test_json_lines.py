"""Reading files with one JSON object per line."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_azureml.runtime.dataset import Dataset, DataType
from airflow_azureml.runtime.exceptions import DatasetExecutionError

declare = Dataset.Tabular.from_json_lines_files


def test_columns_are_those_of_all_lines_in_order_of_appearance(write, values):
    write("j/1.jsonl", '{"a": 1, "s": "x"}\n\n{"b": true, "a": 2}\n')
    path = write("j/2.jsonl", '{"c": [1], "d": {"e": null}}').parent
    assert values(declare(path)) == {
        "a": [1, 2, None],
        "s": ["x", None, None],
        "b": [None, True, None],
        "c": [None, None, [1]],
        "d": [None, None, {"e": None}],
    }


def test_a_line_that_is_no_object_is_an_error_or_left_out(write, values):
    path = write("a.jsonl", '{"a": 1}\n[1]\nnonsense\n{"a": 2}\n')
    with pytest.raises(
        DatasetExecutionError, match=r"a.jsonl line 2 is no JSON object: '\[1\]'; invalid_lines='drop'"
    ):
        values(declare(path))
    assert values(declare(path, invalid_lines="drop")) == {"a": [1, 2]}


def test_text_stays_text_unless_a_type_is_set(write, values):
    path = write("a.jsonl", '{"n": "007"}\n')
    assert values(declare(path)) == {"n": ["007"]}
    assert values(declare(path, set_column_types={"n": DataType.to_long()})) == {"n": [7]}


def test_encodings(write, values):
    path = write("a.jsonl", '{"a": "ü"}\n'.encode("latin1"))
    assert values(declare(path, encoding="latin1")) == {"a": ["ü"]}
    with pytest.raises(DatasetExecutionError, match=r"a.jsonl is not encoded as utf8"):
        values(declare(path))


def test_paths_become_columns(write, values, datastore):
    write("store/b.jsonl", '{"v": 1}')
    assert values(declare((datastore, "*"), include_path=True)) == {"Path": ["/b.jsonl"], "v": [1]}


SCALARS = st.one_of(st.integers(-(2**53), 2**53), st.text(st.characters(blacklist_categories=("Cs",))))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(st.sampled_from("abc"), SCALARS, min_size=1), min_size=1))
def test_what_was_written_reads_back(write, values, records):
    path = write("a.jsonl", "\n".join(json.dumps(record) for record in records))
    found = values(declare(path))
    assert [
        {name: column[row] for name, column in found.items() if column[row] is not None}
        for row in range(len(records))
    ] == records
