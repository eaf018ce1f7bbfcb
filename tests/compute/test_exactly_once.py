"""Nobody computes one result twice at once: many processes, killed holders, results that land at the worst moment."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml.compute.deciding import StepGate, Waited
from airflow_azureml.compute.execution import StepExecution
from airflow_azureml.compute.request import StepOutcome, StepRequest
from airflow_azureml.model.data import PipelineData
from airflow_azureml.reuse.actions import ActionStore, family_of
from airflow_azureml.reuse.controls import RunControls, RunReuse
from airflow_azureml.reuse.entries import Entry, EntryStore
from airflow_azureml.reuse.leases import LeaseStore
from airflow_azureml.reuse.policy import ReusePolicy
from airflow_azureml.reuse.waiting import Found, ResultInProgress, ResultWatch

LOG = logging.getLogger("step")
POLL_S = 0.02

COUNTS = """
    import os, sys, time
    descriptor = os.open({ledger!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, b"ran\\n")
    while os.path.exists({hold!r}):
        time.sleep(0.01)
    open(sys.argv[1], "w").write({text!r})
"""


class Site:
    """One step that many runs need the same result of."""

    def __init__(self, lab: Any, root: Path) -> None:
        self.lab = lab
        self.ledger = root / "ledger"
        self.hold = root / "hold"
        lab.with_services(lease_s=30.0)
        self.write("x")

    def write(self, text: str) -> None:
        self.lab.script(COUNTS.format(ledger=str(self.ledger), hold=str(self.hold), text=text))

    @property
    def executions(self) -> int:
        return self.ledger.read_text().count("\n") if self.ledger.exists() else 0

    def request(self, run_id: str, **changes: Any) -> StepRequest:
        model = PipelineData("model")
        request: StepRequest = self.lab.request(outputs=[model], arguments=[model], run_id=run_id)
        return replace(request, **changes)

    def key(self, request: StepRequest) -> str:
        return StepGate(request, self.lab.services, LOG).action([]).key

    def run(self, request: StepRequest) -> StepOutcome:
        """Run a step as an operator does: wait where it has to."""
        waited = None
        begun = time.monotonic()
        while True:
            try:
                return StepExecution(request, self.lab.services, LOG, threading.Event()).run(waited)
            except ResultInProgress as busy:
                waited = self.wait(busy, begun)

    def wait(self, busy: ResultInProgress, begun: float) -> Waited:
        store = self.lab.workspace.store
        watch = ResultWatch(EntryStore(store), LeaseStore(store, busy.lease.ttl_s), busy.key)
        while watch.look() is Found.HELD:
            time.sleep(POLL_S)
        return Waited(time.monotonic() - begun, watch.seen_expired)

    def until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not holds():
            assert time.monotonic() < deadline, "it never came to that"
            time.sleep(0.005)


@pytest.fixture
def site(lab: Any, tmp_path: Path) -> Site:
    return Site(lab, tmp_path)


def forked(task: Callable[[], object]) -> int:
    """Run a function in another process."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        task()
        code = 0
    finally:
        os._exit(code)


def joined(children: list[int]) -> list[int]:
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def test_of_many_processes_at_once_one_computes_and_all_have_the_result(site: Site) -> None:
    sizes = [2, 3, 5, 8, 2, 3, 5, 13, 2, 50] * 5
    for repetition, size in enumerate(sizes):
        site.write(f"result {repetition}")
        site.hold.touch()
        children = [
            forked(lambda name=f"run-{repetition}-{number}": site.run(site.request(name)))  # type: ignore[misc]
            for number in range(size)
        ]
        site.hold.unlink()
        assert joined(children) == [0] * size
        assert site.executions == repetition + 1, f"{size} processes, repetition {repetition}"


def test_a_result_that_lands_between_the_look_and_the_lease_is_used(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = LeaseStore.take

    def late(self: LeaseStore, *args: Any, **options: Any) -> Any:
        monkeypatch.setattr(LeaseStore, "take", real)
        site.run(site.request("faster"))
        return real(self, *args, **options)

    monkeypatch.setattr(LeaseStore, "take", late)
    outcome = site.run(site.request("slower"))
    assert site.executions == 1
    assert outcome.reuse["decision"] == "reuse"
    assert outcome.reuse["origin"]["run_id"] == "faster"


def test_who_waited_says_for_whom_and_how_long(site: Site) -> None:
    site.hold.touch()
    holder = forked(lambda: site.run(site.request("holder")))
    site.until(lambda: site.executions == 1)
    waiting = site.request("waiter")
    with pytest.raises(ResultInProgress, match="waits for run holder of dag"):
        StepExecution(waiting, site.lab.services, LOG, threading.Event()).run()
    record = site.lab.record(waiting.identity.step_run_id)
    assert (record["status"], record["reuse"]["decision"]) == ("Queued", "wait")
    assert StepExecution(waiting, site.lab.services, LOG, threading.Event()).look().lease is not None
    site.hold.unlink()
    outcome = site.run(waiting)
    assert joined([holder]) == [0]
    assert outcome.reuse["code"] in {"hit", "joined"}
    assert site.executions == 1


def test_a_killed_holder_is_replaced_within_its_lease_and_one_look(site: Site) -> None:
    site.lab.with_services(lease_s=0.5)
    site.hold.touch()
    holder = forked(lambda: site.run(site.request("holder")))
    site.until(lambda: site.executions == 1)
    waiting = site.request("waiter")
    with pytest.raises(ResultInProgress) as busy:
        StepExecution(waiting, site.lab.services, LOG, threading.Event()).run()
    os.kill(holder, signal.SIGKILL)
    joined([holder])
    waited = site.wait(busy.value, time.monotonic())
    assert waited.seen_expired is not None
    site.hold.unlink()
    outcome = StepExecution(waiting, site.lab.services, LOG, threading.Event()).run(waited)
    assert outcome.reuse["decision"] == "run"
    assert site.executions == 2


def test_the_late_result_of_a_holder_that_was_asleep_does_not_count(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.lab.with_services(lease_s=0.3)
    site.hold.touch()
    holder = forked(lambda: site.run(site.request("zombie")))
    site.until(lambda: site.executions == 1)
    heir = site.request("heir")
    with pytest.raises(ResultInProgress) as busy:
        StepExecution(heir, site.lab.services, LOG, threading.Event()).run()
    os.kill(holder, signal.SIGSTOP)
    waited = site.wait(busy.value, time.monotonic())

    # The heir has begun and not ended when the zombie comes back with its result.
    execution = StepExecution(heir, site.lab.services, LOG, threading.Event())
    thread = threading.Thread(target=execution.run, args=[waited])
    thread.start()
    site.until(lambda: site.executions == 2)
    os.kill(holder, signal.SIGCONT)
    key, entries = site.key(heir), EntryStore(site.lab.workspace.store)
    site.hold.unlink()
    assert joined([holder]) == [0], "its own run has what it computed"
    thread.join()
    found = entries.find(key)
    assert found is not None
    assert found.run_id == "heir"
    assert entries.generations(key) == [1]


def test_a_try_whose_worker_died_does_not_keep_the_next_one_waiting(site: Site) -> None:
    site.hold.touch()
    first = forked(lambda: site.run(site.request("run")))
    site.until(lambda: site.executions == 1)
    os.kill(first, signal.SIGKILL)
    joined([first])
    site.hold.unlink()
    again = site.lab.request(
        outputs=[model := PipelineData("model")], arguments=[model], run_id="run", try_number=2
    )
    begun = time.monotonic()
    outcome = StepExecution(again, site.lab.services, LOG, threading.Event()).run()
    assert outcome.reuse["decision"] == "run"
    assert time.monotonic() - begun < site.lab.services.lease_s


class TestAStepThatDoesNotWait:
    def holding(self, site: Site) -> int:
        site.hold.touch()
        holder = forked(lambda: site.run(site.request("holder")))
        site.until(lambda: site.executions == 1)
        return holder

    def test_computes_whatever_others_do(self, site: Site) -> None:
        holder = self.holding(site)
        thread = threading.Thread(
            target=lambda: site.run(site.request("never", policy=ReusePolicy(wait="never")))
        )
        thread.start()
        site.until(lambda: site.executions == 2)
        site.hold.unlink()
        thread.join()
        assert joined([holder]) == [0]

    def test_races_and_takes_what_is_there_first(self, site: Site) -> None:
        holder = self.holding(site)
        outcomes: list[StepOutcome] = []
        racing = site.request("racer", policy=ReusePolicy(wait="race"))
        thread = threading.Thread(target=lambda: outcomes.append(site.run(racing)))
        thread.start()
        site.until(lambda: site.executions == 2)
        # Somebody with the same result comes first; both scripts still run.
        key = site.key(racing)
        entries = EntryStore(site.lab.workspace.store)
        site.lab.script("")
        donor = site.lab.run("donor", run_id="donor")
        record = site.lab.record(donor)
        entries.remember(
            Entry(key, record["id"], "donor", "dag", "donor", record["end"], 1.0, {}), replaces=None
        )
        thread.join()
        site.hold.unlink()
        joined([holder])
        assert outcomes[0].document["reused_from"] == record["id"]
        assert outcomes[0].reuse["code"] == "joined"

    def test_that_regenerates_runs_beside_a_holder(self, site: Site) -> None:
        holder = self.holding(site)
        thread = threading.Thread(target=lambda: site.run(site.request("forced", regenerate=True)))
        thread.start()
        site.until(lambda: site.executions == 2)
        site.hold.unlink()
        thread.join()
        assert joined([holder]) == [0]


def test_the_actions_of_a_step_are_noted_for_those_who_waited_too(site: Site) -> None:
    site.run(site.request("one"))
    site.run(site.request("two"))
    recent = ActionStore(site.lab.workspace.store).recent_keys(family_of("dag", "train", -1))
    assert [run for _, run in recent] == ["two"]


def test_a_run_that_leaves_no_results_waits_for_them_all_the_same(site: Site) -> None:
    site.hold.touch()
    holder = forked(lambda: site.run(site.request("holder")))
    site.until(lambda: site.executions == 1)
    reading = site.request("reader", controls=RunControls(reuse=RunReuse.READ))
    with pytest.raises(ResultInProgress):
        StepExecution(reading, site.lab.services, LOG, threading.Event()).run()
    site.hold.unlink()
    assert site.run(reading).reuse["decision"] == "reuse"
    assert joined([holder]) == [0]
    assert site.executions == 1


class TestAResultThatIsThereAndDoesNotCount:
    """Here: one that is too old for the run that waits."""

    def busy(self, site: Site, waiting: StepRequest) -> tuple[int, ResultInProgress]:
        site.run(site.request("old"))
        site.hold.touch()
        holder = forked(lambda: site.run(site.request("holder", regenerate=True)))
        site.until(lambda: site.executions == 2)
        with pytest.raises(ResultInProgress) as busy:
            StepExecution(waiting, site.lab.services, LOG, threading.Event()).run()
        return holder, busy.value

    def test_is_not_what_was_waited_for(self, site: Site) -> None:
        waiting = site.request("waiter", controls=RunControls(max_staleness_s=0))
        holder, busy = self.busy(site, waiting)
        store = site.lab.workspace.store
        watch = ResultWatch(EntryStore(store), LeaseStore(store, 30), busy.key, busy.refused)
        assert watch.look() is Found.HELD
        site.hold.unlink()
        joined([holder])
        assert watch.look() is Found.AVAILABLE

    def test_wins_no_race(self, site: Site) -> None:
        racing = site.request(
            "racer", controls=RunControls(max_staleness_s=0), policy=ReusePolicy(wait="race")
        )
        holder, _ = self.busy(site, site.request("waiter", controls=RunControls(max_staleness_s=0)))
        outcomes: list[StepOutcome] = []
        thread = threading.Thread(target=lambda: outcomes.append(site.run(racing)))
        thread.start()
        site.until(lambda: site.executions == 3)
        time.sleep(1.2)
        site.hold.unlink()
        thread.join()
        joined([holder])
        origin = outcomes[0].document["reused_from"]
        assert origin is None or site.lab.record(origin)["run_id"] == "holder"


def test_nobody_waits_for_a_result_that_would_not_be_trusted(site: Site) -> None:
    site.lab.with_services(deployment="laptop")
    site.hold.touch()
    holder = forked(lambda: site.run(site.request("holder")))
    site.until(lambda: site.executions == 1)
    site.lab.with_services(deployment="prod", accept_from=("ci",))
    thread = threading.Thread(target=lambda: site.run(site.request("picky")))
    thread.start()
    site.until(lambda: site.executions == 2)
    site.hold.unlink()
    thread.join()
    assert joined([holder]) == [0]
