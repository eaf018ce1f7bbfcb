"""Brings the inputs of a step to this machine: mounted ones are read on demand where the machine can do that, others downloaded.

Files of remote stores appear in one read-only mount of the step, and the views of the inputs link to them as they link to
downloaded copies. So a script sees the same folders either way; what differs is when its bytes come.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, get_args

from airflow_azureml.compute.files import FileState
from airflow_azureml.compute.input_trees import (
    InputFile,
    InputTree,
    RemoteDataset,
    RemoteTree,
    Tell,
    Tree,
    dataset_tree,
)
from airflow_azureml.compute.mounting.fetching import RangedFile
from airflow_azureml.compute.mounting.kernel import MountError, why_not
from airflow_azureml.compute.mounting.supervisor import Mount
from airflow_azureml.runtime.exceptions import ComputeTargetException

if TYPE_CHECKING:
    from airflow_azureml.compute.inputs import ResolvedInput
    from airflow_azureml.workspace.data_cache import DataCache

MountMode = Literal["auto", "download", "fuse"]
"""``fuse`` fails where nothing can be mounted, ``download`` never mounts, ``auto`` mounts where that is possible."""

MODES: tuple[str, ...] = get_args(MountMode)
_UNITS = ("KiB", "MiB", "GiB", "TiB")


@dataclass(frozen=True, slots=True)
class _OnDemand:
    """A file of an input that can be read in ranges.

    :param name: its name below the tree's place; empty when the tree is this file.
    :param path: where it appears below the mount.
    :param file: the file.
    :param is_program: whether it has to be executable.
    """

    name: str
    path: str
    file: RangedFile
    is_program: bool = False


class VirtualInputs:
    """The inputs of one step on this machine. Used as a context: what is mounted goes when it is left.

    :param folder: where to mount; made when it is needed.
    :param cache: files of remote stores on this machine.
    :param mode: what to do with mounted inputs whose files are elsewhere.
    :param tell: is told what happens, and why.
    """

    def __init__(self, folder: Path, cache: DataCache, mode: MountMode, tell: Tell) -> None:
        self._folder = folder
        self._cache = cache
        self._mode = mode
        self._tell = tell
        self._mount: Mount | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._mount is not None:
            self._mount.close()
            self._tell(
                f"{_sized(self._mount.fetched_bytes)} of the mounted inputs came from their datastores"
            )
            self._mount = None

    def bring(self, inputs: Sequence[ResolvedInput]) -> list[ResolvedInput]:
        """Return inputs whose trees are all on this machine, mounted or downloaded.

        :raises FileChanged: a file that was downloaded is not the one that was looked at any more.
        :raises ComputeTargetException: nothing can be mounted here, and nothing else is wanted.
        """
        trees = [tree for item in inputs if item.port.mode == "mount" for tree in item.trees]
        on_demand = {id(tree): _on_demand(tree, number) for number, tree in enumerate(trees)}
        remote = [item for item in inputs if any(on_demand.get(id(tree)) for tree in item.trees)]
        if not remote or not self._can_mount(remote, on_demand):
            return [item.fetched(self._tell) for item in inputs]
        for item in remote:
            self._tell_of(item, [found for tree in item.trees for found in on_demand.get(id(tree), ())])
        shown = self._shown(on_demand)
        return [self._brought(item, shown) for item in inputs]

    def refuse_damaged(self) -> None:
        """Raise what kept the script from reading a mounted file, if anything did.

        :raises StoreError: ``FileChanged`` or ``StoreBusy`` where another try may do better.
        """
        if self._mount is not None:
            self._mount.refuse_damaged()

    def _can_mount(self, remote: Sequence[ResolvedInput], on_demand: dict[int, list[_OnDemand]]) -> bool:
        """Mount, or tell why not."""
        if self._mode == "download":
            reason: str | None = "[azureml] mount is download"
        else:
            reason = why_not() or self._mounted([found for files in on_demand.values() for found in files])
        if reason is None:
            return True
        names = ", ".join(repr(item.name) for item in remote)
        if self._mode == "fuse":
            raise ComputeTargetException(
                f"input {names}: cannot be mounted: {reason}; run the step where it can, or set [azureml] mount to auto, which "
                "downloads there"
            )
        self._tell(f"input {names}: downloaded before the script starts, not read on demand: {reason}")
        return False

    def _mounted(self, files: Sequence[_OnDemand]) -> str | None:
        """Mount, and return why that didn't work."""
        plan = [(found.path, found.file, found.is_program) for found in files]
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._mount = Mount(self._folder, plan, self._cache, self._tell)
        except (MountError, OSError) as error:
            return str(error)
        return None

    def _shown(self, on_demand: dict[int, list[_OnDemand]]) -> dict[int, tuple[InputFile, ...]]:
        """Return the mounted files of each tree, as a look at them would show them."""
        shown: dict[int, tuple[InputFile, ...]] = {}
        index = 0
        for key, files in on_demand.items():
            made = []
            for found in files:
                state = self._state(found, index)
                made.append(InputFile(found.name, self._folder / found.path, state))
                index += 1
            shown[key] = tuple(made)
        return shown

    def _state(self, found: _OnDemand, index: int) -> FileState:
        info = found.file.info
        return FileState(info.size_bytes, Mount.time_of(info), Mount.inode(index))

    def _brought(self, item: ResolvedInput, shown: dict[int, tuple[InputFile, ...]]) -> ResolvedInput:
        if item.port.mode != "mount":
            return item.fetched(self._tell)
        return replace(
            item, trees=tuple(self._brought_tree(tree, shown.get(id(tree), ())) for tree in item.trees)
        )

    def _brought_tree(self, tree: Tree, files: tuple[InputFile, ...]) -> InputTree:
        if not files:
            return tree.fetched(self._tell)
        if isinstance(tree, RemoteDataset):
            rest = [file for file in tree.files if tree.source.ranged(file) is None]
            here = dataset_tree(tree.place, tree.source.fetch(rest, tell=self._tell)).files
            return InputTree(tree.place, (*files, *here))
        return InputTree(tree.place, files, tree.folders)

    def _tell_of(self, item: ResolvedInput, files: Sequence[_OnDemand]) -> None:
        size_bytes = sum(found.file.info.size_bytes for found in files)
        stores = ", ".join(dict.fromkeys(found.file.store.uri for found in files))
        self._tell(
            f"input {item.name!r}: mounted, {_count(len(files), 'file')} of {_sized(size_bytes)} are read from {stores} when the "
            "script reads them"
        )


def _on_demand(tree: Tree, number: int) -> list[_OnDemand]:
    """Return the files of a tree that can be read in ranges.

    :param number: the tree's folder below the mount.
    """
    if isinstance(tree, RemoteTree):
        return [
            _OnDemand(
                name,
                f"{number}/{name or _own_name(info.path)}",
                RangedFile(tree.store, info),
                name in tree.programs,
            )
            for name, info in tree.files
        ]
    if isinstance(tree, RemoteDataset):
        ranged = ((file.name, tree.source.ranged(file)) for file in tree.files)
        return [
            _OnDemand(name, f"{number}/{name}", RangedFile(*found))
            for name, found in ranged
            if found is not None
        ]
    return []


def _own_name(path: str) -> str:
    return path.rpartition("/")[2]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _sized(size_bytes: int) -> str:
    if size_bytes < 1024:
        return _count(size_bytes, "byte")
    power = min(len(_UNITS), (size_bytes.bit_length() - 1) // 10)
    return f"{size_bytes / 1024**power:.1f} {_UNITS[power - 1]}"
