"""Outputs while a step runs: where the script writes them, and how they become visible at its commit.

A script writes into a staging place with the layout of the datastore (v1: ``azureml/<step run id>/<output name>``), so that text
appended to an output path lands beside the output and the next step finds it there. At commit the staged trees are hashed
and moved; a step that fails leaves its staging place behind and the datastore untouched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from airflow_azureml.compute.files import copy_file, move_tree, remove_tree
from airflow_azureml.compute.outputs import Span, StoredOutput, save_manifest
from airflow_azureml.compute.overlay import Overlay
from airflow_azureml.compute.settling import settle_tree
from airflow_azureml.model.output_dataset import render_destination
from airflow_azureml.model.port_types import OutputPort
from airflow_azureml.runtime.exceptions import AzureMLException, StepFailed, UserErrorException
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
    :param siblings: see :class:`airflow_azureml.compute.outputs.StoredOutput`.
    """

    port: OutputPort
    datastore: str
    path: str
    group: str
    is_own: bool
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
        return Place(port, datastore, path, "/".join(parts[: parts.index(step_run_id) + 1]), is_own=True)
    return Place(port, datastore, path, path, is_own=step_run_id in path)


def _with_siblings(place: Place, places: Iterable[Place]) -> Place:
    siblings = {
        other.inside
        for other in places
        if place.inside and other.key == place.key and Span(place.inside).is_beside(other.inside)
    }
    return Place(place.port, place.datastore, place.path, place.group, place.is_own, tuple(sorted(siblings)))


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
    """

    def __init__(
        self, workspace: WorkspaceHandle, folder: Path, working_directory: Path, places: Iterable[Place]
    ) -> None:
        self._workspace = workspace
        self._folder = folder
        self._working_directory = working_directory
        self._places = list(places)
        self._manifests: dict[tuple[str, str], TreeManifest] = {}
        self._overlays: list[Overlay] = []

    def prepare(self) -> dict[str, str]:
        """Make the folders that must exist before the script starts.

        :return: output name to the local path the script gets. A ``PipelineData`` path doesn't exist yet but its parent does;
            the folder of an ``OutputFileDatasetConfig`` exists, as a mount would.
        """
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
        collected = []
        for place in self._places:
            if place.key not in self._manifests:
                self._manifests[place.key] = self._hash(place)
            group = self._manifests[place.key]
            output = place.stored(group)
            save_manifest(self._workspace, output.digest, output.span.own(group))
            collected.append(output)
        return collected

    def publish(self, cache: StatCache) -> None:
        """Move the staged trees to their datastores; each appears there whole.

        To be followed by :meth:`keep` or :meth:`withdraw`.

        :param cache: remembers the hashes of the moved files, so that a later look at the result costs one stat a file.
        :raises UserErrorException: a file is there already and may not be replaced.
        """
        for place, staged, target in self._groups():
            if not staged.exists():
                continue
            if place.is_own:
                remove_tree(target)
                move_tree(staged, target)
            else:
                self._lay_over(place, staged)
            cache.prime(target, self._manifests[place.key])

    def keep(self) -> None:
        """Let what was published stand; it can't be taken back afterwards."""
        while self._overlays:
            self._overlays.pop().keep()

    def withdraw(self) -> None:
        """Take back what :meth:`publish` made visible; used when the commit fails after it."""
        while self._overlays:
            self._overlays.pop().undo()
        for place, _, target in self._groups():
            if place.is_own:
                remove_tree(target)

    def _lay_over(self, place: Place, staged: Path) -> None:
        overlay = Overlay(self._workspace.datastores.root(place.datastore), place.group)
        if not any(overlay.shares_datastore(other) for other in self._overlays):
            overlay.hold()
        self._overlays.append(overlay)
        for other in self._places:
            if other.key == place.key:
                _refuse_overwriting(other, overlay.target, self._manifests[place.key])
        overlay.lay(staged)

    def _groups(self) -> Iterator[tuple[Place, Path, Path]]:
        """Yield each group once: a place in it, where it is staged, where it goes.

        Always in the same order, so that two steps that hold shared folders of several datastores don't wait for each other.
        """
        for _, place in sorted({place.key: place for place in self._places}.items()):
            root = self._workspace.datastores.root(place.datastore)
            yield place, self._folder / place.staged, root / place.group

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
        OutputStaging(workspace, Path(), Path(), places).withdraw()


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


def _refuse_overwriting(place: Place, target: Path, manifest: TreeManifest) -> None:
    if place.port.mode != "upload" or place.port.overwrite is not False:
        return
    present = [item.path for item in manifest.files if (target / item.path).exists()]
    if present:
        raise UserErrorException(
            f"output {place.port.name!r}: {place.datastore}/{place.path}/{present[0]} exists already; "
            "pass as_upload(overwrite=True), or put {run-id} into the destination"
        )
