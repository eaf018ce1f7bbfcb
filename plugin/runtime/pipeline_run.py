"""``PipelineRun`` and ``StepRun``: the runs of a pipeline and of its steps (``azureml.pipeline.core``)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from airflow_azureml.runtime import service
from airflow_azureml.runtime.exceptions import ActivityFailedException, ExperimentExecutionException
from airflow_azureml.runtime.run import Run, from_description

if TYPE_CHECKING:
    from airflow_azureml.runtime.workspace import Workspace


class _NodeRun(Run):
    """What the two have in common: their end is decided by the steps' exit codes."""

    def wait_for_completion(
        self, show_output: bool = True, timeout_seconds: float = sys.maxsize, raise_on_error: bool = True
    ) -> str:
        """Wait until the run has ended, and return its status.

        :param show_output: print changes of status.
        :param timeout_seconds: stop waiting after this time; that is no error.
        :param raise_on_error: raise when the run has failed.
        :raises ActivityFailedException: it has.
        :raises ExperimentExecutionException: interrupted with Ctrl-C; the run goes on.
        """
        try:
            status = self._wait(show_output, timeout_seconds)
        except KeyboardInterrupt as error:
            raise ExperimentExecutionException(f"waiting was interrupted; run {self.id} goes on") from error
        if raise_on_error and status == "Failed":
            raise ActivityFailedException(
                f"run {self.id} failed: {self._describe().get('error') or 'see its log'}"
            )
        return status


class StepRun(_NodeRun):
    """The run of one step."""

    @property
    def pipeline_run_id(self) -> str:
        """Id of the pipeline's run."""
        return str(self._describe()["parent_id"])


class PipelineRun(_NodeRun):
    """The run of a pipeline. What steps write on it is kept with the step that wrote it, also when it is reused."""

    @staticmethod
    def get(workspace: Workspace | None, run_id: str, **_: Any) -> Run:
        """Return a pipeline's run by its id.

        :raises UserErrorException: there is no such run.
        """
        return from_description(service.call("run.describe", run=run_id))

    def get_steps(self) -> list[Run]:
        """Return the runs of the steps."""
        return list(self.get_children())

    def find_step_run(self, name: str) -> list[Run]:
        """Return the runs of the steps of that name; several steps may share one."""
        return [
            from_description(found)
            for found in self._call("children", recursive=False)
            if found["name"] == name
        ]

    def complete(self, **_: Any) -> None:
        """Refuse: a pipeline's run ends when its steps have ended."""
        raise NotImplementedError("a pipeline's run cannot be completed by hand; it ends with its steps")

    def fail(self, error_details: Any = None, error_code: Any = None, **_: Any) -> None:
        """Refuse: a pipeline's run fails when a step fails."""
        raise NotImplementedError(
            "a pipeline's run cannot be failed by hand; let the step fail, or cancel the run"
        )

    def child_run(
        self, name: str | None = None, run_id: str | None = None, outputs: str | None = None
    ) -> Run:
        """Refuse: the children of a pipeline's run are its steps."""
        raise NotImplementedError(
            "the children of a pipeline's run are its steps; use child_run of the step's run"
        )
