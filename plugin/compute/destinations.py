"""Where outputs appear: a folder of the step run alone or one that others use as well, on this machine or on a store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from airflow_azureml.compute.files import move_tree, remove_tree
from airflow_azureml.compute.overlay import Overlay
from airflow_azureml.compute.remote_outputs import files_at
from airflow_azureml.runtime.dataset.walking import ARRIVING
from airflow_azureml.runtime.exceptions import AzureMLException, StoreError, UserErrorException
from airflow_azureml.storage.files import FileInfo, FileStore, joined
from airflow_azureml.storage.moving import in_parallel
from airflow_azureml.workspace.manifest import TreeManifest
from airflow_azureml.workspace.stat_cache import StatCache


class Destination(Protocol):
    """The place of one group of outputs, from :meth:`hold` to :meth:`keep` or :meth:`undo`."""

    def hold(self, others: Iterable[Destination]) -> None:
        """Wait until the group may be laid.

        :param others: what this step holds already.
        """
        ...

    def present(self, names: Collection[str]) -> list[str]:
        """Return those of some files of the group that are there already."""
        ...

    def lay(self, staged: Path, manifest: TreeManifest) -> Mapping[str, FileInfo]:
        """Make the staged files appear.

        :param staged: the folder that holds them.
        :param manifest: what is in it.
        :return: what they are on their store, by name; nothing for a folder on this machine.
        """
        ...

    def keep(self) -> None:
        """Let what was laid stand; it can't be taken back afterwards."""
        ...

    def undo(self) -> None:
        """Put back what was there before :meth:`lay`, also when that stopped half-way."""
        ...

    def clear(self) -> None:
        """Remove what a step run that ended without :meth:`keep` and :meth:`undo` left, as far as it is its own."""
        ...


class OwnFolder:
    """A folder on this machine that belongs to one step run.

    :param target: the folder.
    :param cache: learns the hashes of the files.
    """

    def __init__(self, target: Path, cache: StatCache) -> None:
        self._target = target
        self._cache = cache

    def hold(self, others: Iterable[Destination]) -> None:
        """Do nothing: nobody else comes here."""

    def present(self, names: Collection[str]) -> list[str]:  # noqa: ARG002 - others have to look
        """Return nothing: nobody else's files are here."""
        return []

    def lay(self, staged: Path, manifest: TreeManifest) -> Mapping[str, FileInfo]:
        """Move the staged folder into its place, where it appears whole."""
        remove_tree(self._target)
        move_tree(staged, self._target)
        self._cache.prime(self._target, manifest)
        return {}

    def keep(self) -> None:
        """Do nothing: it stands."""

    def undo(self) -> None:
        """Remove the folder."""
        remove_tree(self._target)

    def clear(self) -> None:
        """Remove the folder."""
        remove_tree(self._target)


class SharedFolder:
    """A folder on this machine that others write to as well.

    :param root: the datastore's folder.
    :param group: the shared folder in it, POSIX.
    :param cache: learns the hashes of the files.
    """

    def __init__(self, root: Path, group: str, cache: StatCache) -> None:
        self.overlay = Overlay(root, group)
        self._cache = cache

    def hold(self, others: Iterable[Destination]) -> None:
        """Wait until nobody else changes shared folders of the datastore."""
        held = [other.overlay for other in others if isinstance(other, SharedFolder)]
        if not any(self.overlay.shares_datastore(other) for other in held):
            self.overlay.hold()

    def present(self, names: Collection[str]) -> list[str]:
        """Return those of some files that are there already."""
        return [name for name in names if (self.overlay.target / name).exists()]

    def lay(self, staged: Path, manifest: TreeManifest) -> Mapping[str, FileInfo]:
        """Lay the staged files over the folder; all of them appear at once."""
        self.overlay.lay(staged)
        self._cache.prime(self.overlay.target, manifest)
        return {}

    def keep(self) -> None:
        """Let the new state stand."""
        self.overlay.keep()

    def undo(self) -> None:
        """Put the old state back."""
        self.overlay.undo()

    def clear(self) -> None:
        """Do nothing: what is there may be others'."""


class OwnRemoteFolder:
    """A folder on a store that belongs to one step run.

    Its files appear one by one, each of them whole. Nobody is told of the folder before the step is committed.

    :param store: the datastore.
    :param group: the folder.
    """

    def __init__(self, store: FileStore, group: str) -> None:
        self._store = store
        self._group = group

    def hold(self, others: Iterable[Destination]) -> None:
        """Do nothing: nobody else comes here."""

    def present(self, names: Collection[str]) -> list[str]:  # noqa: ARG002 - others have to look
        """Return nothing: nobody else's files are here."""
        return []

    def lay(self, staged: Path, manifest: TreeManifest) -> Mapping[str, FileInfo]:
        """Upload the staged files."""
        self.clear()
        for name in manifest.empty_directories:
            self._store.make_folder(joined(self._group, name))
        return upload(self._store, staged, manifest, self._group)

    def keep(self) -> None:
        """Do nothing: it stands."""

    def undo(self) -> None:
        """Remove the folder."""
        self._store.remove_folder(self._group)

    def clear(self) -> None:
        """Remove the folder."""
        self._store.remove_folder(self._group)


