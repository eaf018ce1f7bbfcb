"""Parses one DAG file in the three ways of ``parse.py`` and prints the times as JSON; a program of its own."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import airflow.sdk  # noqa: F401 - what every process that parses has imported
from airflow.configuration import conf  # noqa: F401
from airflow.dag_processing import processor

REPEATS = 3
PAUSE_S = 2.1
"""Longer than one process trusts what it knows of a source directory."""


def parse(path: Path) -> tuple[float, int, str]:
    """Parse as the DAG processor's child does; return seconds, tasks, and what went wrong."""
    request = processor.DagFileParseRequest(file=str(path), bundle_path=path.parent, bundle_name="dags", callback_requests=[])
    log = processor.structlog.get_logger() if hasattr(processor, "structlog") else None
    started = time.perf_counter()
    result = processor._parse_file(request, log)  # type: ignore[arg-type]  # noqa: SLF001
    taken = time.perf_counter() - started
    if result is None or result.import_errors:
        return taken, 0, str(result)
    return taken, sum(len(dag.data["dag"]["tasks"]) for dag in result.serialized_dags), ""


def in_child(work: Callable[[], object]) -> object:
    """Fork, work there, and return what the work returned."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, json.dumps(work()).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        found: object = json.loads(answer.read())
    os.waitpid(pid, 0)
    return found


def main() -> None:
    """Measure."""
    path = Path(sys.argv[1])
    fresh = in_child(lambda: parse(path))
    start_like_the_dag_processor(path)
    forked = [in_child(lambda: parse(path)) for _ in range(REPEATS)]
    parse(path)
    warm = []
    for _ in range(REPEATS):
        time.sleep(PAUSE_S)
        warm.append(parse(path))
    taken, tasks, problem = fresh
    print(
        json.dumps(
            {
                "fresh": [taken],
                "forked": [one for one, _, _ in forked],
                "warm": [one for one, _, _ in warm],
                "tasks": tasks,
                "problem": problem,
            }
        )
    )


def start_like_the_dag_processor(path: Path) -> None:
    """Do what Airflow's processor has done before it forks."""
    import structlog
    from airflow.listeners.listener import get_listener_manager

    get_listener_manager()
    processor._pre_import_airflow_modules(str(path), structlog.get_logger())  # noqa: SLF001


if __name__ == "__main__":
    main()
