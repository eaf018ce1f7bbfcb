"""Moving trees of files: linked views, private copies, atomic replacement."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_WRITE_BITS = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class LinkedFile:
    """A stored file that a step sees through a link, as it was when the link was made."""

    source: Path
    size_bytes: int
    modified_ns: int

    def is_unchanged(self) -> bool:
        """Whether the stored bytes are still those the link was made to."""
        try:
            found = self.source.stat()
        except OSError:
            return False
        return found.st_size == self.size_bytes and found.st_mtime_ns == self.modified_ns


def link_file(source: Path, target: Path) -> LinkedFile:
    """Show ``source`` at ``target`` without copying: a hard link, or a symbolic one across file systems."""
    target.parent.mkdir(parents=True, exist_ok=True)
    found = source.stat()
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EACCES):
            raise
        target.symlink_to(source.resolve())
    return LinkedFile(source, found.st_size, found.st_mtime_ns)


def copy_file(source: Path, target: Path) -> None:
    """Copy ``source`` to ``target`` so that a step may change its copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    mode = source.stat().st_mode
    target.chmod(stat.S_IMODE(mode) | stat.S_IWUSR)


def make_read_only(root: Path, names: Iterable[str]) -> None:
    """Take the write bits off the files ``names`` below ``root``: results are shared with later steps."""
    for name in names:
        path = root / name
        path.chmod(stat.S_IMODE(path.stat().st_mode) & ~_WRITE_BITS)


def replace_links(root: Path) -> None:
    """Replace symbolic links below ``root`` by what they point at: a link would outlive its target.

    :raises FileNotFoundError: a link points nowhere.
    """
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            if path.is_symlink():
                _replace_link(path)


def _replace_link(link: Path) -> None:
    target = link.resolve(strict=True)
    link.unlink()
    if target.is_dir():
        shutil.copytree(target, link)
    else:
        copy_file(target, link)


def move_tree(source: Path, target: Path) -> None:
    """Move a directory to ``target``, which must not exist; it appears there whole, across file systems too."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        arriving = target.with_name(f".{target.name}.arriving")
        remove_tree(arriving)
        shutil.copytree(source, arriving)
        arriving.rename(target)
        remove_tree(source)


def overlay_tree(source: Path, target: Path) -> None:
    """Lay the files of ``source`` over ``target``, keeping what else is there; readers see all of it or none.

    The new state is built beside the old one (unchanged files as hard links) and the two change places in one system
    call where the system has one.
    """
    arriving = target.with_name(f".{target.name}.arriving")
    remove_tree(arriving)
    if target.is_dir():
        shutil.copytree(target, arriving, copy_function=_link_or_copy, symlinks=True)
    elif target.exists():
        target.unlink()
    for folder, _, files in os.walk(source):
        inside = arriving / Path(folder).relative_to(source)
        inside.mkdir(parents=True, exist_ok=True)
        for name in files:
            (inside / name).unlink(missing_ok=True)
            _link_or_copy(os.path.join(folder, name), str(inside / name))
    _swap(arriving, target)
    remove_tree(arriving)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _swap(new: Path, old: Path) -> None:
    """Put ``new`` in the place of ``old``; what stood there is afterwards at ``new``."""
    old.parent.mkdir(parents=True, exist_ok=True)
    if not old.exists():
        new.rename(old)
        return
    if _exchange(new, old):
        return
    # Without an exchange call there is a moment with nothing at all; never one with half of it.
    aside = old.with_name(f".{old.name}.leaving")
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


def remove_tree(path: Path) -> None:
    """Remove a file or directory if it is there, read-only folders included."""
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
        return
    for folder, _, _ in os.walk(path):
        # A step may have taken its own write permission away; root wouldn't notice, everybody else would.
        mode = os.stat(folder).st_mode
        if not mode & stat.S_IWUSR:
            os.chmod(folder, stat.S_IMODE(mode) | stat.S_IRWXU)
    shutil.rmtree(path, ignore_errors=True)


