"""Inputs of a step: what they hold and what they are known by.

What a script gets to see of them is made in :mod:`airflow_azureml.compute.views`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from airflow_azureml.compute.files import FileState
from airflow_azureml.compute.outputs import StoredOutput, content_digest, stored_manifest
from airflow_azureml.model.canonical import digest_of
from airflow_azureml.model.port_types import InputPort
from airflow_azureml.reuse.action import IdentityClass, InputIdentity
from airflow_azureml.runtime.dataset.definition import pin_times
from airflow_azureml.runtime.dataset.resolve import ResolvedFile, is_single_file, resolve_files
from airflow_azureml.runtime.dataset.walking import ARRIVING
from airflow_azureml.runtime.exceptions import SnapshotException, TransientError, UserErrorException
from airflow_azureml.workspace.handle import WorkspaceHandle
from airflow_azureml.workspace.hashing import hash_file, hash_tree
from airflow_azureml.workspace.manifest import FileDigest, TreeManifest
from airflow_azureml.workspace.names import encode_name
from airflow_azureml.workspace.stat_cache import StatCache


class InputChanged(TransientError, UserErrorException):
    """Somebody changed an input while it was being looked at; another try finds it at rest."""


class InputDamaged(UserErrorException):
    """What another step wrote is gone or was altered since.

    :param input_name: the input.
    """

    input_name: str = ""

    def __init__(self, message: object = "", *, input_name: str = "") -> None:
        super().__init__(message)
        self.input_name = input_name


@dataclass(frozen=True, slots=True)
class InputTree:
    """Files of an input, as they were when their content was looked at.

    :param root: local folder that holds them, or one file.
    :param place: where the tree appears below the mount, POSIX.
    :param files: name below ``root`` and state of each file; one with an empty name when ``root`` is the file.
    :param folders: empty folders below ``root``; an empty name is ``root`` itself.
    :param is_shared: whether other steps may put other files in the place of these while the step runs.
    """

    root: Path
    place: str
    files: tuple[tuple[str, FileState], ...]
    folders: tuple[str, ...] = ()
    is_shared: bool = False

    @classmethod
    def of(
        cls,
        root: Path,
        place: str,
        names: Iterable[str],
        folders: Iterable[str] = (),
        *,
        is_shared: bool = False,
    ) -> InputTree:
        """Make a tree of files as they are now."""
        files = tuple((name, FileState.of(root / name if name else root)) for name in names)
        return cls(root, place, files, tuple(folders), is_shared)

    def path(self, name: str) -> Path:
        """Return where a file of the tree is."""
        return self.root / name if name else self.root


@dataclass(frozen=True, slots=True)
class ResolvedInput:
    """An input whose data has been found.

    :param port: the input as the step declares it.
    :param identity: what it is known by.
    :param trees: files behind it.
    :param inside: path below the mount that the script is given; for a direct dataset its id.
    :param document: what the run record says of it.
    """

    port: InputPort
    identity: InputIdentity
    trees: tuple[InputTree, ...]
    inside: str
    document: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The input's name."""
        return self.port.name


