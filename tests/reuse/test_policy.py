"""What a step and a run may ask of reuse, and how it is understood."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_azureml.reuse.action import IdentityClass
from airflow_azureml.reuse.controls import RunControls, RunReuse
from airflow_azureml.reuse.policy import ReusePolicy, VerifyLevel, parse_duration
from airflow_azureml.runtime.exceptions import DefinitionError, UserErrorException


class TestATimeSpan:
    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            (timedelta(hours=1), 3600),
            (90, 90),
            (1.5, 1.5),
            ("90", 90),
            ("7d", 604_800),
            ("36h", 129_600),
            ("1h30m", 5400),
            ("P7D", 604_800),
            ("PT12H", 43_200),
            ("P1DT1M", 86_460),
            ("2w", 1_209_600),
            (0, 0),
        ],
    )
    def test_may_be_written_in_many_ways(self, value: Any, seconds: float) -> None:
        assert parse_duration(value) == seconds

    @pytest.mark.parametrize(
        "value", ["", "soon", "7x", "-1", -1, "P1M", "P1Y", float("nan"), float("inf"), "1d?"]
    )
    def test_that_is_none_is_refused(self, value: Any) -> None:
        with pytest.raises(ValueError, match="time span|fixed length"):
            parse_duration(value)


class TestAPolicy:
    def test_asks_for_what_is_right_for_most_steps(self) -> None:
        policy = ReusePolicy()
        assert policy.minimum is IdentityClass.ETAG
        assert policy.verify_level is VerifyLevel.DIGEST
        assert (policy.ttl_s, policy.sample, policy.to_document()) == (None, 0.0, {})

    def test_of_a_sample_looks_at_content(self) -> None:
        policy = ReusePolicy(verify="sample(0.25)")
        assert (policy.sample, policy.verify_level) == (0.25, VerifyLevel.DIGEST)

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ({"ttl": "soon"}, "argument ttl: 'soon' is no time span"),
            ({"ttl": True}, "argument ttl"),
            ({"scope": "planet"}, "argument scope is 'planet'; expected one of workspace, pipeline, run"),
            ({"verify": "hard"}, "expected one of none, exists, size, digest or sample"),
            ({"verify": "sample(2)"}, "a share is at most 1"),
            ({"ignore_params": "build_id"}, "expected a list of names"),
            ({"code_files": ["*.yaml"]}, 'argument code_files needs code_scope="imports"'),
        ],
    )
    def test_that_makes_no_sense_is_refused(self, arguments: dict[str, Any], said: str) -> None:
        with pytest.raises(DefinitionError, match="ReusePolicy") as caught:
            ReusePolicy(**arguments)
        assert said in str(caught.value)

    @given(
        st.fixed_dictionaries(
            {},
            optional={
                "ttl": st.integers(0, 10**9),
                "min_identity": st.sampled_from(list(IdentityClass)),
                "scope": st.sampled_from(["workspace", "pipeline", "run"]),
                "ignore_params": st.lists(st.text()),
                "env": st.sampled_from(["strict", "declared", "off"]),
                "wait": st.sampled_from(["join", "race", "never"]),
                "verify": st.sampled_from(["none", "exists", "size", "digest", "sample(0.5)"]),
                "accept_from": st.lists(st.text()),
            },
        )
    )
    def test_survives_being_written_down(self, arguments: dict[str, Any]) -> None:
        policy = ReusePolicy(**arguments)
        assert ReusePolicy.from_document(policy.to_document()) == policy

    def test_of_another_version_is_refused(self) -> None:
        with pytest.raises(DefinitionError, match="later is none of"):
            ReusePolicy.from_document({"later": 1})


class TestARun:
    @pytest.mark.parametrize("value", [True, "true", ["*"], ["train", "*"]])
    def test_may_regenerate_all(self, value: Any) -> None:
        controls = RunControls.from_conf({"regenerate_outputs": value})
        assert controls.regenerates({"train"}, set())

    @pytest.mark.parametrize("value", [False, None, "", "false", []])
    def test_may_regenerate_nothing(self, value: Any) -> None:
        assert RunControls.from_conf({"regenerate_outputs": value}) == RunControls()

    @pytest.mark.parametrize("value", [["train"], "train", "train, score"])
    def test_may_regenerate_named_steps(self, value: Any) -> None:
        controls = RunControls.from_conf({"regenerate_outputs": value})
        assert controls.regenerates({"train"}, set())
        assert not controls.regenerates({"report"}, {"train"})

    def test_may_regenerate_what_depends_on_them(self) -> None:
        conf = {"regenerate_outputs": ["train"], "regenerate_downstream": True}
        assert RunControls.from_conf(conf).regenerates({"report"}, {"prepare", "train"})
        assert not RunControls.from_conf(conf).regenerates({"prepare"}, set())

    def test_may_ask_for_fresh_results(self) -> None:
        assert RunControls.from_conf({"max_staleness": "P7D"}).max_staleness_s == 604_800
        assert RunControls.from_conf({"reuse": "READ"}).reuse is RunReuse.READ

    @pytest.mark.parametrize(
        "conf",
        [
            {"regenerate_outputs": 5},
            {"regenerate_outputs": [1]},
            {"regenerate_downstream": "perhaps"},
            {"max_staleness": "soon"},
            {"max_staleness": True},
            {"reuse": "sometimes"},
        ],
    )
    def test_that_asks_for_nonsense_is_refused_by_name(self, conf: dict[str, Any]) -> None:
        (name,) = conf
        with pytest.raises(UserErrorException, match=name):
            RunControls.from_conf(conf)

    def test_knows_which_named_steps_there_are_not(self) -> None:
        controls = RunControls.from_conf({"regenerate_outputs": ["train", "trian"]})
        assert controls.unknown_steps({"train"}) == ["trian"]

    def test_is_written_down_as_it_is_read(self) -> None:
        controls = RunControls(("train",), True, 60.0, RunReuse.READ)
        assert RunControls.from_conf(controls.to_conf()) == controls
        assert RunControls.from_conf(RunControls(True).to_conf()) == RunControls(True)
