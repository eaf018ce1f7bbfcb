"""A workspace and a machine to run steps on, without Airflow."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from airflow_azureml.compute import local
from airflow_azureml.compute.environments import EnvironmentCache
from airflow_azureml.compute.execution import StepExecution
from airflow_azureml.compute.identity import StepIdentity
from airflow_azureml.compute.limits import Limits
from airflow_azureml.compute.outputs import StoredOutput
from airflow_azureml.compute.process_status import ExitStatus
from airflow_azureml.compute.request import ExecutionServices, StepOutcome, StepRequest, Upstream
from airflow_azureml.compute.script_work import ScriptWork
from airflow_azureml.compute.source import DirectorySource
from airflow_azureml.model.environment import Environment
from airflow_azureml.model.ports import bind_ports
from airflow_azureml.workspace.data_cache import DataCache
from airflow_azureml.workspace.handle import WorkspaceHandle
from airflow_azureml.workspace.local_store import LocalStore
from airflow_azureml.workspace.stat_cache import StatCache

Script = Callable[[Path, Mapping[str, str], list[str]], object]
"""Stands for a script where what it does matters and that it is a process doesn't: working directory, variables, arguments."""


class Lab:
    """Runs steps in a workspace of its own and remembers what they wrote, as a pipeline would."""

    def __init__(self, root: Path, machine: Path) -> None:
        self.root = root
        self.code = root / "code"
        self.code.mkdir()
        self.workspace = WorkspaceHandle(str(root / "workspace"), LocalStore(root / "workspace"))
        self.services = ExecutionServices(
            workspace=self.workspace,
            environments=EnvironmentCache(machine / "environments"),
            hashes=StatCache(root / "hashes"),
            data=DataCache(root / "data", None),
            scratch=root / "scratch",
            cache=machine / "cache",
            limits=Limits(),
            grace_s=0.5,
        )
        self.stopping = threading.Event()
        self.written: dict[Any, StoredOutput] = {}

    def script(self, text: str, name: str = "main.py") -> None:
        """Write a file of the source directory."""
        path = self.code / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))

    def datastore_file(self, name: str, text: str = "") -> Path:
        """Write a file onto the default datastore."""
        path = self.datastore / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    @property
    def datastore(self) -> Path:
        return self.workspace.datastores.root("workspaceblobstore")

    def request(
        self,
        step: str = "train",
        *,
        inputs: list[Any] | None = None,
        outputs: list[Any] | None = None,
        arguments: list[Any] | None = None,
        params: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        script: str = "main.py",
        run_id: str = "run-1",
        try_number: int = 1,
        instance: str = "",
        mapped: Mapping[str, list[StoredOutput]] | None = None,
        hash_paths: tuple[str, ...] = (),
        **more: Any,
    ) -> StepRequest:
        ports = bind_ports(
            "PythonScriptStep", step, inputs=inputs, outputs=outputs, arguments=arguments, params=params
        )
        upstream = {
            name: Upstream(mapped[name], "producer", True)
            if mapped and name in mapped
            else Upstream([self.written[origin]], "producer")
            for name, origin in ports.input_origins().items()
        }
        defaults = {name: parameter.airflow_default() for name, parameter in ports.parameters.items()}
        return StepRequest(
            identity=StepIdentity(
                "test", "dag", run_id, step, -1, try_number, step, "PythonScriptStep", "dag", instance
            ),
            ports=ports,
            parameters={**defaults, **(parameters or {})},
            upstream=upstream,
            work=ScriptWork(
                script,
                DirectorySource.scan(
                    self.workspace, self.code, hash_paths, self.services.hashes, 1 << 20, script=script
                ),
                more.pop("environment", None) or Environment.from_interpreter("here", sys.executable),
            ),
            **more,
        )

    def run(self, step: str = "train", **arguments: Any) -> StepOutcome:
        """Run one step; what it writes is there for the steps that read it."""
        return self.execute(self.request(step, **arguments))

    def execute(self, request: StepRequest) -> StepOutcome:
        log = logging.getLogger("step")
        try:
            outcome = StepExecution(request, self.services, log, self.stopping).run()
        finally:
            # Each step has a flag of its own.
            self.stopping = threading.Event()
        for port in request.ports.outputs:
            self.written[port.origin] = StoredOutput.from_document(outcome.document["outputs"][port.name])
        return outcome

    def path_of(self, outcome: StepOutcome, output: str) -> Path:
        """Where an output lies on its datastore."""
        document = outcome.document["outputs"][output]
        return self.workspace.datastores.root(document["datastore"]) / document["path"]

    def record(self, outcome_or_id: StepOutcome | str) -> dict[str, Any]:
        step_id = outcome_or_id if isinstance(outcome_or_id, str) else outcome_or_id.document["step_run_id"]
        return self.workspace.runs.get(step_id)

    def with_services(self, **changes: Any) -> None:
        self.services = replace(self.services, **changes)


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a machine keeps from step to step; sharing it makes the tests faster."""
    return tmp_path_factory.mktemp("machine")


@pytest.fixture
def lab(tmp_path: Path, machine: Path) -> Lab:
    return Lab(tmp_path, machine)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> Callable[[Script], None]:
    """Lets a function stand for the script's process; SystemExit is its way to fail."""

    def use(script: Script) -> None:
        def run_process(argv: list[Any], *, cwd: Path, env: Mapping[str, str], **_: Any) -> ExitStatus:
            try:
                script(cwd, env, [str(word) for word in argv[3:]])
            except SystemExit as end:
                return ExitStatus(int(str(end.code)), None)
            return ExitStatus(0, None)

        monkeypatch.setattr(local, "run_process", run_process)

    return use


def as_nobody(task: Callable[[], None]) -> None:
    """Run a function in a process without root's powers, which look over permission bits."""
    if os.geteuid() != 0:
        task()
        return
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            task()
            code = 0
        except BaseException as error:
            os.write(write, repr(error).encode()[:2000])
        finally:
            os._exit(code)
    os.close(write)
    _, status = os.waitpid(child, 0)
    with os.fdopen(read, "rb") as pipe:
        trouble = pipe.read().decode()
    assert os.waitstatus_to_exitcode(status) == 0, trouble


@pytest.fixture
def without_root() -> Callable[[Callable[[], None]], None]:
    return as_nobody
