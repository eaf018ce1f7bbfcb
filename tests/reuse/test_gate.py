"""The gate: when a result is reused, when a step runs, and the sentence that says why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from airflow_azureml.reuse.action import Action, IdentityClass, InputIdentity
from airflow_azureml.reuse.actions import ActionStore
from airflow_azureml.reuse.entries import Entry, EntryStore, HeadState
from airflow_azureml.reuse.gate import Decision, Gate, Question
from airflow_azureml.reuse.policy import ReusePolicy
from airflow_azureml.reuse.reasons import ReasonCode
from airflow_azureml.runtime.exceptions import AzureMLException, ObjectNotFound, StoreError
from airflow_azureml.workspace.memory_store import MemoryStore

Build = Callable[..., Action]

CODE = {
    "c0de": {"train.py": "1", "gone.py": "1", "kept.py": "1"},
    "c0df": {"train.py": "2", "new.py": "1", "kept.py": "1"},
    "many": {f"f{number}.py": "1" for number in range(8)},
}


def files_of(code: str) -> Mapping[str, str]:
    if code not in CODE:
        raise ObjectNotFound(code)
    return CODE[code]


FINISHED = "2026-01-01T00:00:00+00:00"


class Bench:
    """A gate over results in memory."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.entries = EntryStore(self.store)
        self.actions = ActionStore(self.store)
        self.problem: str | None = None
        self.raises: Exception | None = None
        self.drawn = 1.0
        self.checked: list[str] = []

    def check(self, document: Mapping[str, Any]) -> str | None:
        self.checked.append(document["path"])
        if self.raises:
            raise self.raises
        return self.problem

    def remember(self, action: Action, run_id: str = "run-1", *, result: bool = True, **changes: Any) -> None:
        if result:
            outputs = {"model": {"path": "a", "digest": "1"}, "report": {"path": "b", "digest": "2"}}
            values: dict[str, Any] = {"finished": FINISHED, "writer": "prod", **changes}
            self.entries.remember(
                Entry(
                    action.key,
                    step_run_id="step",
                    run_id=run_id,
                    dag_id="dag",
                    step_name="train",
                    duration_s=2.34,
                    outputs=outputs,
                    **values,
                ),
                replaces=None,
            )
        self.actions.save(action, "family", run_id)

    def decide(self, action: Action, **options: Any) -> Decision:
        gate = Gate(
            self.entries,
            self.actions,
            check_output=self.check,
            files_of=files_of,
            draw=lambda: self.drawn,
        )
        return gate.decide(Question(action, "family", **options))


@pytest.fixture
def bench() -> Bench:
    return Bench()


class TestAHit:
    def test_names_its_origin_and_what_it_saves(self, bench: Bench, action: Build) -> None:
        bench.remember(action())
        decision = bench.decide(action())
        assert decision.is_hit
        assert decision.code is ReasonCode.HIT
        assert (
            decision.message
            == "reused the result of run run-1: same code, inputs and parameters; saved 2.3 s"
        )
        assert bench.checked == ["a", "b"]

    def test_as_a_document(self, bench: Bench, action: Build) -> None:
        bench.remember(action())
        assert bench.decide(action()).to_document() == {
            "decision": "reuse",
            "code": "hit",
            "codes": ["hit"],
            "message": "reused the result of run run-1: same code, inputs and parameters; saved 2.3 s",
            "key": action().key,
            "origin": {
                "step_run_id": "step",
                "dag_id": "dag",
                "run_id": "run-1",
                "writer": "prod",
                "finished": FINISHED,
            },
            "saved_s": 2.34,
            "waited_s": None,
            "differences": [],
        }

    def test_is_shared_by_families(self, bench: Bench, action: Build) -> None:
        bench.entries.remember(Entry(action().key, "s", "r", "d", "t", FINISHED, 1.0), replaces=None)
        assert bench.decide(action()).is_hit


