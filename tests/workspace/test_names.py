from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.workspace.names import decode_name, encode_name
from airflow_azureml.workspace.store import check_key

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=255)


@given(NAMES)
@example(".")
@example("..")
@example("/")
@example("\0")
@example("a" * 255)
@example("\N{SNOWMAN}" * 255)
@example("." * 255)
def test_every_name_is_one_valid_segment(name: str) -> None:
    segment = encode_name(name)
    assert "/" not in segment
    assert check_key(f"{segment}.json")
    assert segment.isascii()
    assert decode_name(segment) in (name, None)


@given(NAMES, NAMES)
@example("a/b", "a%2Fb")
@example("a b", "a+b")
@example("e\u0301", "\u00e9")
@example("x" * 254 + "1", "x" * 254 + "2")
@example("~", "%7E")
def test_two_names_never_share_a_segment(one: str, other: str) -> None:
    assert (encode_name(one) == encode_name(other)) == (one == other)


def test_a_long_name_cannot_take_the_segment_of_another() -> None:
    segment = encode_name("ü" * 200)
    assert encode_name(segment) != segment


def test_usual_names_stay_legible() -> None:
    assert encode_name("diabetes_scored-2.1") == "diabetes_scored-2.1"


@pytest.mark.parametrize("name", ["", None, 7, "x" * 256, "\ud800"])
def test_what_is_no_name_is_refused(name: object) -> None:
    with pytest.raises(UserErrorException, match="dataset name"):
        encode_name(name, "dataset name")
