"""Outputs as they lie on a datastore: what they are known by, and whether they are still what was written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from airflow_azureml.model.canonical import canonical_json, digest_of
from airflow_azureml.runtime.exceptions import AzureMLException
from airflow_azureml.workspace.handle import WorkspaceHandle
from airflow_azureml.workspace.hashing import hash_file, hash_tree
from airflow_azureml.workspace.manifest import TreeManifest
from airflow_azureml.workspace.stat_cache import StatCache


@dataclass(frozen=True, slots=True)
class StoredOutput:
    """An output as it lies on a datastore; the document that records, entries and XCom carry.

    :param name: the output's name at its step.
    :param kind: ``pipeline_data`` or ``file_dataset``.
    :param datastore: name of the datastore.
    :param path: path on it, POSIX, relative to its root.
    :param type: ``file``, ``directory``, or ``absent`` when the script wrote nothing there (legal, v1).
    :param digest: hex digest of the content: names, bytes and executable bits.
    :param size_bytes: total size.
    :param file_count: number of files.
    :param group: the folder that holds the output and what was written beside it.
    :param exclusive: whether nobody else writes into that folder; a fixed destination is shared with other runs.
    :param siblings: other outputs in that folder whose paths continue the path of this one, such as ``data2`` of ``data``.
    """

    name: str
    kind: str
    datastore: str
    path: str
    type: str
    digest: str
    size_bytes: int
    file_count: int
    group: str
    exclusive: bool
    siblings: tuple[str, ...] = ()

    def to_document(self) -> dict[str, Any]:
        """Return the document of the output."""
        return {**asdict(self), "siblings": list(self.siblings)}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> StoredOutput:
        """Read a document back, ignoring fields of later versions.

        :raises AzureMLException: it is no such document.
        """
        try:
            known = {name: document[name] for name in cls.__dataclass_fields__}
            return cls(**{**known, "siblings": tuple(known["siblings"])})
        except (KeyError, TypeError) as error:
            raise AzureMLException(
                f"not the document of an output ({error!r}); another version wrote it"
            ) from None

    @property
    def span(self) -> Span:
        """Which files of the group belong to the output."""
        return Span(self.path[len(self.group) :].strip("/"), self.siblings)


@dataclass(frozen=True, slots=True)
class Span:
    """Which files of a group belong to an output.

    Its own are those at or below its path. *Beside* it lie those whose path continues its own, such as ``preparedx.csv`` beside
    ``prepared``: scripts glue text onto output paths, and consumers find the result (v1). What belongs to a sibling lies
    beside that one.

    :param inside: path of the output in its group; empty when it is all of it.
    :param siblings: outputs whose paths continue ``inside``.
    """

    inside: str
    siblings: tuple[str, ...] = ()

    def is_own(self, path: str) -> bool:
        """Whether a file or folder of the group is the output, or in it."""
        return not self.inside or path == self.inside or path.startswith(f"{self.inside}/")

    def is_beside(self, path: str) -> bool:
        """Whether a file of the group continues the output's name."""
        continues = bool(self.inside) and path.startswith(self.inside) and not self.is_own(path)
        return continues and not path.startswith(self.siblings)

    def below(self, path: str) -> str:
        """Return the name of an own file below the output; empty when the output is that file."""
        return path[len(self.inside) :].strip("/")

    def own(self, group: TreeManifest) -> TreeManifest:
        """Return the output itself, files named from the output."""
        return TreeManifest(
            [item._replace(path=self.below(item.path)) for item in group.files if self.is_own(item.path)],
            [self.below(path) for path in group.empty_directories if self.is_own(path)],
        )

    def belonging(self, group: TreeManifest) -> TreeManifest:
        """Return the output and what lies beside it, files named from the group."""
        return TreeManifest(
            [item for item in group.files if self.is_own(item.path) or self.is_beside(item.path)],
            [path for path in group.empty_directories if self.is_own(path)],
        )

    def type_of(self, own: TreeManifest) -> str:
        """Return ``file``, ``directory`` or ``absent``."""
        if self.inside and len(own.files) == 1 and own.files[0].path == "":
            return "file"
        return "directory" if own.files or own.empty_directories or not self.inside else "absent"

    def digest(self, group: TreeManifest) -> str:
        """Return what the output is known by: its own content and what lies beside it."""
        own = self.own(group)
        beside = TreeManifest([item for item in group.files if self.is_beside(item.path)])
        return content_digest(self.type_of(own), own, beside if beside.files else None)


