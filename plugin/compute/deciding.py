"""Deciding whether a step runs, and seeing to it that nobody else computes the same at the same time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from airflow_azureml.compute.environment_identity import Build, EnvironmentIdentity
from airflow_azureml.compute.inputs import ResolvedInput
from airflow_azureml.compute.output_checks import check_output
from airflow_azureml.compute.outputs import load_manifest
from airflow_azureml.compute.request import ExecutionServices, StepRequest
from airflow_azureml.compute.source import file_table
from airflow_azureml.compute.step_action import secrecy_of, step_action
from airflow_azureml.compute.task_log import TaskLog
from airflow_azureml.reuse.action import Action
from airflow_azureml.reuse.actions import ActionStore, family_of
from airflow_azureml.reuse.controls import RunReuse
from airflow_azureml.reuse.entries import EntryStore, HeadState
from airflow_azureml.reuse.gate import Decision, Gate, Question
from airflow_azureml.reuse.leases import Holder, Lease, LeaseStore
from airflow_azureml.reuse.policy import Wait
from airflow_azureml.reuse.waiting import ResultInProgress
from airflow_azureml.runtime.exceptions import AzureMLException, StoreError
from airflow_azureml.workspace.manifest import TreeManifest


@dataclass(frozen=True, slots=True)
class Waited:
    """What a step brings back from waiting for somebody else's result.

    :param seconds: how long it waited.
    :param seen_expired: tag of the lease that was seen to expire, see :class:`airflow_azureml.reuse.waiting.ResultWatch`.
    """

    seconds: float
    seen_expired: str | None = None


class StepGate:
    """The gate as one step of one run passes it.

    :param request: the step.
    :param services: what it works with.
    :param log: the task log.
    :param build: makes the step's environment where its key depends on that; ``None`` to look only.
    """

    def __init__(
        self,
        request: StepRequest,
        services: ExecutionServices,
        log: TaskLog,
        build: Build | None = None,
    ) -> None:
        self._request = request
        self._services = services
        self._workspace = services.workspace
        self._log = log
        self._build = build
        self._secrecy = secrecy_of(services, create=build is not None)
        self.entries = EntryStore(services.workspace.store)
        self.actions = ActionStore(services.workspace.store)
        self.leases = LeaseStore(services.workspace.store, services.lease_s)

    @cached_property
    def code(self) -> TreeManifest:
        """The source files that the step's result depends on."""
        return self._request.work.code()

    @cached_property
    def environment(self) -> EnvironmentIdentity:
        """What the step's environment is known by."""
        request = self._request
        return request.work.environment(self._services, request.policy.env, self._secrecy, self._build)

    @property
    def keeps_results(self) -> bool:
        """Whether this step's result is remembered, so that others may reuse it or wait for it."""
        request = self._request
        by_run = request.controls.reuse not in (RunReuse.OFF, RunReuse.READ)
        return self._services.keep_results and request.allow_reuse and by_run

    @property
    def family(self) -> str:
        """Names the runs of this step that are compared with each other."""
        identity = self._request.identity
        return family_of(identity.dag_id, identity.task_id, identity.map_index)

    def action(self, inputs: list[ResolvedInput]) -> Action:
        """Return what the step's result depends on."""
        return step_action(
            self._request,
            [item.identity for item in inputs],
            services=self._services,
            code=self.code.digest,
            environment=self.environment,
            secrecy=self._secrecy,
        )

    def decide(self, action: Action, *, was_cleared: bool = False, waited: Waited | None = None) -> Decision:
        """Decide whether the step runs; writes nothing.

        :param was_cleared: whether a person cleared the task after it had succeeded.
        :param waited: what the step brings back from waiting.
        """
        request, services = self._request, self._services
        gate = Gate(self.entries, self.actions, check_output=self._check_output, files_of=self._files_of)
        return gate.decide(
            Question(
                action,
                self.family,
                request.policy,
                allow_reuse=request.allow_reuse,
                forced=self._forced(was_cleared),
                ignores_results=self._ignores_results(),
                max_staleness_s=request.controls.max_staleness_s,
                accept_from=self._accepted,
                deployment=services.deployment,
                source_label=request.work.label,
                waited_s=None if waited is None else waited.seconds,
            )
        )

    def claim(self, decision: Decision, lost_tries: set[str], waited: Waited | None) -> Lease | None:
        """Take the lease on the key of a step that is about to run.

        :param decision: that of the gate.
        :param lost_tries: earlier tries of the step, whose leases end with them.
        :param waited: what the step brings back from waiting.
        :return: ``None`` when the step runs without one: its result is not to be remembered, others are computing it and it
            doesn't wait for them, or the store can't be reached.
        :raises ResultInProgress: the step is to wait.
        """
        try:
            if self.keeps_results:
                return self._claim(decision, lost_tries, waited)
            self.refuse_busy(decision)
        except (StoreError, OSError) as error:
            self._log.warning("reuse: others may compute the same at the same time (%s)", error)
        return None

    def refuse_busy(self, decision: Decision) -> None:
        """Raise when somebody else is computing the result and the step is to wait for it; takes nothing.

        :raises ResultInProgress: who it is.
        """
        view = self.leases.read(decision.key) if self._may_wait(decision) else None
        if view is not None and not view.is_free(time.time()) and self._waits_for(view.holder):
            raise ResultInProgress(decision.key, view, decision.replaces)

    def quarantine(self, decision: Decision) -> None:
        """Keep others from a result whose outputs were found missing or altered."""
        if decision.damaged is None or decision.replaces is None:
            return
        try:
            self.entries.set_state(
                decision.key,
                HeadState.QUARANTINED,
                generation=decision.replaces,
                reason=decision.damaged,
                by=self._request.identity.step_run_id,
            )
        except (StoreError, OSError) as error:
            self._log.warning("reuse: the damaged result could not be set aside (%s)", error)

    def disown_inputs(self, names: list[str]) -> None:
        """Set aside the results that damaged inputs came from, so that their producers compute them again.

        :param names: the inputs.
        """
        for name in names:
            for step_run_id in self._request.upstream[name].step_run_ids:
                try:
                    self._disown(step_run_id, name)
                except (AzureMLException, OSError, LookupError, TypeError) as error:
                    self._log.warning("reuse: the damaged result could not be set aside (%s)", error)

    def _disown(self, step_run_id: str, name: str) -> None:
        record = self._workspace.runs.get(step_run_id)
        entry = self.entries.find(str(record["reuse"]["key"]))
        if entry is not None and entry.step_run_id in (step_run_id, record.get("reused_from")):
            reason = (
                f"a consumer, {self._request.identity.step_name}, found its input {name} altered or missing"
            )
            self.entries.set_state(
                entry.key,
                HeadState.QUARANTINED,
                generation=entry.generation,
                reason=reason,
                by=self._request.identity.step_run_id,
            )

    def _claim(self, decision: Decision, lost_tries: set[str], waited: Waited | None) -> Lease | None:
        identity = self._request.identity
        holder = Holder(
            identity.step_run_id,
            identity.dag_id,
            identity.run_id,
            identity.task_id,
            self._services.deployment,
        )
        view = self.leases.read(decision.key)
        expired = waited.seen_expired if waited else None
        if view is not None and view.holder is not None and view.holder.owner in lost_tries:
            expired = view.tag
        head = self.entries.look(decision.key).head
        least = head.fence if head else 0
        lease = self.leases.take(decision.key, holder, seen_expired=expired, least_fence=least)
        while lease is None:
            self.refuse_busy(decision)
            view = self.leases.read(decision.key)
            if view is not None and not view.is_free(time.time()):
                return None
            # It was given back between the two looks.
            lease = self.leases.take(decision.key, holder, least_fence=least)
        # Whoever had it before may only be asleep: from now on its result doesn't count.
        while lease.took_over and not self.entries.fence_off(decision.key, lease.fence):
            current = self.entries.look(decision.key).head
            if current is not None and current.fence > lease.fence:
                self.refuse_busy(decision)
                return None
        return lease

    def _may_wait(self, decision: Decision) -> bool:
        return (
            self._request.allow_reuse
            and self._reads_results
            and self._request.policy.wait == Wait.JOIN
            and not decision.is_forced
        )

    @property
    def _reads_results(self) -> bool:
        return self._ignores_results() is None

    def _waits_for(self, holder: Holder | None) -> bool:
        """Whether the result of a holder would count for this step."""
        if holder is None or holder.owner == self._request.identity.step_run_id:
            return False
        trusted = self._accepted
        return not trusted or holder.deployment in trusted or holder.deployment == self._services.deployment

    @property
    def _accepted(self) -> frozenset[str]:
        return frozenset(self._request.policy.accept_from or self._services.accept_from)

    def _forced(self, was_cleared: bool) -> str | None:
        if self._request.regenerate:
            return "this run asked for regenerate_outputs"
        if was_cleared and not self._services.clear_reuses:
            return "the task was cleared after it had succeeded"
        return None

    def _ignores_results(self) -> str | None:
        if not self._services.read_results:
            return "[azureml] reuse is off"
        if self._request.controls.reuse is RunReuse.OFF:
            return "this run asked for reuse=off"
        return None

    def _check_output(self, document: Mapping[str, Any]) -> str | None:
        return check_output(
            self._workspace, document, self._request.policy.verify_level, self._services.hashes
        )

    def _files_of(self, code: str) -> Mapping[str, str]:
        manifest = self.code if code == self.code.digest else load_manifest(self._workspace, code)
        return file_table(manifest)
