"""Where a step's code comes from: a directory on this machine, or a snapshot in the workspace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from airflow_azureml.workspace.git import git_properties
from airflow_azureml.workspace.sources import SourceTree, scan_source

if TYPE_CHECKING:
    from airflow_azureml.workspace.handle import WorkspaceHandle
    from airflow_azureml.workspace.stat_cache import StatCache


class StepSource(Protocol):
    """The code of a step, known by content."""

    @property
    def digest(self) -> str:
        """Digest of the snapshot."""

    @property
    def label(self) -> str:
        """What messages put before file names; empty for nothing."""

    def files(self) -> Mapping[str, str]:
        """Return ``path -> sha256``."""

    def git(self) -> dict[str, str]:
        """Return what git says of the code (v1's property names)."""

    def upload(self) -> None:
        """Make sure that the snapshot is in the workspace."""


@dataclass(frozen=True, slots=True)
class DirectorySource:
    """Code in a directory, as it is now.

    :param tree: the scanned directory.
    :param workspace: where it is uploaded to when it is first run.
    """

    tree: SourceTree
    workspace: WorkspaceHandle

    @classmethod
    def scan(
        cls,
        workspace: WorkspaceHandle,
        directory: Path,
        hash_paths: tuple[str, ...],
        cache: StatCache,
        limit_bytes: int,
    ) -> DirectorySource:
        """Hash a directory.

        :raises SnapshotException: it is too large, or has something that cannot be kept.
        """
        return cls(scan_source(directory, hash_paths=hash_paths, cache=cache, limit_bytes=limit_bytes), workspace)

    @property
    def digest(self) -> str:
        """Digest of the snapshot."""
        return self.tree.digest

    @property
    def label(self) -> str:
        """The directory's own name."""
        return self.tree.root.name

    def files(self) -> Mapping[str, str]:
        """Return ``path -> sha256``."""
        return {item.path: item.sha256 for item in self.tree.files()}

    def git(self) -> dict[str, str]:
        """Return what git says of the directory."""
        return git_properties(self.tree.root)

    def upload(self) -> None:
        """Upload what the workspace doesn't have yet."""
        self.workspace.snapshots.upload(self.tree)


@dataclass(frozen=True, slots=True)
class SnapshotSource:
    """Code frozen in the workspace.

    :param digest: the snapshot.
    :param workspace: where it is.
    """

    digest: str
    workspace: WorkspaceHandle

    @property
    def label(self) -> str:
        """Nothing: the directory's name isn't part of a snapshot."""
        return ""

    def files(self) -> Mapping[str, str]:
        """Return ``path -> sha256``."""
        return {item.path: item.sha256 for item in self.workspace.snapshots.manifest(self.digest).files}

    def git(self) -> dict[str, str]:
        """Return nothing: the snapshot may have come from anywhere."""
        return {}

    def upload(self) -> None:
        """Do nothing: it is there."""
