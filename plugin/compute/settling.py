"""Making what a script wrote fit to be kept: no links, no permissions that lock anybody out, read-only files."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from airflow_azureml.compute.files import copy_file, remove_tree
from airflow_azureml.runtime.exceptions import AzureMLException

_WRITE_BITS = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def settle_tree(root: Path) -> None:
    """Turn a tree into one that stands by itself and that nobody changes by accident.

    Links become what they point at: they would outlive their targets, or share bytes with an input. Sockets and pipes have no
    content and go. Folders can be read and changed by their owner, files read and not changed.

    :raises AzureMLException: a link leads nowhere, or to a folder that it is in.
    :raises OSError: something cannot be read.
    """
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) | stat.S_IRWXU)
        for path in sorted(folder.iterdir()):
            if path.is_symlink():
                _replace_link(path, root)
            kind = path.lstat()
            if stat.S_ISDIR(kind.st_mode):
                waiting.append(path)
            elif stat.S_ISREG(kind.st_mode):
                _settle_file(path, kind)
            else:
                path.unlink()


def _settle_file(path: Path, found: os.stat_result) -> None:
    readable = stat.S_IMODE(found.st_mode) | stat.S_IRUSR
    if found.st_nlink > 1:
        # Under its other name somebody may write to it.
        path.chmod(readable)
        private = path.with_name(f".{path.name[:200]}.private")
        remove_tree(private)
        shutil.copy2(path, private)
        private.replace(path)
    path.chmod(readable & ~_WRITE_BITS)


def _replace_link(link: Path, root: Path) -> None:
    shown = link.relative_to(root)
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):
        # Python before 3.13 says RuntimeError for links in a circle.
        raise AzureMLException(
            f"{str(shown)!r} is a link to {str(link.readlink())!r}, where there is nothing"
        ) from None
    if not target.is_dir():
        link.unlink()
        copy_file(target, link)
        return
    if link.parent.resolve().is_relative_to(target):
        raise AzureMLException(f"{str(shown)!r} is a link to a folder that it is in, {str(target)!r}")
    link.unlink()
    shutil.copytree(target, link)
