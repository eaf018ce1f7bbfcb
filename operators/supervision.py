"""What becomes of a task when Airflow's supervisor, the parent of every task process, is killed."""

from __future__ import annotations

import os
import signal
import threading
from types import TracebackType
from typing import Self

LOOK_S = 0.5


class DiesWithSupervisor:
    """Ends this process, like ``kill -9``, when its supervisor has died.

    Airflow believes such a task to be lost and starts its next try, here or on another machine, while this process would
    go on, with nobody to report to. The script's guard ends the script then, and the next try closes the record.

    Used as a context, around the whole execution of a step. Outside a supervisor (``airflow dags test``) it does nothing.
    """

    def __init__(self) -> None:
        self._supervisor = os.getppid() if is_supervised() else None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="supervisor-watch", daemon=True)

    def __enter__(self) -> Self:
        if self._supervisor is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_S):
            if os.getppid() != self._supervisor:
                os.kill(os.getpid(), signal.SIGKILL)


def is_supervised() -> bool:
    """Whether this process is a task that a supervisor process started and listens to."""
    from airflow.sdk.execution_time import task_runner

    # The in-process stand-in of "dags test" has no socket.
    return hasattr(getattr(task_runner, "SUPERVISOR_COMMS", None), "socket")
