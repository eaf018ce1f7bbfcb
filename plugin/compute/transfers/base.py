"""What every transfer has in common: it runs no code of the user's, and writes where its results belong."""

# A transfer has no code and no environment: it answers what every work is asked, whatever it is given.
# ruff: noqa: ARG002

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from airflow_azureml.compute.cancel import CancelWatch
from airflow_azureml.compute.environment_identity import ANY, Build, EnvironmentIdentity
from airflow_azureml.compute.inputs import ResolvedInput
from airflow_azureml.compute.outputs import StoredOutput
from airflow_azureml.compute.request import ExecutionServices, StepRequest, output_places
from airflow_azureml.compute.step_log import LOG_NAME
from airflow_azureml.compute.step_state import step_state
from airflow_azureml.compute.task_log import TaskLog, describe
from airflow_azureml.compute.working_directory import WorkingDirectory
from airflow_azureml.model.port_types import ParameterSource, PathSource
from airflow_azureml.runtime.exceptions import AzureMLException, StepCanceled, UserErrorException
from airflow_azureml.transfer.request import ReferenceType
from airflow_azureml.workspace.manifest import TreeManifest

if TYPE_CHECKING:
    from airflow_azureml.reuse.secrecy import Secrecy
    from airflow_azureml.storage.files import FileStore
    from airflow_azureml.workspace.stat_cache import StatCache

Tell = Callable[[str], None]


class WorkWithoutCode:
    """The part of :class:`airflow_azureml.compute.work.StepWork` of a step that runs nothing of the user's."""

    target: str
    """Name of the compute target, for the run record."""

    @property
    def script(self) -> str:
        """There is none."""
        return ""

    @property
    def snapshot(self) -> None:
        """There is no code."""
        return

    @property
    def label(self) -> str:
        """There is no code."""
        return ""

    @property
    def note(self) -> str:
        """There is no code."""
        return ""

    def code(self) -> TreeManifest:
        """Return no files: the code of such a step is that of this package, see ``STEP_VERSION``."""
        return TreeManifest([])

    def environment(
        self, services: ExecutionServices, scope: str, secrecy: Secrecy, build: Build | None
    ) -> EnvironmentIdentity:
        """Return what stands for any environment: nothing runs in one of the user's."""
        return EnvironmentIdentity(ANY)

    def build(self, services: ExecutionServices, log: TaskLog, stopping: threading.Event) -> Build | None:
        """Return nothing: there is no environment to build."""
        return None

    def withdraw(self, request: StepRequest, services: ExecutionServices, step_run_id: str) -> None:
        """Leave what an earlier try has written: each piece of it is whole, and this try goes on from there."""


Work = TypeVar("Work", bound=WorkWithoutCode)


class InPlace:
    """Outputs that are written where they belong, each at once and whole: there is nothing to publish or take back."""

    def __init__(self) -> None:
        self.outputs: list[StoredOutput] = []

    def publish(self, cache: StatCache) -> list[StoredOutput]:
        """Return what was written."""
        return self.outputs

    def keep(self) -> None:
        """Do nothing: it stands."""

    def withdraw(self) -> None:
        """Do nothing: a later try goes on from there."""


@dataclass(frozen=True, slots=True)
class End:
    """One end of a transfer, on a store of files.

    :param store: the store.
    :param path: path on it.
    :param datastore: its name.
    :param type: ``file`` or ``directory`` where that is known already.
    """

    store: FileStore
    path: str
    datastore: str
    type: ReferenceType | None = None


