import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_azureml.model.canonical import canonical_json, digest_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def test_keys_are_sorted_and_nothing_is_spaced_or_escaped():
    assert (
        canonical_json({"b": [1, 2.5, None, True], "a": "é/\u2028"})
        == '{"a":"é/\u2028","b":[1,2.5,null,true]}'.encode()
    )


def test_the_digest_of_a_known_value_stays_what_it_is():
    value = {"schema": 1, "text": "prépare", "numbers": [1, 1.0, -0.5], "nothing": None, "flag": False}
    assert digest_of(value) == "5e070ca2d260a9a5aaacac6d8817450e6f5b100f4691d051421b1e3ffb7b1c6a"


def test_the_order_in_which_keys_were_added_does_not_matter():
    assert digest_of({"a": 1, "b": {"c": 2, "d": 3}}) == digest_of({"b": {"d": 3, "c": 2}, "a": 1})


@pytest.mark.parametrize("other", [{"a": 1.0}, {"a": True}, {"a": "1"}, {"a": [1]}, {"a": None}, {"b": 1}])
def test_values_of_other_types_have_other_digests(other):
    assert digest_of({"a": 1}) != digest_of(other)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [-float("inf")]])
def test_numbers_that_json_lacks_are_refused(value):
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json(value)


@pytest.mark.parametrize("value", [{1: "a"}, {"a": {None: 1}}, [{True: 1}], {"a": ({2: 3},)}])
def test_keys_that_are_not_text_are_refused_rather_than_merged_with_text(value):
    with pytest.raises(TypeError, match="key"):
        canonical_json(value)


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", object()])
def test_foreign_types_are_refused(value):
    with pytest.raises(TypeError):
        canonical_json(value)


def test_a_tuple_counts_as_a_list():
    assert canonical_json((1, (2,))) == b"[1,[2]]"


def test_a_file_name_that_is_no_unicode_is_written_and_read_back():
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert json.loads(canonical_json({"name": name})) == {"name": name}


@given(JSON)
def test_what_is_written_reads_back_equal(value):
    assert json.loads(canonical_json(value)) == value
