"""Pipelines whose steps are all reused, in a real Airflow (scheduler, triggerer, LocalExecutor, SQLite) in a home of its own.

A chain and a wide graph of steps, with the gate in the worker and in the triggerer, beside the same graphs of EmptyOperators,
which the scheduler ends by itself, and of operators that do nothing in a worker. The time of a run is from the request to its
end. A worker process is started for each task that the executor is given; those are counted. Also two runs at once of a pipeline
whose results are missing, beside one run of it: the script of each step must run once.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from airflow_azureml.compute.environments import EnvironmentCache
from airflow_azureml.model.environment import Environment
from benchmarks.airflow_runs import Airflow, CountingHome, EndedRun, running
from benchmarks.measure import Row, fresh_python, load, print_table
from benchmarks.reuse_files import (
    CHAIN,
    EMPTY,
    KINDS,
    MISSING,
    NO_OP,
    SIZES,
    TRIGGERER,
    WIDE,
    WORKER,
    dag_id_of,
    write_files,
)

ROUNDS = {CHAIN: 2, WIDE: 2, MISSING: 2}
"""A round takes minutes. For more of them there are the steps of the chains, each of which is a measurement."""

TARGET = 1.15
"""How much longer than with operators that do nothing a run may take whose steps are looked up in the worker."""

_PROGRAM = str(Path(__file__).with_name("steps_once.py"))
_TITLES = {
    EMPTY: "EmptyOperators",
    NO_OP: "no-op operators",
    WORKER: "reused, gate in the worker",
    TRIGGERER: "reused, gate in the triggerer",
}
_Runs = Mapping[tuple[str, str], Sequence[EndedRun]]


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="reuse-") as folder:
        home = CountingHome.create(Path(folder))
        executions = home.path / "executions"
        dag_ids = write_files(home.dags, executions)
        home.add_executor()
        fill(home)
        with running(home, dag_ids) as airflow:
            alone, both = measure_missing(airflow, executions)
            before = executions.read_text()
            runs = measure(airflow)
        if executions.read_text() != before:
            raise SystemExit("scripts ran although their results were there")
    print_times(runs)
    print_processes(runs)
    print_missing(alone, both)


def fill(home: CountingHome) -> None:
    """Build the steps' interpreter and run all scripts once, so that there are results; both gates find the same ones."""
    with EnvironmentCache(home.path / "azureml" / "environments").ensure(Environment("bare"), print):
        pass
    for shape in (CHAIN, WIDE):
        file = home.dags / f"{dag_id_of(shape, WORKER)}.py"
        printed = fresh_python(_PROGRAM, str(file), "1", cwd=home.path, variables=home.environment())
        if json.loads(printed.splitlines()[-1])["reused"] != [0]:
            raise SystemExit(f"all scripts should have run: {printed}")


def measure(airflow: Airflow) -> _Runs:
    """Run the graphs in turn; return the runs by shape and kind."""
    runs: dict[tuple[str, str], list[EndedRun]] = defaultdict(list)
    for number in range(max(ROUNDS[CHAIN], ROUNDS[WIDE])):
        for shape in [shape for shape in (CHAIN, WIDE) if number < ROUNDS[shape]]:
            for kind in KINDS:
                (run,) = airflow.run(dag_id_of(shape, kind))
                if kind in (WORKER, TRIGGERER) and run.decisions != {"hit": SIZES[shape]}:
                    raise SystemExit(f"{dag_id_of(shape, kind)}: not every step was reused: {run.decisions}")
                runs[shape, kind].append(run)
                _tell(f"{SIZES[shape]} {_TITLES[kind]}, {shape}", run)
    return runs


def measure_missing(airflow: Airflow, executions: Path) -> tuple[list[EndedRun], list[EndedRun]]:
    """Run the pipeline without results once, and twice at once; return the runs of both."""
    alone: list[EndedRun] = []
    both: list[EndedRun] = []
    for number in range(ROUNDS[MISSING]):
        for found, count in ((alone, 1), (both, 2)):
            name = f"{number}-{count}"
            ended = airflow.run(dag_id_of(MISSING, WORKER), count, {"name": name})
            ran = Counter(line for line in executions.read_text().splitlines() if line.startswith(f"{name} "))
            if ran != {f"{name} {step}": 1 for step in range(SIZES[MISSING])}:
                raise SystemExit(f"each script should have run once: {dict(ran)}")
            found.append(max(ended, key=lambda run: run.seconds))
            for run in ended:
                _tell(f"results missing, {count} at once", run)
    return alone, both


def print_times(runs: _Runs) -> None:
    """Print the times of the runs, beside each of the peers."""
    for peer in (NO_OP, EMPTY):
        targets = {WORKER: TARGET if peer == NO_OP else None, TRIGGERER: None}
        steps = [
            Row(f"{_TITLES[kind]}", _between(runs[CHAIN, kind]), _between(runs[CHAIN, peer]), target)
            for kind, target in targets.items()
        ]
        wholes = [
            Row(
                f"{shape} of {SIZES[shape]}, {_TITLES[kind]}",
                _wholes(runs[shape, kind]),
                _wholes(runs[shape, peer]),
                target,
            )
            for shape in (CHAIN, WIDE)
            for kind, target in targets.items()
        ]
        print_table(
            f"One step of a chain of {SIZES[CHAIN]}: from the end of the step before to its own",
            _TITLES[peer],
            steps,
        )
        print_table("The whole DAG run", _TITLES[peer], wholes)


def print_processes(runs: _Runs) -> None:
    """Print how many worker processes the runs started."""
    print(f"Worker processes started per run; target for the gate in the triggerer: none; load {load()}\n")
    for (shape, kind), found in runs.items():
        counts = sorted({run.processes for run in found})
        verdict = ("ok" if counts == [0] else "over") if kind == TRIGGERER else ""
        shown = " to ".join(map(str, counts))
        print(f"{shape} of {SIZES[shape]}, {_TITLES[kind]}".ljust(50), shown.rjust(5), f" {verdict}".rstrip())
    print(flush=True)


def print_missing(alone: Sequence[EndedRun], both: Sequence[EndedRun]) -> None:
    """Print what two runs at once took; that each script ran once was checked before."""
    row = Row(
        f"chain of {SIZES[MISSING]}, the later of two runs at once; each script ran once",
        [run.seconds for run in both],
        [run.seconds for run in alone],
    )
    print_table("Runs that need the same missing results", "one run", [row])


def _between(runs: Sequence[EndedRun]) -> list[float]:
    return [seconds for run in runs for seconds in run.between]


def _wholes(runs: Sequence[EndedRun]) -> list[float]:
    return [run.seconds for run in runs]


def _tell(what: str, run: EndedRun) -> None:
    decisions = ", ".join(f"{count} {code}" for code, count in run.decisions.items())
    print(
        f"{run.seconds:7.1f} s  {what}: {run.processes} processes; {decisions or 'no steps'}; load {load()}",
        flush=True,
    )


if __name__ == "__main__":
    main()
