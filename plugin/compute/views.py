"""What a script sees of its inputs.

A *mounted* input is a view made of links: folders are the step's own, files are the stored ones, read-only. A *downloaded* input
is a private copy. A *direct* input is a dataset id that the run context opens.
"""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

from airflow_azureml.compute.files import FileState, WatchedFile, copy_file, link_file, pin_file, remove_tree
from airflow_azureml.compute.input_trees import InputFile, InputTree
from airflow_azureml.compute.inputs import InputChanged, ResolvedInput
from airflow_azureml.model.port_types import InputPort
from airflow_azureml.runtime.exceptions import UserErrorException


class InputViews:
    """Shows inputs to a script, and notices when they change while it runs.

    :param mount: folder under which mounted datastores and datasets appear.
    :param downloads: folder under which downloaded ones appear, with the same layout.
    :param working_directory: what a relative ``path_on_compute`` is relative to.
    """

    def __init__(self, mount: Path, downloads: Path, working_directory: Path) -> None:
        self._roots = {"mount": mount, "download": downloads}
        self._working_directory = working_directory
        self._watched: list[WatchedFile] = []
        self._links: dict[Path, Path] = {}

    def lay_out(self, item: ResolvedInput) -> str:
        """Lay out one input and return what the script is given: a local path, or the id of a direct dataset.

        :raises InputChanged: its files aren't those that were looked at.
        :raises UserErrorException: ``path_on_compute`` is taken.
        """
        mode = item.port.mode
        for tree in item.trees:
            if not isinstance(tree, InputTree):
                raise TypeError(f"input {item.name!r}: its files have not been fetched")
            self._lay_out_tree(tree, mode, item.name)
        if mode == "direct":
            return item.inside
        local = self._roots[mode] / item.inside
        if not local.exists():
            # A declared output that was never written: its consumer starts all the same (v1).
            local.mkdir(parents=True)
        return str(self._placed(local, item.port))

    def altered(self) -> list[Path]:
        """Return the stored files that changed since they were looked at, while the script could read them."""
        return [watched.source for watched in self._watched if not watched.is_unchanged()]

    def remove_links(self) -> None:
        """Remove what the views put outside the step's own folder (an absolute ``path_on_compute``)."""
        for place, local in self._links.items():
            if place.is_symlink() and place.readlink() == local:
                place.unlink()

    def _lay_out_tree(self, tree: InputTree, mode: str, name: str) -> None:
        target = self._roots.get(mode, Path()) / tree.place
        if mode != "direct":
            for folder in tree.folders:
                (target / folder).mkdir(parents=True, exist_ok=True)
        for file in tree.files:
            shown = target / file.name if file.name else target
            if not self._show(file, shown, mode, is_shared=tree.is_shared):
                raise InputChanged(
                    f"input {name!r}: {file.source.name} changed while the step was starting; "
                    "run it again when the data is at rest"
                )

    def _show(self, file: InputFile, shown: Path, mode: str, *, is_shared: bool) -> bool:
        """Show one file, and return whether it is the one that was looked at."""
        stored = WatchedFile(file.source, file.state, pinned=False)
        # The same data under two input names: one view serves both.
        is_new = mode != "direct" and not shown.exists()
        try:
            if is_new and (mode == "download" or file.is_program):
                copy_file(stored.source, shown)
                _make_program(shown, file)
            elif is_new and is_shared and pin_file(stored.source, shown):
                self._watched.append(replace(stored, pinned=True))
                return FileState.of(shown) == stored.state
            elif is_new:
                link_file(stored.source, shown)
        except FileNotFoundError:
            return False
        if mode != "download":
            self._watched.append(stored)
        return stored.is_unchanged()

    def _placed(self, local: Path, port: InputPort) -> Path:
        """Make an input appear where the user wants it, too."""
        if port.path_on_compute is None:
            return local
        place = self._working_directory / port.path_on_compute
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_symlink() and not place.exists():
            # Left by a step whose worker died.
            place.unlink()
        if (place.exists() or place.is_symlink()) and port.overwrite and self._is_ours(place):
            remove_tree(place)
        if place.exists() or place.is_symlink():
            raise UserErrorException(
                f"input {port.name!r}: path_on_compute {port.path_on_compute!r} exists already; "
                "choose another path, or a relative one and overwrite=True"
            )
        place.symlink_to(local)
        self._links[place] = local
        return place

    def _is_ours(self, place: Path) -> bool:
        """Whether a place is in the script's own folder, where replacing it harms nobody."""
        parent = place.parent.resolve()
        return place not in self._links and parent.is_relative_to(self._working_directory.resolve())


def _make_program(shown: Path, file: InputFile) -> None:
    if file.is_program:
        shown.chmod(shown.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
