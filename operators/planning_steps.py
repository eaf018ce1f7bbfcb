"""Plans the steps of a run that nobody has started, one after the other."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk.definitions.mappedoperator import MappedOperator

from airflow_azureml import config
from airflow_azureml.compute.environments import EnvironmentCache
from airflow_azureml.operators.controls import is_regenerated
from airflow_azureml.operators.planning_context import (
    DependsOn,
    KnownResults,
    NotInAPlan,
    PlannedRun,
    rendered,
)
from airflow_azureml.operators.planning_result import PlanDecision, PlannedStep
from airflow_azureml.operators.step import PipelineStep, StepMeta
from airflow_azureml.reuse.actions import ActionStore, family_of
from airflow_azureml.reuse.controls import RunControls, RunReuse
from airflow_azureml.reuse.entries import EntryStore
from airflow_azureml.runtime.exceptions import AzureMLException
from airflow_azureml.workspace.datasets import DatasetRegistry, id_of
from airflow_azureml.workspace.datastores import DatastoreRecord, DatastoreRegistry
from airflow_azureml.workspace.handle import WorkspaceHandle

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import DAG
    from airflow.sdk.types import Operator

    from airflow_azureml.compute.environments.cache import EnvironmentLike
    from airflow_azureml.compute.request import ExecutionServices
    from airflow_azureml.model.ports import Ports
    from airflow_azureml.reuse.gate import Decision
    from airflow_azureml.workspace.store import ObjectStore


class Planner:
    """Plans the steps of one run.

    :param dag: the pipeline.
    :param parameters: the values the run would be given.
    :param controls: what it would ask of reuse.
    :param known: documents of steps that the run has already.
    :param logical_date: the time that it would stand for; ``None`` for now.
    :raises UserErrorException: a parameter has no value, or one that its schema refuses.
    """

    def __init__(
        self,
        dag: DAG,
        parameters: Mapping[str, Any],
        controls: RunControls,
        known: Mapping[tuple[str, int], Mapping[str, Any]],
        logical_date: datetime | None,
    ) -> None:
        self._dag = dag
        self._controls = controls
        self._results = KnownResults(known)
        conf = {**parameters, **controls.to_conf()}
        self._run = PlannedRun(dag, conf, self._results, logical_date)
        self._services: ExecutionServices | None = None

    def names(self) -> set[str]:
        """Return what the steps of the pipeline are called: names and task ids."""
        return {name for task in self._dag.tasks if is_step(task) for name in names_of(task)}

    def steps(self, tasks: Iterable[Operator]) -> Iterator[PlannedStep]:
        """Plan the steps among some tasks, given in an order in which each comes after those it depends on."""
        environment = self._dag.get_template_env()
        for task in tasks:
            if is_step(task):
                yield from self._plan_task(task, environment)

    def _plan_task(self, task: Operator, environment: jinja2.Environment) -> Iterator[PlannedStep]:
        indexes = map_indexes(task)
        if indexes is None:
            if not self._results.has_any(task.task_id):
                self._results.add(task.task_id, -1, None)
                message = "has as many instances as another task says, which only a run knows"
                yield self._not_decided(task, -1, PlanDecision.UNKNOWN, message)
            return
        for index in indexes:
            if not self._results.has(task.task_id, index):
                planned = self._plan_instance(task, index, environment)
                self._results.add(task.task_id, index, planned.document)
                yield planned

    def _plan_instance(self, task: Operator, index: int, environment: jinja2.Environment) -> PlannedStep:
        try:
            decision = self._decide(task, index, environment)
        except DependsOn as missing:
            return self._not_decided(task, index, PlanDecision.DEPENDS, str(missing))
        except NotInAPlan as unknown:
            return self._not_decided(task, index, PlanDecision.UNKNOWN, str(unknown))
        except Exception as error:  # noqa: BLE001 - templates, macros and XCom classes of users raise what they like
            message = f"cannot be planned: {str(error) or type(error).__name__}"
            return self._not_decided(task, index, PlanDecision.UNKNOWN, message)
        return self._decided(task, index, decision)

    def _decide(self, task: Operator, index: int, environment: jinja2.Environment) -> Decision:
        """Decide about one instance, as the step itself does when it runs.

        :raises DependsOn: another step has to run first.
        :raises NotInAPlan: only a run knows.
        """
        from airflow_azureml.compute.execution import StepExecution

        step = self._instance(task, index)
        producers = [origin.producer for origin in step.input_origins().values() if origin.producer]
        pending = self._results.pending(producer.task_id for producer in producers)
        if pending:
            raise DependsOn(pending)
        context = self._run.context(step, index)
        copied = rendered(step, context, environment, self._results)
        request = copied.request(context)
        if mentions(request.ports, self._run.run_id):
            raise NotInAPlan("needs the id of the run, which only a run has")
        return StepExecution(request, self._services_of(copied), copied.log, threading.Event()).look()

    def _instance(self, task: Operator, index: int) -> PipelineStep:
        """Return the operator of one instance; the step itself when it isn't mapped."""
        if not isinstance(task, MappedOperator):
            return cast("PipelineStep", task)
        given, _ = task.expand_input.resolve(self._run.context(task, index))
        return cast("PipelineStep", task.unmap(given))

    def _services_of(self, step: PipelineStep) -> ExecutionServices:
        """Return what all steps of the pipeline work with, made once."""
        if self._services is None:
            from airflow_azureml.operators.services import execution_services

            services = execution_services(step)
            self._services = replace(
                services,
                environments=_LookedAtOnce(services.environments),
                workspace=to_look_at(services.workspace),
            )
        return self._services

    def _decided(self, task: Operator, index: int, decision: Decision) -> PlannedStep:
        document = decision.to_document()
        entry = decision.entry
        return PlannedStep(
            task_id=task.task_id,
            name=step_name(task),
            map_index=index,
            decision=PlanDecision(document["decision"]),
            message=decision.message,
            reuse=document,
            key=decision.key,
            takes_s=self._took_s(task, index) if entry is None else None,
            saves_s=None if entry is None else entry.duration_s,
            document=None
            if entry is None
            else {
                "step_run_id": entry.step_run_id,
                "name": step_name(task),
                "status": "Finished",
                "reused_from": entry.step_run_id,
                "outputs": {name: dict(item) for name, item in entry.outputs.items()},
            },
        )

    def _not_decided(self, task: Operator, index: int, decision: PlanDecision, message: str) -> PlannedStep:
        """Plan a step whose key isn't known: it may still be certain that it runs."""
        forced = self._runs_anyway(task)
        return PlannedStep(
            task_id=task.task_id,
            name=step_name(task),
            map_index=index,
            decision=decision if forced is None else PlanDecision.RUN,
            message=forced or message,
            takes_s=self._took_s(task, index),
        )

    def _runs_anyway(self, task: Operator) -> str | None:
        """Return why a step runs whatever its inputs hold, or ``None``."""
        if is_regenerated(cast("PipelineStep", task), self._controls):
            return "this run asked for regenerate_outputs"
        if self._controls.reuse is RunReuse.OFF:
            return "this run asked for reuse=off"
        if config.reuse() is config.ReuseMode.OFF:
            return "[azureml] reuse is off"
        given = task.partial_kwargs if isinstance(task, MappedOperator) else vars(task)
        return None if given.get("allow_reuse", True) else "the step has allow_reuse=False"

    def _took_s(self, task: Operator, index: int) -> float | None:
        """Return how long a step ran when it last did; ``None`` when there is no result to tell."""
        try:
            store = self._workspace_store()
            entries, family = EntryStore(store), family_of(self._dag.dag_id, task.task_id, index)
            for key, _ in ActionStore(store).recent_keys(family):
                entry = entries.look(key).entry
                if entry is not None:
                    return entry.duration_s
        except (AzureMLException, OSError):
            # An estimate is a help, nothing more.
            return None
        return None

    def _workspace_store(self) -> Any:
        from airflow_azureml.operators.services import workspace_of

        step = next(task for task in self._dag.tasks if is_step(task))
        return workspace_of(step).store  # type: ignore[arg-type]  # looks at the DAG of the task alone


