"""``reuse_gate="triggerer"``: a step that starts in the triggerer, where a result that is there ends it without a worker.

A step whose end there would lose something goes through the gate in the worker instead; :func:`why_in_worker` says which ones.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_azureml import config
from airflow_azureml.model.parameters import PipelineParameter
from airflow_azureml.model.tokens import Concatenation, Opaque, Text
from airflow_azureml.operators.python_script import PythonScriptStep
from airflow_azureml.reuse.controls import CONTROL_NAMES
from airflow_azureml.reuse.waiting import ResultInProgress
from airflow_azureml.runtime.exceptions import DefinitionError, UserErrorException
from airflow_azureml.workspace.secrecy import refuse_secrets

if TYPE_CHECKING:
    from airflow_azureml.compute.request import StepOutcome
    from airflow_azureml.operators.step import PipelineStep

GATE_TRIGGER = "airflow_azureml.triggers.ReuseGateTrigger"
NEXT_METHOD = "resume_from_gate"

AT_MOST_S = 60.0
"""How long a step stays in the triggerer: then a worker takes over, also when there is no triggerer."""

LARGEST_DOCUMENT = 64 * 1024
"""Bytes; Airflow keeps the document with the DAG, and reads it often."""

_TEMPLATE_NAMES = {
    *("dag_run", "logical_date", "macros", "params", "run_id", "task_instance_key_str", "var"),
    *("data_interval_end", "data_interval_start"),
    *("ds", "ds_nodash", "ts", "ts_nodash", "ts_nodash_with_tz"),
}
"""What templates may name that are rendered in the triggerer. Asking Airflow for anything else can wait there for ever."""


def start_in_triggerer(step: PipelineStep) -> None:
    """Make Airflow start a step in the triggerer, if the step asks for it and loses nothing there.

    Called for every step when the whole DAG is known, before Airflow writes it down.
    """
    from airflow.sdk import get_parsing_context

    # The process of a task reads the whole file for one of its steps; what starts where is no business of it.
    if step.effective_gate != "triggerer" or get_parsing_context().task_id not in (None, step.task_id):
        return
    reason = why_in_worker(step)
    if reason is not None:
        step.log.info("%s looks for earlier results in the worker: %s", step.title, reason)
        return
    from airflow.triggers.base import StartTriggerArgs

    from airflow_azureml.operators.gate_document import gate_document

    step.start_from_trigger = True
    step.start_trigger_args = StartTriggerArgs(
        trigger_cls=GATE_TRIGGER,
        trigger_kwargs={"gate": gate_document(_script_step(step))},
        next_method=NEXT_METHOD,
        next_kwargs={},
        timeout=timedelta(seconds=AT_MOST_S),
    )


def why_in_worker(step: PipelineStep) -> str | None:
    """Return why a step must go through the gate in the worker, or ``None`` when it may start in the triggerer.

    The end of a task in the triggerer emits no asset events and calls no callbacks; mapped tasks can't start there; and a key
    must come out as it would in the worker.
    """
    return next(_reasons(step), None)


def _reasons(step: PipelineStep) -> Iterator[str]:
    yield from _reasons_of_airflow(step)
    if type(step) is not PythonScriptStep:
        yield f"the triggerer doesn't know how to build a {type(step).__name__}"
        return
    yield from _reasons_of_values(step)
    yield from _reasons_of_source(step)
    yield from _reasons_of_document(step)


def _reasons_of_airflow(step: PipelineStep) -> Iterator[str]:
    if step.outlets:
        yield "it has outlets, and the end of a task in the triggerer emits no asset events"
    if step.has_on_success_callback or step.has_on_execute_callback:
        yield "it has callbacks, which are not called for a task that ends in the triggerer"
    if step._pre_execute_hook or step._post_execute_hook:  # noqa: SLF001 - nothing public says it
        yield "it has a pre_execute or post_execute hook, which is not called in the triggerer"
    if step.get_closest_mapped_task_group() is not None or step.is_unmapped:
        yield "it is mapped, and Airflow can't start mapped tasks in the triggerer"
    if next(step.iter_mapped_dependants(), None) is not None:
        yield "a task is mapped over its result, and the triggerer doesn't tell Airflow how long it is"
    if step.returns_dag_result:
        yield "its result is that of the DAG, which the triggerer doesn't note"
    if not step.allow_reuse:
        yield "it has allow_reuse=False"


def _reasons_of_values(step: PythonScriptStep) -> Iterator[str]:
    dag, ports = step.dag, step.ports
    # A whole argument list may come from a task, too.
    given: Any = step.arguments
    if not isinstance(given, list | tuple | None) or any(
        isinstance(token, Opaque) for token in ports.arguments
    ):
        yield "its arguments come from another task"
    if any(
        not isinstance(value, PipelineParameter | str | int | float | None)
        for value in ports.environment_parameters.values()
    ):
        yield "its params come from another task"
    if ports.parameters_by_name_only:
        yield "its arguments name a parameter that isn't a PipelineParameter of its own"
    if any(name in CONTROL_NAMES for name in getattr(dag, "pipeline_parameters", {})):
        yield "a parameter of the pipeline has the name of a control of reuse"
    if not _can_render(step):
        yield "its arguments have templates that need more than the triggerer knows"
    if any(_is_mapped(origin.producer) for origin in step.input_origins().values()):
        yield "it reads what a mapped step writes"


def _texts(step: PythonScriptStep) -> Iterator[str]:
    for token in step.ports.arguments:
        for part in token.parts if isinstance(token, Concatenation) else (token,):
            if isinstance(part, Text):
                yield part.text
    yield from (value for value in step.ports.environment_parameters.values() if isinstance(value, str))


def _can_render(step: PythonScriptStep) -> bool:
    """Whether templates come out in the triggerer as in the worker."""
    import jinja2.meta

    from airflow_azureml.operators.rendering import is_template

    dag = step.dag
    environment = dag.get_template_env()
    texts = [text for text in _texts(step) if is_template(text, environment)]
    if texts and (dag.user_defined_macros or dag.user_defined_filters or dag.jinja_environment_kwargs):
        return False
    try:
        found = [jinja2.meta.find_undeclared_variables(environment.parse(text)) for text in texts]
    except jinja2.TemplateSyntaxError:
        return False
    return _TEMPLATE_NAMES.issuperset(name for names in found for name in names)


def _is_mapped(producer: Any) -> bool:
    return producer is None or producer.is_mapped or producer.get_closest_mapped_task_group() is not None


def _reasons_of_source(step: PythonScriptStep) -> Iterator[str]:
    from airflow.dag_processing.bundles.base import get_bundle_storage_root_path

    from airflow_azureml.operators.sources import source_directory_of

    if step.snapshot is None and source_directory_of(step).is_relative_to(
        Path(get_bundle_storage_root_path()).resolve()
    ):
        yield "its source directory is in a bundle of which each run has a version of its own"


def _reasons_of_document(step: PythonScriptStep) -> Iterator[str]:
    from airflow_azureml.operators.gate_document import gate_document

    try:
        document = gate_document(step)
        refuse_secrets(step.effective_environment.environment_variables, "the environment")
        refuse_secrets(dict(step.ports.environment_parameters), "argument params")
        refuse_secrets({"gate": document}, "the step")
    except DefinitionError as error:
        yield str(error)
    except UserErrorException:
        yield "it holds what looks like a credential, and what the triggerer gets is readable"
    else:
        if len(document) > LARGEST_DOCUMENT:
            yield "its definition is too large to be kept with the DAG"


def _script_step(step: PipelineStep) -> PythonScriptStep:
    if not isinstance(step, PythonScriptStep):  # pragma: no cover - refused before
        raise DefinitionError(f"{step.title}: can't start in the triggerer")
    return step


@dataclass(frozen=True, slots=True)
class GateAnswer:
    """What the gate in the triggerer found.

    :param is_reused: whether an earlier result is the task's now; its XComs have been pushed.
    :param reason: why a worker is needed.
    :param in_progress: who is computing the result.
    :param workspace_url: the step's workspace.
    :param poll_s: seconds between two looks, for one that waits.
    """

    is_reused: bool = False
    reason: str = ""
    in_progress: ResultInProgress | None = None
    workspace_url: str = ""
    poll_s: float = 0.0


def decide(gate: str, ti: Any, log: Any, waited_s: float | None) -> GateAnswer:
    """Decide about a step in the triggerer, and make an earlier result its own if there is one.

    Blocks; what it raises sends the step to a worker.

    :param gate: the step, see :mod:`airflow_azureml.operators.gate_document`.
    :param ti: Airflow's task instance.
    :param log: the task log.
    :param waited_s: how long the step has waited for somebody else's result.
    """
    from airflow_azureml.compute.deciding import Waited
    from airflow_azureml.compute.execution import StepExecution
    from airflow_azureml.operators.gate_document import step_of
    from airflow_azureml.operators.metrics import report
    from airflow_azureml.operators.services import execution_services

    step = step_of(gate)
    context = ti.get_template_context()
    step.render_template_fields(context)
    request = step.request(context)
    services = execution_services(step)
    if request.controls.regenerate:
        return GateAnswer(reason="this run asked for regenerate_outputs")
    execution = StepExecution(request, services, log, threading.Event())
    try:
        outcome = execution.reuse_only(None if waited_s is None else Waited(waited_s))
    except ResultInProgress as busy:
        return GateAnswer(in_progress=busy, workspace_url=services.workspace.url, poll_s=config.wait_poll_s())
    if outcome is None:
        return GateAnswer(reason="there is none, or it can't be used")
    _push_xcoms(step, ti, outcome)
    report(request, outcome.reuse, execution.gate_s)
    return GateAnswer(is_reused=True)


def _push_xcoms(step: PythonScriptStep, ti: Any, outcome: StepOutcome) -> None:
    """Push what a worker pushes at the end of a task.

    The event that ends a task can carry XComs, but Airflow keeps those as text in which later tasks find no document.
    """
    from airflow.sdk.execution_time.xcom import XCom

    from airflow_azureml.operators.origin_link import LINK_KEY, origin_url

    task = {"dag_id": ti.dag_id, "task_id": ti.task_id, "run_id": ti.run_id, "map_index": ti.map_index}
    if step.do_xcom_push:
        XCom.set(key="return_value", value=outcome.document, **task)
    XCom.set(key="reuse", value=outcome.reuse, **task)
    # As Airflow itself does: a backend for XComs has nothing to do with links.
    XCom._set_xcom_in_db(key=LINK_KEY, value=origin_url(outcome.reuse), **task)  # noqa: SLF001
