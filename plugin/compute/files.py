"""Moving files and trees: links, private copies, moves that appear whole, thorough removal."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_UNLINKABLE = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EACCES, errno.ENOTSUP})
"""Why a hard link may be impossible although the file is there."""


@dataclass(frozen=True, slots=True)
class FileState:
    """What a file was like at a moment, without reading it."""

    size_bytes: int
    modified_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> FileState:
        """Look at a file, through links.

        :raises OSError: there is none.
        """
        found = path.stat()
        return cls(found.st_size, found.st_mtime_ns, found.st_ino)


@dataclass(frozen=True, slots=True)
class WatchedFile:
    """A stored file that a step reads in its place.

    :param source: the stored file.
    :param state: what it was like when its content was looked at.
    :param pinned: whether the step holds these bytes by a hard link, so that another file in their place is not its concern.
    """

    source: Path
    state: FileState
    pinned: bool

    def is_unchanged(self) -> bool:
        """Whether the bytes that the step reads are still those that were looked at."""
        try:
            found = FileState.of(self.source)
        except OSError:
            return self.pinned
        if found.inode != self.state.inode:
            return self.pinned
        return found == self.state


def link_file(source: Path, target: Path) -> None:
    """Show ``source`` at ``target`` by a symbolic link.

    Not by a hard one: that would change the times of the stored file, whose content would have to be hashed again, and
    a script that moves the file into its output would make one file of an input and an output.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(source.resolve())


def pin_file(source: Path, target: Path) -> bool:
    """Show at ``target`` the bytes that ``source`` has now, whatever takes its place later.

    :return: whether that was possible; otherwise ``target`` is a symbolic link.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Resolved, because a hard link to a symbolic one is a symbolic one, which may lead nowhere from its new place.
        target.hardlink_to(source.resolve())
    except OSError as error:
        if error.errno not in _UNLINKABLE:
            raise
        link_file(source, target)
        return False
    return True


def copy_file(source: Path, target: Path) -> None:
    """Copy ``source`` to ``target`` so that a step may change its copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(stat.S_IMODE(source.stat().st_mode) | stat.S_IWUSR)


def move_tree(source: Path, target: Path) -> None:
    """Move a directory to ``target``, which must not exist; it appears there whole, across file systems too."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _move_across(source, target)


def _move_across(source: Path, target: Path) -> None:
    arriving = target.with_name(f".{target.name}.arriving")
    remove_tree(arriving)
    try:
        shutil.copytree(source, arriving)
        arriving.rename(target)
    except BaseException:
        remove_tree(arriving)
        raise
    remove_tree(source)


def remove_tree(path: Path) -> None:
    """Remove a file or directory if it is there, folders without permissions included. What resists is left."""
    with suppress(OSError):
        if not stat.S_ISDIR(path.lstat().st_mode):
            path.unlink(missing_ok=True)
            return
        # A script may have taken its own permissions away; root wouldn't notice, everybody else would.
        _open_up(path)
        for folder, folders, _ in os.walk(path):
            for name in folders:
                _open_up(Path(folder, name))
        shutil.rmtree(path, ignore_errors=True)


def _open_up(folder: Path) -> None:
    with suppress(OSError):
        mode = folder.lstat().st_mode
        if stat.S_ISDIR(mode) and mode & stat.S_IRWXU != stat.S_IRWXU:
            folder.chmod(stat.S_IMODE(mode) | stat.S_IRWXU)