class _LookedAtOnce(EnvironmentCache):
    """Environments of this machine, each looked at once: nobody installs packages in the middle of a plan.

    :param cache: the environments.
    """

    def __init__(self, cache: EnvironmentCache) -> None:
        vars(self).update(vars(cache))
        self._identities: dict[str, str] = {}
        self._seen: dict[int, tuple[EnvironmentLike, str]] = {}

    def identity(self, environment: EnvironmentLike) -> str:
        """Return what a result that was computed in an environment depends on."""
        # Steps usually share one object, and even its digest takes a while to make.
        seen = self._seen.get(id(environment))
        if seen is not None:
            return seen[1]
        digest = environment.digest
        if digest not in self._identities:
            self._identities[digest] = super().identity(environment)
        self._seen[id(environment)] = environment, self._identities[digest]
        return self._identities[digest]


class _UnsavedDatasets(DatasetRegistry):
    """Datasets of a workspace that get ids, and are not kept when they are new."""

    def save(self, definition: Mapping[str, Any]) -> str:
        """Return the id of a definition."""
        return id_of(definition)


class _DatastoresOnce(DatastoreRegistry):
    """Datastores of a workspace, each looked up once."""

    def __init__(self, store: ObjectStore) -> None:
        super().__init__(store)
        self._roots: dict[str, Path] = {}
        self._default: DatastoreRecord | None = None

    def root(self, name: str) -> Path:
        """Return the folder of a local datastore."""
        if name not in self._roots:
            self._roots[name] = super().root(name)
        return self._roots[name]

    def default(self) -> DatastoreRecord:
        """Return the default datastore."""
        if self._default is None:
            self._default = super().default()
        return self._default


