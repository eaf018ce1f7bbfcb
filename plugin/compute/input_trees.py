"""Files of an input: those that are on this machine, and those that have to be fetched first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_azureml.compute.files import FileState

if TYPE_CHECKING:
    from airflow_azureml.compute.outputs import StoredOutput
    from airflow_azureml.runtime.dataset.places import ResolvedFile
    from airflow_azureml.storage.files import FileInfo, FileStore
    from airflow_azureml.workspace.data_cache import DataCache
    from airflow_azureml.workspace.dataset_files import DatasetFiles
    from airflow_azureml.workspace.manifest import TreeManifest

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file of an input, on this machine.

    :param name: its name below the tree's place; empty when the tree is this file.
    :param source: where its bytes are.
    :param state: what it was like when its content was looked at.
    :param is_program: whether it has to be executable although its source isn't: few stores keep that.
    """

    name: str
    source: Path
    state: FileState
    is_program: bool = False


@dataclass(frozen=True, slots=True)
class InputTree:
    """Files of an input, as they were when their content was looked at.

    :param place: where the tree appears below the mount, POSIX.
    :param files: the files.
    :param folders: empty folders of the tree; an empty name is the tree itself.
    :param is_shared: whether other steps may put other files in the place of these while the step runs.
    """

    place: str
    files: tuple[InputFile, ...]
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
        """Make a tree of files below a folder, or of one file, as they are now.

        :raises OSError: one is gone.
        """
        sources = ((name, root / name if name else root) for name in names)
        files = tuple(InputFile(name, source, FileState.of(source)) for name, source in sources)
        return cls(place, files, tuple(folders), is_shared)

    def fetched(self, tell: Tell) -> InputTree:  # noqa: ARG002 - as remote ones
        """Return itself: its files are here."""
        return self


@dataclass(frozen=True, slots=True)
class RemoteTree:
    """Files of an input on another machine, as a listing showed them.

    :param place: where the tree appears below the mount, POSIX.
    :param store: where they are.
    :param cache: where they are fetched to.
    :param files: name below the tree's place, and the file.
    :param folders: empty folders of the tree.
    :param programs: names of the files that have to be executable.
    """

    place: str
    store: FileStore
    cache: DataCache
    files: tuple[tuple[str, FileInfo], ...]
    folders: tuple[str, ...] = ()
    programs: frozenset[str] = frozenset()

    def fetched(self, tell: Tell) -> InputTree:
        """Fetch the files and return them as they are here.

        :raises FileChanged: one is not the one that was listed any more.
        """
        paths = self.cache.fetch(self.store, [info for _, info in self.files], tell=tell)
        files = tuple(
            InputFile(name, path, FileState.of(path), name in self.programs)
            for (name, _), path in zip(self.files, paths, strict=True)
        )
        return InputTree(self.place, files, self.folders)


@dataclass(frozen=True, slots=True)
class RemoteDataset:
    """Files of a dataset of which some are on another machine, or in a database.

    :param place: where the files appear below the mount.
    :param source: fetches them.
    :param files: the files, as they were listed.
    :param definition: the dataset.
    """

    place: str
    source: DatasetFiles
    files: tuple[ResolvedFile, ...]
    definition: dict[str, Any]

    def fetched(self, tell: Tell) -> InputTree:
        """Fetch the files and return them as they are here.

        :raises FileChanged: one is not the one that was listed any more.
        """
        return dataset_tree(self.place, self.source.fetch(self.files, tell=tell))


Tree = InputTree | RemoteTree | RemoteDataset


def dataset_tree(place: str, files: Iterable[ResolvedFile]) -> InputTree:
    """Return the files of a dataset that are on this machine, as a tree.

    :raises OSError: one is gone.
    """
    found = ((item.name, Path(item.path)) for item in files)
    return InputTree(place, tuple(InputFile(name, path, FileState.of(path)) for name, path in found))


def output_tree(
    output: StoredOutput,
    place: str,
    manifest: TreeManifest,
    where: Path | tuple[FileStore, DataCache, Sequence[FileInfo]],
    *,
    folders: Iterable[str] | None = None,
) -> Tree:
    """Return what another step wrote as a tree.

    :param manifest: its files, named from ``place``.
    :param where: the folder they are in, or the store and the files in the order of the manifest.
    :param folders: empty folders; those of the manifest by default.
    """
    empty = tuple(manifest.empty_directories if folders is None else folders)
    names = [item.path for item in manifest.files]
    if isinstance(where, Path):
        return InputTree.of(where, place, names, empty, is_shared=not output.exclusive)
    store, cache, infos = where
    programs = frozenset(item.path for item in manifest.files if item.executable)
    return RemoteTree(place, store, cache, tuple(zip(names, infos, strict=True)), empty, programs)
