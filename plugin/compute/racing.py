"""Racing: computing a result that somebody else is computing too, and taking whichever is there first."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_azureml.reuse.entries import Entry, EntryStore
from airflow_azureml.runtime.exceptions import StoreError

if TYPE_CHECKING:
    from airflow_azureml.workspace.run_state import RunState

LOOK_S = 1.0


class Race:
    """Watches, while a script runs, whether somebody else comes first; then the script is stopped.

    :param entries: the remembered results.
    :param key: the action key.
    :param refused: generation of a result that is there and doesn't count for the step.
    """

    def __init__(self, entries: EntryStore, key: str, refused: int | None) -> None:
        self._entries = entries
        self._key = key
        self._refused = refused
        self.winner: Entry | None = None
        """The result that was there first."""

    @contextmanager
    def against(self, state: RunState) -> Iterator[None]:
        """Watch while the script of a step runs.

        :param state: the step's own conversation, through which it is canceled.
        """
        over = threading.Event()
        thread = threading.Thread(target=self._watch, args=[state, over], name="race", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _watch(self, state: RunState, over: threading.Event) -> None:
        while not over.wait(LOOK_S):
            try:
                found = self._entries.find(self._key)
            except (StoreError, OSError):
                continue
            if found is not None and found.generation != self._refused:
                self.winner = found
                state.request_cancel("self", f"run {found.run_id} was first with the same result")
                return
