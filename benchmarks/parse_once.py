"""Parses one DAG file in the three ways of ``parse.py`` and prints the times as JSON; a program of its own."""

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
from airflow.dag_processing import processor
from airflow.jobs.job import Job

TIMES = 3
PAUSE_S = 2.1
"""Longer than one process trusts what it knows of a source directory."""


def main() -> None:
    """Measure."""
    path = Path(sys.argv[1])
    logging.disable(logging.CRITICAL)
    fresh, tasks, problem = in_child(lambda: parse(path))
    start_like_the_dag_processor(path)
    forked = [in_child(lambda: parse(path))[0] for _ in range(TIMES)]
    parse(path)
    warm = []
    for _ in range(TIMES):
        time.sleep(PAUSE_S)
        warm.append(parse(path)[0])
    times = {"fresh process": [fresh], "forked by the DAG processor": forked, "warm": warm}
    print(json.dumps({**times, "tasks": tasks, "problem": problem}))


def parse(path: Path) -> tuple[float, int, str]:
    """Parse as the DAG processor's child does; return seconds, tasks, and what went wrong."""
    request = processor.DagFileParseRequest(file=str(path), bundle_path=path.parent, bundle_name="dags")
    started = time.perf_counter()
    result = processor._parse_file(request, structlog.get_logger())  # noqa: SLF001 - there is no public name
    taken = time.perf_counter() - started
    if result is None or result.import_errors:
        return taken, 0, str(result)
    return taken, sum(len(dag.data["dag"]["tasks"]) for dag in result.serialized_dags), ""


def start_like_the_dag_processor(path: Path) -> None:
    """Do what Airflow's processor has done before it forks: plugins hear that it starts; it imports Airflow's modules."""
    Job()
    processor._pre_import_airflow_modules(str(path), structlog.get_logger())  # noqa: SLF001


def in_child(work: Callable[[], Any]) -> Any:
    """Fork, work there, and return what the work returned."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, json.dumps(work()).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        found = json.loads(answer.read())
    os.waitpid(pid, 0)
    return found


if __name__ == "__main__":
    main()
