"""Putting local files on a datastore."""

from __future__ import annotations

import os
import uuid

from airflow_azureml.runtime.dataset import service_calls
from airflow_azureml.runtime.exceptions import UserErrorException


def unique_folder(path: str) -> str:
    """Return a new folder's path below a path on a datastore."""
    return (path + "/" if path else "") + str(uuid.uuid4())


def upload_folder(
    folder: str,
    datastore: str,
    path: str,
    *,
    pattern: str | None = None,
    overwrite: bool = False,
    show_progress: bool = True,
) -> int:
    """Upload the files of a folder and return how many there were.

    :param folder: the local folder.
    :param datastore: name of the datastore.
    :param path: the folder on it.
    :param pattern: which files, with ``*`` and ``**``, relative to the folder; None for all.
    :param overwrite: replace files that are there; they stay otherwise (v1).
    :param show_progress: print each file.
    :raises UserErrorException: the folder isn't there.
    """
    from airflow_azureml.runtime.dataset.walking import Pattern, walk

    if not os.path.isdir(folder):
        raise UserErrorException("%s is no folder" % folder)
    count = 0
    for found in walk(folder, Pattern.of("**" if pattern is None else pattern), None):
        target = (path + "/" if path else "") + found.relative
        with open(found.path, "rb") as file:
            is_new = service_calls.upload(datastore, target, file, overwrite)
        if show_progress:
            print("%s %s on %s" % ("uploaded" if is_new else "kept", target, datastore), flush=True)  # noqa: T201
        count += 1
    return count
