"""``Run``: what a script sees of the run it belongs to, and of others (``azureml.core.Run``)."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Iterable, Iterator, Mapping, Sequence

from airflow_azureml.runtime import run_inputs, service
from airflow_azureml.runtime.exceptions import (
    ActivityFailedException,
    RunEnvironmentException,
    UserErrorException,
)
from airflow_azureml.runtime.run_files import RunFiles
from airflow_azureml.runtime.run_metrics import RunMetrics
from airflow_azureml.runtime.run_notes import RunNotes

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self, Type

    from airflow_azureml.runtime.experiment import Experiment
    from airflow_azureml.runtime.workspace import Workspace

RUN_ID_VARIABLE = "AZUREML_RUN_ID"
TERMINAL = frozenset(("Finished", "Completed", "Failed", "Canceled"))
MAX_CHILDREN = 100
_LONGEST_PAUSE_S = 5.0


class Run(RunMetrics, RunNotes, RunFiles):
    """A run of a step, a pipeline, or a part of a step.

    All calls are answered before they return, so what went wrong is raised where it happened.

    :param experiment: the experiment it belongs to; None asks the workspace when it is needed.
    :param run_id: its id.
    """

    def __init__(
        self, experiment: Experiment | None, run_id: str, outputs: str | None = None, **_: Any
    ) -> None:
        super().__init__(run_id)
        self._experiment = experiment
        self._outputs = outputs
        self._parent: Run | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}(Id: {self._id})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and other._id == self._id

    def __hash__(self) -> int:
        return hash(self._id)

    # -- where it comes from ------------------------------------------------------------------------------------

    @classmethod
    def get_context(cls, allow_offline: bool = True, **_: Any) -> Run:
        """Return the run this process belongs to, one object per run.

        Outside a step it is a run of its own that works against the local workspace; its id starts with
        ``OfflineRun``.

        :param allow_offline: False demands a step around this process.
        :raises RunEnvironmentException: there is none.
        """
        if not service.is_online():
            if not allow_offline:
                raise RunEnvironmentException(
                    "no run around this process: the script wasn't started as a step. "
                    "Allow an offline run (allow_offline=True) or run it in a pipeline"
                )
            return _OfflineRun.here()
        run_id = os.environ.get(RUN_ID_VARIABLE)
        if not run_id:
            run_id = str(service.call("run.describe")["id"])
        if run_id not in _contexts:
            _contexts[run_id] = _SubmittedRun(None, run_id)
        return _contexts[run_id]

    @staticmethod
    def get(workspace: Workspace | None, run_id: str, **_: Any) -> Run:
        """Return a run by its id.

        :raises UserErrorException: there is no such run.
        """
        return from_description(service.call("run.describe", run=run_id))

    @staticmethod
    def list(
        experiment: Experiment,
        type: str | None = None,
        tags: Any = None,
        properties: Any = None,
        status: str | None = None,
        include_children: bool = False,
        **_: Any,
    ) -> Iterator[Run]:
        """Yield the runs of an experiment, newest first; see :meth:`get_children` for the filters."""
        found = service.call("experiment.runs", name=experiment.name, include_children=include_children)
        return _matching(found, tags=tags, properties=properties, type=type, status=status)

    # -- what it belongs to -------------------------------------------------------------------------------------

    @property
    def experiment(self) -> Experiment:
        """The experiment; ``run.experiment.workspace`` is the workspace."""
        if self._experiment is None:
            from airflow_azureml.runtime.experiment import Experiment
            from airflow_azureml.runtime.workspace import Workspace

            name = self._describe()["experiment"]
            self._experiment = Experiment(Workspace.here(), name, _skip_name_validation=True)
        return self._experiment

    @property
    def parent(self) -> Run | None:
        """The run this one is part of: of a step, the pipeline's. None for a pipeline's run."""
        if self._parent is None:
            parent_id = self._describe().get("parent_id")
            if parent_id is not None:
                self._parent = from_description(service.call("run.describe", run=parent_id))
        return self._parent

    @property
    def name(self) -> str:
        """The step's or the child run's name; of a pipeline's run, the pipeline's."""
        return str(self._describe().get("name") or self._id)

    @property
    def number(self) -> int:
        """The run's number within its experiment."""
        return int(self._describe().get("number") or 0)

    @property
    def type(self) -> str:
        """``azureml.PipelineRun``, ``azureml.StepRun`` or ``azureml.scriptrun``."""
        return str(self._describe()["type"])

    @property
    def status(self) -> str:
        """The run's status as it is now."""
        return self.get_status()

    @property
    def input_datasets(self) -> Mapping[str, Any]:
        """The named inputs: a path for each that is mounted or downloaded, a dataset for each used directly."""
        return run_inputs.input_datasets()

    @property
    def output_datasets(self) -> Mapping[str, Any]:
        """The paths of the outputs."""
        return run_inputs.output_datasets()

    def get_status(self) -> str:
        """Return the run's status as it is now, in v1's words."""
        return str(self._describe()["status"])

    def get_details(self) -> dict[str, Any]:
        """Return what is known about the run, under v1's keys."""
        details: dict[str, Any] = self._call("details")
        return details

    # -- parts --------------------------------------------------------------------------------------------------

    def child_run(
        self, name: str | None = None, run_id: str | None = None, outputs: str | None = None
    ) -> Run:
        """Start a run below this one, with metrics, tags and files of its own.

        :param name: shown for it.
        :param run_id: its id; default: made from this run's.
        :param outputs: a folder whose files become the child's when it is completed.
        """
        child = from_description(self._call("child", name=name, child_id=run_id), self._experiment)
        child._outputs = outputs  # noqa: SLF001 - a run of this class
        return child

    def create_children(
        self, count: int | None = None, tag_key: str | None = None, tag_values: Sequence[Any] | None = None
    ) -> Sequence[Run]:
        """Start several runs below this one.

        :param count: how many; or
        :param tag_key: a tag that each of them gets, with one of
        :param tag_values: these values.
        :raises UserErrorException: neither or both ways, or more than 100.
        """
        values: Sequence[Any]
        if count is not None and tag_key is None and tag_values is None:
            values = [None] * count
        elif count is None and tag_key is not None and tag_values is not None:
            values = list(tag_values)
        else:
            raise UserErrorException("create_children takes either count, or tag_key and tag_values")
        if len(values) > MAX_CHILDREN:
            raise UserErrorException(
                f"create_children: {len(values)} at once; at most {MAX_CHILDREN} are possible"
            )
        children = [self.child_run() for _ in values]
        if tag_key is not None:
            for child, value in zip(children, values):
                child.tag(tag_key, value)
        return children

    def get_children(
        self,
        recursive: bool = False,
        tags: Any = None,
        properties: Any = None,
        type: str | None = None,
        status: str | None = None,
        **_: Any,
    ) -> Iterator[Run]:
        """Yield the runs below this one.

        :param recursive: at any depth.
        :param tags: a tag's name, or a dict of tags with their values; ``properties`` likewise.
        :param type: only runs of this type.
        :param status: only runs of this status.
        """
        found = self._call("children", recursive=recursive)
        return _matching(found, tags=tags, properties=properties, type=type, status=status)

    # -- its end ------------------------------------------------------------------------------------------------

    def complete(self, **_: Any) -> None:
        """End a child run. In a step's own run it only makes sure that all is stored: the exit code decides."""
        if self._outputs and os.path.isdir(self._outputs):
            self.upload_folder(os.path.basename(os.path.normpath(self._outputs)), self._outputs)
        self._call("complete")

    def fail(self, error_details: Any = None, error_code: Any = None, **_: Any) -> None:
        """End a child run as failed. In a step's own run the details are kept, but the exit code decides."""
        self._call(
            "fail", details=None if error_details is None else str(error_details), code=_text(error_code)
        )

    def cancel(self, reason: str | None = None) -> None:
        """Ask for the run to be stopped, and return.

        A step that cancels itself or its parent is stopped from outside, a moment later.

        :param reason: shown to whoever asks why the run was canceled.
        """
        self._call("cancel", reason=reason)

    def wait_for_completion(
        self, show_output: bool = False, wait_post_processing: bool = False, raise_on_error: bool = True
    ) -> Any:
        """Wait until the run has ended, and return its details.

        :param show_output: print changes of status.
        :param raise_on_error: raise when the run has failed.
        :raises ActivityFailedException: it has.
        """
        self._wait(show_output, None)
        details = self.get_details()
        if raise_on_error and details["status"] == "Failed":
            raise ActivityFailedException(f"run {self._id} failed: {details.get('error') or 'see its log'}")
        return details

    def flush(self, timeout_seconds: int = 300) -> None:
        """Return at once: every call is answered when it returns, so nothing is under way."""

    def get_secret(self, name: str) -> str:
        """Refuse: a step has no access to secrets.

        :raises UserErrorException: always, with what to do instead.
        """
        raise UserErrorException(
            f"secret {name!r}: steps are given no key vault. Pass it as an environment variable of the step's "
            "environment, filled from an Airflow connection or variable"
        )

    def get_secrets(self, secrets: Iterable[str]) -> dict[str, str]:
        """Refuse; see :meth:`get_secret`."""
        return {name: self.get_secret(name) for name in secrets}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: Type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.complete()
        else:
            self.fail(error_details=repr(error))

    def _wait(self, show_output: bool, timeout_seconds: float | None) -> str:
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        pause_s, shown = 0.05, ""
        while True:
            status = self.get_status()
            if show_output and status != shown:
                print(f"{self._id}: {status}", flush=True)  # noqa: T201 - shown on purpose
            shown = status
            if status in TERMINAL or (deadline is not None and time.monotonic() >= deadline):
                return status
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)


