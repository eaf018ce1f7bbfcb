"""A step's source directory: which folder it is, and whether it may be one."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from airflow_azureml import config
from airflow_azureml.runtime.exceptions import DefinitionError, SnapshotException
from airflow_azureml.workspace.sources import SourceTree, scan_source
from airflow_azureml.workspace.stat_cache import StatCache

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from airflow_azureml.operators.python_script import PythonScriptStep

REMEMBER_S = 2.0
"""How long a source directory counts as just looked at, within one process that reads DAG files."""


class _LookingOnce:
    """What has been looked at within a plan."""

    def __init__(self) -> None:
        self.hashes = StatCache(config.cache_directory() / "hashes", remember_s=math.inf)
        self.found: dict[tuple[Path, str], str] = {}
        """Source directory and script name to the script's path, of scripts that are there."""
        self._scripts: dict[int, dict[Path, list[tuple[str, str]]]] = {}

    def scripts_of(self, dag: DAG) -> dict[Path, list[tuple[str, str]]]:
        """Return what :func:`_scripts` does, found out once for each DAG."""
        if id(dag) not in self._scripts:
            self._scripts[id(dag)] = _scripts(dag)
        return self._scripts[id(dag)]


_looking_once: ContextVar[_LookingOnce | None] = ContextVar("looking_once", default=None)


def source_directory_of(step: PythonScriptStep) -> Path:
    """Return the absolute source directory of a step.

    v1 took the current directory when none was named; a DAG file has no meaningful one, its folder takes that place.
    """
    return folder_named(step.dag, step.source_directory)


def folder_named(dag: DAG, source_directory: str | None) -> Path:
    """Return the absolute folder that a step's ``source_directory`` means in a DAG."""
    return _folder(dag.fileloc, source_directory or getattr(dag, "default_source_directory", None) or "")


@lru_cache(maxsize=256)
def _folder(file: str, given: str) -> Path:
    # A process reads one file or runs one task; asking the file system once for all steps keeps reading fast.
    path = Path(file) if file else None
    base = path.resolve().parent if path is not None and path.is_file() else Path.cwd()
    return (base / given).resolve()


def find_script(step: PythonScriptStep, directory: Path) -> str:
    """Return the script's path inside the source directory, POSIX.

    :raises DefinitionError: the directory or the script isn't there, or the script lies outside the directory.
    """
    looking = _looking_once.get()
    known = None if looking is None else looking.found.get((directory, step.script_name))
    if known is not None:
        return known
    script = PurePosixPath(step.script_name.replace("\\", "/"))
    if script.is_absolute() or ".." in script.parts:
        raise DefinitionError(
            f"{step.title}: argument script_name is {step.script_name!r}; give a path inside the source directory {directory}"
        )
    if not directory.is_dir():
        raise DefinitionError(
            f"{step.title}: argument source_directory is {directory}, which is no folder; "
            "a relative one starts at the folder of the DAG file"
        )
    if not (directory / script).is_file():
        raise DefinitionError(
            f"{step.title}: script {step.script_name!r} is not in the source directory {directory}; "
            "correct script_name or source_directory"
        )
    if looking is not None:
        looking.found[directory, step.script_name] = script.as_posix()
    return script.as_posix()


def other_scripts(step: PythonScriptStep) -> list[str]:
    """Return the scripts of the other steps of the DAG that share the step's source directory, POSIX."""
    looking = _looking_once.get()
    found = _scripts(step.dag) if looking is None else looking.scripts_of(step.dag)
    return [script for task_id, script in found.get(source_directory_of(step), ()) if task_id != step.task_id]


def _scripts(dag: DAG) -> dict[Path, list[tuple[str, str]]]:
    """Return, by source directory, the steps of a DAG and their scripts."""
    found: dict[Path, list[tuple[str, str]]] = {}
    for task in dag.tasks:
        given = getattr(task, "partial_kwargs", None) or vars(task)
        name = given.get("script_name")
        if isinstance(name, str):
            directory = folder_named(dag, given.get("source_directory"))
            found.setdefault(directory, []).append((task.task_id, PurePosixPath(name).as_posix()))
    return found


def check_source(step: PythonScriptStep, directory: Path) -> None:
    """Check that the source directory can be snapshotted, without uploading anything.

    :raises DefinitionError: it holds other DAG files although nobody named it, or is too large, or has links out of it.
    """
    named = step.source_directory or getattr(step.dag, "default_source_directory", None)
    if not named:
        _refuse_shared_folder(step, directory)
    try:
        scan(directory, tuple(step.hash_paths or ()))
    except SnapshotException as error:
        raise DefinitionError(f"{step.title}: argument source_directory: {error}") from None


def _refuse_shared_folder(step: PythonScriptStep, directory: Path) -> None:
    own = Path(step.dag.fileloc).resolve()
    other = next(
        (path for path in _python_files(directory) if path.resolve() != own and _defines_a_dag(path)), None
    )
    if other is not None:
        raise DefinitionError(
            f"{step.title}: no source_directory is given, and the folder of the DAG file holds other DAGs "
            f"({other.relative_to(directory)}); move the scripts to a folder of their own and name it: source_directory=…"
        )


def _python_files(directory: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(directory):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(files) if name.endswith(".py"))


@lru_cache(maxsize=1024)
def _defines_a_dag(path: Path) -> bool:
    from airflow_azureml.discovery import PIPELINE_WORD

    # The test that Airflow makes with our addition to it, see airflow_azureml.discovery.
    text = path.read_bytes()
    lower = text.lower()
    return b"airflow" in lower and (b"dag" in lower or PIPELINE_WORD.search(text) is not None)


def scan(directory: Path, hash_paths: tuple[str, ...]) -> SourceTree:
    """Hash a source directory while a DAG file is read; steps that share one look at it once."""
    cache = _stat_cache(config.cache_directory(), REMEMBER_S)
    return scan_source(
        directory, hash_paths=hash_paths, cache=cache, limit_bytes=config.snapshot_limit_bytes()
    )


def stat_cache() -> StatCache:
    """Return the cache of file hashes that all steps of this machine share."""
    looking = _looking_once.get()
    return _stat_cache(config.cache_directory(), 0.0) if looking is None else looking.hashes


@contextmanager
def look_once() -> Iterator[None]:
    """Look at each source directory once within the block, however many steps share it: for plans."""
    token = _looking_once.set(_LookingOnce())
    try:
        yield
    finally:
        _looking_once.reset(token)


@lru_cache(maxsize=4)
def _stat_cache(directory: Path, remember_s: float) -> StatCache:
    return StatCache(directory / "hashes", remember_s=remember_s)
