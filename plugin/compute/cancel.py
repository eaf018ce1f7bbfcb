"""Stopping a step because it or its pipeline run was stopped on purpose: by itself, by a sibling, or by a person."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from airflow_azureml.compute.records import now
from airflow_azureml.runtime.exceptions import StepCanceled, StoreError

if TYPE_CHECKING:
    from airflow_azureml.workspace.handle import WorkspaceHandle
    from airflow_azureml.workspace.run_state import CancelRequest, RunState

LOOK_S = 0.1
"""How soon a step that cancels itself is stopped."""

LOOK_AT_RUN_S = 2.0
"""How often a running step looks whether a sibling stopped the pipeline run; one small read each time."""


class CancelWatch:
    """Watches, while a script runs, whether it has to end.

    :param workspace: holds the record of the pipeline run.
    :param pipeline_run_id: the pipeline run.
    :param state: the step's own conversation, in which the script may ask for an end.
    :param stopping: set when the step has to end.
    """

    def __init__(
        self, workspace: WorkspaceHandle, pipeline_run_id: str, state: RunState, stopping: threading.Event
    ) -> None:
        self._workspace = workspace
        self._pipeline_run_id = pipeline_run_id
        self._state = state
        self._stopping = stopping
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="cancel-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def refuse_canceled(self) -> None:
        """Raise when somebody stopped the step or its run on purpose.

        :raises StepCanceled: with the reason.
        """
        request = self._state.cancel
        if request is not None:
            # Once more: the script may have ended before the watch looked, or the store failed then.
            self._pass_on(request)
            raise StepCanceled(_reason(request))

    def _watch(self) -> None:
        next_look = time.monotonic() + LOOK_AT_RUN_S
        while not self._over.wait(LOOK_S):
            request = self._state.cancel
            if request is not None:
                with suppress(StoreError, OSError):
                    self._pass_on(request)
                self._stopping.set()
                return
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + LOOK_AT_RUN_S
                self._look_at_run()

    def _pass_on(self, request: CancelRequest) -> None:
        if request.run == "parent":
            cancel_pipeline_run(self._workspace, self._pipeline_run_id, _reason(request), request.by)

    def _look_at_run(self) -> None:
        try:
            cancel = canceled(self._workspace, self._pipeline_run_id)
        except (StoreError, OSError):
            # A store that can't be read now says nothing about a cancel; the next look may.
            return
        if cancel is not None:
            self._state.request_cancel("self", cancel["reason"])


def canceled(workspace: WorkspaceHandle, pipeline_run_id: str) -> dict[str, Any] | None:
    """Return who stopped a pipeline run and why (``reason``, ``by``, ``time``), or ``None``."""
    found: dict[str, Any] | None = workspace.runs.get(pipeline_run_id).get("cancel")
    return found


def cancel_pipeline_run(workspace: WorkspaceHandle, pipeline_run_id: str, reason: str, by: str) -> None:
    """Stop a pipeline run: steps that run end, steps that would start are skipped. The first reason stays.

    :param by: the step run, or person, that stopped it.
    """

    def change(record: dict[str, Any]) -> dict[str, Any]:
        return {**record, "cancel": record.get("cancel") or {"reason": reason, "by": by, "time": now()}}

    workspace.runs.update(pipeline_run_id, change)


def _reason(request: CancelRequest) -> str:
    return request.reason or f"the script canceled its {'pipeline run' if request.run == 'parent' else 'run'}"
