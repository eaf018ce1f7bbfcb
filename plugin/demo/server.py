"""``airflow standalone`` as a child that never outlives this process."""

import threading
from collections import deque
from types import TracebackType
from typing import Self

from airflow_azureml.compute.process import run_process
from airflow_azureml.demo.home import AirflowHome

_GRACE_S = 20.0
_LINES_SHOWN = 30


class AirflowStopped(Exception):
    """Airflow ended although nobody asked it to; the message carries its last words."""


class AirflowServer:
    """All of Airflow's processes, for the length of a ``with`` block.

    They run under the guard that steps run under: whatever happens to this process, ``kill -9`` included, none of them
    is left, nor any process that they started.

    :param home: the home to run in.
    """

    def __init__(self, home: AirflowHome) -> None:
        self._home = home
        self._stop = threading.Event()
        self._last_lines: deque[str] = deque(maxlen=_LINES_SHOWN)
        self._thread = threading.Thread(target=self._run, name="airflow", daemon=True)
        self._problem = ""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def check(self) -> None:
        """Raise ``AirflowStopped`` if Airflow is not running any more."""
        if not self._thread.is_alive():
            words = "\n".join(self._last_lines)
            raise AirflowStopped(
                f"Airflow stopped. {self._problem}\n{words}\nAll of it: {self._home.log_file}"
            )

    def wait(self) -> None:
        """Return when Airflow has ended."""
        self._thread.join()

    def _run(self) -> None:
        with self._home.log_file.open("a", encoding="utf-8") as log:

            def keep(_stream: str, line: str) -> None:
                self._last_lines.append(line)
                log.write(f"{line}\n")
                log.flush()

            try:
                status = run_process(
                    ["airflow", "standalone"],
                    cwd=self._home.path,
                    env=self._home.environment(),
                    on_line=keep,
                    grace_s=_GRACE_S,
                    cancelled=self._stop,
                )
                self._problem = (
                    f"It ended with {status.code if status.signal is None else f'signal {status.signal}'}."
                )
            except Exception as error:  # noqa: BLE001 - told by check() to the thread that waits
                self._problem = f"{type(error).__name__}: {error}"
