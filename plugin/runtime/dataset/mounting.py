"""A folder that shows the files of a dataset without copying them."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import TYPE_CHECKING, Callable

from airflow_azureml.runtime.exceptions import UserErrorException

if TYPE_CHECKING:
    from typing_extensions import Self

    from airflow_azureml.runtime.dataset.resolve import ResolvedFile

_READ_ONLY = 0o555
_WRITABLE = 0o755


class MountContext:
    """The view of a ``FileDataset``: folders that cannot be written to, links to the files.

    A context manager; :meth:`start` and :meth:`stop` do the same by hand. (v1 needed libfuse; nothing does here.)

    :param files: returns the files.
    :param mount_point: the folder, empty or not there yet; a temporary one for None.
    :raises UserErrorException: the folder holds something.
    """

    def __init__(self, files: Callable[[], list[ResolvedFile]], mount_point: str | None) -> None:
        self._files = files
        self._is_own = mount_point is None or not os.path.exists(mount_point)
        self._point = os.path.abspath(tempfile.mkdtemp() if mount_point is None else os.fspath(mount_point))
        self._started = False
        if not self._is_own and (not os.path.isdir(self._point) or os.listdir(self._point)):
            raise UserErrorException("%s is no empty folder; mount somewhere else" % self._point)

    @property
    def mount_point(self) -> str:
        """The folder that shows the files."""
        return self._point

    def start(self) -> None:
        """Show the files.

        :raises UserErrorException: they are shown already.
        :raises DatasetValidationError: a path is missing or means no file.
        """
        if self._started:
            raise UserErrorException("%s is mounted already" % self._point)
        files = self._files()
        self._started = True
        os.makedirs(self._point, exist_ok=True)
        for file in files:
            target = os.path.join(self._point, file.name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.symlink(os.path.abspath(file.path), target)
        self._chmod(_READ_ONLY)

    def stop(self) -> None:
        """Take the view away; the files stay where they are."""
        if not self._started:
            return
        self._started = False
        self._chmod(_WRITABLE)
        for name in os.listdir(self._point):
            path = os.path.join(self._point, name)
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)
        if self._is_own:
            os.rmdir(self._point)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _chmod(self, mode: int) -> None:
        for folder, _, _ in os.walk(self._point):
            os.chmod(folder, mode)
