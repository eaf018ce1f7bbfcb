"""What this package does when Airflow starts, and when a pipeline run ends: then it closes the record of the run.

The latter is called in the scheduler for every DAG run, ours or not; a run without a record in the workspace costs one read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.listeners import hookimpl
from airflow.utils.state import DagRunState, TaskInstanceState

from airflow_azureml.closing import close
from airflow_azureml.model.status import RunStatus

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

_STEPS = "airflow_azureml.operators."


@hookimpl
def on_starting(component: object) -> None:
    """Import early, in services that start a process for each task or DAG file, what those would import each time."""
    # A job is such a service; in a task's own process there is no time to lose.
    if hasattr(component, "job_type"):
        from airflow_azureml.preload import preload

        preload()


@hookimpl
def on_dag_run_success(dag_run: DagRun) -> None:
    """Mark the pipeline run as finished, or as canceled when it was stopped on purpose."""
    if failed_fast(dag_run):
        dag_run.set_state(DagRunState.FAILED)
        close(dag_run.dag_id, dag_run.run_id, RunStatus.FAILED)
    else:
        close(dag_run.dag_id, dag_run.run_id, RunStatus.FINISHED)


@hookimpl
def on_dag_run_failed(dag_run: DagRun) -> None:
    """Mark the pipeline run as failed, or as canceled when it was stopped on purpose."""
    close(dag_run.dag_id, dag_run.run_id, RunStatus.FAILED)


def failed_fast(dag_run: DagRun) -> bool:
    """Whether a run of a pipeline that Airflow calls a success has failed.

    With ``fail_fast`` a failure skips the tasks that haven't run. Airflow judges a run by its last tasks only, and to it
    skipped ones are as good as succeeded ones.
    """
    from sqlalchemy.orm import object_session

    dag = dag_run.get_dag()
    modules = (task._task_module for task in dag.tasks)  # noqa: SLF001 - no public name says what a task's class was
    if not dag.fail_fast or not any(module.startswith(_STEPS) for module in modules):
        return False
    # In the scheduler's own session: another one would commit in the middle of the scheduler's work, which ends it.
    # (``dag.test()`` hands over a run that has none.)
    session = object_session(dag_run)
    tasks = dag_run.get_task_instances() if session is None else dag_run.get_task_instances(session=session)
    return any(ti.state == TaskInstanceState.FAILED for ti in tasks)
