"""Outputs of a step: where the script writes them, what they are known by, and how they become visible.

A script writes into a staging place with the layout of the datastore (v1: ``azureml/<step run id>/<output name>``), so that text
appended to an output path lands beside the output and the next step finds it there. At commit the staged trees are hashed
and moved; a step that fails leaves its staging place behind and the datastore untouched.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from airflow_azureml.compute.files import copy_file, make_read_only, move_tree, overlay_tree, remove_tree, replace_links
from airflow_azureml.model.canonical import canonical_json, digest_of
from airflow_azureml.model.output_dataset import render_destination
from airflow_azureml.model.port_types import OutputPort
from airflow_azureml.runtime.exceptions import AzureMLException, StepFailed, UserErrorException
from airflow_azureml.workspace.handle import WorkspaceHandle
from airflow_azureml.workspace.hashing import hash_tree
from airflow_azureml.workspace.manifest import FileDigest, TreeManifest
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
    :param group: the folder that is shown to consumers whole: the output and what was written beside it.
    :param exclusive: whether nobody else writes into that folder; a fixed destination is shared with other runs.
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

    def to_document(self) -> dict[str, Any]:
        """Return the document of the output."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> StoredOutput:
        """Read a document back, ignoring fields of later versions."""
        return cls(**{name: document[name] for name in cls.__dataclass_fields__})


class OutputStaging:
    """The staging place of one step run.

    :param workspace: gives the datastores.
    :param mount: folder under which each datastore appears by name.
    :param step_run_id: replaces ``{run-id}`` and names the step's own folder on each datastore.
    :param default_datastore: datastore of outputs that name none.
    :param working_directory: the script's; a relative place of the user's choosing starts there.
    :param ports: the step's outputs.
    """

    def __init__(
        self,
        workspace: WorkspaceHandle,
        mount: Path,
        step_run_id: str,
        default_datastore: str,
        working_directory: Path,
        ports: Iterable[OutputPort],
    ) -> None:
        self._workspace = workspace
        self._mount = mount
        self._working_directory = working_directory
        self._places = [Place.of(port, step_run_id, port.datastore or default_datastore) for port in ports]
        self._manifests: dict[tuple[str, str], TreeManifest] = {}

    def prepare(self) -> dict[str, str]:
        """Make the folders that must exist before the script starts.

        :return: output name to the local path the script gets. A ``PipelineData`` path doesn't exist yet but its parent does;
            the folder of an ``OutputFileDatasetConfig`` exists, as a mount would.
        """
        paths = {}
        for place in self._places:
            self._local(place).parent.mkdir(parents=True, exist_ok=True)
            written = self._written_at(place)
            folder = written if place.kind == "file_dataset" else written.parent
            folder.mkdir(parents=True, exist_ok=True)
            paths[place.port.name] = str(written)
        return paths

    def collect(self) -> list[StoredOutput]:
        """Hash what the script wrote, once per staged tree, and keep the file lists in the workspace.

        :raises StepFailed: an output holds something that can't be kept (a link to nowhere, a socket).
        """
        for place in self._places:
            self._gather(place)
        for place in self._places:
            if place.key not in self._manifests:
                self._manifests[place.key] = self._hash(place)
        collected = []
        for place in self._places:
            manifest = self._manifests[place.key]
            output = stored_output(place, manifest)
            own, _ = split_manifest(manifest, place.inside)
            save_manifest(self._workspace, output.digest, own)
            collected.append(output)
        return collected

    def publish(self, cache: StatCache) -> None:
        """Move the staged trees to their datastores; each appears there whole.

        :param cache: remembers the hashes of the moved files, so that a later check of the result costs one stat a file.
        """
        for place in {place.key: place for place in self._places}.values():
            manifest = self._manifests[place.key]
            staged = self._mount / place.datastore / place.group
            target = self._workspace.datastores.root(place.datastore) / place.group
            if not staged.exists():
                continue
            make_read_only(staged, (item.path for item in manifest.files))
            if place.is_own:
                remove_tree(target)
                move_tree(staged, target)
            else:
                _refuse_overwriting(place, target, manifest)
                overlay_tree(staged, target)
            cache.prime(target, manifest)

    def withdraw(self) -> None:
        """Take back what :meth:`publish` moved to places of this run alone; used when the commit fails after it."""
        for place in self._places:
            if place.is_own:
                remove_tree(self._workspace.datastores.root(place.datastore) / place.group)

    def _local(self, place: Place) -> Path:
        return self._mount / place.datastore / place.path

    def _written_at(self, place: Place) -> Path:
        """Return where the script writes: the staging place, or where the user wants it."""
        chosen = place.port.path_on_compute or place.port.source
        return self._working_directory / chosen if chosen else self._local(place)

    def _gather(self, place: Place) -> None:
        """Bring what was written elsewhere, or only the files an upload asks for, into the staging place."""
        written, staged = self._written_at(place), self._local(place)
        globs = place.port.source_globs
        if written == staged and globs is None:
            return
        if not written.exists():
            return
        if written.is_file():
            copy_file(written, staged)
            return
        wanted = {path for glob in globs or ("**/*",) for path in written.glob(glob) if path.is_file()}
        if written == staged:
            for path in [path for path in staged.rglob("*") if path.is_file() and path not in wanted]:
                path.unlink()
            return
        staged.mkdir(parents=True, exist_ok=True)
        for path in wanted:
            copy_file(path, staged / path.relative_to(written))

    def _hash(self, place: Place) -> TreeManifest:
        group = self._mount / place.datastore / place.group
        if not group.exists():
            return TreeManifest([])
        try:
            replace_links(group)
            return hash_tree(group, keep_empty_directories=True)
        except (OSError, AzureMLException) as error:
            raise StepFailed(f"output {place.port.name!r} cannot be kept: {error}") from error


