"""What steps, runs and people ask of reuse, through the whole life of a step."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml.compute.commit import Commit
from airflow_azureml.compute.deciding import StepGate
from airflow_azureml.compute.execution import StepExecution
from airflow_azureml.model.data import PipelineData
from airflow_azureml.model.parameters import PipelineParameter
from airflow_azureml.reuse.controls import RunControls, RunReuse
from airflow_azureml.reuse.entries import Entry, EntryStore, HeadState
from airflow_azureml.reuse.policy import ReusePolicy
from airflow_azureml.runtime.exceptions import UserErrorException

LOG = logging.getLogger("step")


@pytest.fixture
def step(lab: Any, in_process: Any) -> dict[str, Any]:
    """A step whose script writes the number of its runs."""
    lab.script("")
    lab.runs = 0

    def script(_: Path, __: Any, argv: list[str]) -> None:
        lab.runs += 1
        Path(argv[0]).write_text(str(lab.runs))

    in_process(script)
    out = PipelineData("out")
    return {"outputs": [out], "arguments": [out]}


def entry_of(lab: Any, outcome: Any) -> tuple[EntryStore, str]:
    return EntryStore(lab.workspace.store), outcome.reuse["key"]


class TestAClearedTask:
    def test_runs_again_and_its_result_is_the_one_that_counts(self, lab: Any, step: dict[str, Any]) -> None:
        lab.run(**step)
        again = lab.run(**step, try_number=2)
        assert again.reuse["code"] == "bypassed_by_run"
        assert again.reuse["message"] == "ran again because the task was cleared after it had succeeded"
        assert lab.run(**step, run_id="run-2").document["reused_from"] == again.document["step_run_id"]

    def test_is_reused_where_the_deployment_says_so(self, lab: Any, step: dict[str, Any]) -> None:
        lab.with_services(clear_reuses=True)
        lab.run(**step)
        assert lab.run(**step, try_number=2).reuse["code"] == "hit"

    def test_that_had_failed_may_be_reused(self, lab: Any, step: dict[str, Any], in_process: Any) -> None:
        lab.run(**step, run_id="other")
        lab.script("changed")

        def fails(*_: Any) -> None:
            raise SystemExit(1)

        in_process(fails)
        with pytest.raises(Exception, match="exit code 1"):
            lab.run(**step)
        lab.script("")
        assert lab.run(**step, try_number=2).reuse["code"] == "hit"


class TestARunThatAsks:
    def test_for_no_results_neither_uses_nor_leaves_any(self, lab: Any, step: dict[str, Any]) -> None:
        lab.run(**step)
        off = RunControls(reuse=RunReuse.OFF)
        outcome = lab.run(**step, run_id="run-2", controls=off)
        assert outcome.reuse["message"] == "ran because this run asked for reuse=off"
        assert lab.run(**step, run_id="run-3").reuse["origin"]["run_id"] == "run-1"

    def test_to_read_only_leaves_none(self, lab: Any, step: dict[str, Any]) -> None:
        read = RunControls(reuse=RunReuse.READ)
        lab.run(**step, controls=read)
        assert lab.run(**step, run_id="run-2", controls=read).reuse["decision"] == "run"
        lab.run(**step, run_id="run-3")
        assert lab.run(**step, run_id="run-4", controls=read).reuse["code"] == "hit"

    def test_for_fresh_results_replaces_older_ones(self, lab: Any, step: dict[str, Any]) -> None:
        lab.run(**step)
        fresh = RunControls(max_staleness_s=0)
        assert lab.run(**step, run_id="run-2", controls=fresh).reuse["code"] == "stale_for_run"
        assert lab.run(**step, run_id="run-3").reuse["origin"]["run_id"] == "run-2"


class TestAPolicy:
    def test_limits_the_age_of_results(self, lab: Any, step: dict[str, Any]) -> None:
        lab.run(**step)
        assert lab.run(**step, run_id="run-2", policy=ReusePolicy(ttl=0)).reuse["code"] == "expired"
        assert lab.run(**step, run_id="run-3", policy=ReusePolicy(ttl="1d")).reuse["code"] == "hit"

    @pytest.mark.parametrize(
        ("scope", "second", "third"), [("run", "run", "run"), ("pipeline", "reuse", "reuse")]
    )
    def test_limits_among_whose_results_to_look(
        self, lab: Any, step: dict[str, Any], scope: str, second: str, third: str
    ) -> None:
        policy = ReusePolicy(scope=scope)
        lab.run(**step, policy=policy)
        assert lab.run(**step, run_id="run-2", policy=policy).reuse["decision"] == second
        assert lab.run(**step, run_id="run-3", policy=policy).reuse["decision"] == third
        assert lab.run(**step, run_id="run-4").reuse["decision"] == "run"

    def test_leaves_parameters_out(self, lab: Any, step: dict[str, Any]) -> None:
        build = PipelineParameter("build_id", "1")
        step["arguments"] += [build]
        policy = ReusePolicy(ignore_params=["build_id"])
        lab.run(**step, policy=policy)
        other = lab.run(**step, policy=policy, run_id="run-2", parameters={"build_id": "2"})
        assert other.reuse["code"] == "hit"

    def test_counts_whose_results_to_trust(self, lab: Any, step: dict[str, Any]) -> None:
        lab.with_services(deployment="laptop")
        lab.run(**step)
        lab.with_services(deployment="prod")
        picky = ReusePolicy(accept_from=["ci"])
        outcome = lab.run(**step, run_id="run-2", policy=picky)
        assert outcome.reuse["code"] == "untrusted"
        assert lab.run(**step, run_id="run-3", policy=picky).reuse["origin"]["writer"] == "prod"
        lab.with_services(deployment="other", accept_from=("ci",))
        assert lab.run(**step, run_id="run-4").reuse["code"] == "untrusted"


def test_a_sample_that_comes_out_otherwise_is_noted_and_the_first_result_stays(
    lab: Any, step: dict[str, Any]
) -> None:
    lab.run(**step)
    drawn = lab.run(**step, run_id="run-2", policy=ReusePolicy(verify="sample(1.0)"))
    assert drawn.reuse["code"] == "sampled"
    entries, key = entry_of(lab, drawn)
    (noted,) = entries.divergences(key)
    assert noted["run_id"] == "run-2"
    assert lab.run(**step, run_id="run-3").reuse["origin"]["run_id"] == "run-1"


class TestAResultThatGoes:
    def test_between_the_look_and_its_use_is_not_used(
        self, lab: Any, step: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = lab.run(**step)
        entries, key = entry_of(lab, first)
        real = Commit.refer

        def refer(self: Commit, entry: Entry) -> None:
            # A collection retires it at this very moment.
            entries.set_state(key, HeadState.RETIRED, generation=1)
            real(self, entry)

        monkeypatch.setattr(Commit, "refer", refer)
        outcome = lab.run(**step, run_id="run-2")
        assert outcome.reuse["code"] == "output_gone"
        assert lab.record(outcome)["reused_from"] is None
        monkeypatch.undo()
        assert lab.runs == 2

    @pytest.mark.parametrize("damage", ["delete", "truncate", "flip"])
    def test_on_the_datastore_is_computed_again_and_the_next_run_hits(
        self, lab: Any, step: dict[str, Any], damage: str
    ) -> None:
        path = lab.path_of(lab.run(**step), "out")
        path.chmod(0o644)
        if damage == "delete":
            path.unlink()
        else:
            path.write_text("" if damage == "truncate" else "0")
        outcome = lab.run(**step, run_id="run-2")
        assert outcome.reuse["code"] in {"output_gone", "output_corrupt"}
        assert lab.run(**step, run_id="run-3").reuse["origin"]["run_id"] == "run-2"
        assert lab.path_of(outcome, "out").read_text() == "2"

    def test_is_set_aside_before_it_is_computed_again(self, lab: Any, step: dict[str, Any]) -> None:
        path = lab.path_of(lab.run(**step), "out")
        path.unlink()
        seen: list[Any] = []
        request = lab.request(**step, run_id="run-2")
        entries = EntryStore(lab.workspace.store)

        def note(document: dict[str, Any]) -> None:
            head = entries.look(document["key"]).head
            seen.append(head.state if head else None)

        StepExecution(request, lab.services, LOG, threading.Event(), on_decision=note).run()
        assert seen == [HeadState.QUARANTINED]

    def test_under_a_consumer_is_set_aside_with_advice(
        self, lab: Any, step: dict[str, Any], in_process: Any
    ) -> None:
        made = lab.run("make", **step)
        out = step["outputs"][0]
        path = lab.path_of(made, "out")
        path.chmod(0o644)
        path.write_text("altered")
        request = lab.request("read", inputs=[out], arguments=[out])
        upstream = {
            name: value._replace(step_run_ids=[made.document["step_run_id"]])
            for name, value in request.upstream.items()
        }
        request.upstream.update(upstream)
        with pytest.raises(UserErrorException, match="its result was set aside"):
            StepExecution(request, lab.services, LOG, threading.Event()).run()
        entries, key = entry_of(lab, made)
        head = entries.look(key).head
        assert head is not None
        assert head.state is HeadState.QUARANTINED
        assert "a consumer, read, found its input out" in str(head.reason)
        assert lab.run("make", **step, run_id="run-2").reuse["code"] == "output_corrupt"


def test_a_reused_step_says_so_in_v1s_words(lab: Any, step: dict[str, Any]) -> None:
    first = lab.run(**step)
    again = lab.run(**step, run_id="run-2")
    properties = lab.record(again)["properties"]
    origin = lab.record(first)
    assert properties["azureml.isreused"] == "true"
    assert properties["azureml.reusedrunid"] == origin["id"]
    assert properties["azureml.reusedpipelinerunid"] == origin["pipeline_run_id"]
    assert properties["azureml.reusednodeid"] == "train"
    assert properties["azureml.reusedpipeline"] == "dag"


def test_looking_writes_nothing(lab: Any, step: dict[str, Any]) -> None:
    def look(run_id: str) -> Any:
        before = {info.key: info.modified for info in lab.workspace.store.list("")}
        request = lab.request(**step, run_id=run_id)
        decision = StepExecution(request, lab.services, LOG, threading.Event()).look()
        after = {info.key: info.modified for info in lab.workspace.store.list("")}
        assert before == after
        return decision

    assert look("plan").code.value == "new"
    lab.run(**step)
    assert look("plan").is_hit
    assert lab.runs == 1


def test_deciding_alone_reuses_and_never_runs(lab: Any, step: dict[str, Any]) -> None:
    def decide(run_id: str) -> Any:
        request = lab.request(**step, run_id=run_id)
        return StepExecution(request, lab.services, LOG, threading.Event()).reuse_only()

    assert decide("run-1") is None
    lab.run(**step)
    outcome = decide("run-2")
    assert outcome.reuse["code"] == "hit"
    assert lab.workspace.runs.is_committed(outcome.document["step_run_id"])
    assert lab.runs == 1


def test_a_lease_is_given_back_however_the_step_ends(lab: Any, in_process: Any) -> None:
    lab.script("")

    def fails(*_: Any) -> None:
        raise SystemExit(3)

    in_process(fails)
    request = lab.request()
    with pytest.raises(Exception, match="exit code 3"):
        lab.execute(request)
    gate = StepGate(request, lab.services, LOG)
    view = gate.leases.read(gate.action([]).key)
    assert view is not None
    assert view.holder is None
