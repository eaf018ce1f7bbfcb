"""The gate: when a result is reused, when a step runs, and the sentence that says why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from airflow_azureml.reuse.action import Action, IdentityClass, InputIdentity
from airflow_azureml.reuse.entries import Entry, EntryStore
from airflow_azureml.reuse.gate import Decision, Gate
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


class Bench:
    """A gate over results in memory."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.entries = EntryStore(self.store)
        self.problem: str | None = None
        self.raises: Exception | None = None
        self.checked: list[str] = []

    def check(self, document: Mapping[str, Any]) -> str | None:
        self.checked.append(document["path"])
        if self.raises:
            raise self.raises
        return self.problem

    def remember(self, action: Action, run_id: str = "run-1", *, result: bool = True) -> None:
        if result:
            outputs = {"model": {"path": "a"}, "report": {"path": "b"}}
            self.entries.remember(
                Entry(action.key, "step", run_id, "dag", "train", "2026-01-01", 2.34, outputs), replaces=None
            )
        self.entries.save_action(action, "family", run_id)

    def decide(self, action: Action, **options: Any) -> Decision:
        gate = Gate(self.entries, check_output=self.check, files_of=files_of)
        return gate.decide(action, family="family", **options)


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
            "message": "reused the result of run run-1: same code, inputs and parameters; saved 2.3 s",
            "key": action().key,
            "origin": {"step_run_id": "step", "dag_id": "dag", "run_id": "run-1"},
            "saved_s": 2.34,
            "differences": [],
        }

    def test_is_shared_by_families(self, bench: Bench, action: Build) -> None:
        bench.entries.remember(Entry(action().key, "s", "r", "d", "t", "2026", 1.0), replaces=None)
        assert bench.decide(action()).is_hit


class TestAMiss:
    def test_as_a_document(self, bench: Bench, action: Build) -> None:
        bench.remember(action())
        document = bench.decide(action(parameters={"alpha": 0.7, "epochs": 3})).to_document()
        assert document == {
            "decision": "run",
            "code": "parameter",
            "message": "ran again because parameter alpha: 0.5 → 0.7 (last used in run run-1)",
            "key": action(parameters={"alpha": 0.7, "epochs": 3}).key,
            "origin": None,
            "saved_s": None,
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


RAW = InputIdentity("raw", "mount", IdentityClass.CONTENT, "da7a", files={"a.csv": "1"})
SENTENCES: list[tuple[dict[str, Any], str, str]] = [
    ({"script": "other.py"}, "code", "another script is run"),
    ({"code": "c0df"}, "code", "steps/train.py changed; steps/new.py is new; steps/gone.py is gone"),
    (
        {"code": "many"},
        "code",
        (
            "steps/f0.py, steps/f1.py, steps/f2.py, steps/f3.py, steps/f4.py and 3 more are new; "
            "steps/gone.py, steps/kept.py, steps/train.py are gone"
        ),
    ),
    ({"code": "lost"}, "code", "the source directory steps changed"),
    ({"parameters": {"alpha": 0.5}}, "parameter", "parameter epochs: 3 → (none)"),
    ({"parameters": {"alpha": 0.5, "epochs": "3"}}, "parameter", "parameter epochs: 3 → '3'"),
    ({"parameters": {"alpha": 0.5, "epochs": None}}, "parameter", "parameter epochs: 3 → None"),
    (
        {"parameters": {"alpha": 0.5, "epochs": "x" * 500}},
        "parameter",
        f"parameter epochs: 3 → '{'x' * 79}…",
    ),
    ({"variables": {"lr": {"text": "0.2"}}}, "parameter", "params lr: '0.1' → '0.2'"),
    (
        {"variables": {"lr": {"parameter": "alpha"}}},
        "parameter",
        "params lr: '0.1' → the value of parameter alpha",
    ),
    (
        {"inputs": [InputIdentity("raw", "mount", IdentityClass.CONTENT, "new", files={"a.csv": "2"})]},
        "input",
        "input raw: a.csv changed",
    ),
    (
        {
            "inputs": [
                InputIdentity(
                    "raw", "mount", IdentityClass.CONTENT, "new", files={"b.csv": "1"}, producer="prepare"
                )
            ]
        },
        "input",
        "input raw (written by prepare): b.csv is new; a.csv is gone",
    ),
    (
        {"inputs": [InputIdentity("raw", "mount", IdentityClass.CONTENT, "new", files={"a.csv": "1"})]},
        "input",
        "input raw: its definition changed",
    ),
    (
        {"inputs": [InputIdentity("raw", "mount", IdentityClass.ETAG, "0x8")]},
        "input",
        "input raw changed",
    ),
    (
        {"inputs": [InputIdentity("raw", "download", IdentityClass.CONTENT, "da7a")]},
        "interface",
        "input raw is given to the script in another way",
    ),
    ({"inputs": []}, "input", "input raw is gone"),
    ({"environment": "e1e1e1e1e1"}, "environment", "the environment changed (e0e0e0e0 → e1e1e1e1)"),
    ({"arguments": []}, "interface", "the arguments changed"),
    ({"outputs": []}, "interface", "the declared outputs changed"),
    ({"version": "2"}, "interface", "version changed"),
    ({"step_version": 2}, "interface", "the step type changed"),
    ({"salt": "s"}, "interface", "the workspace's salt changed"),
]


@pytest.mark.parametrize(("changes", "code", "sentence"), SENTENCES)
def test_one_change_gives_one_reason(
    bench: Bench, action: Build, changes: dict[str, Any], code: str, sentence: str
) -> None:
    bench.remember(action())
    decision = bench.decide(action(**changes), source_label="steps")
    assert decision.code.value == code
    assert decision.message == f"ran again because {sentence} (last used in run run-1)"
    assert [item.code.value for item in decision.differences] == [code]


def test_of_several_changes_the_most_telling_comes_first(bench: Bench, action: Build) -> None:
    bench.remember(action())
    decision = bench.decide(
        action(version="2", environment="e1", code="c0df", parameters={"alpha": 0.6, "epochs": 4}, inputs=[])
    )
    assert [item.code.value for item in decision.differences] == [
        "code",
        "parameter",
        "parameter",
        "input",
        "environment",
        "interface",
    ]
    assert decision.message == (
        "ran again because train.py changed; new.py is new; gone.py is gone; "
        "parameter alpha: 0.5 → 0.6; parameter epochs: 3 → 4 (and 3 more differences) (last used in run run-1)"
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
        decision = bench.decide(action(), regenerate=True)
        assert decision.message == "ran again because this run asked for regenerate_outputs"
        assert (decision.code, decision.replaces) == (ReasonCode.BYPASSED_BY_RUN, 1)
        assert bench.decide(action(version="2"), regenerate=True).replaces is None

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
        assert decision.message == "ran because nothing tells whether the data behind raw changed"
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
            if "latest" not in info.key:
                bench.store.put(info.key, b'{"key": "k", "action": {"schema": 9}, "details": {}}')
        decision = bench.decide(action())
        assert decision.code is ReasonCode.NEW
        assert decision.message.startswith("ran again; why cannot be told")


def test_codes_have_a_rank_and_words_that_do_not_change() -> None:
    assert [code.value for code in sorted(ReasonCode, key=lambda code: code.rank)] == [
        "hit",
        "bypassed_by_run",
        "bypassed_by_step",
        "index_down",
        "output_gone",
        "output_corrupt",
        "code",
        "parameter",
        "input",
        "environment",
        "interface",
        "weak_identity",
        "new",
    ]