class TestAMiss:
    def test_as_a_document(self, bench: Bench, action: Build) -> None:
        bench.remember(action())
        document = bench.decide(action(parameters={"alpha": 0.7, "epochs": 3})).to_document()
        assert document == {
            "decision": "run",
            "code": "parameter",
            "codes": ["parameter"],
            "message": "ran again because parameter alpha: 0.5 → 0.7 (last used in run run-1)",
            "key": action(parameters={"alpha": 0.7, "epochs": 3}).key,
            "origin": None,
            "saved_s": None,
            "waited_s": None,
            "differences": [
                {"code": "parameter", "what": "parameter alpha: 0.5 → 0.7", "before": "0.5", "after": "0.7"}
            ],
        }

    def test_of_a_step_that_never_ran(self, bench: Bench, action: Build) -> None:
        decision = bench.decide(action())
        assert (decision.code, decision.message) == (ReasonCode.NEW, "ran for the first time")
        assert not decision.is_hit

    def test_of_a_step_that_left_no_result(self, bench: Bench, action: Build) -> None:
        bench.remember(action(), result=False)
        assert (
            bench.decide(action()).message
            == "ran again because run run-1 with the same inputs left no result"
        )


def test_names_that_nobody_chose_are_compared_by_place(bench: Bench, action: Build) -> None:
    def named(name: str, identity: str, files: dict[str, str]) -> Action:
        source = InputIdentity(name, "mount", IdentityClass.CONTENT, identity, files=files)
        return action(inputs=[source], arguments=[{"input": name}], aliases={name: "#in0"})

    bench.remember(named("auto_1", "da7a", {"a.csv": "1"}))
    assert bench.decide(named("auto_2", "da7a", {"a.csv": "1"})).is_hit
    decision = bench.decide(named("auto_3", "new", {"a.csv": "2"}))
    assert decision.message == "ran again because input auto_3: a.csv changed (last used in run run-1)"


