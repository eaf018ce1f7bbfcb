"""A step's life: gate, run, commit. Everything an operator does at run time, without Airflow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from airflow_azureml.compute.cancel import canceled
from airflow_azureml.compute.commit import Commit, origin_of
from airflow_azureml.compute.inputs import ResolvedInput
from airflow_azureml.compute.local import LocalRun, describe
from airflow_azureml.compute.outputs import StoredOutput, load_manifest, save_manifest, stored_manifest
from airflow_azureml.compute.records import (
    close_lost_tries,
    finish,
    new_pipeline_record,
    new_step_record,
    open_pipeline_run,
)
from airflow_azureml.compute.request import (
    ExecutionServices,
    StepOutcome,
    StepRequest,
    default_datastore,
    output_places,
)
from airflow_azureml.compute.staging import withdraw_outputs
from airflow_azureml.compute.step_action import step_action
from airflow_azureml.compute.step_inputs import resolve_inputs
from airflow_azureml.compute.task_log import TaskLog
from airflow_azureml.compute.working_directory import WorkingDirectory
from airflow_azureml.model.status import RunStatus
from airflow_azureml.reuse.action import Action
from airflow_azureml.reuse.entries import EntryStore, family_of
from airflow_azureml.reuse.gate import Decision, Gate
from airflow_azureml.reuse.reasons import ReasonCode
from airflow_azureml.runtime.exceptions import AzureMLException, StepCanceled, StoreError
from airflow_azureml.workspace.manifest import TreeManifest


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

    def run(self) -> StepOutcome:
        """Reuse an earlier result or compute a new one.

        :raises StepCanceled: the step, or the whole run, was stopped on purpose.
        :raises StepFailed: the script ended badly.
        :raises AzureMLException: anything else that kept the step from succeeding; ``transient`` says whether a retry may help.
        """
        self._open_records()
        try:
            return self._decide_and_run()
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
        document = new_pipeline_record(request.identity, request.run_parameters, request.url)
        open_pipeline_run(self._workspace, document)
        for step_id in close_lost_tries(self._workspace, request.identity):
            WorkingDirectory(self._services.scratch, step_id).remove()
            withdraw_outputs(self._workspace, output_places(request, self._workspace, step_id))
            self._log.warning("an earlier try of this step ended with its worker; what it left was removed")
        self._workspace.runs.write_step(self._record)

    def _decide_and_run(self) -> StepOutcome:
        self._refuse_canceled_run()
        inputs = resolve_inputs(self._request, self._services)
        self._record["inputs"] = {
            item.name: {**item.document, "mode": item.port.mode, "identity": item.identity.to_document()}
            for item in inputs
        }
        action = self._action(inputs)
        decision, origin = self._decide(action)
        self._record["reuse"] = decision.to_document()
        self._log.info("reuse: %s", decision.message)
        self._on_decision(decision.to_document())
        commit = Commit(self._workspace, self._record, self._request.ports.outputs)
        if decision.entry is not None and origin is not None:
            commit.reuse(decision.entry, origin)
        else:
            self._compute(inputs, commit)
        self._remember(commit, action, decision)
        return StepOutcome(commit.document(), decision.to_document())

    def _compute(self, inputs: list[ResolvedInput], commit: Commit) -> None:
        with LocalRun(self._request, self._services, self._record, self._log, self._stopping) as run:
            try:
                outputs = run.compute(inputs)
                commit.results(run, outputs, self._services.hashes)
            except BaseException:
                self._keep_log(run, commit)
                raise

    def _keep_log(self, run: LocalRun, commit: Commit) -> None:
        """Keep the log of a script that failed; trouble with that must not hide why it failed."""
        try:
            commit.keep_log(run)
        except (AzureMLException, OSError) as error:
            self._log.warning("the script's log could not be kept in the run record (%s)", error)

    def _remember(self, commit: Commit, action: Action, decision: Decision) -> None:
        """Remember what the step ran under, and its result when it is a new one."""
        if not self._services.keep_results or not self._request.allow_reuse:
            return
        try:
            if not decision.is_hit:
                commit.remember(self._entries, action.key, decision.replaces)
            save_manifest(self._workspace, self._code.digest, self._code)
            self._entries.save_action(action, self._family, self._request.identity.run_id)
        except (AzureMLException, OSError, TypeError, ValueError) as error:
            # The step's results stand; only the next run can't find them.
            self._log.warning("reuse: this result could not be remembered (%s)", error)

    @cached_property
    def _code(self) -> TreeManifest:
        return self._request.source.code()

    @cached_property
    def _entries(self) -> EntryStore:
        return EntryStore(self._workspace.store)

    @cached_property
    def _family(self) -> str:
        identity = self._request.identity
        return family_of(identity.dag_id, identity.task_id, identity.map_index)

    def _action(self, inputs: list[ResolvedInput]) -> Action:
        request = self._request
        environment = self._services.environments.identity(request.environment)
        self._record["snapshot"] = request.source.digest
        self._record["environment"] = {"digest": environment}
        return step_action(
            request,
            [item.identity for item in inputs],
            code=self._code.digest,
            environment=environment,
            default_datastore=default_datastore(request, self._workspace),
        )

    def _decide(self, action: Action) -> tuple[Decision, Mapping[str, Any] | None]:
        """Decide whether the step runs; for a hit, return the record of the run that made the result too."""
        if not self._services.read_results:
            message = "ran because [azureml] reuse is off"
            return Decision(ReasonCode.BYPASSED_BY_RUN, message, action.key), None
        gate = Gate(
            self._entries,
            check_output=self._check_output,
            files_of=self._files_of,
        )
        decision = gate.decide(
            action,
            family=self._family,
            allow_reuse=self._request.allow_reuse,
            regenerate=self._request.regenerate,
            source_label=self._request.source.label,
        )
        if decision.entry is None:
            return decision, None
        try:
            return decision, origin_of(self._workspace, decision.entry)
        except (AzureMLException, OSError) as error:
            message = f"ran because the record of run {decision.entry.run_id} could not be read ({error})"
            return Decision(
                ReasonCode.INDEX_DOWN, message, action.key, replaces=decision.entry.generation
            ), None

    def _check_output(self, document: Any) -> str | None:
        _, problem = stored_manifest(
            self._workspace, StoredOutput.from_document(document), self._services.hashes
        )
        return problem

    def _files_of(self, code: str) -> Mapping[str, str]:
        manifest = self._code if code == self._code.digest else load_manifest(self._workspace, code)
        return {item.path: item.sha256 for item in manifest.files}

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
