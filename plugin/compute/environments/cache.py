"""The environments of a machine: built once per digest, shared by all steps, removed when unused."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from airflow_azureml.compute.environments.builder import Built, build
from airflow_azureml.compute.environments.given import given_interpreter
from airflow_azureml.compute.environments.indexes import build_environment
from airflow_azureml.compute.environments.interpreter import Interpreter, environment_folder_variables
from airflow_azureml.compute.environments.locks import FileLock
from airflow_azureml.compute.environments.prune import MARKER, PruneReport, discard, lock_path, prune
from airflow_azureml.compute.environments.published import PublishedLock, platform_name
from airflow_azureml.compute.environments.pythons import normalise_version
from airflow_azureml.compute.environments.tools import Report, ToolRunner
from airflow_azureml.model.canonical import digest_of
from airflow_azureml.runtime.exceptions import EnvironmentBuildError, RunEnvironmentException, StepCanceled

if TYPE_CHECKING:
    from airflow_azureml.workspace.store import ObjectStore

WAIT_S = (0.02, 0.08)
"""How long to wait before asking again for a lock somebody else holds; spread, so that waiters do not meet."""


class EnvironmentLike(Protocol):
    """What the cache needs of an :class:`airflow_azureml.model.environment.Environment`."""

    @property
    def digest(self) -> str:
        """Digest of all that decides what is installed."""

    def specification(self) -> dict[str, Any]:
        """What is to be installed."""


class EnvironmentCache:
    """Environments below one folder, safe to use from any number of processes.

    An environment is built at its final place under an exclusive lock, because paths are written into it; a marker
    written last says that it is complete. A build that is interrupted, even by SIGKILL or a power cut, leaves a folder
    without marker, which the next build of that environment or the next pruning removes. Users hold the same lock
    together; pruning needs it alone.

    :param root: the folder; best on the file system of uv's cache, so that files are linked and not copied.
    :param locks: store where the exact package versions are published, so that all machines install the same.
    """

    def __init__(self, root: Path, *, locks: ObjectStore | None = None) -> None:
        self._root = root.absolute()
        self._locks = locks

    def ensure(
        self, environment: EnvironmentLike, report: Report, cancelled: threading.Event | None = None
    ) -> Interpreter:
        """Return the interpreter of an environment, built if need be.

        :param environment: what is wanted.
        :param report: told the progress of a build, line by line; nothing when there is nothing to build.
        :param cancelled: ends a build or the wait for one when set.
        :returns: the interpreter, kept from being pruned until it is released.
        :raises EnvironmentBuildError: it cannot be built; the building tool's own error comes first.
        :raises StepCanceled: ``cancelled`` was set.
        """
        specification = environment.specification()
        if specification.get("user_managed"):
            return given_interpreter(self._root, specification, os.environ)
        return _Request(
            self._root, self._locks, environment.digest, specification, report, cancelled
        ).fulfil()

    def identity(self, environment: EnvironmentLike) -> str:
        """Return what a result that was computed in an environment depends on, without building it.

        :param environment: one that is built is known by what it is made of; a user-managed interpreter by what is
            installed beside it on this machine, too.
        :raises EnvironmentBuildError: there is no such user-managed interpreter.
        """
        specification = environment.specification()
        if not specification.get("user_managed"):
            return environment.digest
        found = given_interpreter(self._root, specification, os.environ)
        return digest_of({"specification": environment.digest, "interpreter": found.digest})

    def platform(self, environment: EnvironmentLike) -> str:
        """Return what packages are chosen by besides the requirements: system, processor and Python version.

        :raises EnvironmentBuildError: there is no such user-managed interpreter, or no such Python version.
        """
        specification = environment.specification()
        if not specification.get("user_managed"):
            return platform_name(_wanted_version(specification))
        version = given_interpreter(self._root, specification, os.environ).version
        return platform_name(".".join(version.split(".")[:2]))

    def known_packages(self, environment: EnvironmentLike) -> str | None:
        """Return the exact packages that an environment has here, or will have when it is built; builds nothing.

        :return: one requirement per line, as the environment was built on this machine, else as the workspace has it from the
            machine that was first; ``None`` when nobody has built it, or when it is user-managed.
        """
        specification = environment.specification()
        if specification.get("user_managed"):
            return None
        return _Request(
            self._root, self._locks, environment.digest, specification, lambda _: None, None
        ).known_packages()

    def prune(self, keep_bytes: int) -> PruneReport:
        """Remove the longest unused environments until the rest takes at most ``keep_bytes``.

        An environment that is in use or being built is never removed; one that was left half-built always is.
        """
        return prune(self._root, keep_bytes)


class _Request:
    """One call of :meth:`EnvironmentCache.ensure`."""

    def __init__(
        self,
        root: Path,
        locks: ObjectStore | None,
        digest: str,
        specification: dict[str, Any],
        report: Report,
        cancelled: threading.Event | None,
    ) -> None:
        self._version = _wanted_version(specification)
        platform = platform_name(self._version)
        self._root = root
        self._name = f"{digest[:24]}-{platform}"
        self._folder = root / self._name
        self._digest = digest
        self._specification = specification
        self._report: Report = lambda line: report(f"environment {digest[:8]}: {line}")
        self._cancelled = cancelled
        self._published = PublishedLock(locks, digest, platform, self._report)

    def fulfil(self) -> Interpreter:
        """Use the environment if it is there, build it if nobody does, wait if somebody does."""
        lock = FileLock(lock_path(self._root, self._name))
        try:
            waiting = False
            while True:
                if lock.try_shared():
                    interpreter = self._existing(lock)
                    if interpreter is not None:
                        return interpreter
                    lock.unlock()
                if lock.try_exclusive():
                    self._build_if_absent(lock)
                    continue
                if not waiting:
                    waiting = True
                    self._report("waiting for another process that builds it")
                self._pause()
        except BaseException:
            lock.close()
            raise

    def known_packages(self) -> str | None:
        """The lock of the environment as it is here, else the published one."""
        if not self._specification.get("pip") and not self._specification.get("conda"):
            return ""
        try:
            return str(json.loads((self._folder / MARKER).read_bytes())["lock"])
        except (OSError, ValueError, KeyError):
            return self._published.read()

    def _pause(self) -> None:
        seconds = random.uniform(*WAIT_S)  # noqa: S311 - spreads waiters, hides nothing
        if self._cancelled is None:
            time.sleep(seconds)
        elif self._cancelled.wait(seconds):
            raise StepCanceled(
                "the wait for the step's environment was stopped", reason="cancelled during the build"
            )

    def _existing(self, lock: FileLock) -> Interpreter | None:
        """The environment, if it is complete and the Python it is based on still there."""
        try:
            marker = json.loads((self._folder / MARKER).read_bytes())
            python = self._folder / marker["python"]
            python.stat()
        except (OSError, ValueError, KeyError):
            return None
        lock.stamp()
        declared: Mapping[str, str] = self._specification.get("environment_variables") or {}
        return Interpreter(
            python=python,
            digest=self._digest,
            variables={**environment_folder_variables(self._folder), **declared},
            lock=marker["lock"],
            version=marker["version"],
            hold=lock,
        )

    def _build_if_absent(self, lock: FileLock) -> None:
        if self._existing(lock) is not None:
            return
        discard(self._root, self._name)
        index = self._specification.get("index") or {}
        variables = _with_reachable_cache(build_environment(index), self._root)
        tools = ToolRunner(variables, self._report, self._cancelled, lock.fileno())
        try:
            built = build(self._folder, self._specification, self._version, tools, self._published)
            self._complete(built)
        except RunEnvironmentException as error:
            raise EnvironmentBuildError(f"{error}; check the worker's installation") from error
        finally:
            if not (self._folder / MARKER).exists():
                discard(self._root, self._name)

    def _complete(self, built: Built) -> None:
        """Write the marker, once all that it vouches for is on the disk."""
        os.sync()
        marker = self._folder / MARKER
        temporary = marker.with_suffix(".tmp")
        python = str(built.python.relative_to(self._folder))
        temporary.write_text(json.dumps({"python": python, "version": built.version, "lock": built.lock}))
        temporary.replace(marker)


def _wanted_version(specification: Mapping[str, Any]) -> str:
    try:
        return normalise_version(specification.get("python_version"))
    except ValueError as error:
        raise EnvironmentBuildError(str(error)) from None


def _with_reachable_cache(variables: dict[str, str], root: Path) -> dict[str, str]:
    """Put uv's cache beside the environments where its usual place is no good.

    It must be writable, and on the same file system: only then can files be linked, which is several times faster than
    copying and takes no space.
    """
    if "UV_CACHE_DIR" in variables:
        return variables
    usual = Path(variables.get("XDG_CACHE_HOME") or Path(variables.get("HOME", "/")) / ".cache")
    there = next(folder for folder in (usual / "uv", usual, *usual.parents) if folder.exists())
    if os.access(there, os.W_OK) and there.stat().st_dev == root.stat().st_dev:
        return variables
    return {**variables, "UV_CACHE_DIR": str(root / ".uv-cache")}
