"""Lays the runtime out as a folder for a step's ``PYTHONPATH``.

::

    <parent>/<digest>/sitecustomize.py              this package's step_site.py
    <parent>/<digest>/lib/airflow_azureml/…         the root package and the runtime, nothing else

The folder is named after its content, so versions lie side by side and steps that run keep theirs.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import uuid
from pathlib import Path

_PACKAGE = "airflow_azureml"
_RUNTIME = "runtime"
_SITE = "step_site.py"
_ATTEMPTS = 10


def ship(target_parent: str | os.PathLike[str]) -> Path:
    """Return the folder to put on a step's ``PYTHONPATH``, made below ``target_parent`` if it isn't there yet.

    It appears whole. Many processes may call this at the same time.

    :param target_parent: where such folders lie on this machine; must be readable by whoever runs steps.
    """
    digest, files = _content()
    parent = os.path.abspath(os.fspath(target_parent))
    target = os.path.join(parent, digest)
    if _is_whole(target, files):
        return Path(target)
    os.makedirs(parent, exist_ok=True)
    part = os.path.join(parent, f".{digest}.{uuid.uuid4().hex}")
    try:
        _write(part, files)
        _move_into_place(part, target, files)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Path(target)


def read_ahead() -> None:
    """Read what :func:`ship` lays out, for the processes that are forked from this one."""
    _content()


@functools.lru_cache(maxsize=1)
def _content() -> tuple[str, dict[str, bytes]]:
    """Return digest and content of the folder, path → bytes."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    files = {os.path.join("lib", _PACKAGE, "__init__.py"): _read(os.path.join(package, "__init__.py"))}
    for folder, folders, names in os.walk(os.path.join(package, _RUNTIME)):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        relative = os.path.relpath(folder, package)
        for name in sorted(names):
            if name.endswith(".py"):
                files[os.path.join("lib", _PACKAGE, relative, name)] = _read(os.path.join(folder, name))
    files["sitecustomize.py"] = files[os.path.join("lib", _PACKAGE, _RUNTIME, _SITE)]
    digest = hashlib.sha256()
    for path, data in sorted(files.items()):
        digest.update(b"%d %d " % (len(os.fsencode(path)), len(data)) + os.fsencode(path) + data)
    return digest.hexdigest()[:32], files


def _is_whole(target: str, files: dict[str, bytes]) -> bool:
    # A cleaner of temporary folders takes files one by one.
    try:
        return all(os.stat(os.path.join(target, path)).st_size == len(data) for path, data in files.items())
    except OSError:
        return False


def _write(folder: str, files: dict[str, bytes]) -> None:
    for path, data in files.items():
        place = os.path.join(folder, path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "xb") as file:
            file.write(data)


def _move_into_place(part: str, target: str, files: dict[str, bytes]) -> None:
    for attempt in range(_ATTEMPTS):
        if _moved(part, target) or _is_whole(target, files):
            return
        # Damaged: out of the way with it, under a name that nobody else moves.
        broken = f"{part}.{attempt}"
        _moved(target, broken)
        shutil.rmtree(broken, ignore_errors=True)
    raise OSError(f"{target} cannot be laid out: something keeps writing there")


def _moved(source: str, target: str) -> bool:
    try:
        os.rename(source, target)
    except OSError:
        return False
    return True


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