@dataclass(frozen=True, slots=True)
class Place:
    """Where one output goes.

    :param is_own: whether the place belongs to this step run alone, so that nobody else's files can be there.
    """

    port: OutputPort
    datastore: str
    path: str
    group: str
    is_own: bool

    @property
    def kind(self) -> str:
        """``pipeline_data`` or ``file_dataset``."""
        return self.port.kind

    @property
    def key(self) -> tuple[str, str]:
        """What is staged and moved as one tree."""
        return self.datastore, self.group

    @property
    def inside(self) -> str:
        """Path of the output inside its group; empty when it is all of it."""
        return self.path[len(self.group) :].strip("/")

    @classmethod
    def of(cls, port: OutputPort, step_run_id: str, datastore: str) -> Place:
        """Decide where the output of ``port`` goes."""
        if port.kind == "pipeline_data":
            group = f"azureml/{step_run_id}"
            return cls(port, datastore, f"{group}/{port.name}", group, is_own=True)
        path = _confined(render_destination(port.path, run_id=step_run_id, output_name=port.name), port.name)
        return cls(port, datastore, path, path, is_own=port.path is None or "{run-id}" in port.path)


def _refuse_overwriting(place: Place, target: Path, manifest: TreeManifest) -> None:
    if place.port.mode != "upload" or place.port.overwrite is not False:
        return
    present = [item.path for item in manifest.files if (target / item.path).exists()]
    if present:
        raise UserErrorException(
            f"output {place.port.name!r}: {place.datastore}/{place.path}/{present[0]} exists already; "
            "pass as_upload(overwrite=True), or put {run-id} into the destination"
        )


def _confined(path: str, name: str) -> str:
    parts = PurePosixPath(path.strip("/")).parts
    if not parts or ".." in parts or "\\" in path:
        raise UserErrorException(
            f"output {name!r}: destination {path!r} is not a folder on the datastore; "
            "give a relative path without '..'"
        )
    return "/".join(parts)


