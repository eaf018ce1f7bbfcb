"""Runs the steps of a DAG file, or plans them and prints the times as JSON, for ``plan.py``; a program of its own."""

import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from airflow_azureml.compute.execution import StepExecution
from airflow_azureml.operators.planning import plan
from airflow_azureml.operators.planning_context import KnownResults, PlannedRun, rendered
from airflow_azureml.operators.services import execution_services, workspace_of
from airflow_azureml.reuse.entries import EntryStore

TIMES = 5


def main() -> None:
    """Do what the arguments say."""
    what, file = sys.argv[1], Path(sys.argv[2])
    logging.disable(logging.CRITICAL)
    bag = DagBag(dag_folder=file, bundle_path=file.parent, bundle_name="benchmarks")
    if bag.import_errors:
        sys.exit("\n".join(bag.import_errors.values()))
    (dag,) = bag.dags.values()
    if what == "run":
        run(dag)
    else:
        measure(dag)


def run(dag: DAG) -> None:
    """Run the steps one after the other, without Airflow's scheduling."""
    results = KnownResults({})
    stand_in = PlannedRun(dag, {}, results, None)
    for task in dag.topological_sort():
        context = stand_in.context(task, -1)
        step = rendered(task, context, dag.get_template_env(), results)
        request = step.request(context)
        log = logging.getLogger("steps")
        outcome = StepExecution(request, execution_services(step), log, threading.Event()).run()
        results.add(task.task_id, -1, outcome.document)


def measure(dag: DAG) -> None:
    """Plan again and again, and read what a plan reads at least."""
    first, found = timed(lambda: plan(dag, {}))
    entries = EntryStore(workspace_of(dag.tasks[0]).store)
    keys = [step.key or "" for step in found.steps]
    looks: list[float] = []
    look = StepExecution.look

    def timed_look(execution: StepExecution) -> Any:
        taken, decision = timed(lambda: look(execution))
        looks.append(taken)
        return decision

    StepExecution.look = timed_look  # type: ignore[method-assign]
    times: dict[str, Any] = {"first plan": [first], "plan": [], "look": [], "reading": []}
    for _ in range(TIMES):
        looks.clear()
        times["plan"].append(timed(lambda: plan(dag, {}))[0])
        times["look"].append(sum(looks))
        times["reading"].append(timed(lambda: [entries.look(key) for key in keys])[0])
    print(json.dumps({**times, "reused": found.reused}))


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return how long something takes, and what it returns."""
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


if __name__ == "__main__":
    main()
