"""The runs a script can speak to, behind one interface: its own, those below it, its parent, and finished ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from airflow_azureml.model.status import RunStatus
from airflow_azureml.runtime.exceptions import ObjectNotFound, UserErrorException
from airflow_azureml.workspace import run_service_records as records
from airflow_azureml.workspace.documents import utc_now
from airflow_azureml.workspace.run_service_base import ServiceContext, open_key
from airflow_azureml.workspace.run_state import RunNode
from airflow_azureml.workspace.run_state_files import file_name
from airflow_azureml.workspace.run_state_notes import RunNotes

if TYPE_CHECKING:
    from airflow_azureml.workspace.run_service_records import Document


@dataclass(frozen=True, slots=True)
class Annotation:
    """A change of what may be changed about a run.

    :param tags: tags to set.
    :param removed_tags: names of tags to remove before.
    :param display_name: replaces it, unless None.
    :param description: replaces it, unless None.
    """

    tags: Mapping[str, Any] = field(default_factory=dict)
    removed_tags: Sequence[str] = ()
    display_name: str | None = None
    description: str | None = None

    def apply(self, notes: RunNotes) -> None:
        """Make the change."""
        notes.remove_tags(self.removed_tags)
        notes.set_tags(self.tags)
        notes.set_names(self.display_name, self.description)


class RunTarget(Protocol):
    """A run that can be read, and perhaps written."""

    def describe(self) -> Document:
        """Return the answer to ``run.describe``."""
        ...

    def details(self) -> Document:
        """Return the answer to ``run.details``."""
        ...

    def view(self) -> Document:
        """Return metrics, tags and properties as the caller sees them."""
        ...

    def files(self) -> Sequence[str]:
        """Return the names of the run's files."""
        ...

    def open(self, name: str) -> BinaryIO | None:
        """Open a file of the run, None when it has none of that name."""
        ...

    def children(self, *, recursive: bool) -> list[RunTarget]:
        """Return the runs below it."""
        ...

    def node(self) -> RunNode:
        """Return what metrics, properties, files and child runs can be added to.

        :raises UserErrorException: the caller may not.
        """
        ...

    def annotate(self, change: Annotation) -> None:
        """Change tags and names."""
        ...

    def cancel(self, reason: str | None) -> None:
        """Ask for it to be stopped."""
        ...


class LiveTarget:
    """The caller's own run, or one below it."""

    def __init__(self, context: ServiceContext, node: RunNode) -> None:
        self._context = context
        self._node = node

    def describe(self) -> Document:
        """See :meth:`RunTarget.describe`."""
        return records.describe(self._record(), self.view())

    def details(self) -> Document:
        """See :meth:`RunTarget.details`."""
        state = self._context.state
        known = state.details if self._node is state.root else {}
        return {**records.details(self._record(), self.describe()), **known}

    def view(self) -> Document:
        """See :meth:`RunTarget.view`."""
        notes = self._node.notes
        with self._context.state.lock:
            return {
                "metrics": list(notes.metrics),
                "tags": dict(notes.tags),
                "properties": dict(notes.properties),
            }

    def files(self) -> Sequence[str]:
        """See :meth:`RunTarget.files`."""
        return self._context.state.file_names(self._node)

    def open(self, name: str) -> BinaryIO | None:
        """See :meth:`RunTarget.open`."""
        return self._context.state.open_file(self._node, name)

    def children(self, *, recursive: bool) -> list[RunTarget]:
        """See :meth:`RunTarget.children`."""
        with self._context.state.lock:
            nodes = list(self._node.below()) if recursive else list(self._node.children)
        return [LiveTarget(self._context, node) for node in nodes]

    def node(self) -> RunNode:
        """See :meth:`RunTarget.node`."""
        return self._node

    def annotate(self, change: Annotation) -> None:
        """See :meth:`RunTarget.annotate`."""
        with self._context.state.lock:
            change.apply(self._node.notes)

    def cancel(self, reason: str | None) -> None:
        """See :meth:`RunTarget.cancel`; a step's own run is stopped by its supervisor, a moment later."""
        if self._node is self._context.state.root:
            self._context.state.request_cancel("self", reason)
        else:
            self._context.state.end_child(self._node, RunStatus.CANCELED, reason)

    def _record(self) -> Document:
        node, state = self._node, self._context.state
        return {
            "id": node.id,
            "kind": "step" if node is state.root else "child",
            "name": node.name,
            "number": state.number,
            "status": node.status.value,
            "experiment": state.experiment,
            "parent_id": node.parent_id,
            "start": node.start,
            "end": node.end,
            "error": node.error,
            "display_name": node.notes.display_name,
            "description": node.notes.description,
        }


