"""Who a step run is: ids that two machines compute alike without asking each other."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

_NAMESPACE = uuid.UUID("5f0c6a2e-6a0b-5d0e-9a7c-3a1d5b0f4c21")


def pipeline_run_id(deployment: str, dag_id: str, run_id: str) -> str:
    """Return the id of a pipeline run.

    :param deployment: names the Airflow deployment, so that two of them can share a workspace.
    :param dag_id: the DAG.
    :param run_id: Airflow's id of the DAG run.
    """
    return _id_of(deployment, dag_id, run_id)


@dataclass(frozen=True, slots=True)
class StepIdentity:
    """Where a step run stands in Airflow and in the workspace.

    :param deployment: see :func:`pipeline_run_id`.
    :param dag_id: the DAG.
    :param run_id: Airflow's id of the DAG run.
    :param task_id: the task.
    :param map_index: index of a mapped task, -1 otherwise.
    :param try_number: 1 for the first try.
    :param step_name: the step's name as people know it (v1 ``name``).
    :param step_type: class name of the step.
    :param experiment: the experiment the run belongs to (v1 ``ExperimentName``).
    :param instance: Airflow's own id of this try, which never comes again; a run that is deleted and created anew under its name
        counts tries from 1 again.
    """

    deployment: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    step_name: str
    step_type: str
    experiment: str
    instance: str = ""

    @property
    def pipeline_run_id(self) -> str:
        """Id of the pipeline run this step belongs to."""
        return pipeline_run_id(self.deployment, self.dag_id, self.run_id)

    @property
    def step_run_id(self) -> str:
        """Id of this try of the step; every try has its own record and its own places for outputs."""
        return _id_of(
            self.pipeline_run_id, self.task_id, str(self.map_index), str(self.try_number), self.instance
        )


def _id_of(*parts: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, "\x00".join(parts)))