class TransferRun(ABC, Generic[Work]):
    """One try of a transfer.

    :param request: the step.
    :param work: the transfer.
    :param services: what it works with.
    :param record: the step's record; counts are put in.
    :param log: the task log.
    :param stopping: set when the step is to end.
    """

    def __init__(
        self,
        request: StepRequest,
        work: Work,
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
        identity = request.identity
        self._folder = WorkingDirectory(services.scratch, identity.step_run_id)
        self.staging = InPlace()
        self.state = step_state(request, services, self._folder.artifacts, target=work.target)
        self._watch = CancelWatch(services.workspace, identity.pipeline_run_id, self.state, stopping)

    def __enter__(self) -> Self:
        self._folder.create()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.remove()
        if error is not None and not isinstance(error, StepCanceled):
            self._log.error("%s", error if isinstance(error, AzureMLException) else describe(error))

    def compute(self, inputs: Sequence[ResolvedInput]) -> None:
        """Move the data.

        :raises StepCanceled: it was stopped on purpose.
        :raises UserErrorException: it cannot be done as it was asked for.
        :raises StoreError: a store or database did not do its part.
        """
        with self._watch, self._folder.log.open("a", encoding="utf-8") as log:
            try:
                counts, output = self.move(_to_both(self._log, log.write))
            finally:
                self._watch.refuse_canceled()
        self._record["transfer"] = dict(counts)
        for name, value in counts.items():
            self.state.root.notes.log(name, "scalar", value, None)
        self.staging.outputs = [output]

    @abstractmethod
    def move(self, tell: Tell) -> tuple[Mapping[str, int | float], StoredOutput]:
        """Move the data; return the counts, and what is at the destination now.

        :param tell: takes lines for the log; may be called by several threads.
        """

    def keep_log(self) -> list[dict[str, Any]]:
        """Put the lines of the transfer into the place of the run record."""
        file = self._folder.log
        if not file.is_file():
            return []
        workspace = self._services.workspace
        key = workspace.runs.log_key(self._request.identity.step_run_id, LOG_NAME)
        workspace.store.put_file(key, file)
        return [{"name": LOG_NAME, "size_bytes": file.stat().st_size, "key": key}]

    def source_end(self, type_: ReferenceType | None) -> End:
        """Return where files come from.

        :param type_: what the user says they are.
        """
        (port,) = self._request.ports.inputs
        upstream = self._request.upstream.get(port.name)
        if upstream is None:
            place = self._source_place()
            return self._end(place["datastore"], place["path"], type_)
        if len(upstream.outputs) != 1 or upstream.is_mapped:
            raise UserErrorException(
                f"input {port.name!r}: a transfer reads one output, and {upstream.producer!r} is mapped; "
                "transfer the results inside the mapped task group"
            )
        output = upstream.outputs[0]
        written: ReferenceType = "file" if output.type == "file" else "directory"
        return self._end(output.datastore, output.path, type_ or written)

    def target_end(self, type_: ReferenceType | None) -> End:
        """Return where files go.

        :param type_: what the user says it is.
        """
        (port,) = self._request.ports.outputs
        if port.kind == "transfer":
            return self._end(str(port.datastore), str(port.path or ""), type_)
        (place,) = output_places(self._request, self._services.workspace)
        return self._end(place.datastore, place.path, type_)

    def _end(self, datastore: str, path: str, type_: ReferenceType | None) -> End:
        return End(self._services.workspace.datastores.files(datastore), path, datastore, type_)

    def _source_place(self) -> Mapping[str, Any]:
        (port,) = self._request.ports.inputs
        if isinstance(port.source, PathSource):
            return {"datastore": port.source.datastore, "path": port.source.path}
        if isinstance(port.source, ParameterSource):
            found: Mapping[str, Any] = self._request.parameters[port.source.parameter]
            if "datastore" in found:
                return found
        raise UserErrorException(
            f"input {port.name!r}: a transfer reads a path on a datastore, the output of a step, or a SqlDataReference; "
            "for a dataset give the path it is made of"
        )


def _to_both(log: TaskLog, write: Callable[[str], object]) -> Tell:
    lock = threading.Lock()

    def tell(line: str) -> None:
        log.info("%s", line)
        with lock:
            write(f"{line}\n")

    return tell
