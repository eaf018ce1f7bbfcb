"""What a running step has said and is not yet committed.

Nothing of it is visible to anybody else until the step is committed. The supervisor keeps one :class:`RunState` per running
step, serves it through :class:`~airflow_azureml.workspace.run_service.RunService`, watches ``cancel_requested``, and at
the end asks for :meth:`RunState.publish` and :meth:`RunState.to_record`. What the step wrote on its parent run is kept
apart (``parent_effects``), so that it can be replayed when the step is reused.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from airflow_azureml.model.status import RunStatus
from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.workspace.documents import utc_now
from airflow_azureml.workspace.run_state_files import (
    StagedFile,
    Staging,
    check_no_folder_clash,
    file_name,
    open_watched,
    watched_files,
)
from airflow_azureml.workspace.run_state_notes import RunNotes

if TYPE_CHECKING:
    from airflow_azureml.workspace.handle import WorkspaceHandle

_OWN_FILES = "artifacts/"
_PARENT_FILES = "parent_artifacts/"


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """Somebody wants a run stopped.

    :param run: "self" for the step, "parent" for the whole pipeline run.
    :param reason: why, in the words of the script; empty when it gave none.
    :param by: id of the run that asked.
    :param time: when, UTC, ISO 8601.
    """

    run: str
    reason: str
    by: str
    time: str


class RunNode:
    """A run with its notes, its uploads and the runs below it.

    :param run_id: its id.
    :param parent_id: id of the run it is part of.
    :param name: shown for it.
    :param notes: what is written on it.
    """

    def __init__(self, run_id: str, parent_id: str | None, name: str, notes: RunNotes | None = None) -> None:
        self.id = run_id
        self.parent_id = parent_id
        self.name = name
        self.notes = notes or RunNotes()
        self.uploads: dict[str, StagedFile] = {}
        self.children: list[RunNode] = []
        self.status = RunStatus.RUNNING
        self.start = utc_now()
        self.end: str | None = None
        self.error: str | None = None

    def below(self) -> Iterator[RunNode]:
        """Yield the runs below this one at any depth, each before those below it."""
        for child in self.children:
            yield child
            yield from child.below()


class RunState:
    """One running step, as far as the workspace doesn't know it yet. May be used from any thread.

    :param workspace: the step's workspace; nothing is written to it before :meth:`publish`.
    :param run_id: id of the step run.
    :param staging: a folder of its own for uploads; whoever made it removes it.
    :param pipeline_run_id: id of the pipeline run.
    :param experiment: the experiment's name.
    :param name: the step's name.
    :param pipeline_name: the pipeline's name.
    :param number: the run's number within its experiment.
    :param working_directory: where the script runs; its ``outputs`` and ``logs`` belong to the run.
    :param details: more of ``run.get_details()``: target, runDefinition, inputDatasets, outputDatasets, logFiles, ….
    :param properties: properties the run starts with, such as those of git.
    :param tags: tags it starts with.
    :param pending: whether registrations wait for the step's commit.
    """

    def __init__(
        self,
        workspace: WorkspaceHandle,
        run_id: str,
        *,
        staging: Path,
        pipeline_run_id: str | None = None,
        experiment: str = "",
        name: str = "",
        pipeline_name: str = "",
        number: int = 1,
        working_directory: Path | None = None,
        details: Mapping[str, Any] | None = None,
        properties: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        pending: bool = True,
    ) -> None:
        self.workspace = workspace
        self.experiment = experiment
        self.pipeline_name = pipeline_name
        self.number = number
        self.details = dict(details or {})
        self.working_directory = working_directory
        self.root = RunNode(run_id, pipeline_run_id, name, RunNotes(tags, properties))
        self.parent = RunNode(pipeline_run_id or "", None, pipeline_name)
        self.registrations: list[dict[str, Any]] = []
        self.cancel_requested = threading.Event()
        self.cancel: CancelRequest | None = None
        self.lock = threading.RLock()
        self.staging = Staging(staging)
        self._pending = pending

    @property
    def run_id(self) -> str:
        """Id of the step run."""
        return self.root.id

    @property
    def pending_run(self) -> str | None:
        """The run whose commit makes registrations visible; None makes them visible at once."""
        return self.root.id if self._pending else None

    @property
    def said_anything(self) -> bool:
        """Whether anybody wrote anything on the run, its parent or a child."""
        with self.lock:
            nodes = (self.root, self.parent)
            return bool(self.root.children) or any(node.uploads or node.notes.said_anything for node in nodes)

    def find(self, run_id: str | None) -> RunNode | None:
        """Return the step's own run (also for None) or one of the runs below it."""
        if run_id in (None, self.root.id):
            return self.root
        with self.lock:
            return next((node for node in self.root.below() if node.id == run_id), None)

    def add_child(self, node: RunNode, name: str | None, child_id: str | None) -> RunNode:
        """Start a run below one of this state's runs.

        :param child_id: its id; default: made from the parent's.
        :raises UserErrorException: the id is taken.
        """
        with self.lock:
            if child_id is not None and (self.find(child_id) or child_id == self.parent.id):
                raise UserErrorException(f"child_run: there is a run {child_id!r} already")
            child = RunNode(child_id or self._free_id(node), node.id, name or "")
            node.children.append(child)
            return child

    def end_child(self, node: RunNode, status: RunStatus, error: str | None = None) -> None:
        """Give a child run its last status; one that has ended stays as it is."""
        with self.lock:
            if not node.status.is_terminal:
                node.status, node.end, node.error = status, utc_now(), error

    def upload(self, node: RunNode, name: str, stream: BinaryIO) -> StagedFile:
        """Stage a file of a run; an earlier one of the name is replaced.

        :raises UserErrorException: the name cannot be.
        """
        clean = file_name(name)
        with self.lock:
            check_no_folder_clash(clean, node.uploads)
        staged = self.staging.store(clean, stream)
        return self._keep(node, staged)

    def upload_under_free_name(self, node: RunNode, stem: str, suffix: str, stream: BinaryIO) -> StagedFile:
        """Stage a file under ``stem + suffix``, or a numbered name when that is taken."""
        number = 1
        staged = self.staging.store(file_name(stem + suffix), stream)
        with self.lock:
            name = staged.name
            while name in node.uploads:
                number += 1
                name = file_name(f"{stem}_{number}{suffix}")
            return self._keep(node, StagedFile(name, staged.path, staged.size_bytes, staged.sha256))

    def file_names(self, node: RunNode) -> list[str]:
        """Return the names of a run's files, what lies in ``./outputs`` and ``./logs`` now among them."""
        with self.lock:
            names = set(node.uploads)
        if node is self.root and self.working_directory is not None:
            names.update(watched_files(self.working_directory))
        return sorted(names)

    def open_file(self, node: RunNode, name: str) -> BinaryIO | None:
        """Open a file of a run, or return None when it has none of that name."""
        clean = file_name(name)
        with self.lock:
            staged = node.uploads.get(clean)
            if staged is not None:
                return staged.path.open("rb")
        if node is self.root and self.working_directory is not None:
            return open_watched(self.working_directory, clean)
        return None

    def request_cancel(self, run: str, reason: str | None) -> None:
        """Ask the supervisor to stop the step; the first request counts.

        :param run: "self", or "parent" for the whole pipeline run.
        """
        with self.lock:
            if self.cancel is None:
                self.cancel = CancelRequest(run, reason or "", self.run_id, utc_now())
                self.root.status = RunStatus.CANCEL_REQUESTED
        self.cancel_requested.set()

    def add_registration(self, kind: str, name: str, version: int, identity: str) -> None:
        """Note that the step registered something; see ``registrations`` of the step's record."""
        with self.lock:
            self.registrations.append({"kind": kind, "name": name, "version": version, "id": identity})

    def publish(self, *, watched: bool = True) -> None:
        """Copy all files to the workspace's store. They count when the step is committed.

        :param watched: also what lies in ``./outputs`` and ``./logs``.
        """
        if watched:
            self._adopt_watched()
        for node in self._nodes():
            for staged in list(node.uploads.values()):
                self.workspace.store.put_file(self._key(node, staged.name), staged.path)

    def to_record(self) -> dict[str, Any]:
        """Return what was said, as fields of the step's record; see ``airflow_azureml.workspace.runs``.

        The entries of ``artifacts`` are ``{"name", "size_bytes", "sha256", "key"}``. Call :meth:`publish` before, so
        that what lies in ``./outputs`` is among them.
        """
        with self.lock:
            return {
                **self._node_record(self.root),
                "parent_effects": self._parent_effects(),
                "registrations": [dict(entry) for entry in self.registrations],
                "children": [self._child_record(child) for child in self.root.children],
            }

    # -- internals ----------------------------------------------------------------------------------------------

    def _keep(self, node: RunNode, staged: StagedFile) -> StagedFile:
        with self.lock:
            earlier = node.uploads.get(staged.name)
            try:
                check_no_folder_clash(staged.name, node.uploads)
            except UserErrorException:
                staged.path.unlink(missing_ok=True)
                raise
            node.uploads[staged.name] = staged
        if earlier is not None:
            # Whoever is reading it has it open.
            earlier.path.unlink(missing_ok=True)
        return staged

    def _adopt_watched(self) -> None:
        if self.working_directory is None:
            return
        for name in list(watched_files(self.working_directory)):
            # What the script uploaded itself under the same name stays; a name no store can hold is left out.
            with suppress(UserErrorException):
                clean = file_name(name)
                stream = None if clean in self.root.uploads else open_watched(self.working_directory, name)
                if stream is not None:
                    with stream:
                        self.upload(self.root, clean, stream)

    def _nodes(self) -> list[RunNode]:
        with self.lock:
            return [self.root, self.parent, *self.root.below()]

    def _key(self, node: RunNode, name: str) -> str:
        if node is not self.parent:
            return self.workspace.runs.artifact_key(node.id, name)
        # With the step that wrote them: they count when it is committed, and a reused step has them as well.
        folder = self.workspace.runs.artifacts_prefix(self.run_id).removesuffix(_OWN_FILES)
        return folder + _PARENT_FILES + name

    def _artifacts(self, node: RunNode) -> list[dict[str, Any]]:
        return [
            {
                "name": staged.name,
                "size_bytes": staged.size_bytes,
                "sha256": staged.sha256,
                "key": self._key(node, staged.name),
            }
            for _, staged in sorted(node.uploads.items())
        ]

    def _node_record(self, node: RunNode) -> dict[str, Any]:
        return {**node.notes.to_record(), "artifacts": self._artifacts(node)}

    def _child_record(self, node: RunNode) -> dict[str, Any]:
        return {
            **self._node_record(node),
            "kind": "child",
            "id": node.id,
            "parent_id": node.parent_id,
            "name": node.name,
            "experiment": self.experiment,
            # A child that nobody ended has ended with its step.
            "status": (node.status if node.status.is_terminal else RunStatus.FINISHED).value,
            "start": node.start,
            "end": node.end or utc_now(),
            "error": node.error,
            "children": [self._child_record(child) for child in node.children],
        }

    def _parent_effects(self) -> dict[str, Any]:
        if not (self.parent.uploads or self.parent.notes.said_anything):
            return {}
        return {
            **self._node_record(self.parent),
            "removed_tags": list(self.parent.notes.removed_tags),
        }

    def _free_id(self, node: RunNode) -> str:
        number = len(node.children) + 1
        while self.find(f"{node.id}.{number}") is not None:
            number += 1
        return f"{node.id}.{number}"
