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

from airflow_azureml.reuse.action import Action, IdentityClass, InputIdentity, build_action, typed

Build = Callable[..., Action]


def raw(**changes: Any) -> InputIdentity:
    values = {"name": "raw", "mode": "mount", "identity_class": IdentityClass.CONTENT, "identity": "da7a"}
    return InputIdentity(**{**values, **changes})


def test_the_key_is_pinned(action: Build) -> None:
    """A change here disowns every result that anybody has: raise ACTION_SCHEMA and say so in the changelog."""
    text = json.dumps(action().document, sort_keys=True, separators=(",", ":"))
    assert action().key == hashlib.sha256(text.encode()).hexdigest()
    assert action().key == "6fb83657f23f660e28825f9f2d3bc1d76ed48f056d69dd39548b95c4a097a7b4"


def test_the_document_is_pinned(action: Build) -> None:
    assert action().document == {
        "schema": 1,
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
    "the order of parameters": {"parameters": {"epochs": 3, "alpha": 0.5}},
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


def _key(*, arguments: list[str] | None = None, parameters: dict[str, str] | None = None) -> str:
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
    ).key


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


@pytest.mark.parametrize("identity_class", list(IdentityClass))
def test_only_a_bare_path_is_too_weak(action: Build, identity_class: IdentityClass) -> None:
    found = action(inputs=[raw(identity_class=identity_class)])
    assert found.is_weak is (identity_class is IdentityClass.PATH)