def to_look_at(workspace: WorkspaceHandle) -> WorkspaceHandle:
    """Return a workspace where looking at many steps is quick, and leaves nothing behind."""
    seen = WorkspaceHandle(workspace.url, workspace.store)
    seen.datasets = _UnsavedDatasets(workspace.store, seen.runs)
    seen.datastores = _DatastoresOnce(workspace.store)
    return seen


def is_step(task: Operator) -> bool:
    """Whether a task is a step of ours, mapped or not."""
    if isinstance(task, MappedOperator):
        return isinstance(task.operator_class, StepMeta)
    return isinstance(task, PipelineStep)


def step_name(task: Operator) -> str:
    """Return the name of a step, as people know it (v1 ``name``)."""
    if isinstance(task, MappedOperator):
        given = task.partial_kwargs.get("name")
        return given if isinstance(given, str) else task.task_id
    return cast("PipelineStep", task).name


def names_of(task: Operator) -> set[str]:
    """Return what a step is called: its name and its task id."""
    return {task.task_id, step_name(task)}


def map_indexes(task: Operator) -> Iterable[int] | None:
    """Return the map indexes of a task as far as the DAG file says; -1 alone for one that isn't mapped.

    :return: ``None`` when only a run knows.
    """
    group = task.get_closest_mapped_task_group()
    if isinstance(task, MappedOperator):
        count = _length(task.expand_input.value)
    elif group is not None:
        count = _length(group._expand_input.value)  # noqa: SLF001 - nothing public says it
    else:
        return [-1]
    return None if count is None else range(count)


def _length(mapped: Any) -> int | None:
    """Return how many instances values given to ``expand`` make."""
    if isinstance(mapped, list | tuple):
        return len(mapped)
    if not isinstance(mapped, Mapping):
        return None
    count = 1
    for values in mapped.values():
        if not isinstance(values, list | tuple | dict):
            return None
        count *= len(values)
    return count


def mentions(ports: Ports, text: str) -> bool:
    """Whether what a script is given holds a text."""
    return text in repr(ports.arguments) or text in repr(ports.environment_parameters)
