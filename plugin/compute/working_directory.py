"""The folder a step run works in, and what becomes of it."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from airflow_azureml.compute.files import remove_tree
from airflow_azureml.compute.mounting.kernel import remove_mount

VIRTUAL = "virtual"
KEEP_FAILED_S = 7 * 24 * 3600.0
"""How long the folder of a failed step stays for people to look at."""


class WorkingDirectory:
    """One step run's folder on this machine.

    ::

        <scratch>/<step run id>/code/        the snapshot; the script's working directory, with ./outputs and ./logs
        <scratch>/<step run id>/mnt/         mounted inputs
        <scratch>/<step run id>/out/         outputs being written; apart, or what is mounted there would be taken for output
        <scratch>/<step run id>/virtual/     files of mounted inputs that are elsewhere, while the step runs
        <scratch>/<step run id>/download/    downloaded inputs
        <scratch>/<step run id>/artifacts/   files the script uploaded to its run
        <scratch>/<step run id>/log.txt      what the script printed
        <scratch>/<step run id>/.lock        held while the step runs

    :param scratch: the folder of all of them.
    :param step_run_id: the step run.
    """

    def __init__(self, scratch: Path, step_run_id: str) -> None:
        self._scratch = scratch
        self.root = scratch / step_run_id
        self.code = self.root / "code"
        self.mount = self.root / "mnt"
        self.written = self.root / "out"
        self.virtual = self.root / VIRTUAL
        self.downloads = self.root / "download"
        self.artifacts = self.root / "artifacts"
        self.log = self.root / "log.txt"
        self._lock: int | None = None

    def create(self) -> None:
        """Make an empty folder and hold it; what an earlier use left is removed, old folders of failed steps too."""
        self._remove_old()
        _remove(self.root)
        self.root.mkdir(parents=True, mode=0o700)
        self._lock = _hold(self.root)

    def release(self) -> None:
        """Leave the folder to be looked at, and to be removed when it is old."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def remove(self) -> None:
        """Remove the folder and everything in it."""
        self.release()
        _remove(self.root)

    def _remove_old(self) -> None:
        oldest = time.time() - KEEP_FAILED_S
        with suppress(OSError):
            for path in self._scratch.iterdir():
                # Other steps sweep at the same time, and folders may belong to other people.
                with suppress(OSError):
                    if path.lstat().st_mtime < oldest and path.is_dir():
                        _remove_unheld(path)


def _remove_unheld(folder: Path) -> None:
    held = _hold(folder)
    if held is not None:
        _remove(folder)
        os.close(held)


def _remove(folder: Path) -> None:
    # Left by a worker that was killed together with what served the mount; in it, every look would fail.
    remove_mount(folder / VIRTUAL)
    remove_tree(folder)


def _hold(folder: Path) -> int | None:
    """Lock a step's folder for as long as this process lives; ``None`` when another one has it."""
    descriptor = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
