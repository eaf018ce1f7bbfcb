"""Outputs while a step runs: where the script writes them, and how they become visible at its commit.

A script writes into a staging place with the layout of the datastore (v1: ``azureml/<step run id>/<output name>``), so that text
appended to an output path lands beside the output and the next step finds it there. At commit the staged trees are hashed
and moved, or uploaded; a step that fails leaves its staging place behind and the datastore untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from airflow_azureml.compute.destinations import (
    Destination,
    OwnFolder,
    OwnRemoteFolder,
    SharedFolder,
    SharedRemoteFolder,
)
from airflow_azureml.compute.files import copy_file
from airflow_azureml.compute.listings import ListedFile, Listing, save_listing
from airflow_azureml.compute.outputs import Span, StoredOutput, save_manifest
from airflow_azureml.compute.seeding import keep_copies
from airflow_azureml.compute.settling import settle_tree
from airflow_azureml.model.output_dataset import render_destination
from airflow_azureml.model.port_types import OutputPort
from airflow_azureml.runtime.exceptions import AzureMLException, StepFailed, UserErrorException
from airflow_azureml.storage.files import FileInfo
from airflow_azureml.workspace.data_cache import DataCache
from airflow_azureml.workspace.handle import WorkspaceHandle
from airflow_azureml.workspace.hashing import hash_tree
from airflow_azureml.workspace.manifest import TreeManifest
from airflow_azureml.workspace.names import encode_name
from airflow_azureml.workspace.stat_cache import StatCache


@dataclass(frozen=True, slots=True)
class Place:
    """Where one output goes.

    :param port: the output.
    :param datastore: name of its datastore.
    :param path: path on it.
    :param group: the folder that is staged and moved as one tree.
    :param is_own: whether the group belongs to this step run alone, so that nobody else's files can be there.
    :param run_id: the step run.
    :param siblings: see :class:`airflow_azureml.compute.outputs.StoredOutput`.
    """

    port: OutputPort
    datastore: str
    path: str
    group: str
    is_own: bool
    run_id: str
    siblings: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Names the group among all datastores."""
        return self.datastore, self.group

    @property
    def staged(self) -> str:
        """Where the group is staged: its datastore, by a name that is fit for a folder, and its path there."""
        return f"{encode_name(self.datastore)}/{self.group}"

    @property
    def inside(self) -> str:
        """Path of the output in its group; empty when it is all of it."""
        return self.path[len(self.group) :].strip("/")

    def stored(self, group: TreeManifest) -> StoredOutput:
        """Describe the output from the manifest of its group."""
        span = Span(self.inside, self.siblings)
        own = span.own(group)
        return StoredOutput(
            name=self.port.name,
            kind=self.port.kind,
            datastore=self.datastore,
            path=self.path,
            type=span.type_of(own),
            digest=span.digest(group),
            size_bytes=own.size_bytes,
            file_count=len(own.files),
            group=self.group,
            exclusive=self.is_own,
            siblings=self.siblings,
        )


def find_places(ports: Iterable[OutputPort], step_run_id: str, default_datastore: str) -> list[Place]:
    """Decide where the outputs of a step run go.

    :raises UserErrorException: a destination is no folder on the datastore, or lies in that of another output.
    """
    places = [_place_of(port, step_run_id, port.datastore or default_datastore) for port in ports]
    for one in places:
        for other in places:
            if one.datastore == other.datastore and other.group.startswith(f"{one.group}/"):
                raise UserErrorException(
                    f"output {other.port.name!r}: its destination {other.path!r} lies in {one.group!r}, "
                    f"that of output {one.port.name!r}; give them separate folders"
                )
    return [_with_siblings(place, places) for place in places]


def _place_of(port: OutputPort, step_run_id: str, datastore: str) -> Place:
    if port.kind == "pipeline_data":
        path = f"azureml/{step_run_id}/{port.name}"
    else:
        path = _confined(render_destination(port.path, run_id=step_run_id, output_name=port.name), port.name)
    parts = path.split("/")
    if step_run_id in parts:
        # The folder named for the run: what a script writes beside its outputs is in it too.
        group = "/".join(parts[: parts.index(step_run_id) + 1])
        return Place(port, datastore, path, group, True, step_run_id)
    return Place(port, datastore, path, path, step_run_id in path, step_run_id)


def _with_siblings(place: Place, places: Iterable[Place]) -> Place:
    siblings = {
        other.inside
        for other in places
        if place.inside and other.key == place.key and Span(place.inside).is_beside(other.inside)
    }
    return replace(place, siblings=tuple(sorted(siblings)))


