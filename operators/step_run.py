"""A step's life as Airflow sees it: what it returns, when it waits, which errors are tried again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, AirflowTaskTimeout

from airflow_azureml.runtime.exceptions import (
    AzureMLException,
    EnvironmentBuildError,
    StepCanceled,
    StepFailed,
)

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_azureml.compute.deciding import Waited
    from airflow_azureml.operators.step import PipelineStep


def run_step(step: PipelineStep, context: Context, waited: Waited | None = None) -> dict[str, Any]:
    """Reuse an earlier result or run the step.

    :param waited: what the step brings back from waiting for somebody else's result.
    :return: the step's document: ``step_run_id``, ``status``, ``outputs`` by name, ``reused_from``. The reuse decision is
        pushed as XCom ``reuse``.
    :raises TaskDeferred: the step waits, in the triggerer.
    """
    from airflow_azureml.operators.announcing import ReuseXCom
    from airflow_azureml.operators.supervision import DiesWithSupervisor

    try:
        with DiesWithSupervisor(), ReuseXCom(context["ti"]) as xcom:
            return _live(step, context, xcom.push, waited)
    except StepCanceled as stopped:
        raise AirflowSkipException(str(stopped)) from None
    except AirflowTaskTimeout as late:
        raise late.with_traceback(None) from None
    except AzureMLException as error:
        if may_pass(error):
            # Without our own frames: the script's traceback is what a reader needs, and it is in the log already.
            raise error.with_traceback(None) from None
        raise AirflowFailException(str(error)) from None


def _live(step: PipelineStep, context: Context, push: Any, waited: Waited | None) -> dict[str, Any]:
    from airflow_azureml.compute.execution import StepExecution
    from airflow_azureml.operators.metrics import report
    from airflow_azureml.operators.services import execution_services
    from airflow_azureml.operators.waiting import wait_for_result
    from airflow_azureml.reuse.waiting import ResultInProgress

    services = execution_services(step)
    while True:
        request = step.request(context)
        execution = StepExecution(request, services, step.log, step.stopping, on_decision=push)
        try:
            outcome = execution.run(waited)
        except ResultInProgress as busy:
            since = datetime.now(UTC).timestamp() - (waited.seconds if waited else 0.0)
            try:
                waited = wait_for_result(step, context, busy, since=since)
            except StepCanceled as stopped:
                execution.give_up(str(stopped))
                raise
        else:
            step.reuse_document = outcome.reuse
            step.outcome = outcome
            report(request, outcome.reuse, execution.gate_s)
            return outcome.document


def may_pass(error: AzureMLException) -> bool:
    """Whether a retry may help: a script or an index server can do better next time, a wrong definition can't."""
    return error.transient or isinstance(error, StepFailed | EnvironmentBuildError)


def waited_since(event: Mapping[str, Any] | None, since: float) -> Waited:
    """Return what a step brings back from the triggerer.

    :param event: what the trigger said.
    :param since: when the step began to wait, seconds since the epoch.
    """
    from airflow_azureml.compute.deciding import Waited

    seconds = max(0.0, datetime.now(UTC).timestamp() - since)
    return Waited(seconds, (event or {}).get("seen_expired"))
