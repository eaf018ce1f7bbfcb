"""Running a script on this machine: its folder, its interpreter, its process, its run context."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from airflow_azureml.compute.cancel import CancelWatch
from airflow_azureml.compute.environments import Interpreter, base_environment
from airflow_azureml.compute.guard_process import GuardProcess
from airflow_azureml.compute.inputs import ResolvedInput
from airflow_azureml.compute.process import run_process
from airflow_azureml.compute.process_status import ExitStatus
from airflow_azureml.compute.request import ExecutionServices, StepRequest, output_places
from airflow_azureml.compute.run_server import RunServer
from airflow_azureml.compute.script_work import ScriptWork
from airflow_azureml.compute.staging import OutputStaging
from airflow_azureml.compute.step_log import LOG_NAME, StepLog
from airflow_azureml.compute.step_state import step_state
from airflow_azureml.compute.task_log import TaskLog, describe
from airflow_azureml.compute.variables import PortValue, port_variables, run_variables
from airflow_azureml.compute.views import InputViews
from airflow_azureml.compute.virtual_mount import VirtualInputs
from airflow_azureml.compute.working_directory import WorkingDirectory
from airflow_azureml.model.tokens import render_arguments
from airflow_azureml.reuse.secrecy import redacted
from airflow_azureml.runtime.exceptions import AzureMLException, StepCanceled, StepFailed
from airflow_azureml.runtime.service import SOCKET_VARIABLE
from airflow_azureml.runtime.ship import ship
from airflow_azureml.workspace.dataset_files import DatasetFiles
from airflow_azureml.workspace.run_service import RunService

OUTPUTS = "outputs"
LOGS = "logs"
DISK_FULL_BYTES = 16 * 1024 * 1024
"""A file system with less room than this counts as full."""


class LocalRun:
    """One script on this machine, from an empty folder to written outputs.

    Used as a context: leaving it after success removes the folder, after a failure keeps it for people to look at.

    :param request: the step.
    :param work: script, code and environment.
    :param services: what it works with.
    :param record: the step's record; what becomes known is put in.
    :param log: the task log.
    :param stopping: set when the step is to end.
    """

    def __init__(
        self,
        request: StepRequest,
        work: ScriptWork,
        services: ExecutionServices,
        record: dict[str, Any],
        log: TaskLog,
        stopping: threading.Event,
    ) -> None:
        self._request = request
        self._work = work
        self._services = services
        self._record = record
        self._log = log
        self._stopping = stopping
        self.folder = WorkingDirectory(services.scratch, request.identity.step_run_id)
        record["git"] = work.source.git()
        self.state = step_state(
            request,
            services,
            self.folder.artifacts,
            target="local",
            properties={"ContentSnapshotId": work.source.digest, **record["git"]},
            working_directory=self.folder.code,
        )
        self.staging = OutputStaging(
            services.workspace,
            self.folder.written,
            self.folder.code,
            output_places(request, services.workspace),
            services.data,
        )
        self._views = InputViews(self.folder.mount, self.folder.downloads, self.folder.code)
        self._watch = CancelWatch(services.workspace, request.identity.pipeline_run_id, self.state, stopping)

    def __enter__(self) -> Self:
        self.folder.create()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, StepCanceled):
            self.folder.remove()
        else:
            self._keep_for_people(error)

    def compute(self, inputs: Sequence[ResolvedInput]) -> None:
        """Run the script; what it wrote is hashed then, and still in its staging place.

        :raises StepFailed: it ended badly; the message says how.
        :raises StepCanceled: it was stopped on purpose.
        """
        services = self._services
        with VirtualInputs(self.folder.virtual, services.data, services.mount, self._tell) as virtual:
            status = self._run(inputs, virtual)
            self._judge(status, virtual)
            # Before the mount goes: an output may lead to a mounted file.
            self.staging.collect()

    def _run(self, inputs: Sequence[ResolvedInput], virtual: VirtualInputs) -> ExitStatus:
        with self._interpreter() as interpreter, GuardProcess(_held_by(interpreter)) as guard:
            self._record["environment"] = {
                "digest": interpreter.digest,
                "python": str(interpreter.python),
                "python_version": interpreter.version,
                "packages": (interpreter.lock or "").splitlines(),
            }
            self._work.source.lay_out(self.folder.code, self._services.cache / "snapshots", self._tell)
            for name in (OUTPUTS, LOGS):
                (self.folder.code / name).mkdir(exist_ok=True)
            try:
                input_values = {item.name: self._views.lay_out(item) for item in virtual.bring(inputs)}
                return self._run_script(guard, interpreter, inputs, input_values)
            finally:
                self._views.remove_links()

    def keep_log(self) -> list[dict[str, Any]]:
        """Put what the script printed into the place of the run record."""
        if not self.folder.log.is_file():
            return []
        workspace, step_run_id = self._services.workspace, self._request.identity.step_run_id
        key = workspace.runs.log_key(step_run_id, LOG_NAME)
        workspace.store.put_file(key, self.folder.log)
        return [{"name": LOG_NAME, "size_bytes": self.folder.log.stat().st_size, "key": key}]

    def _interpreter(self) -> Interpreter:
        return self._services.environments.ensure(self._work.declared, self._tell, self._stopping)

    def _tell(self, line: str) -> None:
        self._log.info("%s", line)

    def _run_script(
        self,
        guard: GuardProcess,
        interpreter: Interpreter,
        inputs: Sequence[ResolvedInput],
        input_values: Mapping[str, str],
    ) -> ExitStatus:
        output_values = self.staging.prepare()
        arguments = render_arguments(
            self._request.ports.arguments,
            input_values=input_values,
            output_values=output_values,
            parameter_values=self._request.parameters,
        )
        self._record["arguments"] = redacted(arguments, self._services.redact)
        self._services.workspace.runs.write_step(self._record)
        service = RunService(self._services.workspace, self.state, data=self._datasets(inputs))
        with RunServer(service) as server, self._watch, StepLog(self.folder.log, self._log.info) as log:
            environment = self._variables(interpreter, inputs, input_values, output_values)
            environment[SOCKET_VARIABLE] = str(server.path)
            return run_process(
                [interpreter.python, "-u", self.folder.code / self._work.script, *arguments],
                cwd=self.folder.code,
                env=environment,
                on_line=log.line,
                on_pause=log.pass_on,
                limits=self._services.limits,
                grace_s=self._services.grace_s,
                cancelled=self._stopping,
                guard=guard,
            )

    def _datasets(self, inputs: Sequence[ResolvedInput]) -> DatasetFiles:
        """Return what gives the script the files of datasets that it opens itself."""
        workspace, scratch = self._services.workspace, self.folder.artifacts / ".datasets"
        datasets = DatasetFiles(workspace.datastores, self._services.data, scratch, tell=self._tell)
        for item in inputs:
            item.pin(datasets)
        return datasets

    def _variables(
        self,
        interpreter: Interpreter,
        inputs: Sequence[ResolvedInput],
        input_values: Mapping[str, str],
        output_values: Mapping[str, str],
    ) -> dict[str, str]:
        request, ports = self._request, self._request.ports
        environment = base_environment(self._services.inherit_variables, interpreter=interpreter)
        environment.update(run_variables(request.identity, self._services.workspace.name))
        environment.update(
            port_variables(
                [
                    PortValue(item.name, input_values[item.name], item.port.mode, item.port.kind == "dataset")
                    for item in inputs
                ],
                [
                    PortValue(port.name, output_values[port.name], port.mode, port.kind == "file_dataset")
                    for port in ports.outputs
                ],
            )
        )
        environment.update(ports.parameter_variables(request.parameters))
        runtime = ship(self._services.cache / "runtime")
        # v1: the root of the source directory is importable, not only the script's own folder. The runtime comes first because
        # its sitecustomize must be found; it leads to the user's own, if there is one.
        path = [str(runtime), str(self.folder.code), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
        return environment

    def _judge(self, status: ExitStatus, virtual: VirtualInputs) -> None:
        self._watch.refuse_canceled()
        virtual.refuse_damaged()
        altered = self._views.altered()
        if altered:
            names = ", ".join(path.name for path in altered[:3])
            raise StepFailed(
                f"input files changed while the script ran ({names}), so nobody can tell what its results are made of; if the "
                "script writes to them: mounted inputs are shared, as_download() gives a private copy; else run the step again"
            )
        if not status.succeeded:
            raise StepFailed(
                f"script {self._work.script}: {status.describe()}",
                exit_code=status.code,
                signal=status.signal,
            )

    def _keep_for_people(self, error: BaseException) -> None:
        self._log.error("%s", error if isinstance(error, AzureMLException) else describe(error))
        if _disk_is_full(self.folder.root) or _is_disk_full(error):
            self.folder.remove()
            self._log.error(
                "the disk is full: the step's working directory was removed, partial outputs with it"
            )
        else:
            self._log.error("logs and partial outputs are in %s for a week", self.folder.root)
            self.folder.release()
        outputs = ", ".join(sorted(port.name for port in self._request.ports.outputs))
        self._log.error(
            "not kept: %smetrics, artifacts and registrations of this try",
            f"outputs {outputs}, " if outputs else "",
        )
        if self._stopping.is_set():
            self._log.error("to try: clear this task to run it again; steps that succeeded are reused")
        else:
            self._log.error(
                "to try: correct the cause above and clear this task; steps that succeeded are reused"
            )


def _held_by(interpreter: Interpreter) -> tuple[int, ...]:
    """Return the lock that keeps an environment from being removed while anything runs in it."""
    return () if interpreter.hold is None else (interpreter.hold.fileno(),)


def _disk_is_full(path: Path) -> bool:
    try:
        return shutil.disk_usage(path).free < DISK_FULL_BYTES
    except OSError:
        return False


def _is_disk_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno == errno.ENOSPC
