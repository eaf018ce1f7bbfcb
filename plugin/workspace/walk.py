"""Walks a folder once and sorts its files into those that are unchanged and those that have to be read."""

# Plain os functions and path text: the loop below runs once per file at every DAG file parse.
# ruff: noqa: PTH116

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from typing import Literal, NamedTuple

from airflow_azureml.runtime.exceptions import SnapshotException
from airflow_azureml.workspace.ignore import IgnoreRules
from airflow_azureml.workspace.stat_cache import Stamp, Table, stamp_of

log = logging.getLogger(__name__)

Links = Literal["inside", "anywhere"]
"""Symbolic links are followed as content: only to places inside the folder, or wherever they lead."""


class Candidate(NamedTuple):
    """A file that is new, changed or not known well enough.

    :param path: where to read it.
    :param stamp: what it is like.
    :param executable: whether its owner may execute it.
    """

    path: str
    stamp: Stamp
    executable: bool


class Walk:
    """One walk over a folder.

    Sockets, pipes, devices and links that point to nothing inside have no content and are passed over.

    :param root: the folder's absolute path.
    :param rules: what is left out; None leaves nothing out.
    :param known: what an earlier walk under the same rules found.
    :param links: which symbolic links are followed; others are refused.
    """

    def __init__(
        self,
        root: str,
        rules: IgnoreRules | None,
        *,
        known: Table,
        links: Links,
    ) -> None:
        self._root = root
        self._rules = rules
        self._known = known
        self._links = links
        self._pending: list[tuple[str, str]] = [(root, "")]
        #: Paths whose stamp is the known one.
        self.unchanged: list[str] = []
        #: All other files by path.
        self.candidates: dict[str, Candidate] = {}
        #: Paths the rules left out.
        self.ignored: set[str] = set()
        #: Folders of which nothing was taken.
        self.empty_directories: list[str] = []

    def run(self) -> None:
        """Walk the whole folder.

        :raises SnapshotException: something cannot be read, or a link leads outside or into a circle.
        """
        while self._pending:
            path, prefix = self._pending.pop()
            taken = self._taken()
            try:
                entries = os.scandir(path)
            except FileNotFoundError:
                if not prefix:
                    raise
                continue  # removed while we walk
            except OSError as error:
                raise self._problem(prefix.rstrip("/") or ".", f"cannot be read: {error.strerror}") from error
            with entries:
                self._folder(entries, prefix)
            if prefix and taken == self._taken():
                self.empty_directories.append(prefix[:-1])

    def _taken(self) -> int:
        return len(self.unchanged) + len(self.candidates) + len(self._pending)

    def _folder(self, entries: Iterator[os.DirEntry[str]], prefix: str) -> None:
        find, stamps, unchanged = self._known.places.get, self._known.stamps, self.unchanged.append
        for entry in entries:
            path = prefix + entry.name
            number = find(path)
            try:
                if number is not None:
                    status = entry.stat(follow_symlinks=False)
                    at = 4 * number
                    # Table.stamp and stamp_of, written out: two calls and two tuples a file are a tenth of the time.
                    if (
                        stamps[at] == status.st_mtime_ns
                        and stamps[at + 1] == status.st_ctime_ns
                        and stamps[at + 2] == status.st_size
                        and stamps[at + 3] == status.st_ino
                    ):
                        unchanged(path)
                        continue
                self._look_at(entry, path)
            except FileNotFoundError:  # removed while we walk
                continue

    def _look_at(self, entry: os.DirEntry[str], path: str) -> None:
        if entry.is_symlink():
            self._link(entry.path, path)
        elif entry.is_dir(follow_symlinks=False):
            self._enter(entry.path, path)
        else:
            self._file(entry.path, path, entry.stat(follow_symlinks=False))

    def _enter(self, place: str, path: str) -> None:
        if not self._left_out(path, folder=True):
            self._pending.append((place, path + "/"))

    def _file(self, place: str, path: str, status: os.stat_result) -> None:
        if self._left_out(path, folder=False):
            return
        if not stat.S_ISREG(status.st_mode):
            log.info("%s in %s is a socket, pipe or device and is left out", path, self._root)
            return
        stamp = stamp_of(status)
        number = self._known.places.get(path)
        if number is not None and self._known.stamp(number) == stamp:
            self.unchanged.append(path)
        else:
            self.candidates[path] = Candidate(place, stamp, bool(status.st_mode & stat.S_IXUSR))

    def _left_out(self, path: str, *, folder: bool) -> bool:
        rules = self._rules
        if rules is None:
            return False
        if path not in self._known.ignored:
            left_out = rules.leaves_out_folder(path) if folder else rules.leaves_out_file(path)
            if not left_out:
                return False
        self.ignored.add(path)
        return True

    def _link(self, place: str, path: str) -> None:
        if self._left_out(path, folder=False) or self._left_out(path, folder=True):
            return
        target = os.path.realpath(place)
        if self._links == "inside" and not _is_inside(target, os.path.realpath(self._root)):
            raise self._problem(path, f"is a symbolic link that leaves the folder, to {target!r}")
        try:
            status = os.stat(place)
        except FileNotFoundError:
            log.info("%s in %s is a symbolic link to nothing and is left out", path, self._root)
            return
        except OSError as error:
            raise self._problem(
                path, f"is a symbolic link that cannot be followed: {error.strerror}"
            ) from error
        if not stat.S_ISDIR(status.st_mode):
            self._file(place, path, status)
            return
        if self._is_around(path, status):
            raise self._problem(path, "is a symbolic link to a folder it is in: following it would never end")
        self._pending.append((place, path + "/"))

    def _is_around(self, path: str, status: os.stat_result) -> bool:
        """Tell whether a folder is the root or one of the folders that were entered on the way to ``path``."""
        folder = path
        while folder:
            folder = folder.rpartition("/")[0]
            if os.path.samestat(os.stat(f"{self._root}/{folder}"), status):
                return True
        return False

    def _problem(self, path: str, what: str) -> SnapshotException:
        return SnapshotException(
            f"{path!r} in {self._root!r} {what}; remove it, or name it in {self._root}/.amlignore"
            if self._rules is not None
            else f"{path!r} in {self._root!r} {what}"
        )


def _is_inside(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")
