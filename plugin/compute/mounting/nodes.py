"""The files and folders of a mount: a tree that is known when it is mounted and never changes.

Runs in the process that serves a mount, so it imports little.
"""

from __future__ import annotations

import os
import stat
from itertools import islice

from airflow_azureml.compute.mounting.kernel import attributes, directory_entry, entry

ROOT = 1
FIRST_FILE = 2
"""Number of the first file's node, which is its inode too; the others follow, folders come last."""

_FOLDER_MODE = stat.S_IFDIR | 0o555
_NOTHING = bytes(88)
_LISTINGS = 16
"""How many folders are ready to be listed; the kernel remembers on its own, too."""


class File:
    """A file of a mount.

    :param path: below the mount, POSIX.
    :param size_bytes: its size.
    :param modified_ns: what ``stat`` shows as its time.
    :param is_program: whether it is executable.
    :param copy: where the data cache would keep the whole file.
    """

    __slots__ = ("copy", "is_program", "modified_ns", "path", "size_bytes")

    def __init__(self, path: str, size_bytes: int, modified_ns: int, is_program: bool, copy: str) -> None:
        self.path = path
        self.size_bytes = size_bytes
        self.modified_ns = modified_ns
        self.is_program = is_program
        self.copy = copy

    def plain(self) -> tuple[str, int, int, bool, str]:
        """Return what makes the file, as it travels to the process of the mount."""
        return (self.path, self.size_bytes, self.modified_ns, self.is_program, self.copy)


class Nodes:
    """Files and folders by number.

    :param files: the files; file ``i`` is node ``i + FIRST_FILE``.
    :param now_ns: time of the folders.
    :raises ValueError: a path is a file and a folder.
    """

    def __init__(self, files: list[File], now_ns: int) -> None:
        self.files = files
        self._now_ns = now_ns
        self._user, self._group = os.getuid(), os.getgid()
        self._next = FIRST_FILE + len(files)
        self._children: dict[int, dict[bytes, int]] = {ROOT: {}}
        self._parents = {ROOT: ROOT}
        self._listings: dict[tuple[int, bool], list[bytes]] = {}
        folders = {"": ROOT}
        for index, file in enumerate(files):
            folder, _, name = file.path.rpartition("/")
            self._add(self._folder(folder, folders), name, FIRST_FILE + index, file.path)

    @property
    def size_bytes(self) -> int:
        """Size of all files."""
        return sum(file.size_bytes for file in self.files)

    def file(self, node: int) -> File | None:
        """Return the file of a node; None for a folder."""
        index = node - FIRST_FILE
        return self.files[index] if 0 <= index < len(self.files) else None

    def attributes(self, node: int) -> bytes | None:
        """Return what ``stat`` shows of a node; None for no node."""
        file = self.file(node)
        if file is not None:
            mode = stat.S_IFREG | (0o555 if file.is_program else 0o444)
            return attributes(node, mode, file.size_bytes, file.modified_ns, self._user, self._group)
        if node in self._children:
            return attributes(node, _FOLDER_MODE, 0, self._now_ns, self._user, self._group)
        return None

    def entry(self, folder: int, name: bytes) -> bytes:
        """Return the answer to a look-up of a name in a folder."""
        node = self._children.get(folder, {}).get(name)
        shown = None if node is None else self.attributes(node)
        return entry(0, _NOTHING) if node is None or shown is None else entry(node, shown)

    def listing(self, folder: int, offset: int, size: int, *, with_attributes: bool) -> bytes | None:
        """Return a part of a folder's listing; None for no folder.

        :param offset: number of the first entry.
        :param size: most bytes to return.
        """
        if folder not in self._children:
            return None
        entries = self._entries(folder, with_attributes=with_attributes)
        part = bytearray()
        for found in islice(entries, offset, None):
            if len(part) + len(found) > size:
                break
            part += found
        return bytes(part)

    def _entries(self, folder: int, *, with_attributes: bool) -> list[bytes]:
        known = self._listings.pop((folder, with_attributes), None)
        entries = self._listed(folder, with_attributes=with_attributes) if known is None else known
        # Again at the end, so that the one that wasn't asked for longest comes first.
        self._listings[folder, with_attributes] = entries
        if len(self._listings) > _LISTINGS:
            del self._listings[next(iter(self._listings))]
        return entries

    def _listed(self, folder: int, *, with_attributes: bool) -> list[bytes]:
        special = [(b".", folder), (b"..", self._parents[folder])]
        listed = []
        for offset, (name, node) in enumerate([*special, *self._children[folder].items()], 1):
            mode = _FOLDER_MODE if node in self._children else stat.S_IFREG
            found = directory_entry(node, offset, mode, name)
            if with_attributes:
                # The kernel must not take "." and ".." for children.
                shown = None if offset <= len(special) else self.attributes(node)
                found = (entry(0, _NOTHING) if shown is None else entry(node, shown)) + found
            listed.append(found)
        return listed

    def _folder(self, path: str, folders: dict[str, int]) -> int:
        known = folders.get(path)
        if known is not None:
            return known
        above, _, name = path.rpartition("/")
        parent = self._folder(above, folders)
        node = folders[path] = self._next
        self._next += 1
        self._add(parent, name, node, path)
        self._children[node] = {}
        self._parents[node] = parent
        return node

    def _add(self, folder: int, name: str, node: int, path: str) -> None:
        encoded = name.encode("utf-8", "surrogateescape")
        if self._children[folder].setdefault(encoded, node) != node:
            raise ValueError(f"{path!r} is a file and a folder on the store; a file system cannot show both")