class InputResolver:
    """Finds the data behind inputs, and what it is known by.

    :param workspace: gives datastores and datasets.
    :param cache: hashes of unchanged files.
    :param converted: folder for files that have to be written before they can be read (``to_csv_files``).
    """

    def __init__(self, workspace: WorkspaceHandle, cache: StatCache, converted: Path) -> None:
        self._workspace = workspace
        self._cache = cache
        self._converted = converted

    def produced(
        self, port: InputPort, outputs: Sequence[StoredOutput], *, producer: str, is_mapped: bool
    ) -> ResolvedInput:
        """Resolve what another step wrote in this run.

        :param outputs: the producer's output; one for each instance when the producer is mapped.
        :param producer: task id of the producer, for messages.
        :param is_mapped: show the outputs of all instances as folders ``0``, ``1``, … of one input.
        :raises UserErrorException: the stored bytes are gone or were altered since.
        """
        trees: list[InputTree] = []
        files: dict[str, str] = {}
        for index, output in enumerate(outputs):
            manifest = self._written(port.name, output, producer)
            if is_mapped:
                trees.append(self._own_tree(output, manifest, f"@mapped/{port.name}/{index}"))
            else:
                trees.append(self._group_tree(output, manifest))
            files.update(_named(manifest, output, f"{index}/" if is_mapped else ""))
        digests = [output.digest for output in outputs]
        identity = digest_of(digests) if is_mapped else digests[0]
        inside = (
            f"@mapped/{port.name}" if is_mapped else f"{encode_name(outputs[0].datastore)}/{outputs[0].path}"
        )
        return ResolvedInput(
            port,
            _identity(port, identity, files, producer, tuple(digests)),
            tuple(trees),
            inside,
            {"kind": "produced", "producer": producer, "outputs": [item.to_document() for item in outputs]},
        )

    def produced_dataset(
        self, port: InputPort, definition: Mapping[str, Any], output: StoredOutput, *, producer: str
    ) -> ResolvedInput:
        """Resolve what another step wrote, read as a dataset.

        :param definition: the dataset it means, with the output's place in it.
        :raises UserErrorException: the stored bytes are gone or were altered since.
        """
        manifest = self._written(port.name, output, producer)
        document = {"kind": "produced", "producer": producer, "outputs": [output.to_document()]}
        if not output.exclusive:
            # What others put into the folder is part of what the script reads.
            found = self.dataset(port, definition)
            consumed = (output.digest, *found.identity.consumed)
            named = replace(found.identity, producer=producer, consumed=consumed)
            return replace(found, identity=named, document={**found.document, **document})
        saved = self._workspace.datasets.save(definition)
        identity = digest_of({"definition": without_places(definition), "content": output.digest})
        return ResolvedInput(
            port,
            _identity(port, identity, _named(manifest, output, ""), producer, (output.digest,)),
            (self._group_tree(output, manifest),),
            saved,
            {**document, "id": saved},
        )

    def reference(self, port: InputPort, datastore: str, path: str) -> ResolvedInput:
        """Resolve a file or folder of a datastore (v1 ``DataReference`` and ``DataPath``).

        :raises UserErrorException: there is nothing at that path, or it leaves the datastore.
        """
        inside = _confined(port.name, path)
        source = self._workspace.datastores.root(datastore) / inside
        place = f"{encode_name(datastore)}/{inside}".rstrip("/")
        if not source.exists():
            raise UserErrorException(
                f"input {port.name!r}: datastore {datastore!r} has nothing at {path!r}; upload the data or correct the path"
            )
        try:
            manifest = self._content(source)
            names = ("",) if source.is_file() else [item.path for item in manifest.files]
            tree = InputTree.of(source, place, names, manifest.empty_directories)
        except (OSError, SnapshotException) as error:
            raise UserErrorException(f"input {port.name!r} cannot be read: {error}") from error
        identity = digest_of({"type": "file" if source.is_file() else "directory", "tree": manifest.digest})
        return ResolvedInput(
            port,
            _identity(port, identity, _table(manifest.files), consumed=_as_output(manifest)),
            (tree,),
            place,
            {"kind": "reference", "datastore": datastore, "path": path},
        )

    def dataset(
        self, port: InputPort, definition: Mapping[str, Any], *, registered: Mapping[str, Any] | None = None
    ) -> ResolvedInput:
        """Resolve a dataset.

        :param definition: its definition document.
        :param registered: name and version of a registered one, for the run record.
        :raises DatasetValidationError: a path means no file, or leaves its datastore.
        """
        # "The last two days" is a time range of this run: another one is other data.
        document = pin_times(dict(definition), datetime.now(UTC))
        files = resolve_files(document, self._workspace.datastores.root, str(self._converted))
        is_direct = port.mode == "direct"
        is_file = not is_direct and is_single_file(document, files)
        trees = tuple(_tree_of_file(port.name, item) for item in files)
        manifest = TreeManifest([self._digest(Path(item.path), item.name) for item in files], [])
        saved = self._workspace.datasets.save(document)
        identity = {"definition": without_places(document), "content": manifest.digest}
        if is_file:
            # The script gets a file's path, and not a folder's with the same file in it.
            identity["type"] = "file"
        if _reads_paths(document["source"]):
            identity["paths"] = [item.origin for item in files]
        return ResolvedInput(
            port,
            _identity(port, digest_of(identity), _table(manifest.files), consumed=_as_output(manifest)),
            trees,
            saved if is_direct else f"@datasets/{port.name}" + (f"/{files[0].name}" if is_file else ""),
            {"kind": "dataset", "id": saved, **(registered or {})},
        )

    def _written(self, name: str, output: StoredOutput, producer: str) -> TreeManifest:
        manifest, problem = stored_manifest(self._workspace, output, self._cache)
        if problem:
            raise InputDamaged(
                f"input {name!r}: what {producer!r} wrote to {output.datastore}/{output.path} {problem}; its result was "
                f"set aside and will not be reused: clear {producer!r} to write it again",
                input_name=name,
            )
        return manifest

    def _group_tree(self, output: StoredOutput, manifest: TreeManifest) -> InputTree:
        root = self._workspace.datastores.root(output.datastore) / output.group
        names = [item.path for item in manifest.files]
        place = f"{encode_name(output.datastore)}/{output.group}"
        return InputTree.of(root, place, names, manifest.empty_directories, is_shared=not output.exclusive)

    def _own_tree(self, output: StoredOutput, manifest: TreeManifest, place: str) -> InputTree:
        root = self._workspace.datastores.root(output.datastore) / output.path
        own = output.span.own(manifest)
        names = [item.path for item in own.files]
        # Also of an instance that wrote nothing: its consumers count folders.
        folders = own.empty_directories if names else ("", *own.empty_directories)
        return InputTree.of(root, place, names, folders, is_shared=not output.exclusive)

    def _content(self, source: Path) -> TreeManifest:
        if source.is_file():
            return TreeManifest([self._digest(source, source.name)], [])
        found = hash_tree(source, cache=self._cache, keep_empty_directories=True)
        # What another run is about to put into its place isn't there yet.
        return TreeManifest(
            [item for item in found.files if not item.path.startswith(f"{ARRIVING}/")],
            [path for path in found.empty_directories if PurePosixPath(path).parts[0] != ARRIVING],
        )

    def _digest(self, path: Path, name: str) -> FileDigest:
        return hash_file(path, cache=self._cache)._replace(path=name)


