"""Where a step's code comes from: a directory on this machine, or a snapshot in the workspace."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from airflow_azureml.reuse.code_scope import HASH_PATHS, CodeSelection, import_scope, unrelated_scripts
from airflow_azureml.reuse.policy import CodeScope
from airflow_azureml.runtime.exceptions import SnapshotException
from airflow_azureml.workspace.git import git_properties
from airflow_azureml.workspace.manifest import TreeManifest
from airflow_azureml.workspace.sources import SourceTree, scan_source

if TYPE_CHECKING:
    from airflow_azureml.workspace.handle import WorkspaceHandle
    from airflow_azureml.workspace.stat_cache import StatCache

Report = Callable[[str], None]


class StepSource(Protocol):
    """The code of a step, known by content."""

    @property
    def digest(self) -> str:
        """Digest of the snapshot."""

    @property
    def label(self) -> str:
        """What messages put before file names; empty for nothing."""

    @property
    def unrelated(self) -> frozenset[str]:
        """Files that the step's result doesn't depend on."""

    @property
    def scope_note(self) -> str:
        """What the task log says of the files that count; empty for nothing."""

    def code(self) -> TreeManifest:
        """Return the files that the step's result depends on."""

    def git(self) -> dict[str, str]:
        """Return what git says of the code (v1's property names)."""

    def upload(self, report: Report) -> None:
        """Make sure that the snapshot is in the workspace.

        :param report: told what is going on when there is much to upload.
        """

    def lay_out(self, target: Path, cache: Path, report: Report) -> None:
        """Put the code into an empty folder, all of it or nothing.

        :param cache: folder for what was fetched from the workspace.
        """


@dataclass(frozen=True, slots=True)
class DirectorySource:
    """Code in a directory, as it is now.

    :param tree: the scanned directory.
    :param workspace: where it is uploaded to when it is first run.
    :param unrelated: files that the step's result doesn't depend on.
    :param scope_note: what the task log says of the files that count.
    """

    tree: SourceTree
    workspace: WorkspaceHandle
    unrelated: frozenset[str] = frozenset()
    scope_note: str = ""

    @classmethod
    def scan(
        cls,
        workspace: WorkspaceHandle,
        directory: Path,
        hash_paths: tuple[str, ...],
        cache: StatCache,
        limit_bytes: int,
        *,
        script: str,
        other_scripts: Iterable[str] = (),
        code_scope: str = CodeScope.DIRECTORY,
        code_files: Sequence[str] = (),
    ) -> DirectorySource:
        """Hash a directory.

        :param script: the step's own script.
        :param other_scripts: scripts of other steps that share the directory.
        :param code_scope: which files count: see :mod:`airflow_azureml.reuse.code_scope`.
        :param code_files: globs of files that count with ``imports``.
        :raises SnapshotException: it is too large, or has something that cannot be kept.
        """
        tree = scan_source(directory, hash_paths=hash_paths, cache=cache, limit_bytes=limit_bytes)
        scope = _select(tree, script, tuple(other_scripts), code_scope, tuple(code_files))
        return cls(tree, workspace, scope.unrelated, scope.note)

    @property
    def digest(self) -> str:
        """Digest of the snapshot."""
        return self.tree.digest

    @property
    def label(self) -> str:
        """The directory's own name."""
        return self.tree.root.name

    def code(self) -> TreeManifest:
        """Return the files that the step's result depends on, those of ``hash_paths`` included."""
        return _without(self.unrelated, self.tree.manifest, self.tree.watched)

    def git(self) -> dict[str, str]:
        """Return what git says of the directory."""
        return git_properties(self.tree.root)

    def upload(self, report: Report) -> None:
        """Upload what the workspace doesn't have yet."""
        self.workspace.snapshots.upload(self.tree, report)

    def lay_out(self, target: Path, cache: Path, report: Report) -> None:
        """Put the code into an empty folder; a snapshot that was damaged, or removed meanwhile, is uploaded again."""
        self.upload(report)
        snapshots = self.workspace.snapshots
        try:
            snapshots.lay_out(self.digest, target, cache)
        except SnapshotException as damage:
            report(f"the snapshot in the workspace is damaged or gone ({damage}); uploading it again")
            snapshots.upload(self.tree, report, repair=True)
            snapshots.lay_out(self.digest, target, cache)


@dataclass(frozen=True, slots=True)
class SnapshotSource:
    """Code frozen in the workspace.

    :param digest: the snapshot.
    :param workspace: where it is.
    :param unrelated: files that the step's result doesn't depend on, found when the code was frozen.
    """

    digest: str
    workspace: WorkspaceHandle
    unrelated: frozenset[str] = frozenset()

    @property
    def label(self) -> str:
        """Nothing: the directory's name isn't part of a snapshot."""
        return ""

    @property
    def scope_note(self) -> str:
        """Nothing: which files count was settled when the code was frozen."""
        return ""

    def code(self) -> TreeManifest:
        """Return the files that the step's result depends on."""
        snapshot = self.workspace.snapshots.snapshot(self.digest)
        return _without(self.unrelated, snapshot.manifest, snapshot.watched)

    def git(self) -> dict[str, str]:
        """Return nothing: the snapshot may have come from anywhere."""
        return {}

    def upload(self, report: Report) -> None:
        """Do nothing: it is there."""

    def lay_out(self, target: Path, cache: Path, report: Report) -> None:  # noqa: ARG002 - as the protocol has it
        """Put the code into an empty folder."""
        self.workspace.snapshots.lay_out(self.digest, target, cache)


def file_table(manifest: TreeManifest) -> dict[str, str]:
    """Return path to content of the files of a manifest, for explanations; an executable file differs from one that is not."""
    return {item.path: f"{item.sha256}{'+x' if item.executable else ''}" for item in manifest.files}


_MAX_SELECTIONS = 4096
_selections: dict[tuple[Any, ...], CodeSelection] = {}


def _select(
    tree: SourceTree, script: str, others: tuple[str, ...], code_scope: str, code_files: tuple[str, ...]
) -> CodeSelection:
    """Find the files that count, once for each content of the directory: a plan asks for all steps of a pipeline."""
    key = (tree.manifest.digest, script, others, code_scope, code_files)
    known = _selections.get(key)
    if known is not None:
        return known
    digests = {item.path: item.sha256 for item in tree.manifest.files}
    is_whole = True

    def read(path: str) -> bytes:
        nonlocal is_whole
        data = tree.locate(path).read_bytes()
        is_whole = is_whole and hashlib.sha256(data).hexdigest() == digests[path]
        return data

    if code_scope == CodeScope.IMPORTS:
        scope = import_scope(script, code_files, digests, read)
    else:
        scope = CodeSelection(unrelated_scripts(script, others, digests, read))
    # Files that changed since the directory was hashed say nothing of that content.
    if is_whole:
        if len(_selections) >= _MAX_SELECTIONS:
            _selections.clear()
        _selections[key] = scope
    return scope


def _without(unrelated: frozenset[str], manifest: TreeManifest, watched: TreeManifest | None) -> TreeManifest:
    """Return the manifest of the code that counts.

    Files of ``hash_paths`` may repeat files of the directory (also ones the ignore file leaves out) and count whatever else.
    """
    counting = {item.path: item for item in manifest.files if item.path not in unrelated}
    if watched is not None:
        counting.update(
            {
                f"{HASH_PATHS}{item.path}": item._replace(path=f"{HASH_PATHS}{item.path}")
                for item in watched.files
            }
        )
    return TreeManifest(counting.values())