class ParentTarget:
    """The caller's pipeline run: what committed steps said on it, and what the caller itself says."""

    def __init__(self, context: ServiceContext) -> None:
        self._context = context
        self._node = context.state.parent

    def describe(self) -> Document:
        """See :meth:`RunTarget.describe`."""
        record, notes = self._record(), self._node.notes
        record["display_name"] = notes.display_name or record.get("display_name")
        record["description"] = notes.description or record.get("description")
        return records.describe(record, self.view())

    def details(self) -> Document:
        """See :meth:`RunTarget.details`."""
        return records.details(self._record(), self.describe())

    def view(self) -> Document:
        """See :meth:`RunTarget.view`."""
        try:
            seen = self._context.workspace.runs.parent_view(self._node.id)
        except ObjectNotFound:
            seen = {"metrics": [], "tags": {}, "properties": {}}
        notes = self._node.notes
        with self._context.state.lock:
            tags = {name: value for name, value in seen["tags"].items() if name not in notes.removed_tags}
            return {
                "metrics": [*seen["metrics"], *notes.metrics],
                "tags": {**tags, **notes.tags},
                "properties": {**notes.properties, **seen["properties"]},
            }

    def files(self) -> Sequence[str]:
        """See :meth:`RunTarget.files`."""
        return sorted({*self._context.state.file_names(self._node), *self._stored_files()})

    def open(self, name: str) -> BinaryIO | None:
        """See :meth:`RunTarget.open`."""
        own = self._context.state.open_file(self._node, name)
        key = self._stored_files().get(file_name(name)) if own is None else None
        return own if key is None else open_key(self._context, key)

    def children(self, *, recursive: bool) -> list[RunTarget]:
        """See :meth:`RunTarget.children`; the caller's own run is among them, as it is now."""
        state = self._context.state
        own = LiveTarget(self._context, state.root)
        found = records.children(self._context.workspace, self._record(), recursive=recursive)
        others = [StoredTarget(self._context, record) for record in found if state.find(record["id"]) is None]
        return [*others, own, *(own.children(recursive=True) if recursive else ())]

    def node(self) -> RunNode:
        """See :meth:`RunTarget.node`."""
        return self._node

    def annotate(self, change: Annotation) -> None:
        """See :meth:`RunTarget.annotate`."""
        with self._context.state.lock:
            change.apply(self._node.notes)

    def cancel(self, reason: str | None) -> None:
        """See :meth:`RunTarget.cancel`; the supervisor stops this step and then the others."""
        self._context.state.request_cancel("parent", reason)

    def _stored_files(self) -> dict[str, str]:
        return records.files(self._context.workspace, self._record())

    def _record(self) -> Document:
        state = self._context.state
        try:
            return self._context.workspace.runs.get(self._node.id)
        except ObjectNotFound:
            # An offline run's parent is recorded when the process ends.
            status = state.root.status.value
            return {
                "id": self._node.id,
                "kind": "pipeline",
                "name": state.pipeline_name,
                "experiment": state.experiment,
                "status": status,
                "start": state.root.start,
            }


class StoredTarget:
    """Any other run, as it lies in the workspace."""

    def __init__(self, context: ServiceContext, record: Document) -> None:
        self._context = context
        self._record = record

    def describe(self) -> Document:
        """See :meth:`RunTarget.describe`."""
        return records.describe(self._record, self.view())

    def details(self) -> Document:
        """See :meth:`RunTarget.details`."""
        return records.details(self._record, self.describe())

    def view(self) -> Document:
        """See :meth:`RunTarget.view`."""
        return records.view(self._context.workspace, self._record)

    def files(self) -> Sequence[str]:
        """See :meth:`RunTarget.files`."""
        return sorted(records.files(self._context.workspace, self._record))

    def open(self, name: str) -> BinaryIO | None:
        """See :meth:`RunTarget.open`."""
        key = records.files(self._context.workspace, self._record).get(file_name(name))
        return None if key is None else open_key(self._context, key)

    def children(self, *, recursive: bool) -> list[RunTarget]:
        """See :meth:`RunTarget.children`."""
        found = records.children(self._context.workspace, self._record, recursive=recursive)
        return [StoredTarget(self._context, record) for record in found]

    def node(self) -> RunNode:
        """See :meth:`RunTarget.node`: it is not the caller's run."""
        raise UserErrorException(
            f"run {self._record['id']!r} cannot be written to from here: a script writes on its own run, "
            "on the runs below it and on its parent"
        )

    def annotate(self, change: Annotation) -> None:
        """See :meth:`RunTarget.annotate`; outside steps only, and not of runs that a step started below itself."""
        self._context.refuse_in_step(f"writing on run {self._record['id']!r}")
        if self._record["kind"] == "child":
            self.node()

        def changed(record: Document) -> Document:
            notes = RunNotes(record.get("tags"))
            notes.set_names(record.get("display_name"), record.get("description"))
            change.apply(notes)
            names = {"display_name": notes.display_name, "description": notes.description}
            return {**record, "tags": notes.tags, **names}

        self._record = self._context.workspace.runs.update(self._record["id"], changed)

    def cancel(self, reason: str | None) -> None:
        """See :meth:`RunTarget.cancel`; outside steps only."""
        self._context.refuse_in_step(f"canceling run {self._record['id']!r}")
        if self._record["kind"] != "pipeline":
            raise UserErrorException(
                "a step or child run cannot be canceled by itself; cancel its pipeline's run"
            )

        def change(record: Document) -> Document:
            if not RunStatus.parse(record["status"]).is_terminal and record.get("cancel") is None:
                record["cancel"] = {"reason": reason or "", "by": "user", "time": utc_now()}
                record["status"] = RunStatus.CANCEL_REQUESTED.value
            return record

        self._context.workspace.runs.update(self._record["id"], change)


def find_target(context: ServiceContext, run_id: str | None) -> RunTarget:
    """Return a run by its id; None is the caller's own.

    :raises UserErrorException: there is no such run.
    """
    node = context.state.find(run_id)
    if node is not None:
        return LiveTarget(context, node)
    if run_id == context.state.parent.id:
        return ParentTarget(context)
    return StoredTarget(context, records.find_record(context.workspace, str(run_id)))
