"""Inputs of a step: what they hold and what they are known by.

What a script gets to see of them is made in :mod:`airflow_azureml.compute.views`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from airflow_azureml.compute.input_digests import InputDigests
from airflow_azureml.compute.input_identity import (
    as_output,
    class_of,
    digest_table,
    identity_of,
    named_files,
    reads_paths,
    without_places,
)
from airflow_azureml.compute.input_trees import (
    InputTree,
    RemoteDataset,
    RemoteTree,
    Tell,
    Tree,
    dataset_tree,
    output_tree,
)
from airflow_azureml.compute.output_checks import UNKNOWN
from airflow_azureml.compute.outputs import StoredOutput, stored_files
from airflow_azureml.compute.remote_outputs import StoredFiles
from airflow_azureml.compute.stored_tables import TABLE_TYPES, table_problem
from airflow_azureml.model.canonical import digest_of
from airflow_azureml.model.port_types import InputPort
from airflow_azureml.reuse.action import IdentityClass, InputIdentity
from airflow_azureml.runtime.dataset.definition import pin_times
from airflow_azureml.runtime.dataset.places import ResolvedFile
from airflow_azureml.runtime.dataset.resolve import is_single_file
from airflow_azureml.runtime.dataset.walking import ARRIVING
from airflow_azureml.runtime.exceptions import SnapshotException, TransientError, UserErrorException
from airflow_azureml.storage.files import FileInfo
from airflow_azureml.workspace.dataset_content import DatasetContent, saved_content
from airflow_azureml.workspace.dataset_files import DatasetFiles
from airflow_azureml.workspace.hashing import hash_file, hash_tree
from airflow_azureml.workspace.manifest import TreeManifest
from airflow_azureml.workspace.names import encode_name

if TYPE_CHECKING:
    from airflow_azureml.storage.files import FileStore
    from airflow_azureml.workspace.data_cache import DataCache
    from airflow_azureml.workspace.handle import WorkspaceHandle
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
    trees: tuple[Tree, ...]
    inside: str
    document: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The input's name."""
        return self.port.name

    def fetched(self, tell: Tell) -> ResolvedInput:
        """Return the input with its files on this machine; those of a dataset that the script opens stay where they are.

        :param tell: is told what is downloaded.
        :raises FileChanged: a file is not the one that was looked at any more.
        """
        if self.port.mode == "direct":
            return replace(self, trees=tuple(tree for tree in self.trees if isinstance(tree, InputTree)))
        return replace(self, trees=tuple(tree.fetched(tell) for tree in self.trees))

    def pin(self, datasets: DatasetFiles) -> None:
        """Let a script that opens the dataset itself find the files that were looked at.

        :param datasets: what answers the script.
        """
        for tree in self.trees:
            if self.port.mode == "direct" and isinstance(tree, RemoteDataset):
                datasets.pin(tree.definition, tree.files)


