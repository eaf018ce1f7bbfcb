"""Small file work that several parts of the runtime share."""

from __future__ import annotations

import contextlib
import os
from typing import Any, Iterator

from airflow_azureml.runtime import service


def files_below(folder: str) -> Iterator[tuple[str, str]]:
    """Yield the files of a folder at any depth, sorted, as (path relative to it with ``/``, path)."""
    for directory, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(directory, name)
            yield os.path.relpath(path, folder).replace(os.sep, "/"), path


def download_to(target: str, method: str, **params: Any) -> Any:
    """Write the file that a call answers with to a path; it appears whole or not at all.

    :param target: path of the file; its folders are made.
    :param method: the call, with its ``params``.
    """
    folder = os.path.dirname(os.path.abspath(target))
    os.makedirs(folder, exist_ok=True)
    # Not mkstemp: its files may be read by their owner only, a download is an ordinary file.
    part = os.path.join(folder, f".download-{os.urandom(16).hex()}")
    try:
        with open(part, "xb") as file:
            result = service.call_into(method, file, **params)
        os.replace(part, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        raise
    return result
