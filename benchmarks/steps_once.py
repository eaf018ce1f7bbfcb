"""Runs the steps of a DAG file one after the other, without Airflow's scheduling; a program of its own.

``steps_once.py FILE TIMES`` runs them so many times, each time as a run of its own, and prints as JSON the seconds that each run
took and how many of its steps were reused. A step's time is what its worker would spend on it between Airflow's hands: render the
arguments, put together request and services, decide, and commit.
"""

import json
import logging
import sys
import threading
import time
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from airflow_azureml.compute.execution import StepExecution
from airflow_azureml.operators.planning_context import KnownResults, PlannedRun, rendered
from airflow_azureml.operators.services import execution_services


def main() -> None:
    """Do what the arguments say."""
    file, times = Path(sys.argv[1]), int(sys.argv[2])
    logging.disable(logging.CRITICAL)
    bag = DagBag(dag_folder=file, bundle_path=file.parent, bundle_name="benchmarks")
    if bag.import_errors:
        sys.exit("\n".join(bag.import_errors.values()))
    (dag,) = bag.dags.values()
    seconds, reused = [], []
    for _ in range(times):
        started = time.perf_counter()
        reused.append(run(dag))
        seconds.append(time.perf_counter() - started)
    print(json.dumps({"seconds": seconds, "reused": reused, "steps": len(dag.tasks)}))


def run(dag: DAG) -> int:
    """Run the steps; return how many were reused."""
    results = KnownResults({})
    stand_in = PlannedRun(dag, {}, results, None)
    reused = 0
    for task in dag.topological_sort():
        context = stand_in.context(task, -1)
        step = rendered(task, context, dag.get_template_env(), results)
        execution = StepExecution(
            step.request(context), execution_services(step), logging.getLogger("steps"), threading.Event()
        )
        outcome = execution.run()
        results.add(task.task_id, -1, outcome.document)
        reused += outcome.reuse["decision"] == "reuse"
    return reused


if __name__ == "__main__":
    main()
