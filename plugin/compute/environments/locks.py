"""File locks between processes, given up by the kernel when their holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path


class FileLock:
    """An advisory lock on a file (``flock``): one exclusive holder, or any number of shared ones.

    It belongs to this object, not to the process: two of them exclude each other within one process too. The file stays
    when the lock is gone; deleting it would let two processes hold "the same" lock on two files.

    :param path: the lock file, created if absent.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def try_shared(self) -> bool:
        """Take the lock together with others; from exclusive this may lose it to another process for a moment."""
        return self._try(fcntl.LOCK_SH)

    def try_exclusive(self) -> bool:
        """Take the lock alone."""
        return self._try(fcntl.LOCK_EX)

    def _try(self, kind: int) -> bool:
        try:
            fcntl.flock(self._fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(self) -> None:
        """Give the lock up; it can be taken again."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def fileno(self) -> int:
        """The descriptor; a process that inherits it holds the lock too."""
        return self._fd

    def stamp(self) -> None:
        """Note that the lock was used now, as the file's modification time."""
        now = time.time_ns()  # by itself the kernel would take the time of its last tick
        os.utime(self._fd, ns=(now, now))

    def close(self) -> None:
        """Give the lock up for good; closing again does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # the file could not be opened
            self.close()