class InputResolver:
    """Finds the data behind inputs, and what it is known by.

    :param workspace: gives datastores and datasets.
    :param cache: hashes of unchanged files.
    :param data: files of remote datastores on this machine.
    :param converted: folder for files that have to be written before they can be read (``to_csv_files``).
    :param minimum: how well remote files have to be known; asking for their content means reading them.
    :param only: tells of a file below a referred folder whether it is read; all are for None.
    """

    def __init__(
        self,
        workspace: WorkspaceHandle,
        cache: StatCache,
        data: DataCache,
        converted: Path,
        minimum: IdentityClass = IdentityClass.ETAG,
        only: Callable[[str], bool] | None = None,
    ) -> None:
        self._workspace = workspace
        self._cache = cache
        self._data = data
        self._only = only
        self._datasets = DatasetFiles(workspace.datastores, data, converted)
        self._digests = InputDigests(workspace, cache, self._datasets, minimum)

    def produced(
        self, port: InputPort, outputs: Sequence[StoredOutput], *, producer: str, is_mapped: bool
    ) -> ResolvedInput:
        """Resolve what another step wrote in this run.

        :param outputs: the producer's output; one for each instance when the producer is mapped.
        :param producer: task id of the producer, for messages.
        :param is_mapped: show the outputs of all instances as folders ``0``, ``1``, … of one input.
        :raises UserErrorException: the stored bytes are gone or were altered since.
        """
        if any(output.type in TABLE_TYPES for output in outputs):
            return self._tables(port, outputs, producer)
        trees: list[Tree] = []
        files: dict[str, str] = {}
        for index, output in enumerate(outputs):
            stored = self._written(port.name, output, producer)
            if is_mapped:
                trees.append(self._own_tree(output, stored, f"@mapped/{port.name}/{index}"))
            else:
                trees.append(self._group_tree(output, stored))
            files.update(named_files(stored.manifest, output, f"{index}/" if is_mapped else ""))
        digests = [output.digest for output in outputs]
        identity = digest_of(digests) if is_mapped else digests[0]
        inside = (
            f"@mapped/{port.name}" if is_mapped else f"{encode_name(outputs[0].datastore)}/{outputs[0].path}"
        )
        return ResolvedInput(
            port,
            identity_of(port, identity, files, producer, tuple(digests)),
            tuple(trees),
            inside,
            {"kind": "produced", "producer": producer, "outputs": [item.to_document() for item in outputs]},
        )

    def _tables(self, port: InputPort, outputs: Sequence[StoredOutput], producer: str) -> ResolvedInput:
        """Resolve tables that a transfer has written: a script finds an empty folder, and runs after the transfer."""
        for output in outputs:
            problem = table_problem(self._workspace, output)
            if problem:
                raise InputDamaged(
                    f"input {port.name!r}: table {output.path} on datastore {output.datastore!r}, which {producer!r} wrote, "
                    f"{problem}; clear {producer!r} to write it again",
                    input_name=port.name,
                )
        digests = tuple(output.digest for output in outputs)
        document = {
            "kind": "produced",
            "producer": producer,
            "outputs": [item.to_document() for item in outputs],
        }
        identity = identity_of(port, digest_of(list(digests)), {}, producer, digests)
        return ResolvedInput(port, identity, (), f"@tables/{port.name}", document)

    def produced_dataset(
        self, port: InputPort, definition: Mapping[str, Any], output: StoredOutput, *, producer: str
    ) -> ResolvedInput:
        """Resolve what another step wrote, read as a dataset.

        :param definition: the dataset it means, with the output's place in it.
        :raises UserErrorException: the stored bytes are gone or were altered since.
        """
        stored = self._written(port.name, output, producer)
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
            identity_of(port, identity, named_files(stored.manifest, output, ""), producer, (output.digest,)),
            (self._group_tree(output, stored),),
            saved,
            {**document, "id": saved},
        )

    def reference(self, port: InputPort, datastore: str, path: str) -> ResolvedInput:
        """Resolve a file or folder of a datastore (v1 ``DataReference`` and ``DataPath``).

        :raises UserErrorException: there is nothing at that path, or it leaves the datastore.
        """
        inside = _confined(port.name, path)
        place = f"{encode_name(datastore)}/{inside}".rstrip("/")
        document = {"kind": "reference", "datastore": datastore, "path": path}
        store = self._workspace.datastores.files(datastore)
        folder = store.local_root
        found = self._local(port, folder / inside, place) if folder is not None else None
        if folder is None:
            found = self._remote(port, store, inside, place)
        if found is None:
            raise UserErrorException(
                f"input {port.name!r}: datastore {datastore!r} has nothing at {path!r}; upload the data or correct the path"
            )
        return ResolvedInput(port, found[0], (found[1],), place, document)

    def dataset(
        self,
        port: InputPort,
        definition: Mapping[str, Any],
        *,
        registered: Mapping[str, Any] | None = None,
        fingerprint: str | None = None,
    ) -> ResolvedInput:
        """Resolve a dataset.

        :param definition: its definition document.
        :param registered: name and version of a registered one, for the run record.
        :param fingerprint: what the data was known by when that version was registered; the document says ``changed`` when it is
            other data now.
        :raises DatasetValidationError: a path means no file, or leaves its datastore.
        """
        # "The last two days" is a time range of this run: another one is other data.
        document = pin_times(dict(definition), datetime.now(UTC))
        files = self._datasets.list_files(document)
        is_direct = port.mode == "direct"
        is_file = not is_direct and is_single_file(document, files)
        manifest = TreeManifest([self._digests.of_dataset(item) for item in files], [])
        saved = self._workspace.datasets.save(document)
        identity = {"definition": without_places(document), "content": manifest.digest}
        if is_file:
            # The script gets a file's path, and not a folder's with the same file in it.
            identity["type"] = "file"
        if reads_paths(document["source"]):
            identity["paths"] = [item.origin for item in files]
        known = class_of(manifest)
        consumed = as_output(manifest) if known is IdentityClass.CONTENT else ()
        return ResolvedInput(
            port,
            identity_of(
                port, digest_of(identity), digest_table(manifest.files), consumed=consumed, known=known
            ),
            (self._dataset_tree(f"@datasets/{port.name}", files, document),),
            saved if is_direct else f"@datasets/{port.name}" + (f"/{files[0].name}" if is_file else ""),
            {
                "kind": "dataset",
                "id": saved,
                **(registered or {}),
                **({"changed": True} if self._differs(files, fingerprint) else {}),
            },
        )

    def _differs(self, files: Sequence[ResolvedFile], fingerprint: str | None) -> bool:
        """Whether a version's files are others than those that were written down when it was registered."""
        if saved_content(self._workspace.store, fingerprint) is None:
            return False
        now = DatasetContent.of(files, lambda path: hash_file(path, cache=self._cache).sha256)
        return now.digest != fingerprint

    def _local(self, port: InputPort, source: Path, place: str) -> tuple[InputIdentity, Tree] | None:
        if not source.exists():
            return None
        try:
            manifest = self._content(source)
            if source.is_dir():
                read = [item for item in manifest.files if self._reads(item.path)]
                manifest = TreeManifest(read, manifest.empty_directories)
            names = ("",) if source.is_file() else [item.path for item in manifest.files]
            tree = InputTree.of(source, place, names, manifest.empty_directories)
        except (OSError, SnapshotException) as error:
            raise UserErrorException(f"input {port.name!r} cannot be read: {error}") from error
        return self._referenced(port, manifest, is_file=source.is_file()), tree

    def _remote(
        self, port: InputPort, store: FileStore, inside: str, place: str
    ) -> tuple[InputIdentity, Tree] | None:
        one = store.stat(inside) if inside else None
        if one is not None:
            manifest = TreeManifest([self._digests.remote(store, one, PurePosixPath(inside).name)], [])
            tree = RemoteTree(place, store, self._data, (("", one),))
            return self._referenced(port, manifest, is_file=True), tree
        if inside and not store.is_folder(inside):
            return None
        named = ((info.path[len(inside) :].lstrip("/"), info) for info in store.walk(inside))
        listed = [(name, info) for name, info in named if self._reads(name)]
        folders = tuple(path[len(inside) :].lstrip("/") for path in store.empty_folders(inside))
        files = [self._digests.remote(store, info, name) for name, info in listed]
        manifest = TreeManifest(files, list(folders))
        return self._referenced(port, manifest, is_file=False), RemoteTree(
            place, store, self._data, tuple(listed), folders
        )

    def _reads(self, name: str) -> bool:
        return self._only is None or self._only(name)

    def _referenced(self, port: InputPort, manifest: TreeManifest, *, is_file: bool) -> InputIdentity:
        identity = digest_of({"type": "file" if is_file else "directory", "tree": manifest.digest})
        known = class_of(manifest)
        consumed = as_output(manifest) if known is IdentityClass.CONTENT else ()
        return identity_of(port, identity, digest_table(manifest.files), consumed=consumed, known=known)

    def _dataset_tree(self, place: str, files: Sequence[ResolvedFile], document: dict[str, Any]) -> Tree:
        if any(item.remote is not None for item in files):
            return RemoteDataset(place, self._datasets, tuple(files), document)
        return dataset_tree(place, files)

    def _written(self, name: str, output: StoredOutput, producer: str) -> StoredFiles:
        found = stored_files(self._workspace, output, self._cache)
        if found.problem and found.problem.startswith(UNKNOWN):
            # Nobody could look: the result itself may be as it was.
            raise UserErrorException(
                f"input {name!r}: what {producer!r} wrote to {output.datastore}/{output.path} {found.problem}; "
                "see that the datastore can be read, then clear this task"
            )
        if found.problem:
            raise InputDamaged(
                f"input {name!r}: what {producer!r} wrote to {output.datastore}/{output.path} {found.problem}; its result was "
                f"set aside and will not be reused: clear {producer!r} to write it again",
                input_name=name,
            )
        return found

    def _group_tree(self, output: StoredOutput, stored: StoredFiles) -> Tree:
        place = f"{encode_name(output.datastore)}/{output.group}".rstrip("/")
        names = [item.path for item in stored.manifest.files]
        return output_tree(output, place, stored.manifest, self._where(output, output.group, stored, names))

    def _own_tree(self, output: StoredOutput, stored: StoredFiles, place: str) -> Tree:
        own = output.span.own(stored.manifest)
        names = [item.path for item in stored.manifest.files if output.span.is_own(item.path)]
        # Also of an instance that wrote nothing: its consumers count folders.
        folders = own.empty_directories if names else ("", *own.empty_directories)
        where = self._where(output, output.path, stored, names)
        return output_tree(output, place, own, where, folders=folders)

    def _where(
        self, output: StoredOutput, path: str, stored: StoredFiles, names: Iterable[str]
    ) -> Path | tuple[FileStore, DataCache, Sequence[FileInfo]]:
        """Return where files of an output are: the folder, or the store and the files."""
        store = self._workspace.datastores.files(output.datastore)
        if store.local_root is not None:
            return store.local_root / path
        return store, self._data, [stored.files[name] for name in names]

    def _content(self, source: Path) -> TreeManifest:
        if source.is_file():
            return TreeManifest([self._digests.local(source, source.name)], [])
        found = hash_tree(source, cache=self._cache, keep_empty_directories=True)
        # What another run is about to put into its place isn't there yet.
        return TreeManifest(
            [item for item in found.files if not item.path.startswith(f"{ARRIVING}/")],
            [path for path in found.empty_directories if PurePosixPath(path).parts[0] != ARRIVING],
        )


def _confined(name: str, path: str) -> str:
    parts = PurePosixPath(path.strip("/")).parts
    if ".." in parts or "\0" in path:
        raise UserErrorException(f"input {name!r}: path {path!r} leaves the datastore; give a path inside it")
    return "/".join(parts)
