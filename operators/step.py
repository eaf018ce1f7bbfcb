"""``PipelineStep``: what every step operator has in common at definition time."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import DAG, BaseOperator, Param
from airflow.sdk.bases.decorator import get_unique_task_id
from airflow.sdk.bases.operator import BaseOperatorMeta
from airflow.sdk.definitions.mappedoperator import MappedOperator

from airflow_azureml import config
from airflow_azureml.model.names import task_id_for
from airflow_azureml.model.ports import Ports, bind_ports
from airflow_azureml.operators.declared import declare_parameters
from airflow_azureml.operators.graph import draw_edge, refuse_circle
from airflow_azureml.operators.origin_link import OriginLink
from airflow_azureml.operators.rendering import rendered_ports
from airflow_azureml.operators.waiting import ResumesInWorker
from airflow_azureml.reuse.policy import ReusePolicy
from airflow_azureml.runtime.exceptions import DefinitionError

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context
    from airflow.sdk.definitions._internal.mixins import DependencyMixin
    from airflow.sdk.definitions.edges import EdgeModifier
    from airflow.sdk.types import Operator

    from airflow_azureml.compute.request import StepOutcome, StepRequest
    from airflow_azureml.compute.work import StepWork
    from airflow_azureml.model.identity import OutputIdentity
    from airflow_azureml.operators.mapped import StepPartial

GATES = ("worker", "triggerer")
_DEFAULT_POLICY = ReusePolicy()


class StepMeta(BaseOperatorMeta):
    """Lets a step be built the way v1 code builds it, before Airflow sees the arguments.

    Airflow takes keyword arguments only and gives ``params`` a meaning of its own; v1 code passes the first argument by
    position and means variables of the script by ``params``.
    """

    positional: ClassVar[tuple[str, ...]]

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 - a metaclass
        """Build a step from v1's arguments."""
        if len(args) > len(cls.positional):
            raise TypeError(
                f"{cls.__name__}: takes at most {len(cls.positional)} positional arguments, got {len(args)}"
            )
        for name, value in zip(cls.positional, args, strict=False):
            if name in kwargs:
                raise TypeError(f"{cls.__name__}: argument {name} is given twice")
            kwargs[name] = value
        step = super().__call__(**with_step_params(kwargs))
        step.note_declaration(kwargs)
        return step


