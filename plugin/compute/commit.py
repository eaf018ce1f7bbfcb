"""The commit of a step: its outputs, metrics, artifacts and registrations become visible together.

Files go to the run's own place and outputs to their datastores first, then the record says everything, then one marker makes it
count. Whatever fails before the marker leaves nothing that a reader takes for a result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from airflow_azureml.compute.records import finish
from airflow_azureml.model.port_types import OutputPort
from airflow_azureml.model.reading import definition_at
from airflow_azureml.model.status import RunStatus
from airflow_azureml.reuse.entries import Entry, EntryStore
from airflow_azureml.runtime.exceptions import AzureMLException, ObjectNotFound, StepFailed

if TYPE_CHECKING:
    from airflow_azureml.compute.work import Staged, WorkRun
    from airflow_azureml.workspace.handle import WorkspaceHandle
    from airflow_azureml.workspace.stat_cache import StatCache

COPIED_FROM_ORIGIN = (
    "metrics",
    "tags",
    "properties",
    "display_name",
    "description",
    "artifacts",
    "logs",
    "outputs",
    "arguments",
    "environment",
    "parent_effects",
    "registrations",
    "children",
    "transfer",
)
"""What a reused step shows of the run that made its result."""


class Commit:
    """Commits one step run.

    :param workspace: where to.
    :param record: the step's record; it gets what was committed once that counts, and nothing before.
    :param ports: the step's outputs, for what they register.
    """

    def __init__(
        self, workspace: WorkspaceHandle, record: dict[str, Any], ports: Iterable[OutputPort]
    ) -> None:
        self._workspace = workspace
        self._record = record
        self._ports = {port.name: port for port in ports}

    def results(self, run: WorkRun, cache: StatCache) -> None:
        """Make what came of a step's work count.

        :param run: the work, ended well.
        :param cache: learns the hashes of the outputs.
        :raises StepFailed: a later try has taken the step over.
        """
        self._refuse_taken_over()
        run.state.publish()
        self.keep_log(run)
        record = {**self._record, **run.state.to_record()}
        with _Publication(run.staging, self._may_count) as publication:
            published = run.staging.publish(cache)
            record["outputs"] = {item.name: item.to_document() for item in published}
            self._register_outputs(record)
            publication.is_complete = True
            self._make_count(record)

    def keep_log(self, run: WorkRun) -> None:
        """Put what the work printed into the run record's place."""
        self._record["logs"] = run.keep_log()

    def refer(self, entry: Entry) -> None:
        """Write down that this step is about to use an earlier result.

        Written before the result is looked at for the last time: whoever collects garbage retires a result first and looks for
        references afterwards, so one of the two always sees the other.
        """
        self._record["reused_from"] = entry.step_run_id
        self._record["outputs"] = {name: dict(item) for name, item in entry.outputs.items()}
        self._workspace.runs.write_step(self._record)

    def take_back(self) -> None:
        """Forget a result that was referred to and turned out to be gone."""
        self._record["reused_from"] = None
        self._record["outputs"] = {}

    def reuse(self, entry: Entry, origin: Mapping[str, Any]) -> None:
        """Make an earlier result the result of this step: its outputs, metrics, artifacts, logs and effects.

        :param origin: the record of the step run that made it.
        """
        record = {**self._record, **{field: origin[field] for field in COPIED_FROM_ORIGIN if field in origin}}
        record["outputs"] = {name: dict(item) for name, item in entry.outputs.items()}
        record["reused_from"] = entry.step_run_id
        record["properties"] = {
            **record["properties"],
            "azureml.reusedrunid": entry.step_run_id,
            "azureml.reusednodeid": str(origin.get("task_id", "")),
            "azureml.reusedpipeline": entry.dag_id,
            "azureml.reusedpipelinerunid": str(origin.get("pipeline_run_id", "")),
            "azureml.isreused": "true",
        }
        self._register_outputs(record)
        self._make_count(record)

    def remember(
        self, entries: EntryStore, key: str, replaces: int | None, *, writer: str, fence: int
    ) -> Entry:
        """Remember the committed result for later runs; return the entry that counts.

        :param writer: the Airflow deployment.
        :param fence: fencing counter of the lease, or 0.
        :raises StaleHolder: somebody has taken over the computing of the key.
        """
        record = self._record
        entry = Entry(
            key=key,
            step_run_id=record["id"],
            run_id=record["run_id"],
            dag_id=record["dag_id"],
            step_name=record["name"],
            finished=record["end"],
            duration_s=record["duration_s"],
            outputs=record["outputs"],
            writer=writer,
            size_bytes=sum(int(item["size_bytes"]) for item in record["outputs"].values()),
            fence=fence,
        )
        return entries.remember(entry, replaces=replaces)

    def document(self) -> dict[str, Any]:
        """Return what later steps and Airflow tasks read as the step's result."""
        record = self._record
        document = {
            "step_run_id": record["id"],
            "pipeline_run_id": record["pipeline_run_id"],
            "name": record["name"],
            "status": record["status"],
            "reused_from": record["reused_from"],
            "outputs": record["outputs"],
        }
        return {**document, "transfer": record["transfer"]} if "transfer" in record else document

    def _make_count(self, record: dict[str, Any]) -> None:
        """Write the record, then the marker."""
        runs = self._workspace.runs
        finish(record, RunStatus.FINISHED)
        runs.write_step(record)
        try:
            runs.commit(record["id"])
        except (AzureMLException, OSError):
            # An answer may get lost after the marker was written.
            if self._may_count() is not True:
                raise
        self._record.update(record)

    def _may_count(self) -> bool | None:
        """Whether the marker is there; ``None`` when nobody can tell now."""
        try:
            return self._workspace.runs.is_committed(self._record["id"])
        except (AzureMLException, OSError):
            return None

    def _refuse_taken_over(self) -> None:
        found = RunStatus(self._workspace.runs.get(self._record["id"])["status"])
        if found.is_terminal:
            raise StepFailed(
                "this try was given up because its worker seemed dead, and another one may be running; its results don't count"
            )

    def _register_outputs(self, record: dict[str, Any]) -> None:
        """Register the outputs that ask for it; they count with this step's commit."""
        for name, output in record["outputs"].items():
            port = self._ports.get(name)
            if port is None or port.register is None:
                continue
            definition = definition_at(
                port.read or {}, {"datastore": output["datastore"], "path": output["path"]}
            )
            registered = self._workspace.datasets.register(
                port.register["name"],
                definition,
                fingerprint=output["digest"],
                description=port.register.get("description"),
                tags=port.register.get("tags"),
                create_new_version=port.register.get("create_new_version", True),
                pending_run=record["id"],
            )
            record["registrations"] = [
                *(item for item in record["registrations"] if item.get("output") != name),
                {
                    "kind": "dataset",
                    "name": registered.name,
                    "version": registered.version,
                    "id": registered.id,
                    "output": name,
                },
            ]


def origin_of(workspace: WorkspaceHandle, entry: Entry) -> dict[str, Any]:
    """Return the record of the step run that made a result; empty when somebody removed it.

    :raises StoreError: it cannot be read.
    """
    try:
        return workspace.runs.get(entry.step_run_id)
    except ObjectNotFound:
        # The outputs are there and have been checked.
        return {}


class _Publication:
    """Outputs that are in their places, until it is known whether they count; if they don't, they are taken back.

    :param staging: what publishes them.
    :param may_count: whether the commit marker is there; asked when its writing was tried and failed.
    """

    def __init__(self, staging: Staged, may_count: Callable[[], bool | None]) -> None:
        self._staging = staging
        self._may_count = may_count
        self.is_complete = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or (self.is_complete and self._may_count() is not False):
            self._staging.keep()
            return
        # What can't be taken back is no result either: the first error is the one to tell.
        with suppress(AzureMLException, OSError):
            self._staging.withdraw()
