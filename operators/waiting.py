"""Waiting for a result that another run is computing: in the triggerer where there is one, else in the worker."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR

from airflow_azureml import config
from airflow_azureml.runtime.exceptions import StepCanceled

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

    from airflow_azureml.compute.deciding import Waited
    from airflow_azureml.operators.step import PipelineStep
    from airflow_azureml.reuse.waiting import ResultInProgress

    _Operator = BaseOperator
else:
    # Beside an operator class among the bases of another one; a base of its own would be set up for each operator.
    _Operator = object

RESUME = "resume_after_wait"

LOOK_AGAIN_S = 900.0
"""After this time in the triggerer a worker looks for itself: the triggerer may have died meanwhile."""

HEALTH_TIMEOUT_S = 3.0


def wait_for_result(step: PipelineStep, context: Context, busy: ResultInProgress, *, since: float) -> Waited:
    """Wait until somebody else's result is there, or nobody computes it any more.

    :param step: the step that waits; it ends the waiting by setting its ``stopping``.
    :param busy: who computes what.
    :param since: when the step began to wait, seconds since the epoch.
    :raises TaskDeferred: the waiting goes on in the triggerer; Airflow calls ``resume_after_wait`` at its end.
    :raises StepCanceled: Airflow stopped the step meanwhile.
    """
    from airflow_azureml.operators.services import workspace_of

    workspace_url = workspace_of(step).url
    if triggerer_is_alive():
        from airflow_azureml.triggers import ResultTrigger

        step.defer(
            trigger=ResultTrigger(
                workspace_url, busy.key, busy.lease.ttl_s, config.wait_poll_s(), busy.refused
            ),
            method_name=RESUME,
            kwargs={"waiting_since": since},
            timeout=timedelta(seconds=LOOK_AGAIN_S),
        )
    return _wait_here(step, workspace_url, busy, since)


def _wait_here(step: PipelineStep, workspace_url: str, busy: ResultInProgress, since: float) -> Waited:
    from airflow_azureml.compute.deciding import Waited
    from airflow_azureml.reuse.waiting import Found
    from airflow_azureml.triggers import PatientWatch, pauses

    watch = PatientWatch(workspace_url, busy.key, busy.lease.ttl_s, busy.refused)
    for pause in pauses(config.wait_poll_s()):
        if watch.look() is not Found.HELD:
            break
        if step.stopping.wait(pause):
            raise StepCanceled("Airflow stopped the step while it waited for the result of another run")
    return Waited(max(0.0, datetime.now(UTC).timestamp() - since), watch.seen_expired)


def triggerer_is_alive() -> bool:
    """Whether Airflow has a triggerer that takes work now; any doubt is a no.

    Outside a supervised task (``airflow dags test``) there is nobody to wait in a triggerer for.
    """
    from airflow_azureml.operators.supervision import is_supervised

    if not is_supervised():
        return False
    try:
        with urllib.request.urlopen(_health_url(), timeout=HEALTH_TIMEOUT_S) as answer:  # noqa: S310 - configured
            return bool(json.load(answer)["triggerer"]["status"] == "healthy")
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _health_url() -> str:
    """Return where the API server says how Airflow's services are; everybody may ask that."""
    from airflow.sdk import conf

    tasks = (conf.get("core", "execution_api_server_url", fallback="") or "").rstrip("/")
    server = tasks.removesuffix("/execution") if tasks else config.base_url()
    return f"{server}/api/v2/monitor/health"


class ResumesInWorker(_Operator):
    """Lets an operator go on in a worker whatever became of its trigger.

    A trigger that failed or timed out fails a task otherwise. Here it only means that the worker has to decide by itself.
    """

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after deferral; Airflow calls this.

        :param next_method: what the operator asked for when it deferred, or Airflow's word for a trigger that failed.
        """
        if next_method != TRIGGER_FAIL_REPR:
            return super().resume_execution(next_method, next_kwargs, context)
        self.log.info("the triggerer gave no answer (%s); going on here", (next_kwargs or {}).get("error"))
        forget_earlier_results(context)
        return self.execute(context)

    def resume_from_gate(self, context: Context, event: Mapping[str, Any] | None = None) -> Any:
        """Run the step after the gate in the triggerer found nothing to reuse; Airflow calls this.

        :param event: why a worker is needed, and how long the step has waited.
        """
        from airflow_azureml.compute.deciding import Waited
        from airflow_azureml.operators.step_run import run_step

        found = event or {}
        self.log.info("no result to reuse was found in the triggerer: %s", found.get("reason"))
        forget_earlier_results(context)
        waited_s = found.get("waited_s")
        waited = None if waited_s is None else Waited(float(waited_s), found.get("seen_expired"))
        return run_step(self, context, waited)  # type: ignore[arg-type]  # mixed into steps only


def forget_earlier_results(context: Context) -> None:
    """Remove what an earlier try of a task has left for others to read.

    Airflow does that when a task starts, except for one that comes from the triggerer.
    """
    from airflow.sdk.execution_time.xcom import XCom

    ti: Any = context["ti"]
    if ti.try_number == 1:
        return
    for key in ("return_value", "reuse"):
        XCom.delete(key=key, dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id, map_index=ti.map_index)
