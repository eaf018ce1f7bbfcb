"""The bandwidth limit, and the way out of a transfer that is stopped."""

from __future__ import annotations

import threading
import time


class Stopped(Exception):
    """The transfer is being ended; what was begun is taken back."""


class Pace:
    """Lets bytes pass, of all threads together, not faster than allowed.

    :param halt: set when the transfer ends early.
    :param bytes_per_s: the limit; None for none.
    """

    def __init__(self, halt: threading.Event, bytes_per_s: int | None) -> None:
        self._halt = halt
        self._bytes_per_s = bytes_per_s
        self._lock = threading.Lock()
        self._free_at = 0.0
        self.passed_bytes = 0

    def take(self, size_bytes: int) -> None:
        """Wait until so many bytes may pass.

        :raises Stopped: the transfer is being ended.
        """
        if self._halt.is_set():
            raise Stopped
        wait_s = 0.0
        with self._lock:
            self.passed_bytes += size_bytes
            if self._bytes_per_s is not None:
                now = time.monotonic()
                begins = max(now, self._free_at)
                self._free_at = begins + size_bytes / self._bytes_per_s
                wait_s = begins - now
        if wait_s > 0:
            self.sleep(wait_s)

    def sleep(self, seconds: float) -> None:
        """Wait, unless the transfer is being ended.

        :raises Stopped: it is.
        """
        if self._halt.wait(seconds):
            raise Stopped