def with_step_params(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return a step's arguments with v1's ``params`` under the name that Airflow leaves free.

    Airflow's own task params still come in as a ``ParamsDict`` or as a dict of ``Param``.
    """
    params = arguments.get("params")
    if isinstance(params, dict) and not any(isinstance(value, Param) for value in params.values()):
        arguments["step_params"] = arguments.pop("params")
    return arguments


class PipelineStep(ResumesInWorker, BaseOperator, metaclass=StepMeta):
    """A step of a pipeline: an Airflow operator with inputs, outputs and arguments that carry data.

    Works in a :class:`~airflow_azureml.Pipeline`, in a plain DAG, in task groups and mapped. Edges come from data, from
    :meth:`run_after`, from ``StepSequence`` and from ``>>``.

    :param name: what people call the step (v1 ``name``); by default the name of what it runs. The task id is derived from it.
    :param arguments: (templated) the script's argument vector: text, numbers, data objects, parameters (v1 ``arguments``).
    :param inputs: what the step reads (v1 ``inputs``).
    :param outputs: what the step writes (v1 ``outputs``).
    :param step_params: (templated) v1 ``params``: name to value or ``PipelineParameter``, given to the script as
        ``AML_PARAMETER_<name>``. Write it as ``params`` as in v1.
    :param allow_reuse: let an earlier result with the same key stand in for running (v1 ``allow_reuse``).
    :param version: a label of your own; changing it runs the step again (v1 ``version``).
    :param reuse_policy: what the step asks of reuse beyond that: how old results may be, which parameters don't matter, whose
        results count, …; by default the pipeline's.
    :param reuse_gate: where to look for an earlier result: ``worker``, or ``triggerer``, before any worker is started; by default
        the pipeline's, else ``[azureml] reuse_gate``.
    :param ports: inputs, outputs and arguments already bound, for a step that is built again from a definition; takes the place
        of the four arguments above.
    :raises DefinitionError: an argument is wrong; the message names step and argument.

    Source: v1 ``azureml.pipeline.core.PipelineStep``.
    """

    positional: ClassVar[tuple[str, ...]] = ("name",)
    template_fields: Sequence[str] = ("arguments", "step_params")
    template_fields_renderers: ClassVar[dict[str, str]] = {"arguments": "json", "step_params": "json"}
    ui_color = "#d8e8f6"
    operator_extra_links = (OriginLink(),)

    def __init__(
        self,
        *,
        name: str | None = None,
        arguments: list[Any] | None = None,
        inputs: list[Any] | None = None,
        outputs: list[Any] | None = None,
        step_params: Mapping[str, Any] | None = None,
        allow_reuse: bool = True,
        version: str | None = None,
        reuse_policy: ReusePolicy | None = None,
        reuse_gate: str | None = None,
        ports: Ports | None = None,
        default_name: str = "step",
        task_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        if task_id is None:
            wanted = self.task_id_of({"name": name, "default_name": default_name})
            task_id = get_unique_task_id(wanted, kwargs.get("dag"), kwargs.get("task_group"))
            kwargs.setdefault("task_display_name", name)
        self._pending_upstream: list[Operator] = []
        self.followers: list[PipelineStep] = []
        """Steps that want to run after this one and had no edge from it when they said so."""
        self._ports: Ports | None = None
        self.reuse_document: Mapping[str, Any] | None = None
        """Whether the step was reused, and why or why not, once it has run."""
        self.outcome: StepOutcome | None = None
        """How the step ended, once it has ended well."""
        super().__init__(task_id=task_id, **kwargs)
        self._drop_params_of_dag()
        self.name = name or default_name
        self.arguments = arguments
        self.inputs = inputs
        self.outputs = outputs
        self.step_params = step_params
        self.allow_reuse = allow_reuse
        self.version = version
        self.reuse_policy = reuse_policy
        self.reuse_gate = reuse_gate
        # What only the run knows (an XCom value for the whole vector) is text; what is written down may name inputs.
        self._ports = ports or self._bind(arguments if self._is_written_down(arguments) else None)
        if not self.is_unmapped:
            self._claim_outputs()
        if self.has_dag():
            self.wire()

    @classmethod
    def task_id_of(cls, arguments: Mapping[str, Any]) -> str:
        """Return the task id that follows from a step's other arguments: its name, else the name of its script.

        A dot would mean a task group, so ``train.py`` is the task ``train``.
        """
        script = str(arguments.get("script_name") or arguments.get("default_name") or "step")
        return task_id_for(arguments.get("name") or script.removesuffix(".py"))

    @classmethod
    def partial(cls, **kwargs: Any) -> StepPartial:
        """Give the arguments that all instances of a mapped step share; ``expand`` gives the rest."""
        from airflow_azureml.operators.mapped import partial_step

        return partial_step(cls, **kwargs)

    @property
    def is_unmapped(self) -> bool:
        """Whether this is one instance of a mapped step, made while it runs; the mapped step holds the edges."""
        return bool(getattr(self, "_BaseOperator__from_mapped", False))

    @property
    def title(self) -> str:
        """How messages call the step: ``PythonScriptStep 'train'``."""
        return f"{type(self).__name__} {self.task_id!r}"

    @property
    def ports(self) -> Ports:
        """Inputs, outputs and arguments as they were bound when the step was declared."""
        if self._ports is None:  # pragma: no cover - the constructor binds
            raise DefinitionError(f"{self.title}: was never declared")
        return self._ports

    @property
    def dag(self) -> DAG:
        """The DAG this step belongs to."""
        return super().dag

    @dag.setter
    def dag(self, dag: DAG | None) -> None:
        BaseOperator.dag.fset(self, dag)  # type: ignore[attr-defined]
        # While the base class is still constructing there is nothing to wire yet; the constructor does it.
        if dag is not None and self._ports is not None:
            self.wire()

    @property
    def effective_policy(self) -> ReusePolicy:
        """What the step asks of reuse, whoever said so."""
        return self.reuse_policy or getattr(self.dag, "reuse_policy", None) or _DEFAULT_POLICY

    @property
    def effective_gate(self) -> str:
        """Where the step looks for an earlier result: ``worker`` or ``triggerer``.

        :raises DefinitionError: it is neither.
        """
        gate = self.reuse_gate or getattr(self.dag, "reuse_gate", None) or config.reuse_gate()
        if gate not in GATES:
            raise DefinitionError(
                f"{self.title}: argument reuse_gate is {gate!r}; expected one of {', '.join(GATES)}"
            )
        return str(gate)

    @cached_property
    def stopping(self) -> threading.Event:
        """Set when Airflow wants the step to end. Made at first use: an operator is copied before it runs."""
        return threading.Event()

    def work(self) -> StepWork:
        """Return what the step does, with the values of a run; called after :meth:`render`."""
        raise NotImplementedError

    def request(self, context: Context) -> StepRequest:
        """Return what an execution of the step is asked for, with the values of a run.

        :param context: Airflow's, or what stands in for it in a plan.
        """
        from airflow_azureml.operators.run_values import step_request

        self.render(context)
        return step_request(self, context)

    def execute(self, context: Context) -> dict[str, Any]:
        """Reuse an earlier result or run the step.

        :return: the step's document: ``step_run_id``, ``status``, ``outputs``, ``reused_from``. The decision is XCom ``reuse``.
        """
        from airflow_azureml.operators.step_run import run_step

        return run_step(self, context)

    def resume_after_wait(
        self, context: Context, event: Mapping[str, Any] | None = None, waiting_since: float = 0.0
    ) -> dict[str, Any]:
        """Go on after somebody else's result was waited for in the triggerer; Airflow calls this.

        :param event: what the trigger found.
        :param waiting_since: when the step began to wait, seconds since the epoch.
        """
        from airflow_azureml.operators.step_run import run_step, waited_since

        return run_step(self, context, waited_since(event, waiting_since))

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:
        """Return what the step read and wrote; Airflow's OpenLineage provider calls this."""
        from airflow_azureml.operators.lineage import lineage

        return None if self.outcome is None else lineage(self, self.outcome)

    def on_kill(self) -> None:
        """End the step and everything it started."""
        self.stopping.set()

    def __eq__(self, other: object) -> bool:
        """Tell whether both are the same task; steps of one name (v1) are different ones as long as they have no DAG."""
        return self is other or (self.has_dag() and bool(BaseOperator.__eq__(self, other)))

    __hash__ = BaseOperator.__hash__

    def run_after(self, step: Operator) -> None:
        """Run this step after ``step`` although no data flows between them (v1 ``run_after``)."""
        if not isinstance(step, BaseOperator | MappedOperator):
            raise DefinitionError(f"{self.title}: run_after takes a step, not a {type(step).__name__}")
        self._pending_upstream.append(step)
        if isinstance(step, PipelineStep):
            step.followers.append(self)
        if self.has_dag():
            self.wire()

    def note_declaration(self, arguments: Mapping[str, Any]) -> None:
        """Keep how a step without a DAG was declared, for the pipeline that it will join."""
        if not self.has_dag():
            self._declaration = dict(arguments), dict(vars(self))

    def join(self, dag: DAG) -> None:
        """Become a task of ``dag``, under a task id that is free there and with its ``default_args``."""
        if self.has_dag():
            if self.dag is not dag:
                raise DefinitionError(
                    f"{self.title}: is already a step of pipeline {self.dag.dag_id!r}; declare another step for this one"
                )
            return
        arguments, declared = self._declaration
        del self._declaration
        since = {name: value for name, value in vars(self).items() if declared.get(name, self) is not value}
        before, after = self._pending_upstream, self.followers
        # Declared again, now that there is a DAG: this is how Airflow gives default_args and params to a task.
        type(self).__init__(self, **{**arguments, "dag": dag})
        for name, value in since.items():
            setattr(self, name, value)
        self._pending_upstream, self.followers = before, after
        self.wire()

    def update_relative(
        self, other: DependencyMixin, upstream: bool = True, edge_modifier: EdgeModifier | None = None
    ) -> None:
        """Refuse an edge that closes a circle, at the line of the DAG file that draws it; Airflow calls this for each edge."""
        if upstream:
            refuse_circle(other, self)
        else:
            refuse_circle(self, other)

    def wanted_upstream(self) -> list[Operator]:
        """Return the steps that have to run before this one, as far as they are known."""
        producers = [
            origin.producer for origin in self.input_origins().values() if origin.producer is not None
        ]
        return list(dict.fromkeys([*producers, *self._pending_upstream]))

    def input_origins(self) -> dict[str, OutputIdentity]:
        """Return input name to the output it reads, for inputs that other steps produce."""
        return self.ports.input_origins()

    def check(self) -> None:
        """Check what can be checked once the whole DAG is known; step types check more.

        :raises DefinitionError: something about the step is wrong.
        """
        ignored = set(self.reuse_policy.ignore_params) if self.reuse_policy else set()
        unknown = sorted(ignored - set(self.ports.parameters) - set(self.ports.parameters_by_name_only))
        if unknown:
            known = ", ".join(sorted(self.ports.parameters)) or "no parameters"
            raise DefinitionError(
                f"{self.title}: argument reuse_policy ignores {', '.join(map(repr, unknown))}, "
                f"which the step does not use; it uses {known}"
            )

    def _is_written_down(self, arguments: Any) -> bool:
        if not isinstance(arguments, list | tuple):
            return False
        mapped = self.dag.task_dict.get(self.task_id) if self.is_unmapped else None
        if not isinstance(mapped, MappedOperator):
            return True
        from airflow_azureml.operators.mapped import says

        return says(mapped, "arguments", arguments)

    def _drop_params_of_dag(self) -> None:
        """Keep only params of the task's own; those of the DAG reach it without a copy of each.

        With the copies that Airflow makes it takes four times as long to write down a DAG of a hundred steps.
        """
        for name in [name for name, param in self.params.items() if param.source == "dag"]:
            del self.params[name]

    def _bind(self, arguments: Sequence[Any] | None) -> Ports:
        return bind_ports(
            type(self).__name__,
            self.task_id,
            inputs=self.inputs,
            outputs=self.outputs,
            arguments=arguments,
            params=self.step_params,
        )

    def render(self, context: Context) -> None:
        """Put the values of this run into the arguments.

        Ports and placeholders were found when the step was declared; what a template or an XCom brings in now is plain text
        and cannot address them.
        """
        self._ports = rendered_ports(self, context)

    def _claim_outputs(self) -> None:
        for port in self.ports.outputs:
            port.origin.claim(self, self.title)
        for origin in self.input_origins().values():
            origin.add_consumer(self)

    def wire(self) -> None:
        """Draw the edges that are known by now; called again whenever more is known."""
        if self.is_unmapped:
            return
        declare_parameters(self.dag, self.title, self.ports.parameters)
        for origin in self.input_origins().values():
            if origin.producer is not None:
                draw_edge(origin.producer, self)
        self._pending_upstream = [step for step in self._pending_upstream if not draw_edge(step, self)]
        # Those that aren't in the DAG yet draw the edge themselves when they come.
        followers, self.followers = self.followers, []
        for step in followers:
            if step.has_dag():
                step.wire()
        for port in self.ports.outputs:
            for consumer in port.origin.consumers:
                draw_edge(self, consumer)