def content_digest(type_: str, own: TreeManifest, beside: TreeManifest | None = None) -> str:
    """Return what an output with these files is known by.

    :param type_: ``file``, ``directory`` or ``absent``.
    :param own: the output itself, files named from the output: a file has an empty name.
    :param beside: what lies beside it.
    """
    return digest_of({"type": type_, "tree": own.digest, "beside": beside.digest if beside else None})


def save_manifest(workspace: WorkspaceHandle, digest: str, own: TreeManifest) -> None:
    """Keep a file list under a digest, so that differences can be named down to files."""
    # Content-addressed: whoever wrote it first wrote the same.
    if not workspace.store.exists(_manifest_key(digest)):
        workspace.store.put(_manifest_key(digest), canonical_json(own.to_document()))


def load_manifest(workspace: WorkspaceHandle, digest: str) -> TreeManifest:
    """Read the file list behind a digest.

    :raises AzureMLException: it isn't kept (``ObjectNotFound``), or damaged.
    """
    data = workspace.store.get(_manifest_key(digest)).data
    try:
        return TreeManifest.from_document(json.loads(data))
    except ValueError as error:
        raise AzureMLException(f"the file list {digest} is damaged ({error})") from None


def _manifest_key(digest: str) -> str:
    return f"manifests/{digest[:2]}/{digest}.json"


def stored_manifest(
    workspace: WorkspaceHandle, output: StoredOutput, cache: StatCache
) -> tuple[TreeManifest, str | None]:
    """Look at the bytes of a stored output.

    :param cache: knows the hashes of unchanged files, so that a look costs one stat a file.
    :return: the files that belong to the output, named from its group; and what is wrong with them as the end of a sentence,
        or ``None`` when they are what was written.
    """
    key = ("output", workspace.url, output)
    recent: tuple[TreeManifest, str | None] | None = cache.recall(key)
    if recent is not None:
        # In a plan the next step reads what was looked at before it was found reusable.
        return recent
    try:
        found = _look(workspace, output, cache)
    except (OSError, AzureMLException) as error:
        return TreeManifest([]), f"cannot be read ({error})"
    cache.remember(key, found)
    return found


def _look(
    workspace: WorkspaceHandle, output: StoredOutput, cache: StatCache
) -> tuple[TreeManifest, str | None]:
    folder = workspace.datastores.root(output.datastore) / output.group
    if not folder.exists():
        return TreeManifest([]), None if output.type == "absent" else "is gone"
    if output.exclusive:
        group = hash_tree(folder, keep_empty_directories=True, cache=cache)
    else:
        group = _only_ours(workspace, output, folder, cache)
    span = output.span
    belonging = span.belonging(group)
    if span.digest(group) == output.digest:
        return belonging, None
    return belonging, "is gone" if output.file_count and not span.own(
        group
    ).files else "is not what was written"


def _only_ours(
    workspace: WorkspaceHandle, output: StoredOutput, folder: Path, cache: StatCache
) -> TreeManifest:
    """Hash, at a destination that others write to as well, the files this output consists of."""
    written = load_manifest(workspace, output.digest)
    present = [item.path for item in written.files if (folder / item.path).is_file()]
    files = [hash_file(folder / path, cache)._replace(path=path) for path in present]
    return TreeManifest(files, written.empty_directories)
