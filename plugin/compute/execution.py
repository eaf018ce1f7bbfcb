"""A step's life: gate, run, commit. Everything an operator does at run time, without Airflow."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, TypeVar

from airflow_azureml.compute.cancel import canceled
from airflow_azureml.compute.commit import Commit, origin_of
from airflow_azureml.compute.deciding import StepGate, Waited
from airflow_azureml.compute.inputs import InputDamaged, ResolvedInput
from airflow_azureml.compute.outputs import save_manifest
from airflow_azureml.compute.racing import Race
from airflow_azureml.compute.records import (
    close_lost_tries,
    finish,
    new_pipeline_record,
    new_step_record,
    open_pipeline_run,
    was_committed_before,
)
from airflow_azureml.compute.request import ExecutionServices, StepOutcome, StepRequest
from airflow_azureml.compute.task_log import TaskLog, describe
from airflow_azureml.compute.work import WorkRun
from airflow_azureml.compute.working_directory import WorkingDirectory
from airflow_azureml.model.status import RunStatus
from airflow_azureml.reuse.action import Action
from airflow_azureml.reuse.entries import Entry, StaleHolder
from airflow_azureml.reuse.gate import Decision
from airflow_azureml.reuse.leases import Lease, LeaseKeeper
from airflow_azureml.reuse.policy import Wait
from airflow_azureml.reuse.reasons import ReasonCode
from airflow_azureml.reuse.secrecy import redacted
from airflow_azureml.reuse.waiting import ResultInProgress
from airflow_azureml.runtime.exceptions import AzureMLException, StepCanceled, StoreError

_T = TypeVar("_T")

MAX_LOOKS = 5
"""How often a result may vanish, or appear, between a decision and its consequence before the step simply runs."""


class StepExecution:
    """Runs one step to its end, or finds that it needs not run.

    :param request: the step.
    :param services: what it works with.
    :param log: the task log.
    :param stopping: set when the step is to end.
    :param on_decision: told the reuse document, before the script starts.
    """

    def __init__(
        self,
        request: StepRequest,
        services: ExecutionServices,
        log: TaskLog,
        stopping: threading.Event,
        *,
        on_decision: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> None:
        self._request = request
        self._services = services
        self._workspace = services.workspace
        self._log = log
        self._stopping = stopping
        self._on_decision = on_decision
        self._record = new_step_record(request.identity)
        self._gate = StepGate(request, services, log)
        self._lost_tries: set[str] = set()
        self._waited: Waited | None = None
        self.gate_s: float | None = None
        """How long the decision took."""

    def run(self, waited: Waited | None = None) -> StepOutcome:
        """Reuse an earlier result or compute a new one.

        :param waited: what the step brings back from waiting, after :class:`ResultInProgress`.
        :raises ResultInProgress: somebody else is computing the result; nothing was done.
        :raises StepCanceled: the step, or the whole run, was stopped on purpose.
        :raises StepFailed: the script ended badly.
        :raises AzureMLException: anything else that kept the step from succeeding; ``transient`` says whether a retry may help.
        """
        self._waited = waited
        build = self._request.work.build(self._services, self._log, self._stopping)
        self._gate = StepGate(self._request, self._services, self._log, build=build)
        return self._lived(self._decide_and_run)

    def reuse_only(self, waited: Waited | None = None) -> StepOutcome | None:
        """Reuse an earlier result, if there is one.

        :param waited: as for :meth:`run`.
        :return: ``None`` when the step has to run; a worker calls :meth:`run` then.
        :raises ResultInProgress: somebody else is computing the result.
        """
        self._waited = waited
        self._gate = StepGate(self._request, self._services, self._log)
        return self._lived(self._reuse_or_leave)

    def give_up(self, reason: str) -> None:
        """Close the record of a step that was stopped while it waited for somebody else's result."""
        self._close(RunStatus.CANCELED, reason)

    def look(self) -> Decision:
        """Decide whether the step would run now; writes nothing.

        :return: the decision; its ``lease`` says who is computing the result.
        :raises AzureMLException: an input is missing.
        """
        gate = StepGate(self._request, self._services, self._log)
        decision = gate.decide(gate.action(self._request.work.inputs(self._request, self._services)))
        if not decision.is_hit:
            try:
                gate.refuse_busy(decision)
            except ResultInProgress as busy:
                return decision.waiting_for(busy.lease, str(busy))
        return decision

    def _lived(self, live: Callable[[], _T]) -> _T:
        """Live a part of the step's life between opening and closing its record."""
        self._open_records()
        try:
            return live()
        except ResultInProgress:
            raise
        except StepCanceled as stopped:
            self._close(RunStatus.CANCELED, str(stopped))
            raise
        except BaseException as error:
            # A step that Airflow stopped (its run failed, somebody marked or cleared it) hasn't failed by itself.
            status = RunStatus.CANCELED if self._stopping.is_set() else RunStatus.FAILED
            self._close(status, str(error) if isinstance(error, AzureMLException) else describe(error))
            raise

    def _open_records(self) -> None:
        request = self._request
        document = new_pipeline_record(
            request.identity, redacted(request.run_parameters, self._services.redact), request.url
        )
        open_pipeline_run(self._workspace, document)
        for step_id in close_lost_tries(self._workspace, request.identity):
            self._lost_tries.add(step_id)
            WorkingDirectory(self._services.scratch, step_id).remove()
            request.work.withdraw(request, self._services, step_id)
            self._log.warning("an earlier try of this step ended with its worker; what it left was removed")
        self._workspace.runs.write_step(self._record)

    def _decide_and_run(self) -> StepOutcome:
        inputs, action = self._prepare()
        commit = Commit(self._workspace, self._record, self._request.ports.outputs)
        for _ in range(MAX_LOOKS):
            decision = self._decide(action)
            if decision.entry is not None:
                if self._reuse(decision, decision.entry, commit, action):
                    return self._outcome(commit, decision)
                continue
            lease = self._claim(decision)
            if lease is None:
                break
            with LeaseKeeper(lease):
                # Between the decision and the lease somebody may have come to the end of computing it.
                if not self._has_appeared(decision):
                    return self._run(inputs, action, commit, decision, lease)
        return self._run(inputs, action, commit, _without_result(decision), None)

    def _reuse_or_leave(self) -> StepOutcome | None:
        _, action = self._prepare()
        commit = Commit(self._workspace, self._record, self._request.ports.outputs)
        decision = self._decide(action)
        if decision.entry is not None and self._reuse(decision, decision.entry, commit, action):
            return self._outcome(commit, decision)
        if not decision.is_hit:
            self._wait_or(lambda: self._gate.refuse_busy(decision), decision)
        return None

    def _prepare(self) -> tuple[list[ResolvedInput], Action]:
        self._refuse_canceled_run()
        try:
            inputs = self._request.work.inputs(self._request, self._services)
        except InputDamaged as damage:
            self._gate.disown_inputs([damage.input_name])
            raise
        self._record["inputs"] = {
            item.name: {**item.document, "mode": item.port.mode, "identity": item.identity.to_document()}
            for item in inputs
        }
        for item in inputs:
            if item.document.get("changed"):
                self._log.warning(
                    "input %r: the data of version %s of dataset %r has changed since it was registered; register a new version",
                    item.name,
                    item.document["version"],
                    item.document["dataset_name"],
                )
        self._record["snapshot"] = self._request.work.snapshot
        self._record["environment"] = {"digest": self._gate.environment.digest}
        return inputs, self._gate.action(inputs)

    def _decide(self, action: Action) -> Decision:
        begun = time.monotonic()
        cleared = was_committed_before(self._workspace, self._request.identity)
        decision = self._gate.decide(action, was_cleared=cleared, waited=self._waited)
        self.gate_s = time.monotonic() - begun
        self._gate.quarantine(decision)
        return decision

    def _claim(self, decision: Decision) -> Lease | None:
        return self._wait_or(lambda: self._gate.claim(decision, self._lost_tries, self._waited), decision)

    def _wait_or(self, act: Callable[[], _T], decision: Decision) -> _T:
        """Do something that may find that the step has to wait, and write that down."""
        try:
            return act()
        except ResultInProgress as busy:
            waiting = decision.waiting_for(busy.lease, str(busy))
            self._record["status"] = RunStatus.QUEUED.value
            self._record["reuse"] = waiting.to_document()
            self._workspace.runs.write_step(self._record)
            self._log.info("reuse: %s", busy)
            self._on_decision(waiting.to_document())
            raise

    def _has_appeared(self, decision: Decision) -> bool:
        """Whether there is a result now that the decision knew nothing of."""
        if decision.is_forced:
            return False
        try:
            entry = self._gate.entries.find(decision.key)
        except (StoreError, OSError):
            return False
        return entry is not None and entry.generation != decision.replaces

    def _tell(self, decision: Decision) -> None:
        self._record["reuse"] = decision.to_document()
        self._log.info("reuse: %s", decision.message)
        if self._request.work.note:
            self._log.info("reuse: %s", self._request.work.note)
        self._on_decision(decision.to_document())

    def _reuse(self, decision: Decision, entry: Entry, commit: Commit, action: Action) -> bool:
        """Make an earlier result this step's; return False when it has gone meanwhile."""
        origin = self._origin_of(entry, commit)
        if origin is None:
            return False
        self._tell(decision)
        commit.reuse(entry, origin)
        self._note(action)
        return True

    def _origin_of(self, entry: Entry, commit: Commit) -> dict[str, Any] | None:
        """Refer to an earlier result; return the record of the run that made it, or ``None`` when the result has gone."""
        try:
            commit.refer(entry)
            if self._gate.entries.is_current(entry):
                return origin_of(self._workspace, entry)
        except (AzureMLException, OSError) as error:
            self._log.warning("reuse: the result of run %s could not be read (%s)", entry.run_id, error)
        commit.take_back()
        return None

    def _run(
        self,
        inputs: list[ResolvedInput],
        action: Action,
        commit: Commit,
        decision: Decision,
        lease: Lease | None,
    ) -> StepOutcome:
        self._tell(decision)
        # From now on what the step uses, such as its snapshot, is not collected.
        self._workspace.runs.write_step(self._record)
        is_racing = self._is_racing(decision, lease)
        race = Race(self._gate.entries, decision.key, decision.replaces) if is_racing else None
        if not self._compute(inputs, commit, race):
            return self._take_from_winner(inputs, action, commit, decision, race)
        self._remember(commit, action, decision, lease)
        return self._outcome(commit, decision)

    def _take_from_winner(
        self,
        inputs: list[ResolvedInput],
        action: Action,
        commit: Commit,
        decision: Decision,
        race: Race | None,
    ) -> StepOutcome:
        """Take the result of who was first; when it has gone by now, run after all."""
        winner = race.winner if race else None
        origin = self._origin_of(winner, commit) if winner else None
        if winner is None or origin is None:
            self._compute(inputs, commit, None)
            self._remember(commit, action, decision, None)
        else:
            decision = decision.lost_to(winner)
            self._tell(decision)
            commit.reuse(winner, origin)
            self._note(action)
        return self._outcome(commit, decision)

    def _compute(self, inputs: list[ResolvedInput], commit: Commit, race: Race | None) -> bool:
        """Do the work and commit what came of it; return False when somebody else's result was there first."""
        request = self._request
        with request.work.begin(request, self._services, self._record, self._log, self._stopping) as run:
            try:
                with race.against(run.state) if race else nullcontext():
                    run.compute(inputs)
                commit.results(run, self._services.hashes)
            except BaseException as error:
                if isinstance(error, StepCanceled) and race is not None and race.winner is not None:
                    self._stopping.clear()
                    return False
                self._keep_log(run, commit)
                raise
        return True

    def _is_racing(self, decision: Decision, lease: Lease | None) -> bool:
        return self._request.policy.wait == Wait.RACE and lease is None and not decision.is_forced

    def _keep_log(self, run: WorkRun, commit: Commit) -> None:
        """Keep the log of a script that failed; trouble with that must not hide why it failed."""
        try:
            commit.keep_log(run)
        except (AzureMLException, OSError) as error:
            self._log.warning("the script's log could not be kept in the run record (%s)", error)

    def _remember(self, commit: Commit, action: Action, decision: Decision, lease: Lease | None) -> None:
        """Remember what the step ran under, and its result when it is a new one."""
        if not self._gate.keeps_results:
            return
        try:
            commit.remember(
                self._gate.entries,
                action.key,
                decision.replaces,
                writer=self._services.deployment,
                fence=lease.fence if lease else 0,
            )
        except StaleHolder:
            self._log.warning(
                "reuse: this result is not remembered: the step was silent for so long that another run has taken over"
            )
        except (AzureMLException, OSError, TypeError, ValueError) as error:
            # The step's results stand; only the next run can't find them.
            self._log.warning("reuse: this result could not be remembered (%s)", error)
        self._note(action)

    def _note(self, action: Action) -> None:
        """Keep what the key was made of, for explanations."""
        if not self._gate.keeps_results:
            return
        try:
            save_manifest(self._workspace, self._gate.code.digest, self._gate.code)
            self._gate.actions.save(action, self._gate.family, self._request.identity.run_id)
        except (AzureMLException, OSError, TypeError, ValueError) as error:
            self._log.warning("reuse: what this step depends on could not be noted (%s)", error)

    def _outcome(self, commit: Commit, decision: Decision) -> StepOutcome:
        return StepOutcome(commit.document(), decision.to_document(), self._record["inputs"])

    def _refuse_canceled_run(self) -> None:
        cancel = canceled(self._workspace, self._request.identity.pipeline_run_id)
        if cancel:
            raise StepCanceled(f"the pipeline run was stopped: {cancel['reason']}")

    def _close(self, status: RunStatus, error: str) -> None:
        try:
            if self._workspace.runs.is_committed(self._record["id"]):
                # Stopped after its results counted: its record says so already.
                return
            finish(self._record, status, error)
            self._workspace.runs.write_step(self._record)
        except (StoreError, OSError) as trouble:
            self._log.warning("the run record could not be closed (%s)", trouble)


def _without_result(decision: Decision) -> Decision:
    """Return the decision of a step that runs because results that it was to reuse could never be read."""
    if decision.entry is None:
        return decision
    message = f"ran because the result of run {decision.entry.run_id} could not be read"
    code = ReasonCode.INDEX_DOWN
    return replace(
        decision, code=code, codes=(code,), message=message, entry=None, replaces=decision.entry.generation
    )
