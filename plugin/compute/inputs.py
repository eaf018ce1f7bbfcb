"""Inputs of a step: what they hold, what they are known by, and how the script gets to see them.

A *mounted* input is a view made of links: folders are the step's own, files are the stored ones, read-only. A *downloaded* input
is a private copy. A *direct* input is a dataset id that the run context opens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_azureml.compute.files import LinkedFile, copy_file, link_file
from airflow_azureml.compute.outputs import StoredOutput, stored_manifest
from airflow_azureml.model.canonical import digest_of
from airflow_azureml.model.port_types import InputPort
from airflow_azureml.reuse.action import IdentityClass, InputIdentity
from airflow_azureml.runtime.dataset.resolve import ResolvedFile, is_single_file, resolve_files
from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.workspace.handle import WorkspaceHandle
from airflow_azureml.workspace.hashing import hash_file, hash_tree
from airflow_azureml.workspace.manifest import FileDigest, TreeManifest
from airflow_azureml.workspace.stat_cache import StatCache


@dataclass(frozen=True, slots=True)
class InputTree:
    """Files to show to a script.

    :param root: local folder that holds them, or one file.
    :param place: where the tree appears below the mount, POSIX; the same for producer and consumer.
    :param names: file names below ``root``; one empty name when ``root`` is the file.
    :param folders: empty folders below ``root``.
    """

    root: Path
    place: str
    names: tuple[str, ...]
    folders: tuple[str, ...] = ()


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
    """

    def __init__(self, workspace: WorkspaceHandle, cache: StatCache) -> None:
        self._workspace = workspace
        self._cache = cache

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
            place = f"mapped/{port.name}/{index}" if is_mapped else None
            trees.append(self._tree_of(output, manifest, place))
            files.update(_named(manifest, output, f"{index}/" if is_mapped else ""))
        digests = [output.digest for output in outputs]
        identity = digest_of(digests) if is_mapped else digests[0]
        inside = f"mapped/{port.name}" if is_mapped else f"{outputs[0].datastore}/{outputs[0].path}"
        return ResolvedInput(
            port,
            InputIdentity(port.name, port.mode, IdentityClass.CONTENT, identity, files, producer),
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
        saved = self._workspace.datasets.save(definition)
        identity = digest_of({"definition": without_places(definition), "content": output.digest})
        return ResolvedInput(
            port,
            InputIdentity(
                port.name, port.mode, IdentityClass.CONTENT, identity, _named(manifest, output, ""), producer
            ),
            (),
            saved,
            {"kind": "produced", "producer": producer, "id": saved, "outputs": [output.to_document()]},
        )

    def reference(self, port: InputPort, datastore: str, path: str) -> ResolvedInput:
        """Resolve a file or folder of a datastore (v1 ``DataReference`` and ``DataPath``).

        :raises UserErrorException: there is nothing at that path.
        """
        source = self._workspace.datastores.root(datastore) / path
        place = f"{datastore}/{path}".rstrip("/")
        if source.is_file():
            manifest = TreeManifest([self._digest(source, source.name)], [])
            tree = InputTree(source, place, ("",))
        elif source.is_dir():
            manifest = hash_tree(source, cache=self._cache, keep_empty_directories=True)
            names = tuple(item.path for item in manifest.files)
            tree = InputTree(source, place, names, tuple(manifest.empty_directories))
        else:
            raise UserErrorException(
                f"input {port.name!r}: datastore {datastore!r} has nothing at {path!r}; upload the data or correct the path"
            )
        identity = digest_of({"type": "file" if source.is_file() else "directory", "tree": manifest.digest})
        return ResolvedInput(
            port,
            InputIdentity(port.name, port.mode, IdentityClass.CONTENT, identity, _table(manifest.files)),
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
        document = dict(definition)
        files = resolve_files(document, self._workspace.datastores.root)
        manifest = TreeManifest([self._digest(Path(item.path), item.name) for item in files], [])
        identity = digest_of({"definition": without_places(definition), "content": manifest.digest})
        saved = self._workspace.datasets.save(definition)
        is_direct = port.mode == "direct"
        return ResolvedInput(
            port,
            InputIdentity(port.name, port.mode, IdentityClass.CONTENT, identity, _table(manifest.files)),
            () if is_direct else tuple(_tree_of_file(port.name, item) for item in files),
            saved if is_direct else _inside(port.name, document, files),
            {"kind": "dataset", "id": saved, **(registered or {})},
        )

    def _written(self, name: str, output: StoredOutput, producer: str) -> TreeManifest:
        manifest, problem = stored_manifest(self._workspace, output, self._cache)
        if problem:
            raise UserErrorException(
                f"input {name!r}: what {producer!r} wrote to {output.datastore}/{output.path} {problem}; "
                f"clear {producer!r} to write it again"
            )
        return manifest

    def _tree_of(self, output: StoredOutput, manifest: TreeManifest, place: str | None) -> InputTree:
        root = self._workspace.datastores.root(output.datastore)
        names = tuple(item.path for item in manifest.files)
        folders = tuple(manifest.empty_directories)
        if place is None:
            return InputTree(root / output.group, f"{output.datastore}/{output.group}", names, folders)
        own = tuple(_below(name, output) for name in names if _is_below(name, output))
        return InputTree(root / output.path, place, own)

    def _digest(self, path: Path, name: str) -> FileDigest:
        return hash_file(path, cache=self._cache)._replace(path=name)


def without_places(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dataset definition without where its files lie: their names and bytes are known by content."""
    source = {key: value for key, value in definition["source"].items() if key != "paths"}
    return {**definition, "source": source}


def _table(files: Iterable[FileDigest]) -> dict[str, str]:
    return {item.path: item.sha256 for item in files}


def _inside_group(output: StoredOutput) -> str:
    return output.path[len(output.group) :].strip("/")


def _is_below(name: str, output: StoredOutput) -> bool:
    inside = _inside_group(output)
    return not inside or name == inside or name.startswith(f"{inside}/")


def _below(name: str, output: StoredOutput) -> str:
    return name[len(_inside_group(output)) :].strip("/")


def _named(manifest: TreeManifest, output: StoredOutput, prefix: str) -> dict[str, str]:
    """Return ``name -> sha256`` as people know the files: below the output; the output's own name for a file."""
    return {
        prefix + (_below(item.path, output) or item.path if _is_below(item.path, output) else item.path): item.sha256
        for item in manifest.files
    }


def _tree_of_file(name: str, item: ResolvedFile) -> InputTree:
    return InputTree(Path(item.path), f"datasets/{name}/{item.name}", ("",))


def _inside(name: str, definition: dict[str, Any], files: list[ResolvedFile]) -> str:
    """Return where a dataset appears: a folder, or the file itself when the dataset is one file (v1)."""
    return f"datasets/{name}/{files[0].name}" if is_single_file(definition, files) else f"datasets/{name}"


class InputViews:
    """Shows inputs to a script, and notices when the script changed what it was only shown.

    :param mount: folder under which mounted datastores and datasets appear.
    :param downloads: folder under which downloaded ones appear, with the same layout.
    :param working_directory: what a relative ``path_on_compute`` is relative to.
    """

    def __init__(self, mount: Path, downloads: Path, working_directory: Path) -> None:
        self._roots = {"mount": mount, "download": downloads}
        self._working_directory = working_directory
        self._links: list[LinkedFile] = []

    def lay_out(self, item: ResolvedInput) -> str:
        """Lay out one input and return what the script is given: a local path, or the id of a direct dataset."""
        mode = item.port.mode
        if mode == "direct":
            return item.inside
        for tree in item.trees:
            self._lay_out_tree(tree, mode)
        local = self._roots[mode] / item.inside
        if not local.exists():
            # A declared output that was never written: its consumer starts all the same (v1).
            local.mkdir(parents=True)
        return str(self._placed(local, item.port))

    def altered(self) -> list[Path]:
        """Return the stored files that changed while the script ran."""
        return [link.source for link in self._links if not link.is_unchanged()]

    def _lay_out_tree(self, tree: InputTree, mode: str) -> None:
        target = self._roots[mode] / tree.place
        for folder in tree.folders:
            (target / folder).mkdir(parents=True, exist_ok=True)
        for name in tree.names:
            source, shown = (tree.root / name, target / name) if name else (tree.root, target)
            if shown.exists():
                # The same data under two input names: one view serves both.
                continue
            if mode == "download":
                copy_file(source, shown)
            else:
                self._links.append(link_file(source, shown))

    def _placed(self, local: Path, port: InputPort) -> Path:
        """Make an input appear where the user wants it, too."""
        if port.path_on_compute is None:
            return local
        place = self._working_directory / port.path_on_compute
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_symlink() or (place.exists() and port.overwrite):
            place.unlink()
        elif place.exists():
            raise UserErrorException(
                f"input {port.name!r}: path_on_compute {port.path_on_compute!r} exists already; "
                "choose another path or pass overwrite=True"
            )
        place.symlink_to(local)
        return place
