"""The action key: what a result depends on, and nothing else."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_azureml.model.canonical import canonical_json
from airflow_azureml.reuse.action import Action, IdentityClass, InputIdentity, build_action, typed
from airflow_azureml.reuse.secrecy import Secrecy

Build = Callable[..., Action]


def raw(**changes: Any) -> InputIdentity:
    values = {"name": "raw", "mode": "mount", "identity_class": IdentityClass.CONTENT, "identity": "da7a"}
    return InputIdentity(**{**values, **changes})


KEYED = Secrecy(lambda text: text.replace("hunter2", "***"), lambda: bytes(range(32)))

GOLDEN: list[tuple[dict[str, Any], str]] = [
    (
        {"parameters": {"i": 1, "f": 1e16, "b": True, "s": "1", "n": None, "nan": float("nan")}},
        "82ada8e8a8a2fc43bdac1368f2e1306d654817eab85243e8c1b1b00c8f61691f",
    ),
    (
        {"parameters": {"list": [1, 1.5, "x"], "map": {"b": None, "a": False}}},
        "660521fadd4329413dea555d5fdd8f7f24b61dad80d3f0a1ece6412edbf03993",
    ),
    (
        {"arguments": [{"text": "e\u0301 \u20ac \udc80"}, {"parts": [{"text": "a"}, {"input": "raw"}]}]},
        "5c753a56982f1cbf6e64f1a19f94183ca2e06bdb58c21d5bb72cefc8b60964d9",
    ),
    (
        {"scope": {"pipeline": "diabetes"}, "version": "2", "salt": "2026"},
        "7bb4dd71312e06685bce8cd15ed1004237a88d400eb577f5305564840fc22582",
    ),
    (
        {"arguments": [{"text": "--pw=hunter2"}], "parameters": {"pw": "hunter2"}, "secrecy": KEYED},
        "5fca6d7477b2b44d9ef4cf2edd0c2d653182d564c028154add4d05c81197e6e3",
    ),
    (
        {
            "inputs": [raw(name="auto", mode="direct", kind="dataset", path_on_compute="here")],
            "aliases": {"auto": "#in0"},
        },
        "2b8107124fa20d7a0fecb83ce6c82a1acac3be07793c165b6fd111b63da7498d",
    ),
]


def test_the_key_is_pinned(action: Build) -> None:
    """A change here disowns every result that anybody has: raise ACTION_SCHEMA and say so in the changelog."""
    text = json.dumps(action().document, sort_keys=True, separators=(",", ":"))
    assert action().key == hashlib.sha256(text.encode()).hexdigest()
    assert action().key == "df732c92daabd5a2a63cf0007ebbea1db6f21bbadd666fd4bc431cb4c09b87e0"


@pytest.mark.parametrize(("changes", "key"), GOLDEN)
def test_keys_of_every_kind_of_value_are_pinned(action: Build, changes: dict[str, Any], key: str) -> None:
    assert action(**changes).key == key


def test_the_document_is_pinned(action: Build) -> None:
    assert action().document == {
        "schema": 2,
        "step": {"type": "PythonScriptStep", "version": 1},
        "script": "train.py",
        "code": "c0de",
        "arguments": [{"text": "--alpha"}, {"parameter": "alpha"}, {"input": "raw"}, {"output": "model"}],
        "parameters": {
            "alpha": {"type": "float", "value": "0.5"},
            "epochs": {"type": "int", "value": 3},
        },
        "variables": {"lr": {"text": "0.1"}},
        "outputs": [{"name": "model", "kind": "pipeline_data", "datastore": "blob", "path": None}],
        "inputs": [
            {
                "name": "raw",
                "mode": "mount",
                "kind": "data",
                "path_on_compute": None,
                "class": "content",
                "identity": "da7a",
            }
        ],
        "environment": "e0e0e0e0e0",
        "version": None,
        "scope": None,
        "salt": "",
    }


VARIES: dict[str, dict[str, Any]] = {
    "step type": {"step_type": "DatabricksStep"},
    "version of the step type": {"step_version": 2},
    "script": {"script": "other.py"},
    "code": {"code": "c0df"},
    "an argument": {"arguments": [{"text": "--beta"}]},
    "the order of arguments": {
        "arguments": [{"parameter": "alpha"}, {"text": "--alpha"}, {"input": "raw"}, {"output": "model"}]
    },
    "a parameter's value": {"parameters": {"alpha": 0.6, "epochs": 3}},
    "a parameter's type": {"parameters": {"alpha": "0.5", "epochs": 3}},
    "a parameter's name": {"parameters": {"alfa": 0.5, "epochs": 3}},
    "one parameter less": {"parameters": {"alpha": 0.5}},
    "a variable": {"variables": {"lr": {"text": "0.2"}}},
    "a variable that follows a parameter": {"variables": {"lr": {"parameter": "alpha"}}},
    "an output's name": {
        "outputs": [{"name": "m", "kind": "pipeline_data", "datastore": "blob", "path": None}]
    },
    "an output's datastore": {
        "outputs": [{"name": "model", "kind": "pipeline_data", "datastore": "lake", "path": None}]
    },
    "an output's path": {
        "outputs": [{"name": "model", "kind": "pipeline_data", "datastore": "blob", "path": "x"}]
    },
    "no output": {"outputs": []},
    "an input's content": {"inputs": [raw(identity="da7b")]},
    "an input's class": {"inputs": [raw(identity_class=IdentityClass.ETAG)]},
    "an input's mode": {"inputs": [raw(mode="download")]},
    "an input's kind": {"inputs": [raw(kind="dataset")]},
    "an input's place": {"inputs": [raw(path_on_compute="here")]},
    "an input's name": {"inputs": [raw(name="cooked")]},
    "no input": {"inputs": []},
    "environment": {"environment": "e1"},
    "version": {"version": "1"},
    "salt": {"salt": "s"},
    "scope": {"scope": {"pipeline": "diabetes"}},
    "another scope": {"scope": {"run": "diabetes"}},
}


@pytest.mark.parametrize("changes", VARIES.values(), ids=VARIES.keys())
def test_the_key_varies_with(action: Build, changes: dict[str, Any]) -> None:
    assert action(**changes).key != action().key


def test_no_two_of_these_share_a_key(action: Build) -> None:
    keys = [action(**changes).key for changes in VARIES.values()]
    assert len(set(keys)) == len(keys)


STAYS: dict[str, dict[str, Any]] = {
    "the files behind an input": {"inputs": [raw(files={"b.csv": "2"})]},
    "who wrote an input": {"inputs": [raw(producer="prepare")]},
    "what an input was known by at its producer": {"inputs": [raw(consumed=("d1",))]},
    "the order of parameters": {"parameters": {"epochs": 3, "alpha": 0.5}},
    "ignored parameters": {"ignored": {"build_id": 7}},
    "what the environment is made of": {"specification": {"pip": ["numpy"]}},
}


@pytest.mark.parametrize("changes", STAYS.values(), ids=STAYS.keys())
def test_the_key_does_not_vary_with(action: Build, changes: dict[str, Any]) -> None:
    assert action(**changes).key == action().key


def test_the_key_does_not_vary_with_the_order_of_inputs_and_outputs(action: Build) -> None:
    inputs = [raw(), raw(name="other")]
    outputs = [{"name": name, "kind": "pipeline_data"} for name in ("a", "b")]
    keys = {
        action(inputs=one, outputs=two).key
        for one, two in itertools.product((inputs, inputs[::-1]), (outputs, outputs[::-1]))
    }
    assert len(keys) == 1


class TestValues:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (1, 1.0),
            (1, True),
            (1, "1"),
            (0, False),
            (0, None),
            ("", None),
            ("None", None),
            (0.0, -0.0),
            ("1.0", 1.0),
        ],
    )
    def test_of_different_types_stay_apart(self, one: Any, other: Any) -> None:
        assert typed(one) != typed(other)

    def test_that_json_cannot_say_are_said_nevertheless(self, action: Build) -> None:
        values = [float("nan"), float("inf"), float("-inf"), 1e16, 10**30, "\ud800"]
        keys = {action(parameters={"x": value}).key for value in values}
        assert len(keys) == len(values)
        assert action(parameters={"x": float("nan")}).key in keys


class TestFraming:
    """Nothing is joined as text, so no text can pass for a frame."""

    @given(st.lists(st.text(max_size=3), max_size=4), st.lists(st.text(max_size=3), max_size=4))
    def test_argument_vectors_never_collide(self, one: list[str], other: list[str]) -> None:
        assert (_key(arguments=one) == _key(arguments=other)) is (one == other)

    @given(
        st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3),
        st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3),
    )
    def test_parameters_never_collide(self, one: dict[str, str], other: dict[str, str]) -> None:
        assert (_key(parameters=one) == _key(parameters=other)) is (one == other)

    def test_a_parameter_is_never_a_variable(self, action: Build) -> None:
        one = action(parameters={"lr": "1"}, variables={})
        other = action(parameters={}, variables={"lr": {"text": "1"}})
        assert one.key != other.key

    def test_text_is_never_a_placeholder(self, action: Build) -> None:
        assert (
            action(arguments=[{"text": "raw"}]).key
            != action(arguments=[{"input": "raw"}]).key
            != action(arguments=[{"parts": [{"text": "raw"}]}]).key
        )


def _key(**changes: Any) -> str:
    return _action(**changes).key


def _action(*, arguments: list[str] | None = None, parameters: dict[str, Any] | None = None) -> Action:
    return build_action(
        step_type="",
        step_version=1,
        script="",
        code="",
        arguments=[{"text": text} for text in arguments or ()],
        parameters=parameters or {},
        variables={},
        outputs=[],
        inputs=[],
        environment="",
        version=None,
    )


class TestAliases:
    """Names that nobody chose enter the key by their place."""

    def test_stand_for_names_in_inputs_outputs_and_arguments(self, action: Build) -> None:
        def named(source: str, target: str) -> Action:
            return action(
                arguments=[{"input": source}, {"parts": [{"output": target}, {"text": "x.csv"}]}],
                inputs=[raw(name=source)],
                outputs=[{"name": target}],
                aliases={source: "#in0", target: "#out0"},
            )

        assert named("input_raw_1f", "output_1").key == named("input_raw_2e", "output_7").key
        assert named("a", "b").document["arguments"] == [
            {"input": "#in0"},
            {"parts": [{"output": "#out0"}, {"text": "x.csv"}]},
        ]

    def test_do_not_touch_text_that_reads_like_a_name(self, action: Build) -> None:
        one = action(arguments=[{"text": "auto"}], aliases={"auto": "#in0"})
        assert one.document["arguments"] == [{"text": "auto"}]


class TestIdentityClasses:
    def test_are_ordered_by_what_they_say_of_the_data(self) -> None:
        order = list(IdentityClass)
        for place, minimum in enumerate(order):
            assert [found.at_least(minimum) for found in order] == [True] * (place + 1) + [False] * (
                4 - place
            )

    @pytest.mark.parametrize("minimum", list(IdentityClass))
    def test_inputs_that_are_known_less_well_are_named(self, action: Build, minimum: IdentityClass) -> None:
        found = action(inputs=[raw(name=item.value, identity_class=item) for item in IdentityClass])
        assert set(found.weak_inputs(minimum)) == {
            item.value for item in IdentityClass if not item.at_least(minimum)
        }

    def test_a_bare_path_is_enough_only_when_a_bare_path_is_asked_for(self, action: Build) -> None:
        found = action(inputs=[raw(identity_class=IdentityClass.PATH)])
        assert [item for item in IdentityClass if not found.weak_inputs(item)] == [IdentityClass.PATH]


class TestDetails:
    """What explanations and look-ups use is kept beside the document, not in it."""

    def test_of_inputs(self, action: Build) -> None:
        source = raw(files={"a.csv": "1"}, producer="prepare", consumed=("d1", "d2"))
        found = action(inputs=[source], aliases={"raw": "#in0"})
        known = {"files": {"a.csv": "1"}, "producer": "prepare", "consumed": ["d1", "d2"]}
        assert found.details()["inputs"] == {"#in0": known}

    def test_of_inputs_of_which_nothing_more_is_known(self, action: Build) -> None:
        found = action(inputs=[raw()]).details()
        assert found["inputs"] == {"raw": {"files": None, "producer": None, "consumed": []}}

    def test_of_the_environment_and_ignored_parameters(self, action: Build) -> None:
        found = action(ignored={"build_id": 7}, specification={"pip": ["numpy"]}).details()
        assert found["environment"] == {"pip": ["numpy"]}
        assert found["ignored"] == {"build_id": {"type": "int", "value": 7}}

    def test_are_json(self, action: Build) -> None:
        found = action(ignored={"x": float("nan")}).details()
        assert json.loads(json.dumps(found, allow_nan=False)) == found


FORMS = ("\u00e9", "e\u0301")
"""One letter as one character and as two."""


class TestWhatLooksAlike:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ({"arguments": [{"text": "a"}, {"text": "bc"}]}, {"arguments": [{"text": "ab"}, {"text": "c"}]}),
            ({"arguments": [{"text": "a b"}]}, {"arguments": [{"text": "a"}, {"text": "b"}]}),
            ({"arguments": [{"text": ""}]}, {"arguments": []}),
            (
                {"arguments": [{"parts": [{"text": "a"}, {"input": "b"}]}]},
                {"arguments": [{"text": "a"}, {"input": "b"}]},
            ),
            ({"arguments": [{"text": FORMS[0]}]}, {"arguments": [{"text": FORMS[1]}]}),
            ({"parameters": {FORMS[0]: 1}}, {"parameters": {FORMS[1]: 1}}),
            ({"parameters": {"a": FORMS[0]}}, {"parameters": {"a": FORMS[1]}}),
            ({"parameters": {"a": "bc"}}, {"parameters": {"ab": "c"}}),
            ({"parameters": {"a": 1}}, {"parameters": {"a": 1.0}}),
            ({"parameters": {"a": 1}}, {"parameters": {"a": True}}),
            ({"parameters": {"a": "1"}}, {"parameters": {"a": 1}}),
            ({"parameters": {"a": "true"}}, {"parameters": {"a": True}}),
            ({"parameters": {"a": ["x", "y"]}}, {"parameters": {"a": ["x,y"]}}),
            ({"parameters": {"a": '{"type":"int","value":1}'}}, {"parameters": {"a": 1}}),
            ({"script": "a", "code": "bc"}, {"script": "ab", "code": "c"}),
            ({"version": "x", "salt": ""}, {"version": "", "salt": "x"}),
            ({"version": None}, {"version": "None"}),
            ({"scope": None}, {"scope": {}}),
            ({"inputs": [raw(name="a", identity="bc")]}, {"inputs": [raw(name="ab", identity="c")]}),
            ({"arguments": [{"text": "\udc80"}]}, {"arguments": [{"text": "\\udc80"}]}),
        ],
    )
    def test_has_another_key(self, action: Build, one: dict[str, Any], other: dict[str, Any]) -> None:
        assert action(**one).key != action(**other).key


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@given(st.dictionaries(st.text(max_size=3), JSON, max_size=3))
def test_the_document_says_what_it_was_made_of(parameters: dict[str, Any]) -> None:
    """So no two actions share one: from the canonical text everything can be read back."""
    document = json.loads(canonical_json(_action(parameters=parameters).document))
    values = document["parameters"]
    assert {name: _value(item) for name, item in values.items()} == parameters
    assert {name: item["type"] for name, item in values.items()} == {
        name: type(value).__name__ for name, value in parameters.items()
    }


def _value(item: dict[str, Any]) -> Any:
    return float(item["value"]) if item["type"] == "float" else item["value"]
