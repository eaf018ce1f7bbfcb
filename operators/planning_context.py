"""The stand-in for a run that a plan shows its steps: what Airflow would give them, as far as that is known before."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn, cast

from airflow.sdk import XComArg
from airflow.sdk.execution_time.context import ConnectionAccessor, MacrosAccessor, VariableAccessor

from airflow_azureml.operators.planning_parameters import values_of_params
from airflow_azureml.operators.rendering import is_template
from airflow_azureml.runtime.exceptions import AzureMLException

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import DAG, Context
    from airflow.sdk.types import Operator

    from airflow_azureml.operators.step import PipelineStep

RESULT = "return_value"
_KNOWN_IN_A_RUN = (
    "run_id",
    "task_instance_key_str",
    "prev_start_date_success",
    "prev_end_date_success",
    "prev_data_interval_start_success",
    "prev_data_interval_end_success",
    "triggering_asset_events",
    "task_reschedule_count",
    "partition_key",
    "partition_date",
    "inlet_events",
    "outlet_events",
    "task_state_store",
    "asset_state_store",
)
"""What templates may name and only a run has."""


class NotInAPlan(AzureMLException):
    """A step needs something that only a run has."""


class DependsOn(AzureMLException):
    """A step needs the results of steps that have to run first.

    :param task_ids: those steps.
    """

    def __init__(self, task_ids: Iterable[str]) -> None:
        self.task_ids = tuple(task_ids)
        has, it = ("has", "it writes") if len(self.task_ids) == 1 else ("have", "they write")
        who = " and ".join(self.task_ids)
        super().__init__(f"{who} {has} to run first; reused if {it} the same as before")


class OnlyInARun:
    """Stands for a value that only a run has; whoever looks at it closer is told so.

    :param name: how templates call it.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def _refuse(self, *_: object) -> NoReturn:
        raise NotInAPlan(f"needs {self._name}, which only a run has")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self._refuse()

    # Whatever a template may do with a value.
    __str__ = __format__ = __getitem__ = __call__ = __iter__ = __len__ = __bool__ = __contains__ = _refuse
    __eq__ = __lt__ = __le__ = __gt__ = __ge__ = __add__ = __radd__ = __mod__ = _refuse
    __hash__ = None  # type: ignore[assignment]  # equality isn't known


class KnownResults:
    """The step documents that a plan has: of steps that are done, and of those that would be reused.

    :param known: (task id, map index) to the document of a step of the run.
    """

    def __init__(self, known: Mapping[tuple[str, int], Mapping[str, Any]]) -> None:
        self._documents = {key: dict(document) for key, document in known.items()}
        self._pending: set[str] = set()

    def add(self, task_id: str, map_index: int, document: Mapping[str, Any] | None) -> None:
        """Note the document of a planned step; ``None`` when only a run will have it."""
        if document is None:
            self._pending.add(task_id)
        else:
            self._documents[task_id, map_index] = dict(document)

    def has(self, task_id: str, map_index: int) -> bool:
        """Whether there is a document of a step."""
        return (task_id, map_index) in self._documents

    def has_any(self, task_id: str) -> bool:
        """Whether there is a document of some instance of a step."""
        return any(known == task_id for known, _ in self._documents)

    def pending(self, task_ids: Iterable[str]) -> list[str]:
        """Return those of the steps of which some document is missing."""
        return [task_id for task_id in dict.fromkeys(task_ids) if task_id in self._pending]

    def of(self, task_id: str, map_indexes: Iterable[int] | None) -> list[dict[str, Any]]:
        """Return the documents of a task's instances.

        :param map_indexes: which of them; ``None`` for all, in their order.
        :raises DependsOn: the step has to run first.
        :raises NotInAPlan: it is no step of the plan.
        """
        if task_id in self._pending:
            raise DependsOn([task_id])
        if map_indexes is None:
            map_indexes = sorted(index for known, index in self._documents if known == task_id)
        found = [
            self._documents[task_id, index] for index in map_indexes if (task_id, index) in self._documents
        ]
        if not found:
            raise NotInAPlan(f"needs the result of task {task_id!r}, which only a run has")
        return found


class PlannedTaskInstance:
    """Airflow's task instance of a step that has not been scheduled.

    :param task: the operator.
    :param run_id: id of the run that nobody has started.
    :param map_index: -1 for a step that is not mapped.
    :param results: what the steps before it wrote.
    """

    try_number = 1
    max_tries = 0
    state = None

    def __init__(self, task: Operator, run_id: str, map_index: int, results: KnownResults) -> None:
        self.task = task
        self.dag_id = task.dag_id
        self.task_id = task.task_id
        self.run_id = run_id
        self.map_index = map_index
        self.id = run_id
        self._results = results

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise NotInAPlan(f"needs ti.{name}, which only a run has")

    def xcom_pull(
        self,
        task_ids: str | Iterable[str] | None = None,
        dag_id: str | None = None,
        key: str = RESULT,
        *,
        map_indexes: Any = None,
        default: Any = None,
        run_id: str | None = None,
        include_prior_dates: bool = False,
    ) -> Any:
        """Return the documents of steps, as Airflow's method does.

        :raises DependsOn: a step has to run first.
        :raises NotInAPlan: it is something else that is asked for.
        """
        named = [task_ids] if isinstance(task_ids, str) else list(task_ids or ())
        if key != RESULT or not named or run_id or include_prior_dates or dag_id not in (None, self.dag_id):
            raise NotInAPlan(f"needs XCom {key!r} of {', '.join(named) or 'a task'}, which only a run has")
        indexes = map_indexes if isinstance(map_indexes, range | list | tuple) else None
        wanted = [map_indexes] if isinstance(map_indexes, int) else indexes
        found = [document for name in named for document in self._results.of(name, wanted)]
        is_one = isinstance(task_ids, str) and indexes is None and len(found) == 1
        return found[0] if is_one else found

    def xcom_push(self, key: str, value: Any) -> None:
        """Do nothing: a plan leaves nothing behind."""

    def get_relevant_upstream_map_indexes(self, upstream: Operator, **_: Any) -> int | None:
        """Return the one instance of an upstream task that this one reads; ``None`` for all."""
        group = upstream.get_closest_mapped_task_group()
        own = self.task.get_closest_mapped_task_group()
        return self.map_index if group is not None and own is group else None


