"""Laying files over a folder that others write to as well, so that readers see all of it or nothing, and it can be undone."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path

from airflow_azureml.compute.files import remove_tree
from airflow_azureml.runtime.dataset.walking import ARRIVING

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


class Overlay:
    """A step's files over a shared folder, from :meth:`lay` to :meth:`keep` or :meth:`undo`.

    The new state is built beside the old one (files that stay are hard links) and the two change places in one system call.
    From :meth:`lay` on this process holds the datastore, so that of two runs neither loses what the other adds, and undoing
    takes back exactly what was laid.

    :param root: the datastore's folder.
    :param group: the shared folder in it, POSIX.
    """

    def __init__(self, root: Path, group: str) -> None:
        self._root = root
        self.target = root / group
        self._arriving = root / ARRIVING / hashlib.sha256(group.encode()).hexdigest()[:32]
        self._is_new = False
        self._is_laid = False
        self._lock: int | None = None

    def shares_datastore(self, other: Overlay) -> bool:
        """Whether both are on one datastore, by whatever names: who holds it for one holds it for both."""
        return self._root.resolve() == other._root.resolve()

    def hold(self) -> None:
        """Wait until nobody else changes shared folders of this datastore; the lock ends with this process at the latest."""
        self._root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        # A network file system that can't lock folders leaves it to the last writer.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        self._lock = descriptor

    def lay(self, source: Path) -> None:
        """Move the files of ``source`` over the shared folder, keeping what else is there.

        :raises OSError: that isn't possible; the folder is as it was.
        """
        # What a process that died here left behind: nobody else can be at it.
        remove_tree(self._arriving)
        self._is_new = not os.path.lexists(self.target)
        try:
            if self.target.is_dir():
                shutil.copytree(self.target, self._arriving, copy_function=_link_or_copy, symlinks=True)
            _move_into(source, self._arriving)
            _put_in_place(self._arriving, self.target)
        except BaseException:
            self._clear()
            raise
        self._is_laid = True

    def keep(self) -> None:
        """Let the new state stand."""
        self._clear()
        self._release()

    def undo(self) -> None:
        """Put back what was there before :meth:`lay`."""
        if self._is_laid and self._is_new:
            remove_tree(self.target)
        elif self._is_laid:
            _put_in_place(self._arriving, self.target)
        self._clear()
        self._release()

    def _clear(self) -> None:
        remove_tree(self._arriving)
        with suppress(OSError):
            self._arriving.parent.rmdir()

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _move_into(source: Path, target: Path) -> None:
    """Move all files of ``source`` to the same places below ``target``; what is in their way goes."""
    for folder, _, files in os.walk(source):
        inside = target / Path(folder).relative_to(source)
        if inside.is_symlink() or not inside.is_dir():
            remove_tree(inside)
            inside.mkdir(parents=True)
        for name in files:
            remove_tree(inside / name)
            # A move within a file system, a copy to another one.
            shutil.move(Path(folder, name), inside / name)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target)


def _put_in_place(new: Path, old: Path) -> None:
    """Put ``new`` in the place of ``old``; what stood there, if anything, is afterwards at ``new``."""
    old.parent.mkdir(parents=True, exist_ok=True)
    if not os.path.lexists(old):
        new.rename(old)
        return
    if _exchange(new, old):
        return
    # Without an exchange call there is a moment with nothing at all; never one with half of it.
    aside = new.with_name(f"{new.name}.leaving")
    remove_tree(aside)
    old.rename(aside)
    new.rename(old)
    aside.rename(new)


def _exchange(one: Path, other: Path) -> bool:
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    result: int = renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return result == 0
