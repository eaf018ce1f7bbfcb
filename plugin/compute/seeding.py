"""Copies of what a step has just uploaded: a later step on this machine that reads it downloads nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_azureml.runtime.exceptions import AzureMLException

if TYPE_CHECKING:
    from airflow_azureml.storage.files import FileInfo, FileStore
    from airflow_azureml.workspace.data_cache import DataCache


def keep_copies(cache: DataCache, store: FileStore, staged: Path, files: Mapping[str, FileInfo]) -> None:
    """Put files that were uploaded into the cache of this machine, as if they had been downloaded.

    They are hard links where that is possible, and the step's folder, which goes, is where they come from. Trouble, such as
    a full disk, costs a download later.

    :param store: where they were uploaded to.
    :param staged: the folder that they were uploaded from.
    :param files: what they are on the store, by their names in the folder.
    """
    source = _Staged(store.uri, {info.path: staged / name for name, info in files.items()}, files)
    with suppress(AzureMLException, OSError):
        cache.fetch(source, list(files.values()))


class _Staged:
    """The files in their folder, under the name of the store."""

    local_root = None

    def __init__(self, uri: str, places: Mapping[str, Path], files: Mapping[str, FileInfo]) -> None:
        self.uri = uri
        self._places = places
        self._infos = {info.path: info for info in files.values()}

    def get_file(self, path: str, target: Path, *, etag: str | None = None) -> FileInfo:  # noqa: ARG002 - it is that version
        """Give a file; see ``FileStore.get_file``."""
        try:
            os.link(self._places[path], target)
        except OSError:
            shutil.copyfile(self._places[path], target)
        return self._infos[path]
