"""``StepReuseSensor``: waits until a step has a result that would be reused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import DAG, BaseSensorOperator, PokeReturnValue, conf
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR, TriggerFailureReason
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferred,
)

from airflow_azureml import config
from airflow_azureml.operators.origin_link import OriginLink
from airflow_azureml.operators.step import PipelineStep, StepMeta
from airflow_azureml.runtime.exceptions import DefinitionError, StoreError, UserErrorException

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_azureml.operators.reuse_look import ReuseLook

LOOK_AGAIN_EVERY = 10
"""In the triggerer code and data can't be looked at: after this many intervals a worker does that."""


class StepReuseSensor(BaseSensorOperator):
    """Succeed when a step has a result that a run would reuse; wait for one that is being computed.

    The step's key is computed as the step itself would compute it, and so are those of the steps before it::

        ready = StepReuseSensor(task_id="ready", step="train", pipeline="diabetes", pipeline_parameters={"alpha": 0.7})

    The reuse document of the step is returned. With ``wait=False`` the sensor looks once and always succeeds, for branches::

        @task.branch
        def choose(found):
            return "report" if found["decision"] == "reuse" else "rebuild"

        choose(StepReuseSensor(task_id="look", step=train, wait=False).output)

    ``timeout``, ``soft_fail``, ``poke_interval`` and Airflow's other arguments for sensors mean the same in all modes: ``poke``,
    ``reschedule``, and deferred to the triggerer.

    :param step: the step, or its task id.
    :param pipeline: the pipeline, or its DAG id, when it is another one than the sensor's.
    :param pipeline_parameters: (templated) values of the pipeline's parameters; others are those of the run, or of another
        pipeline the defaults.
    :param wait: wait for a result; otherwise look once and say what there is.
    :param deferrable: wait in the triggerer; by default ``[operators] default_deferrable``.
    :param kwargs: any argument of Airflow's ``BaseSensorOperator``.
    :raises DefinitionError: an argument is wrong, or the step never reuses anything.
    """

    template_fields: Sequence[str] = ("pipeline_parameters",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"pipeline_parameters": "json"}
    operator_extra_links = (OriginLink(),)
    # A copy of the sensor waits for the same step of the same pipeline.
    shallow_copy_attrs: Sequence[str] = ("step", "pipeline")
    ui_color = "#e4efe0"

    def __init__(
        self,
        *,
        step: PipelineStep | MappedOperator | str,
        pipeline: DAG | str | None = None,
        pipeline_parameters: Mapping[str, Any] | None = None,
        wait: bool = True,
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.step = step
        self.pipeline = pipeline
        self.pipeline_parameters = pipeline_parameters
        self.wait = wait
        if deferrable is None:
            deferrable = conf.getboolean("operators", "default_deferrable", fallback=False)
        self.deferrable = deferrable
        self.reuse_document: dict[str, Any] | None = None
        """What was found when the sensor last looked."""
        self._check_arguments()

    @property
    def title(self) -> str:
        """How messages call the sensor."""
        return f"{type(self).__name__} {self.task_id!r}"

    @property
    def step_id(self) -> str:
        """The task id of the step."""
        return self.step if isinstance(self.step, str) else self.step.task_id

    @property
    def pipeline_id(self) -> str:
        """The DAG id of the step's pipeline."""
        if self.pipeline is not None:
            return self.pipeline if isinstance(self.pipeline, str) else self.pipeline.dag_id
        home = None if isinstance(self.step, str) else self.step.get_dag()
        return self.dag_id if home is None else home.dag_id

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once.

        :raises AirflowFailException: there is no such pipeline or step, or it can never have a result to reuse.
        """
        return self._look(context).poked

    def execute(self, context: Context) -> Any:
        """Wait for a result.

        :return: the reuse document of the step.
        """
        from airflow_azureml.operators.waiting import triggerer_is_alive

        if not self.deferrable or not self.wait or not triggerer_is_alive():
            return super().execute(context)
        return self._look_or_defer(context, context["ti"].start_date.timestamp())

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Look again after the triggerer has waited, however that ended; Airflow calls this."""
        given = next_kwargs or {}
        event = given.get("event") or {}
        # Airflow keeps when a task was first started, but for "dags test".
        since = float(event.get("since") or context["ti"].start_date.timestamp())
        error = given.get("error")
        if next_method == TRIGGER_FAIL_REPR and error != TriggerFailureReason.TRIGGER_TIMEOUT:
            self.log.warning("the triggerer can't wait for the result (%s); waiting here", error)
            self.timeout = max(self.timeout - _elapsed_s(since), 0)
            return super().execute(context)
        return self._look_or_defer(context, since)

    def _look_or_defer(self, context: Context, since: float) -> Any:
        """Do what the other modes do between two pokes, with the waiting in the triggerer.

        :param since: when the sensor began to wait, seconds since the epoch.
        """
        from airflow_azureml.triggers import StepReuseTrigger

        found = self._look_by_the_rules(context)
        if not found.poked:
            left_s = self._time_left_s(since)
            seen = _generations(found)
            # Again: nobody would be woken by a result that came after the first look and was seen already.
            found = self._look_by_the_rules(context)
        if found.poked:
            return found.poked.xcom_value
        raise TaskDeferred(
            trigger=StepReuseTrigger(
                found.workspace_url, seen, self.poke_interval, self.poke_interval * LOOK_AGAIN_EVERY, since
            ),
            method_name="execute",
            timeout=timedelta(seconds=left_s),
        )

    def _time_left_s(self, since: float) -> float:
        """Return how long the sensor may still wait.

        :raises AirflowSensorTimeout: no longer.
        """
        elapsed_s = _elapsed_s(since)
        if elapsed_s <= self.timeout:
            return self.timeout - elapsed_s
        message = f"Sensor has timed out; run duration of {elapsed_s} seconds exceeds the specified timeout of {self.timeout}."
        if self.soft_fail:
            raise AirflowSkipException(message)
        raise AirflowSensorTimeout(message)

    def _look_by_the_rules(self, context: Context) -> ReuseLook:
        """Look once; what goes wrong ends the sensor as Airflow's arguments for that say."""
        from airflow_azureml.operators.reuse_look import ReuseLook

        try:
            return self._look(context)
        except (AirflowSensorTimeout, AirflowTaskTimeout, AirflowFailException) as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(f"skipped instead of failed: {error}") from error
            raise
        except Exception as error:
            if self.silent_fail:
                self.log.exception("Sensor poke failed")
                return ReuseLook.at_nothing(config.workspace_url())
            if self.never_fail:
                raise AirflowSkipException(f"skipped instead of failed: {error}") from error
            raise

    def _look(self, context: Context) -> ReuseLook:
        from airflow_azureml.operators.reuse_look import look

        try:
            found = look(self, context)
        except UserErrorException as error:
            raise AirflowFailException(f"{self.title}: {error}") from None
        self.reuse_document = found.document
        self.log.info("%s: %s", self.step_id, found.document["message"])
        return found

    def _check_arguments(self) -> None:
        step = self.step
        if isinstance(step, str):
            return
        is_mapped_step = isinstance(step, MappedOperator) and isinstance(step.operator_class, StepMeta)
        if not isinstance(step, PipelineStep) and not is_mapped_step:
            raise DefinitionError(
                f"{self.title}: argument step is a {type(step).__name__}; give a step, or its task id"
            )
        given = step.partial_kwargs if isinstance(step, MappedOperator) else vars(step)
        if not given.get("allow_reuse", True) and self.wait:
            raise DefinitionError(
                f"{self.title}: step {step.task_id!r} has allow_reuse=False and never reuses a result; "
                "waiting for one would never end"
            )


def _generations(found: ReuseLook) -> dict[str, int]:
    from airflow_azureml.triggers import generations

    try:
        return generations(found.workspace_url, found.keys)
    except (StoreError, OSError):
        return {}


def _elapsed_s(since: float) -> float:
    return datetime.now(UTC).timestamp() - since
