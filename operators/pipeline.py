"""``Pipeline``: a v1 pipeline as an Airflow DAG."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG
from airflow.sdk.exceptions import FailFastDagInvalidTriggerRule

from airflow_azureml.model.sequence import StepSequence
from airflow_azureml.operators.controls import declare_controls
from airflow_azureml.operators.graph import check_pipeline, closure, ordered_pairs, place_gates
from airflow_azureml.runtime.exceptions import DefinitionError

if TYPE_CHECKING:
    from airflow.sdk.types import Operator

    from airflow_azureml.model.definition import PipelineDefinition
    from airflow_azureml.operators.step import PipelineStep
    from airflow_azureml.reuse.policy import ReusePolicy
    from airflow_azureml.runtime.workspace import Workspace

_PACKAGE = "airflow_azureml"
_UNNAMED = "unnamed_pipeline"


class Pipeline(DAG):
    """A pipeline of steps; an Airflow DAG in every respect.

    Both forms work::

        with Pipeline("diabetes") as pipeline:
            PythonScriptStep(script_name="prepare.py")

        pipeline = Pipeline(workspace=ws, steps=[train], name="diabetes")

    The second one pulls in every step that the given ones need, by data or by ``run_after``. A list imposes no order, nested
    lists neither; :class:`~airflow_azureml.StepSequence` does.

    :param name: the DAG id. As in v1 the first positional argument may be the workspace instead. Without a name the object
        can be built and looked at, but Airflow refuses it.
    :param steps: steps, one step, a :class:`StepSequence`, or lists of them (v1 ``steps``).
    :param workspace: the workspace to run in; the configured one by default (v1 ``workspace``).
    :param description: shown in the UI (v1 ``description``).
    :param default_datastore: datastore, or its name, of outputs that name none (v1 ``default_datastore``).
    :param default_source_directory: source directory of steps that name none, relative to the file that defines the
        pipeline; by default that file's folder (v1 ``default_source_directory``).
    :param resolve_closure: pull in steps that ``steps`` needs but doesn't name (v1 ``resolve_closure``).
    :param continue_on_step_failure: let steps that don't depend on a failed one go on. By default the first failure stops
        the run, as in v1: this is Airflow's ``fail_fast``.
    :param reuse_policy: what the steps ask of reuse that have no policy of their own.
    :param reuse_gate: where the steps look for earlier results that don't say so themselves: ``worker`` or ``triggerer``.
    :param dag_arguments: any other argument of :class:`airflow.sdk.DAG`, such as ``schedule``.
    :raises DefinitionError: a step is declared wrongly; the message names step and argument.

    Source: v1 ``azureml.pipeline.core.Pipeline``.
    """

    def __init__(
        self,
        name_or_workspace: str | Workspace | None = None,
        /,
        steps: Any = None,
        description: str | None = None,
        default_datastore: Any = None,
        default_source_directory: str | None = None,
        resolve_closure: bool = True,
        *,
        name: str | None = None,
        workspace: Workspace | None = None,
        continue_on_step_failure: bool = False,
        reuse_policy: ReusePolicy | None = None,
        reuse_gate: str | None = None,
        **dag_arguments: Any,
    ) -> None:
        if isinstance(name_or_workspace, str):
            name = name_or_workspace
        elif name_or_workspace is not None:
            workspace = name_or_workspace
        name = dag_arguments.pop("dag_id", None) or name
        dag_arguments.setdefault("schedule", None)
        dag_arguments.setdefault("fail_fast", not continue_on_step_failure)
        super().__init__(dag_id=name or _UNNAMED, description=description, **dag_arguments)
        # Airflow would take this file for the one that defines the DAG; in a notebook there is none.
        self.fileloc = calling_file() or ""
        self.workspace = workspace
        self.default_datastore = getattr(default_datastore, "name", default_datastore)
        self.default_source_directory = default_source_directory
        self.reuse_policy = reuse_policy
        self.reuse_gate = reuse_gate
        if steps is not None:
            self._add(steps, resolve_closure)

    @property
    def is_named(self) -> bool:
        """Whether the pipeline has the name that Airflow needs."""
        return self.dag_id != _UNNAMED

    @property
    def steps(self) -> list[PipelineStep]:
        """The steps of this pipeline, in the order they were added."""
        from airflow_azureml.operators.step import PipelineStep

        return [task for task in self.tasks if isinstance(task, PipelineStep)]

    def add_task(self, task: Operator) -> None:
        """Add a task; Airflow calls this for every task that is declared inside the pipeline.

        :raises DefinitionError: the task wants to run after failures, and the pipeline ends at the first one.
        """
        try:
            super().add_task(task)
        except FailFastDagInvalidTriggerRule:
            raise DefinitionError(
                f"{type(task).__name__} {task.task_id!r}: argument trigger_rule is {task.trigger_rule.value!r}, but the pipeline "
                "ends at the first failure; let it go on: Pipeline(…, continue_on_step_failure=True)"
            ) from None

    def validate(self) -> None:
        """Check the pipeline as a whole; Airflow calls this before it accepts a DAG.

        :raises DefinitionError: no name, an input nobody produces, a cycle (its path is shown).
        """
        if not self.is_named:
            raise DefinitionError(
                'this Pipeline has no name, and Airflow needs one for its DAG id: Pipeline(name="my_pipeline", …)'
            )
        check_pipeline(self)
        declare_controls(self)
        place_gates(self)
        super().validate()  # type: ignore[no-untyped-call]  # Airflow gives it no annotations

    def definition(self) -> PipelineDefinition:
        """Return the pipeline as a document, and keep the sources of its steps in the workspace.

        :raises DefinitionError: the pipeline doesn't hold together, or has tasks that aren't steps.
        """
        from airflow_azureml.operators.definitions import define

        return define(self)

    @staticmethod
    def from_definition(
        definition: PipelineDefinition, *, workspace: Workspace | None = None, **dag_arguments: Any
    ) -> Pipeline:
        """Return the pipeline that a document describes; needs neither its DAG file nor its source directories.

        :param workspace: where the sources are kept; the configured workspace by default.
        :param dag_arguments: further arguments of the DAG.
        """
        from airflow_azureml.operators.definitions import rebuild

        return rebuild(definition, workspace=workspace, **dag_arguments)

    def _add(self, steps: Any, resolve_closure: bool) -> None:
        given = list(_flatten(steps))
        pairs = list(ordered_pairs(steps))
        for before, after in pairs:
            after.run_after(before)
        for step in closure(given, resolve=resolve_closure):
            step.join(self)


def _flatten(steps: Any) -> Iterable[PipelineStep]:
    """Yield the steps of a v1 ``steps`` argument in order of appearance."""
    from airflow_azureml.operators.step import PipelineStep

    if isinstance(steps, PipelineStep):
        yield steps
    elif isinstance(steps, StepSequence):
        yield from _flatten(steps.steps)
    elif isinstance(steps, list):
        for item in steps:
            yield from _flatten(item)
    elif (producer := getattr(getattr(steps, "origin", None), "producer", None)) is not None:
        yield producer
    else:
        raise DefinitionError(
            f"Pipeline: argument steps holds a {type(steps).__name__}; "
            "expected a step, a StepSequence, or a list of those"
        )


def calling_file() -> str | None:
    """Return the file of the nearest caller outside this package, or ``None`` when there is none (a notebook)."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the only cheap way; inspect reads source files
    while frame is not None and _is_ours(str(frame.f_globals.get("__name__", ""))):
        frame = frame.f_back
    if frame is None or not Path(frame.f_code.co_filename).is_file():
        return None
    return frame.f_code.co_filename


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == _PACKAGE and not module.startswith(f"{_PACKAGE}.example_dags")


__all__: Sequence[str] = ["Pipeline", "calling_file"]