class PlannedDagRun:
    """Airflow's DAG run of a run that nobody has started.

    :param dag_id: the DAG.
    :param run_id: see :class:`PlannedTaskInstance`.
    :param conf: what the run would be given.
    :param logical_date: the time it would stand for.
    """

    run_type = "manual"

    def __init__(self, dag_id: str, run_id: str, conf: Mapping[str, Any], logical_date: datetime) -> None:
        self.dag_id = dag_id
        self.run_id = run_id
        self.conf = dict(conf)
        self.logical_date = self.data_interval_start = self.data_interval_end = logical_date
        self.run_after = logical_date

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise NotInAPlan(f"needs dag_run.{name}, which only a run has")


class PlannedRun:
    """Makes the task contexts of a run that nobody has started.

    :param dag: the DAG.
    :param conf: what the run would be given: values of parameters, controls of reuse.
    :param results: what its steps wrote, as far as it is known.
    :param logical_date: the time that ``{{ ds }}`` and its like mean; ``None`` for now.
    :raises UserErrorException: a parameter has no value, or one that its schema refuses.
    """

    def __init__(
        self, dag: DAG, conf: Mapping[str, Any], results: KnownResults, logical_date: datetime | None
    ) -> None:
        self._dag = dag
        self._conf = dict(conf)
        self._results = results
        self._params = values_of_params(dag, None, conf)
        date = logical_date or datetime.now(UTC)
        self.run_id = f"plan__{uuid.uuid4()}"
        """Unlike any other: where it shows up in a step's arguments, they will be others in a run."""
        self._shared: dict[str, Any] = {
            **{name: OnlyInARun(name) for name in _KNOWN_IN_A_RUN},
            **dates(date),
            "dag": dag,
            "dag_run": PlannedDagRun(dag.dag_id, self.run_id, conf, date),
            "macros": MacrosAccessor(),
            "conn": ConnectionAccessor(),
            "var": {
                "json": VariableAccessor(deserialize_json=True),
                "value": VariableAccessor(deserialize_json=False),
            },
        }

    def context(self, task: Operator, map_index: int) -> Context:
        """Return the context of a task."""
        ti = PlannedTaskInstance(task, self.run_id, map_index, self._results)
        return cast(
            "Context",
            {**self._shared, "params": self._params_of(task), "task": task, "ti": ti, "task_instance": ti},
        )

    def _params_of(self, task: Operator) -> dict[str, Any]:
        return values_of_params(self._dag, task, self._conf) if task.params else self._params


def dates(date: datetime) -> dict[str, Any]:
    """Return what templates know of a run's logical date, under Airflow's names."""
    import pendulum

    logical = pendulum.instance(date)
    ds, ts = logical.strftime("%Y-%m-%d"), logical.isoformat()
    return {
        "logical_date": logical,
        "data_interval_start": logical,
        "data_interval_end": logical,
        "ds": ds,
        "ds_nodash": ds.replace("-", ""),
        "ts": ts,
        "ts_nodash": logical.strftime("%Y%m%dT%H%M%S"),
        "ts_nodash_with_tz": ts.replace("-", "").replace(":", ""),
    }


def rendered(
    step: PipelineStep, context: Context, environment: jinja2.Environment, results: KnownResults
) -> PipelineStep:
    """Return a copy of a step with its template fields rendered, as Airflow hands it to ``execute``.

    :raises DependsOn: a value comes from a step that has to run first.
    :raises NotInAPlan: a value is known in a run only.
    """
    copied = step.prepare_for_execution()
    seen: set[int] = set()

    def render(value: Any) -> Any:
        # Jinja compiles text that has nothing to render in it, too, which takes longer than all the rest of a plan.
        if isinstance(value, str) and not is_template(value, environment):
            return value
        if isinstance(value, list):
            return [render(item) for item in value]
        return step.render_template(value, context, environment, seen)

    for name in step.template_fields:
        value = getattr(step, name)
        if value is None:
            continue
        for task, _ in XComArg.iter_xcom_references(value):
            if results.pending([task.task_id]):
                raise DependsOn([task.task_id])
            if task.is_mapped:
                raise NotInAPlan(f"needs the results of mapped task {task.task_id!r}, which only a run has")
        vars(copied)[name] = render(value)
    # Making one takes longer than rendering.
    vars(copied)["get_template_env"] = lambda: environment
    context["task"] = copied
    return copied
