"""Outputs as they lie on a datastore: what they are known by, and whether they are still what was written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from airflow_azureml.compute.listings import (
    ListedFile,
    Listing,
    contents_key,
    load_listing,
    save_listing,
)
from airflow_azureml.compute.remote_outputs import ALTERED, GONE, StoredFiles, look_at
from airflow_azureml.model.canonical import canonical_json, digest_of
from airflow_azureml.runtime.exceptions import AzureMLException
from airflow_azureml.storage.files import FileInfo, joined
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
    :param listing: digest of the list of its files, of an output on a store that is no folder on this machine; see
        :mod:`airflow_azureml.compute.listings`.
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
    listing: str | None = None

    def to_document(self) -> dict[str, Any]:
        """Return the document of the output."""
        document = {**asdict(self), "siblings": list(self.siblings)}
        if self.listing is None:
            del document["listing"]
        return document

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> StoredOutput:
        """Read a document back, ignoring fields of later versions.

        :raises AzureMLException: it is no such document.
        """
        try:
            known = {name: document[name] for name in cls.__dataclass_fields__ if name != "listing"}
            known["siblings"] = tuple(known["siblings"])
            return cls(**known, listing=document.get("listing"))
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
    if not workspace.store.exists(contents_key(digest)):
        workspace.store.put(contents_key(digest), canonical_json(own.to_document()))


def load_manifest(workspace: WorkspaceHandle, digest: str) -> TreeManifest:
    """Read the file list behind a digest.

    :raises AzureMLException: it isn't kept (``ObjectNotFound``), or damaged.
    """
    data = workspace.store.get(contents_key(digest)).data
    try:
        return TreeManifest.from_document(json.loads(data))
    except ValueError as error:
        raise AzureMLException(f"the file list {digest} is damaged ({error})") from None


def stored_manifest(
    workspace: WorkspaceHandle, output: StoredOutput, cache: StatCache
) -> tuple[TreeManifest, str | None]:
    """Look at the bytes of a stored output; see :func:`stored_files`."""
    found = stored_files(workspace, output, cache)
    return found.manifest, found.problem


def remote_files(workspace: WorkspaceHandle, output: StoredOutput, cache: StatCache) -> list[FileInfo]:
    """Return the files of an output, and what lies beside it, as their store shows them; none for a local datastore.

    :raises AzureMLException: the output is not what was written.
    """
    found = stored_files(workspace, output, cache)
    if found.problem is not None:
        raise AzureMLException(f"output {output.name!r} at {output.datastore}/{output.path} {found.problem}")
    return [found.files[name] for name in sorted(found.files)]


def stored_files(
    workspace: WorkspaceHandle, output: StoredOutput, cache: StatCache, *, afresh: bool = False
) -> StoredFiles:
    """Look at the bytes of a stored output.

    :param cache: knows the hashes of unchanged files, so that a look costs one stat a file, or one listing of a remote folder.
    :param afresh: read every byte on a remote store, whatever is remembered of it.
    :raises AzureMLException: a store could not answer now; another try may succeed.
    """
    key = ("output", workspace.url, output)
    recent: StoredFiles | None = None if afresh else cache.recall(key)
    if recent is not None:
        # In a plan the next step reads what was looked at before it was found reusable.
        return recent
    try:
        if workspace.datastores.is_local(output.datastore):
            found = StoredFiles(*_look(workspace, output, cache))
        else:
            store = workspace.datastores.files(output.datastore)
            found = look_at(store, output, listing_of(workspace, output), cache, afresh=afresh)
    except (OSError, AzureMLException) as error:
        if isinstance(error, AzureMLException) and error.transient:
            # That a store is busy says nothing of what is on it.
            raise
        return StoredFiles(TreeManifest([]), f"cannot be read ({error})")
    cache.remember(key, found)
    return found


def listing_of(workspace: WorkspaceHandle, output: StoredOutput) -> Listing:
    """Return the list of an output's files on a remote store.

    Without one, as for files that were taken there from a local datastore, it is made of what the output is known by.

    :raises AzureMLException: neither is kept.
    """
    if output.listing is not None:
        return load_listing(workspace.store, output.listing)
    own = load_manifest(workspace, output.digest)
    inside = output.span.inside
    named = [item._replace(path=joined(inside, item.path)) for item in own.files]
    return Listing.of(
        [ListedFile.known_as(item, None) for item in named],
        [joined(inside, path) for path in own.empty_directories],
    )


def output_of_files(
    workspace: WorkspaceHandle,
    cache: StatCache,
    *,
    name: str,
    datastore: str,
    path: str,
    type_: str,
    files: Iterable[ListedFile],
    folders: Iterable[str] = (),
    kind: str = "pipeline_data",
) -> StoredOutput:
    """Describe files that were put onto a datastore as an output that a later step reads, and remember what they are.

    Others may write there too: of the output are these files alone.

    :param cache: knows the hashes of unchanged files of a local datastore.
    :param name: the output's name.
    :param path: the file or folder on the datastore.
    :param type_: ``file`` or ``directory``.
    :param files: what was written, named from the datastore's root.
    :param folders: empty folders that were written, named the same way.
    """
    group = path.rpartition("/")[0] if type_ == "file" else path
    start = len(group) + 1 if group else 0
    items = [replace(item, path=item.path[start:]) for item in files]
    empty = [folder[start:] for folder in folders]
    listing = None
    if workspace.datastores.is_local(datastore):
        root = workspace.datastores.root(datastore) / group
        tree = TreeManifest(
            [hash_file(root / item.path, cache)._replace(path=item.path) for item in items], empty
        )
    else:
        found = Listing.of(items, empty)
        listing, tree = save_listing(workspace.store, found), found.manifest
    span = Span(path[start:] if type_ == "file" else "")
    own = span.own(tree)
    output = StoredOutput(
        name=name,
        kind=kind,
        datastore=datastore,
        path=path,
        type=type_,
        digest=content_digest(type_, own),
        size_bytes=own.size_bytes,
        file_count=len(own.files),
        group=group,
        exclusive=False,
        listing=listing,
    )
    save_manifest(workspace, output.digest, own)
    return output


def _look(
    workspace: WorkspaceHandle, output: StoredOutput, cache: StatCache
) -> tuple[TreeManifest, str | None]:
    folder = workspace.datastores.root(output.datastore) / output.group
    if not folder.exists():
        return TreeManifest([]), None if output.type == "absent" else GONE
    if output.exclusive:
        group = hash_tree(folder, keep_empty_directories=True, cache=cache)
    else:
        group = _only_ours(workspace, output, folder, cache)
    span = output.span
    belonging = span.belonging(group)
    if span.digest(group) == output.digest:
        return belonging, None
    return belonging, GONE if output.file_count and not span.own(group).files else ALTERED


def _only_ours(
    workspace: WorkspaceHandle, output: StoredOutput, folder: Path, cache: StatCache
) -> TreeManifest:
    """Hash, at a destination that others write to as well, the files this output consists of."""
    written = load_manifest(workspace, output.digest)
    inside = output.span.inside
    names = [joined(inside, item.path) for item in written.files]
    present = [name for name in names if (folder / name).is_file()]
    files = [hash_file(folder / name, cache)._replace(path=name) for name in present]
    return TreeManifest(files, [joined(inside, path) for path in written.empty_directories])