class _SubmittedRun(Run):
    """The run of the step this process belongs to; scripts test for v1's name of it."""


class _OfflineRun(Run):
    """A run that lives as long as this process, against the local workspace; scripts test for v1's name of it."""

    @classmethod
    def here(cls) -> Run:
        """Return this process's offline run."""
        run_id = str(service.call("run.describe")["id"])
        if run_id not in _contexts:
            _contexts[run_id] = cls(None, run_id)
        return _contexts[run_id]


_contexts: dict[str, Run] = {}


def from_description(description: Mapping[str, Any], experiment: Experiment | None = None) -> Run:
    """Return the run that a service's description stands for, of the class v1 has for its kind."""
    from airflow_azureml.runtime.pipeline_run import PipelineRun, StepRun

    kind = {"pipeline": PipelineRun, "step": StepRun}.get(description["kind"], Run)
    return kind(experiment, description["id"])


def _matching(
    descriptions: Iterable[Mapping[str, Any]],
    *,
    tags: Any,
    properties: Any,
    type: str | None,
    status: str | None,
) -> Iterator[Run]:
    for found in descriptions:
        if type is not None and found["type"] != type:
            continue
        if status is not None and found["status"] != status:
            continue
        if _has(found["tags"], tags) and _has(found["properties"], properties):
            yield from_description(found)


def _has(present: Mapping[str, Any], wanted: Any) -> bool:
    if not wanted:
        return True
    if isinstance(wanted, str):
        return wanted in present
    return all(key in present and present[key] == _text(value) for key, value in dict(wanted).items())


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