class TestAResultIsNotUsed:
    def test_when_the_step_says_so(self, bench: Bench, action: Build) -> None:
        bench.remember(action())
        decision = bench.decide(action(), allow_reuse=False)
        assert (decision.code, decision.message) == (
            ReasonCode.BYPASSED_BY_STEP,
            "runs every time: the step has allow_reuse=False",
        )
        assert decision.replaces is None

    def test_when_the_run_says_so_and_its_own_takes_the_place(self, bench: Bench, action: Build) -> None:
        bench.remember(action())
        decision = bench.decide(action(), forced="this run asked for regenerate_outputs")
        assert decision.message == "ran again because this run asked for regenerate_outputs"
        assert (decision.code, decision.replaces) == (ReasonCode.BYPASSED_BY_RUN, 1)
        assert bench.decide(action(version="2"), forced="so").replaces is None

    @pytest.mark.parametrize(
        ("problem", "code"),
        [
            ("is gone", ReasonCode.OUTPUT_GONE),
            ("is not what was written", ReasonCode.OUTPUT_CORRUPT),
            ("cannot be read (why)", ReasonCode.OUTPUT_CORRUPT),
        ],
    )
    def test_when_an_output_is_no_longer_what_it_was(
        self, bench: Bench, action: Build, problem: str, code: ReasonCode
    ) -> None:
        bench.remember(action())
        bench.problem = problem
        decision = bench.decide(action())
        assert decision.message == f"ran again because output model {problem} (written in run run-1)"
        assert (decision.code, decision.replaces) == (code, 1)

    @pytest.mark.parametrize("error", [AzureMLException("no datastore"), OSError(5, "no disk")])
    def test_when_an_output_cannot_be_looked_at(self, bench: Bench, action: Build, error: Exception) -> None:
        bench.remember(action())
        bench.raises = error
        decision = bench.decide(action())
        assert (decision.code, decision.replaces) == (ReasonCode.OUTPUT_CORRUPT, 1)
        assert f"output model cannot be checked ({error})" in decision.message

    def test_when_nothing_tells_whether_the_data_changed(self, bench: Bench, action: Build) -> None:
        weak = action(inputs=[InputIdentity("raw", "mount", IdentityClass.PATH, "https://x")])
        bench.remember(weak)
        decision = bench.decide(weak)
        assert decision.message == (
            "ran again because nothing tells well enough whether the data behind raw changed (min_identity is etag)"
        )
        assert (decision.code, decision.replaces) == (ReasonCode.WEAK_IDENTITY, 1)

    @pytest.mark.parametrize("error", [StoreError("no answer"), OSError(5, "no disk")])
    def test_when_the_index_is_down(
        self, bench: Bench, action: Build, error: Exception, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def down(_: str) -> None:
            raise error

        bench.remember(action())
        monkeypatch.setattr(bench.store, "get", down)
        decision = bench.decide(action())
        assert decision.code is ReasonCode.INDEX_DOWN
        assert decision.message == f"ran because the results of earlier runs could not be read ({error})"

    def test_when_what_was_written_is_of_another_version(self, bench: Bench, action: Build) -> None:
        bench.remember(action(), result=False)
        for info in list(bench.store.list("actions/")):
            if "recent" not in info.key:
                bench.store.put(info.key, b'{"key": "k", "action": {"schema": 9}, "details": {}}')
        decision = bench.decide(action())
        assert decision.code is ReasonCode.INTERFACE
        assert "the format of reuse keys" in decision.message


class TestAResultThatIsNoGood:
    def decide(self, bench: Bench, action: Build, **options: Any) -> Decision:
        bench.remember(action())
        return bench.decide(action(), **options)

    def test_because_it_is_too_old_for_the_step(self, bench: Bench, action: Build) -> None:
        decision = self.decide(bench, action, policy=ReusePolicy(ttl="7d"))
        assert (decision.code, decision.replaces) == (ReasonCode.EXPIRED, 1)
        assert "older than the step allows" in decision.message
        assert "ttl 7 d" in decision.message

    def test_because_it_is_too_old_for_the_run(self, bench: Bench, action: Build) -> None:
        decision = self.decide(bench, action, max_staleness_s=3600)
        assert (decision.code, decision.replaces) == (ReasonCode.STALE_FOR_RUN, 1)
        assert "max_staleness 60 min" in decision.message

    def test_because_of_who_wrote_it(self, bench: Bench, action: Build) -> None:
        decision = self.decide(bench, action, accept_from=frozenset({"ci"}), deployment="laptop")
        assert (decision.code, decision.replaces) == (ReasonCode.UNTRUSTED, 1)
        assert "written by 'prod', and only those of ci count" in decision.message
        assert bench.decide(action(), accept_from=frozenset({"prod"})).is_hit
        assert bench.decide(action(), accept_from=frozenset({"ci"}), deployment="prod").is_hit

    def test_because_a_person_disowned_it(self, bench: Bench, action: Build) -> None:
        bench.remember(action())
        bench.entries.set_state(
            action().key, HeadState.INVALIDATED, generation=1, reason="wrong units", by="ada"
        )
        decision = bench.decide(action())
        assert decision.code is ReasonCode.INVALIDATED
        assert decision.message == (
            "ran again because the result of run run-1 was invalidated by ada: wrong units"
        )

    def test_because_it_was_set_aside(self, bench: Bench, action: Build) -> None:
        bench.remember(action())
        bench.entries.set_state(
            action().key, HeadState.QUARANTINED, generation=1, reason="output model is gone"
        )
        decision = bench.decide(action())
        assert decision.code is ReasonCode.OUTPUT_GONE
        assert "output model is gone (written in run run-1)" in decision.message

    def test_because_it_was_removed(self, bench: Bench, action: Build) -> None:
        bench.remember(action())
        bench.entries.set_state(action().key, HeadState.RETIRED, generation=1)
        assert bench.decide(action()).code is ReasonCode.OUTPUT_GONE

    def test_for_several_reasons_names_all_of_them(self, bench: Bench, action: Build) -> None:
        decision = self.decide(
            bench,
            action,
            policy=ReusePolicy(ttl=1),
            max_staleness_s=1,
            accept_from=frozenset({"ci"}),
            forced="this run asked for regenerate_outputs",
        )
        assert [code.value for code in decision.codes] == [
            "bypassed_by_run",
            "untrusted",
            "expired",
            "stale_for_run",
        ]
        assert decision.message.endswith("(and 1 more)")

    def test_and_what_changed_besides_is_told_too(self, bench: Bench, action: Build) -> None:
        bench.remember(action())
        decision = bench.decide(action(parameters={"alpha": 0.7, "epochs": 3}), forced="so")
        assert [code.value for code in decision.codes] == ["bypassed_by_run", "parameter"]


class TestASample:
    policy = ReusePolicy(verify="sample(0.1)")

    def test_runs_to_compare_and_leaves_the_result_that_is_there(self, bench: Bench, action: Build) -> None:
        bench.remember(action())
        bench.drawn = 0.05
        decision = bench.decide(action(), policy=self.policy)
        assert (decision.code, decision.replaces, decision.is_forced) == (ReasonCode.SAMPLED, None, True)

    def test_is_not_drawn_every_time(self, bench: Bench, action: Build) -> None:
        bench.remember(action())
        bench.drawn = 0.5
        assert bench.decide(action(), policy=self.policy).is_hit

    def test_is_drawn_of_intact_results_only(self, bench: Bench, action: Build) -> None:
        bench.remember(action())
        bench.drawn, bench.problem = 0.0, "is gone"
        assert bench.decide(action(), policy=self.policy).code is ReasonCode.OUTPUT_GONE


def test_a_weak_identity_is_enough_for_a_step_that_says_so(bench: Bench, action: Build) -> None:
    weak = action(inputs=[InputIdentity("raw", "mount", IdentityClass.PATH, "https://x")])
    bench.remember(weak)
    assert bench.decide(weak, policy=ReusePolicy(min_identity="path")).is_hit
    stat = action(inputs=[InputIdentity("raw", "mount", IdentityClass.STAT, "12:34")])
    bench.remember(stat)
    assert bench.decide(stat).code is ReasonCode.WEAK_IDENTITY
    assert bench.decide(stat, policy=ReusePolicy(min_identity="stat")).is_hit


def test_damage_is_told_from_what_nobody_can_look_at(bench: Bench, action: Build) -> None:
    bench.remember(action())
    bench.problem = "is not what was written"
    assert bench.decide(action()).damaged == "output model is not what was written"
    bench.problem = "cannot be read (no answer)"
    assert bench.decide(action()).damaged is None


def test_a_result_that_was_waited_for_says_so(bench: Bench, action: Build) -> None:
    bench.remember(action())
    decision = bench.decide(action(), waited_s=12.3)
    assert decision.code is ReasonCode.JOINED
    assert decision.message == (
        "reused the result of run run-1, which was computing it: waited 12.3 s; "
        "same code, inputs and parameters; saved 2.3 s"
    )
    assert decision.to_document()["waited_s"] == 12.3


def test_a_deployment_or_a_run_may_ignore_all_results(bench: Bench, action: Build) -> None:
    bench.remember(action())
    decision = bench.decide(action(), ignores_results="[azureml] reuse is off")
    assert (decision.code, decision.message) == (
        ReasonCode.BYPASSED_BY_RUN,
        "ran because [azureml] reuse is off",
    )
    assert bench.checked == []


def test_codes_have_a_rank_and_words_that_do_not_change() -> None:
    assert [code.value for code in sorted(ReasonCode, key=lambda code: code.rank)] == [
        "hit",
        "joined",
        "bypassed_by_run",
        "bypassed_by_step",
        "index_down",
        "sampled",
        "invalidated",
        "output_gone",
        "output_corrupt",
        "untrusted",
        "expired",
        "stale_for_run",
        "weak_identity",
        "code",
        "parameter",
        "input",
        "environment",
        "interface",
        "new",
    ]