class SharedRemoteFolder:
    """A folder on a store that others write to as well.

    The files are uploaded beside it, which takes long and may fail. Then the store itself copies them into their places, after
    it has put copies of the files in their way aside. Readers may see new files beside old ones for as long as those copies take.

    :param store: the datastore.
    :param group: the folder.
    :param run_id: the step run; what it has aside is found by that.
    """

    def __init__(self, store: FileStore, group: str, run_id: str) -> None:
        self._store = store
        self._group = group
        self._ours = f"{ARRIVING}/{run_id}"
        self._arriving = f"{self._ours}/new/{group}"
        self._aside = f"{self._ours}/old/{group}"
        self._replaced: dict[str, FileInfo] = {}
        self._laid: dict[str, FileInfo] = {}

    def hold(self, others: Iterable[Destination]) -> None:
        """Do nothing: a store can't be held, and files of others are not touched."""

    def present(self, names: Collection[str]) -> list[str]:
        """Return those of some files that are there already."""
        return sorted(files_at(self._store, self._group, names))

    def lay(self, staged: Path, manifest: TreeManifest) -> Mapping[str, FileInfo]:
        """Upload the staged files beside the folder and have them copied into it."""
        upload(self._store, staged, manifest, self._arriving)
        names = [item.path for item in manifest.files]
        self._replaced = files_at(self._store, self._group, names)
        _do(self._put_aside, self._replaced)
        for name in manifest.empty_directories:
            self._store.make_folder(joined(self._group, name))
        _do(self._put_in_place, names)
        return self._laid

    def keep(self) -> None:
        """Let the new files stand."""
        # They count by now: what is left aside is garbage, and collected as such.
        with suppress(AzureMLException, OSError):
            self.clear()

    def undo(self) -> None:
        """Put the old files back, except where somebody else has written since."""
        _do(self._put_back, list(self._laid))
        self._laid.clear()
        self.clear()

    def clear(self) -> None:
        """Remove what is beside the folder."""
        for folder in (self._arriving, self._aside):
            self._store.remove_folder(folder)
        # Another output of the step may still have files there.
        if self._store.has_folders and next(self._store.walk(self._ours), None) is None:
            self._store.remove_folder(self._ours)

    def _put_aside(self, name: str) -> None:
        self._store.copy(joined(self._group, name), joined(self._aside, name))

    def _put_in_place(self, name: str) -> None:
        self._laid[name] = self._store.copy(joined(self._arriving, name), joined(self._group, name))

    def _put_back(self, name: str) -> None:
        place = joined(self._group, name)
        found = self._store.stat(place)
        if found is None or found.version != self._laid[name].version:
            return
        if name in self._replaced:
            self._store.copy(joined(self._aside, name), place)
        else:
            self._store.delete(place)


def upload(store: FileStore, staged: Path, manifest: TreeManifest, folder: str) -> dict[str, FileInfo]:
    """Copy a folder's files to a store.

    :param staged: the folder.
    :param manifest: what is in it.
    :param folder: where on the store.
    :return: what they are there, by name.
    :raises UserErrorException: a name is no text, which stores can't keep.
    :raises StoreError: a file didn't arrive as it was sent.
    """
    for item in manifest.files:
        _refuse_bytes(item.path)

    def put(name: str, size_bytes: int) -> FileInfo:
        info = store.put_file(joined(folder, name), staged / name)
        if info.size_bytes != size_bytes:
            raise StoreError(
                f"{store.uri}/{info.path} has {info.size_bytes} bytes after its upload, expected {size_bytes}; "
                "somebody else writes there, or the store lost some: run the step again"
            )
        return info

    found = in_parallel(lambda item: put(item.path, item.size_bytes), manifest.files)
    return {item.path: info for item, info in zip(manifest.files, found, strict=True)}


def _do(act: Callable[[str], None], names: Iterable[str]) -> None:
    """Do something with many files, several at the same time."""
    for _ in in_parallel(act, names):
        continue


def _refuse_bytes(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UserErrorException(
            f"output file {name!a}: its name isn't UTF-8 text, which only a local datastore can keep; have the script rename it"
        ) from None
