"""What a step does, for those who decide whether it has to be done: its part of the key, and how it is begun."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from types import TracebackType

    from airflow_azureml.compute.environment_identity import Build, EnvironmentIdentity
    from airflow_azureml.compute.inputs import ResolvedInput
    from airflow_azureml.compute.outputs import StoredOutput
    from airflow_azureml.compute.request import ExecutionServices, StepRequest
    from airflow_azureml.compute.task_log import TaskLog
    from airflow_azureml.reuse.secrecy import Secrecy
    from airflow_azureml.workspace.manifest import TreeManifest
    from airflow_azureml.workspace.run_state import RunState
    from airflow_azureml.workspace.stat_cache import StatCache


class Staged(Protocol):
    """Outputs that were written and don't count yet."""

    def publish(self, cache: StatCache) -> list[StoredOutput]:
        """Make them visible and return them as they lie there; to be followed by :meth:`keep` or :meth:`withdraw`.

        :param cache: learns the hashes of what was written.
        """

    def keep(self) -> None:
        """Let what was published stand."""

    def withdraw(self) -> None:
        """Take back what :meth:`publish` made visible."""


class WorkRun(Protocol):
    """One try of a step's work.

    As a context: left after success it removes what it used, after a failure it keeps it for people.
    """

    @property
    def state(self) -> RunState:
        """What the run says of itself: metrics, tags, artifacts."""

    @property
    def staging(self) -> Staged:
        """The outputs."""

    def compute(self, inputs: Sequence[ResolvedInput]) -> None:
        """Do the work; what came of it is staged and not visible yet.

        :raises StepFailed: it ended badly; the message says how.
        :raises StepCanceled: it was stopped on purpose.
        """

    def keep_log(self) -> list[dict[str, Any]]:
        """Put what was printed into the place of the run record; return what the record says of it."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""


class StepWork(Protocol):
    """What one type of steps does, with everything bound but the data."""

    @property
    def script(self) -> str:
        """Path of the script inside the source; empty without one."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What else of the definition decides about the result, by argument name."""

    @property
    def snapshot(self) -> str | None:
        """Digest of the source snapshot, if there is one."""

    @property
    def label(self) -> str:
        """What messages put before the names of source files; empty for nothing."""

    @property
    def note(self) -> str:
        """What the task log says of the files that count; empty for nothing."""

    def code(self) -> TreeManifest:
        """Return the source files that the result depends on."""

    def environment(
        self, services: ExecutionServices, scope: str, secrecy: Secrecy, build: Build | None
    ) -> EnvironmentIdentity:
        """Return what the environment counts for, see :mod:`airflow_azureml.compute.environment_identity`."""

    def build(self, services: ExecutionServices, log: TaskLog, stopping: threading.Event) -> Build | None:
        """Return what makes the environment where the key depends on it; None without one."""

    def inputs(self, request: StepRequest, services: ExecutionServices) -> list[ResolvedInput]:
        """Find the data behind every input, and what it is known by.

        :raises UserErrorException: data is missing or was altered; the message names the input.
        """

    def withdraw(self, request: StepRequest, services: ExecutionServices, step_run_id: str) -> None:
        """Remove what an earlier try, which never committed, may have left at places of its own."""

    def begin(
        self,
        request: StepRequest,
        services: ExecutionServices,
        record: dict[str, Any],
        log: TaskLog,
        stopping: threading.Event,
    ) -> WorkRun:
        """Make one try of the work; nothing happens before it is entered.

        :param record: the step's record; what becomes known is put in.
        :param log: the task log.
        :param stopping: set when the step is to end.
        """
