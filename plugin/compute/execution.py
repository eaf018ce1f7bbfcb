"""A step's life: gate, run, commit. Everything an operator does at run time, without Airflow."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cached_property
from logging import Logger
from typing import Any

from airflow_azureml.compute.cancel import canceled
from airflow_azureml.compute.commit import Commit
from airflow_azureml.compute.inputs import ResolvedInput
from airflow_azureml.compute.local import LocalRun
from airflow_azureml.compute.outputs import StoredOutput, load_manifest, save_manifest, stored_manifest
from airflow_azureml.compute.records import (
    close_lost_tries,
    finish,
    new_pipeline_record,
    new_step_record,
)
from airflow_azureml.compute.request import ExecutionServices, StepOutcome, StepRequest
from airflow_azureml.compute.step_inputs import resolve_inputs
from airflow_azureml.compute.working_directory import WorkingDirectory
from airflow_azureml.model.port_types import OutputPort
from airflow_azureml.model.ports import Ports
from airflow_azureml.model.status import RunStatus
from airflow_azureml.model.tokens import token_to_document
from airflow_azureml.reuse.action import Action, build_action
from airflow_azureml.reuse.entries import EntryStore, family_of
from airflow_azureml.reuse.gate import Decision, Gate
from airflow_azureml.reuse.reasons import ReasonCode
from airflow_azureml.runtime.exceptions import StepCanceled, StoreError
from airflow_azureml.workspace.manifest import TreeManifest

STEP_VERSION = 1
"""Raised when the same definition of a script step would do something else than before."""


class StepExecution:
    """Runs one step to its end, or finds that it needs not run.

    :param request: the step.
    :param services: what it works with.
    :param log: the task log.
    :param stopping: set when the step is to end.
    """

    def __init__(
        self, request: StepRequest, services: ExecutionServices, log: Logger, stopping: threading.Event
    ) -> None:
        self._request = request
        self._services = services
        self._workspace = services.workspace
        self._log = log
        self._stopping = stopping
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
            self._close(status, str(error) or type(error).__name__)
            raise

    def _open_records(self) -> None:
        request = self._request
        self._workspace.runs.create_pipeline_run(
            new_pipeline_record(request.identity, request.run_parameters, request.url)
        )
        for step_id in close_lost_tries(self._workspace, request.identity):
            WorkingDirectory(self._services.scratch, step_id).remove()
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
        decision = self._decide(action)
        self._record["reuse"] = decision.to_document()
        self._log.info("reuse: %s", decision.message)
        commit = Commit(self._workspace, self._record, self._request.ports.outputs)
        if decision.entry is not None:
            commit.reuse(decision.entry)
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
                commit.keep_log(run)
                raise

    def _remember(self, commit: Commit, action: Action, decision: Decision) -> None:
        """Remember what the step ran under, and its result when it is a new one."""
        if not self._services.keep_results or not self._request.allow_reuse:
            return
        try:
            if not decision.is_hit:
                commit.remember(self._entries, action.key, decision.replaces)
            save_manifest(self._workspace, self._code.digest, self._code)
            self._entries.save_action(action, self._family, self._request.identity.run_id)
        except (StoreError, OSError) as error:
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
        request, ports = self._request, self._request.ports
        self._record["snapshot"] = request.source.digest
        self._record["environment"] = {"digest": request.environment.digest}
        return build_action(
            step_type=request.identity.step_type,
            step_version=STEP_VERSION,
            script=request.script,
            code=self._code.digest,
            arguments=[token_to_document(token) for token in ports.arguments],
            parameters={
                **request.parameters,
                **{f"params.{name}": value for name, value in ports.parameter_variables(request.parameters).items()},
            },
            outputs=[_key_document(port) for port in ports.outputs],
            inputs=[item.identity for item in inputs],
            environment=request.environment.digest,
            version=request.version,
            aliases=_aliases(ports),
        )

    def _decide(self, action: Action) -> Decision:
        if not self._services.read_results:
            message = "ran because [azureml] reuse is off"
            return Decision(ReasonCode.BYPASSED_BY_RUN, message, action.key)
        gate = Gate(
            self._entries,
            check_output=self._check_output,
            files_of=self._files_of,
        )
        return gate.decide(
            action,
            family=self._family,
            allow_reuse=self._request.allow_reuse,
            regenerate=self._request.regenerate,
            source_label=self._request.source.label,
        )

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
        finish(self._record, status, error)
        try:
            self._workspace.runs.write_step(self._record)
        except (StoreError, OSError) as trouble:
            self._log.warning("the run record could not be closed (%s)", trouble)


def _key_document(port: OutputPort) -> dict[str, Any]:
    """Return what of an output decides about its bytes; what it is registered as afterwards does not."""
    return {"name": port.name, "kind": port.kind, "datastore": port.datastore, "path": port.path}


def _aliases(ports: Ports) -> dict[str, str]:
    """Return, for ports whose names nobody chose, the name under which they enter the key: their place."""
    aliases = {}
    for kind, named in (("in", ports.inputs), ("out", ports.outputs)):
        aliases.update({port.name: f"#{kind}{place}" for place, port in enumerate(named) if port.generated_name})
    return aliases