def stored_output(place: Place, manifest: TreeManifest) -> StoredOutput:
    """Describe an output from the manifest of its group."""
    own, _ = split_manifest(manifest, place.inside)
    return StoredOutput(
        name=place.port.name,
        kind=place.kind,
        datastore=place.datastore,
        path=place.path,
        type=_type_of(own, place.inside),
        digest=content_digest(manifest, place.inside),
        size_bytes=own.size_bytes,
        file_count=len(own.files),
        group=place.group,
        exclusive=place.is_own,
    )


def content_digest(manifest: TreeManifest, inside: str) -> str:
    """Return what an output is known by: its own content and what lies beside it."""
    own, beside = split_manifest(manifest, inside)
    return digest_of(
        {"type": _type_of(own, inside), "tree": own.digest, "beside": beside.digest if beside.files else None}
    )


def _type_of(own: TreeManifest, inside: str) -> str:
    if inside and len(own.files) == 1 and own.files[0].path == "":
        return "file"
    return "directory" if own.files or own.empty_directories or not inside else "absent"


def split_manifest(manifest: TreeManifest, inside: str) -> tuple[TreeManifest, TreeManifest]:
    """Split a group's manifest into the output ``inside`` it (names relative to the output) and what lies beside it.

    Beside an output counts what continues its name, such as ``preparedx.csv`` beside ``prepared``: scripts glue text onto
    output paths (v1). A file output has the empty name.
    """
    if not inside:
        return manifest, TreeManifest([])
    own = [
        item._replace(path=item.path[len(inside) + 1 :])
        for item in manifest.files
        if item.path == inside or item.path.startswith(f"{inside}/")
    ]
    folders = [
        path[len(inside) + 1 :]
        for path in manifest.empty_directories
        if path == inside or path.startswith(f"{inside}/")
    ]
    beside = [item for item in manifest.files if _continues(item, inside)]
    return TreeManifest(tuple(own), tuple(folders)), TreeManifest(tuple(beside), ())


def _continues(item: FileDigest, inside: str) -> bool:
    return item.path.startswith(inside) and item.path != inside and not item.path.startswith(f"{inside}/")


def save_manifest(workspace: WorkspaceHandle, digest: str, own: TreeManifest) -> None:
    """Keep a file list under a digest, so that differences can be named down to files."""
    # Content-addressed: whoever wrote it first wrote the same.
    if not workspace.store.exists(_manifest_key(digest)):
        workspace.store.put(_manifest_key(digest), canonical_json(own.to_document()))


def load_manifest(workspace: WorkspaceHandle, digest: str) -> TreeManifest:
    """Read the file list behind an output's digest; ``ObjectNotFound`` when it isn't kept."""
    return TreeManifest.from_document(json.loads(workspace.store.get(_manifest_key(digest)).data))


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
    nothing = TreeManifest([])
    group = workspace.datastores.root(output.datastore) / output.group
    if not group.exists():
        return nothing, None if output.type == "absent" else "is gone"
    try:
        if output.exclusive:
            manifest = hash_tree(group, keep_empty_directories=True, cache=cache)
        else:
            manifest = _only_ours(workspace, output, group, cache)
    except OSError as error:
        return nothing, f"cannot be read ({error})"
    inside = output.path[len(output.group) :].strip("/")
    own, _ = split_manifest(manifest, inside)
    belonging = TreeManifest(
        tuple(item for item in manifest.files if item.path.startswith(inside)),
        tuple(path for path in manifest.empty_directories if path.startswith(inside)),
    )
    if content_digest(manifest, inside) == output.digest:
        return belonging, None
    gone = _type_of(own, inside) == "absent"
    return belonging, "is gone" if gone else "is not what was written"


def _only_ours(workspace: WorkspaceHandle, output: StoredOutput, group: Path, cache: StatCache) -> TreeManifest:
    """Hash, at a destination that others write to as well, the files this output consists of."""
    written = load_manifest(workspace, output.digest)
    wanted = {item.path for item in written.files}
    present = hash_tree(group, keep_empty_directories=True, cache=cache)
    return TreeManifest(tuple(item for item in present.files if item.path in wanted), written.empty_directories)
