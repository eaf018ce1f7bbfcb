"""Files that a DAG file names by a relative path."""

from __future__ import annotations

import inspect
from pathlib import Path

__all__ = ["find_file"]

_PACKAGE = Path(__file__).resolve().parents[1]


def find_file(path: str | Path) -> Path:
    """Return a file that the calling code names: beside the calling file, else in the current directory.

    v1 looked in the current directory only; an Airflow process has its own.

    :param path: absolute, or relative to either.
    """
    given = Path(path).expanduser()
    if given.is_absolute():
        return given
    caller = _calling_folder()
    return caller / given if caller is not None and (caller / given).exists() else Path.cwd() / given


def _calling_folder() -> Path | None:
    frame = inspect.currentframe()
    while frame is not None:
        source = Path(frame.f_code.co_filename)
        if source.is_file() and not source.resolve().is_relative_to(_PACKAGE):
            return source.resolve().parent
        if frame.f_back is None:
            return None
        frame = frame.f_back
    return None
