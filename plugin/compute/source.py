"""Where a step's code comes from: a directory on this machine, or a snapshot in the workspace."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from airflow_azureml.reuse.code_scope import unrelated_scripts
from airflow_azureml.workspace.git import git_properties
from airflow_azureml.workspace.layout import DamagedObject
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
        """Files that the step certainly doesn't use: scripts of other steps."""

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
    :param unrelated: files that the step certainly doesn't use.
    """

    tree: SourceTree
    workspace: WorkspaceHandle
    unrelated: frozenset[str] = frozenset()

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
    ) -> DirectorySource:
        """Hash a directory.

        :param script: the step's own script.
        :param other_scripts: scripts of other steps that share the directory.
        :raises SnapshotException: it is too large, or has something that cannot be kept.
        """
        tree = scan_source(directory, hash_paths=hash_paths, cache=cache, limit_bytes=limit_bytes)
        unrelated = unrelated_scripts(
            script,
            other_scripts,
            (item.path for item in tree.manifest.files),
            lambda path: tree.locate(path).read_bytes(),
        )
        return cls(tree, workspace, unrelated)

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
        """Put the code into an empty folder; a snapshot that was damaged is uploaded again."""
        self.upload(report)
        snapshots = self.workspace.snapshots
        try:
            snapshots.lay_out(self.digest, target, cache)
        except DamagedObject as damage:
            report(f"the snapshot in the workspace is damaged ({damage}); uploading it again")
            snapshots.upload(self.tree, report, repair=True)
            snapshots.lay_out(self.digest, target, cache)


@dataclass(frozen=True, slots=True)
class SnapshotSource:
    """Code frozen in the workspace.

    :param digest: the snapshot.
    :param workspace: where it is.
    :param unrelated: files that the step certainly doesn't use.
    """

    digest: str
    workspace: WorkspaceHandle
    unrelated: frozenset[str] = frozenset()

    @property
    def label(self) -> str:
        """Nothing: the directory's name isn't part of a snapshot."""
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


def _without(unrelated: frozenset[str], manifest: TreeManifest, watched: TreeManifest | None) -> TreeManifest:
    """Return the manifest of the code that counts.

    Files of ``hash_paths`` may repeat files of the directory (also ones the ignore file leaves out) and count whatever else.
    """
    counting = {item.path: item for item in manifest.files if item.path not in unrelated}
    if watched is not None:
        counting.update(
            {
                f"hash_paths:{item.path}": item._replace(path=f"hash_paths:{item.path}")
                for item in watched.files
            }
        )
    return TreeManifest(counting.values())