def _identity(
    port: InputPort,
    digest: str,
    files: Mapping[str, str],
    producer: str | None = None,
    consumed: tuple[str, ...] = (),
) -> InputIdentity:
    return InputIdentity(
        name=port.name,
        mode=port.mode,
        identity_class=IdentityClass.CONTENT,
        identity=digest,
        kind=port.kind,
        path_on_compute=port.path_on_compute,
        files=files,
        producer=producer,
        consumed=consumed,
    )


def _as_output(manifest: TreeManifest) -> tuple[str, ...]:
    """Return what outputs with this content are known by: whoever wrote them, in this pipeline or another one."""
    found = (content_digest("directory", manifest),)
    if len(manifest.files) != 1:
        return found
    return (*found, content_digest("file", TreeManifest([manifest.files[0]._replace(path="")])))


def without_places(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dataset definition without where its files lie: their names and bytes are known by content."""
    source = {key: value for key, value in definition["source"].items() if key != "paths"}
    if "tabular" in source:
        # Files that are made of a table: the table has places of its own.
        source["tabular"] = without_places(source["tabular"])
    return {**definition, "source": source}


def _reads_paths(source: Mapping[str, Any]) -> bool:
    """Whether a dataset makes columns out of the paths of its files, so that they are part of its data."""
    return bool(source.get("partition_format") or source.get("include_path"))


def _confined(name: str, path: str) -> str:
    parts = PurePosixPath(path.strip("/")).parts
    if ".." in parts or "\0" in path:
        raise UserErrorException(f"input {name!r}: path {path!r} leaves the datastore; give a path inside it")
    return "/".join(parts)


def _table(files: Iterable[FileDigest]) -> dict[str, str]:
    return {item.path: item.sha256 for item in files}


def _named(manifest: TreeManifest, output: StoredOutput, prefix: str) -> dict[str, str]:
    """Return ``name -> sha256`` as people know the files: below the output; the output's own name for a file."""
    span = output.span
    names = {
        item.path: (span.below(item.path) or item.path) if span.is_own(item.path) else item.path
        for item in manifest.files
    }
    return {prefix + names[item.path]: item.sha256 for item in manifest.files}


def _tree_of_file(name: str, item: ResolvedFile) -> InputTree:
    return InputTree.of(Path(item.path), f"@datasets/{name}/{item.name}", ("",))