def _confined(path: str, name: str) -> str:
    parts = PurePosixPath(path.strip("/")).parts
    if not parts or ".." in parts or not path.isprintable() or "\\" in path:
        raise UserErrorException(
            f"output {name!r}: destination {path!r} is not a folder on the datastore; "
            "give a relative path without '..'"
        )
    return "/".join(parts)


class OutputStaging:
    """The staging place of one step run.

    :param workspace: gives the datastores.
    :param folder: folder under which the staged part of each datastore appears by name.
    :param working_directory: the script's; a relative place of the user's choosing starts there.
    :param places: where the step's outputs go.
    :param data: files of remote datastores on this machine; gets copies of what is uploaded, for the steps that read it.
    """

    def __init__(
        self,
        workspace: WorkspaceHandle,
        folder: Path,
        working_directory: Path,
        places: Iterable[Place],
        data: DataCache | None = None,
    ) -> None:
        self._workspace = workspace
        self._folder = folder
        self._working_directory = working_directory
        self._places = list(places)
        self._data = data
        self._manifests: dict[tuple[str, str], TreeManifest] = {}
        self._collected: list[StoredOutput] = []
        self._laid: list[Destination] = []

    def prepare(self) -> dict[str, str]:
        """Make the folders that must exist before the script starts.

        :return: output name to the local path the script gets. A ``PipelineData`` path doesn't exist yet but its parent does;
            the folder of an ``OutputFileDatasetConfig`` exists, as a mount would.
        :raises UserErrorException: a datastore isn't known, holds no files, or its connection lacks something.
        """
        # Before the script works for hours for a datastore that can't be opened.
        for _ in self._groups(StatCache(None)):
            continue
        paths = {}
        for place in self._places:
            self._staged(place).parent.mkdir(parents=True, exist_ok=True)
            written = self._written(place)
            folder = written if place.port.kind == "file_dataset" else written.parent
            folder.mkdir(parents=True, exist_ok=True)
            paths[place.port.name] = str(written)
        return paths

    def collect(self) -> list[StoredOutput]:
        """Hash what the script wrote, once per group, and keep the file lists in the workspace.

        :raises StepFailed: an output holds something that can't be kept, such as a link to nowhere.
        """
        for place in self._places:
            try:
                self._gather(place)
            except (OSError, AzureMLException) as error:
                raise StepFailed(f"output {place.port.name!r} cannot be kept: {error}") from error
        for place in self._places:
            if place.key not in self._manifests:
                self._manifests[place.key] = self._hash(place)
            group = self._manifests[place.key]
            output = place.stored(group)
            save_manifest(self._workspace, output.digest, output.span.own(group))
            self._collected.append(output)
        return list(self._collected)

    def publish(self, cache: StatCache) -> list[StoredOutput]:
        """Bring the staged trees to their datastores; each appears on a local one whole, on another one file by file.

        To be followed by :meth:`keep` or :meth:`withdraw`.

        :param cache: remembers the hashes of the moved files, so that a later look at the result costs one stat a file.
        :return: the outputs; those on remote stores know now which versions of files they consist of.
        :raises UserErrorException: a file is there already and may not be replaced.
        :raises StoreError: a store doesn't take a file.
        """
        arrived: dict[tuple[str, str], Mapping[str, FileInfo]] = {}
        for place, destination in self._groups(cache):
            staged = self._folder / place.staged
            if not staged.exists():
                continue
            destination.hold(self._laid)
            self._laid.append(destination)
            self._refuse_overwriting(place, destination)
            arrived[place.key] = files = destination.lay(staged, self._manifests[place.key])
            if files and self._data is not None:
                keep_copies(self._data, self._workspace.datastores.files(place.datastore), staged, files)
        return [
            self._listed(output, self._manifests[place.key], arrived.get(place.key, {}))
            for place, output in zip(self._places, self._collected, strict=True)
        ]

    def keep(self) -> None:
        """Let what was published stand; it can't be taken back afterwards."""
        while self._laid:
            self._laid.pop().keep()

    def withdraw(self) -> None:
        """Take back what :meth:`publish` made visible; used when the commit fails after it.

        :raises AzureMLException: some of it is still there; all of it was tried.
        """
        self._each([destination.undo for destination in reversed(self._laid)])
        self._laid.clear()

    def clear(self) -> None:
        """Remove what a step run that never committed may have left at its places.

        :raises AzureMLException: some of it is still there; all of it was tried.
        """
        self._each([destination.clear for _, destination in self._groups(StatCache(None))])

    def _each(self, acts: Iterable[Callable[[], None]]) -> None:
        trouble: list[AzureMLException | OSError] = []
        for act in acts:
            try:
                act()
            except (AzureMLException, OSError) as error:
                trouble.append(error)
        if trouble:
            raise trouble[0]

    def _listed(
        self, output: StoredOutput, group: TreeManifest, files: Mapping[str, FileInfo]
    ) -> StoredOutput:
        """Return an output with the list of its files, when it is on a remote store."""
        if self._workspace.datastores.is_local(output.datastore):
            return output
        belonging = output.span.belonging(group)
        listing = Listing.of(
            [ListedFile.known_as(item, files[item.path].version) for item in belonging.files],
            belonging.empty_directories,
        )
        return replace(output, listing=save_listing(self._workspace.store, listing))

    def _groups(self, cache: StatCache) -> Iterator[tuple[Place, Destination]]:
        """Yield each group once: a place in it, and where it goes.

        Always in the same order, so that two steps that hold shared folders of several datastores don't wait for each other.
        """
        for _, place in sorted({place.key: place for place in self._places}.items()):
            yield place, self._destination(place, cache)

    def _destination(self, place: Place, cache: StatCache) -> Destination:
        datastores = self._workspace.datastores
        if datastores.is_local(place.datastore):
            root = datastores.root(place.datastore)
            if place.is_own:
                return OwnFolder(root / place.group, cache)
            return SharedFolder(root, place.group, cache)
        store = datastores.files(place.datastore)
        if place.is_own:
            return OwnRemoteFolder(store, place.group)
        return SharedRemoteFolder(store, place.group, place.run_id)

    def _refuse_overwriting(self, place: Place, destination: Destination) -> None:
        for other in self._places:
            if other.key == place.key and other.port.mode == "upload" and other.port.overwrite is False:
                present = destination.present([item.path for item in self._manifests[place.key].files])
                if present:
                    raise UserErrorException(
                        f"output {other.port.name!r}: {other.datastore}/{other.path}/{present[0]} exists already; "
                        "pass as_upload(overwrite=True), or put {run-id} into the destination"
                    )

    def _staged(self, place: Place) -> Path:
        return self._folder / place.staged / place.inside

    def _written(self, place: Place) -> Path:
        """Return where the script writes: the staging place, or where the user wants it."""
        chosen = place.port.path_on_compute or place.port.source
        return self._working_directory / chosen if chosen else self._staged(place)

    def _gather(self, place: Place) -> None:
        """Bring what was written elsewhere, or only the files an upload asks for, into the staging place."""
        written, staged = self._written(place), self._staged(place)
        globs = place.port.source_globs
        if not written.exists():
            return
        if written == staged:
            if globs is not None and written.is_dir():
                _keep_only(written, _matching(written, globs))
        elif written.is_file():
            copy_file(written, staged)
        else:
            staged.mkdir(parents=True, exist_ok=True)
            for path in _matching(written, globs or ("**/*",)):
                copy_file(path, staged / path.relative_to(written))

    def _hash(self, place: Place) -> TreeManifest:
        group = self._folder / place.staged
        if not group.exists():
            return TreeManifest([])
        try:
            settle_tree(group)
            return hash_tree(group, keep_empty_directories=True)
        except (OSError, AzureMLException) as error:
            raise StepFailed(f"output {place.port.name!r} cannot be kept: {error}") from error


def withdraw_outputs(workspace: WorkspaceHandle, places: Iterable[Place]) -> None:
    """Remove what a step run that never committed may have left at places of its own."""
    with suppress(OSError, AzureMLException):
        OutputStaging(workspace, Path(), Path(), places).clear()


def _matching(folder: Path, globs: Iterable[str]) -> set[Path]:
    found: set[Path] = set()
    for glob in globs:
        pattern = PurePosixPath(glob)
        if pattern.is_absolute() or ".." in pattern.parts or not pattern.parts:
            raise UserErrorException(
                f"source_globs has {glob!r}; give patterns relative to the output's folder"
            )
        found.update(path for path in folder.glob(glob) if path.is_file())
    return found


def _keep_only(folder: Path, wanted: set[Path]) -> None:
    """Remove all other files, and the folders that are empty then."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            with suppress(OSError):
                path.rmdir()
        elif path not in wanted:
            path.unlink()
