"""The exact packages of an environment, published so that every machine installs the same ones."""

from __future__ import annotations

import platform
import sys
from typing import TYPE_CHECKING

from airflow_azureml.compute.environments.indexes import redact
from airflow_azureml.compute.environments.tools import Report
from airflow_azureml.runtime.exceptions import ConditionFailed, ObjectNotFound, StoreError

if TYPE_CHECKING:
    from airflow_azureml.workspace.store import ObjectStore


def platform_name(python_version: str) -> str:
    """What packages are chosen by besides the requirements: system, processor, Python version."""
    return f"{sys.platform}-{platform.machine()}-py{python_version}"


class PublishedLock:
    """The lock of one environment and platform in the workspace's store.

    :param store: the store; ``None`` publishes nothing.
    :param digest: the environment's digest.
    :param platform: as from :func:`platform_name`.
    :param report: told when the store cannot be used: that costs reproducibility, not the build.
    """

    def __init__(self, store: ObjectStore | None, digest: str, platform: str, report: Report) -> None:
        self._store = store
        self._report = report
        self.key = f"environments/{digest}/{platform}.lock"

    def read(self) -> str | None:
        """The published lock, if there is one."""
        if self._store is None:
            return None
        try:
            return self._store.get(self.key).data.decode()
        except ObjectNotFound:
            return None
        except (StoreError, OSError) as error:
            self._report(f"the published package versions cannot be read, resolving anew: {error}")
            return None

    def write(self, lock: str) -> str:
        """Publish a lock; returns the one to install, another machine's if that was first."""
        if self._store is None or not _fits_elsewhere(lock):
            return lock
        try:
            self._store.put(self.key, lock.encode(), if_absent=True)
        except ConditionFailed:
            return self.read() or lock
        except (StoreError, OSError) as error:
            self._report(f"the package versions cannot be published: {error}")
        return lock


def _fits_elsewhere(lock: str) -> bool:
    """Whether another machine can use a lock: it names no file of this one, and no password."""
    return "file://" not in lock and redact(lock) == lock
