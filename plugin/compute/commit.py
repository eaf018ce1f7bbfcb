"""The commit of a step: its outputs, metrics, artifacts and registrations become visible together.

Files go to the run's own place and outputs to their datastores first, then the record says everything, then one marker makes it
count. Whatever fails before the marker leaves nothing that a reader takes for a result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_azureml.compute.records import finish
from airflow_azureml.model.port_types import OutputPort
from airflow_azureml.model.reading import definition_at
from airflow_azureml.model.status import RunStatus
from airflow_azureml.reuse.entries import Entry, EntryStore
from airflow_azureml.runtime.exceptions import ObjectNotFound

if TYPE_CHECKING:
    from airflow_azureml.compute.local import LocalRun
    from airflow_azureml.compute.outputs import StoredOutput
    from airflow_azureml.workspace.handle import WorkspaceHandle
    from airflow_azureml.workspace.stat_cache import StatCache

LOG_NAME = "user_logs/std_log.txt"
"""Where v1's newer runs keep what the script printed."""

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
)
"""What a reused step shows of the run that made its result."""


class Commit:
    """Commits one step run.

    :param workspace: where to.
    :param record: the step's record.
    :param ports: the step's outputs, for what they register.
    """

    def __init__(
        self, workspace: WorkspaceHandle, record: dict[str, Any], ports: Iterable[OutputPort]
    ) -> None:
        self._workspace = workspace
        self._record = record
        self._ports = {port.name: port for port in ports}

    def results(self, run: LocalRun, outputs: Iterable[StoredOutput], cache: StatCache) -> None:
        """Make what a script left count.

        :param run: the script's run, ended well.
        :param outputs: what it wrote, hashed and still staged.
        :param cache: learns the hashes of the outputs.
        """
        self._record["outputs"] = {item.name: item.to_document() for item in outputs}
        run.state.publish()
        self._record.update(run.state.to_record())
        self.keep_log(run)
        try:
            run.staging.publish(cache)
            self._register_outputs()
            finish(self._record, RunStatus.FINISHED)
            self._workspace.runs.write_step(self._record)
            self._workspace.runs.commit(self._record["id"])
        except BaseException:
            run.staging.withdraw()
            raise

    def keep_log(self, run: LocalRun) -> None:
        """Put what the script printed into the run record's place."""
        if not run.folder.log.is_file():
            return
        key = self._workspace.runs.log_key(self._record["id"], LOG_NAME)
        self._workspace.store.put_file(key, run.folder.log)
        self._record["logs"] = [{"name": LOG_NAME, "size_bytes": run.folder.log.stat().st_size, "key": key}]

    def reuse(self, entry: Entry) -> None:
        """Make an earlier result the result of this step: its outputs, metrics, artifacts, logs and effects."""
        origin = self._origin(entry)
        for field in COPIED_FROM_ORIGIN:
            self._record[field] = origin.get(field, self._record[field])
        self._record["outputs"] = {name: dict(item) for name, item in entry.outputs.items()}
        self._record["reused_from"] = entry.step_run_id
        self._record["properties"] = {
            **self._record["properties"],
            "azureml.reusedrunid": entry.step_run_id,
            "azureml.reusedpipelinerunid": str(origin.get("pipeline_run_id", "")),
            "azureml.isreused": "true",
        }
        self._register_outputs()
        finish(self._record, RunStatus.FINISHED)
        self._workspace.runs.write_step(self._record)
        self._workspace.runs.commit(self._record["id"])

    def remember(self, entries: EntryStore, key: str, replaces: int | None) -> Entry:
        """Remember the committed result for later runs; return the entry that counts."""
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
        )
        return entries.remember(entry, replace=replaces)

    def document(self) -> dict[str, Any]:
        """Return what later steps and Airflow tasks read as the step's result."""
        record = self._record
        return {
            "step_run_id": record["id"],
            "pipeline_run_id": record["pipeline_run_id"],
            "name": record["name"],
            "status": record["status"],
            "reused_from": record["reused_from"],
            "outputs": record["outputs"],
        }

    def _origin(self, entry: Entry) -> Mapping[str, Any]:
        try:
            return self._workspace.runs.get(entry.step_run_id)
        except ObjectNotFound:
            # Somebody removed the run's record; its outputs are there and have been checked.
            return {}

    def _register_outputs(self) -> None:
        """Register the outputs that ask for it; they count with this step's commit."""
        for name, output in self._record["outputs"].items():
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
                pending_run=self._record["id"],
            )
            self._record["registrations"] = [
                item for item in self._record["registrations"] if item.get("output") != name
            ] + [
                {
                    "kind": "dataset",
                    "name": registered.name,
                    "version": registered.version,
                    "id": registered.id,
                    "output": name,
                }
            ]
