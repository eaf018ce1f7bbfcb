"""The cached second run of a chain of 20 steps that each run a trivial script, beside DVC and redun.

The time of a step is that of one run, in a new process which has imported everything and opened its database, divided by 20; the
start of the program is left out. In it there is

* here, library: rendering the arguments, key and look-up, checking the output by content, and committing the step's own run;
* here, ``airflow dags test``: the same as tasks of a DAG run in Airflow's database, one after the other in one process, beside
  the same of operators that do nothing, which is what Airflow takes for itself;
* redun: what ``Scheduler.run`` does for a script task, and for a task that is a Python function instead;
* DVC: what ``Repo.reproduce`` does for a stage.

Last come the whole commands, with their start, as people type them. DVC and redun are installed in virtual environments
of their own.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.measure import Row, print_table
from benchmarks.peer_venvs import peer_python
from benchmarks.reuse_sides import (
    DAGS_TEST,
    EXECUTIONS,
    LIBRARY,
    NO_OP,
    Side,
    Times,
    dvc,
    here,
    redun,
)

STEPS = 20
REPEATS = 5
LIMIT_S = 0.05
"""What redun takes for a cached step that is a function."""

PEERS = {"redun==0.44.1": redun, "dvc==3.67.1": dvc}


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="peers-") as name:
        folder = Path(name)
        sides = here(folder / "here", STEPS)
        for requirement, make in PEERS.items():
            python = peer_python(requirement)
            if python is not None:
                sides |= make(python, folder / make.__name__, STEPS)
        found = measure(sides, folder)
    print_times(found)


def measure(sides: Mapping[str, Side], folder: Path) -> Mapping[str, Sequence[Times]]:
    """Run all sides in turn; the first round runs the scripts and doesn't count."""
    for side in sides.values():
        side()
    before = _executions(folder)
    found: dict[str, list[Times]] = defaultdict(list)
    for _ in range(REPEATS):
        for name, side in sides.items():
            found[name].append(side())
    if _executions(folder) != before:
        raise SystemExit("scripts ran although their results were there")
    return found


def print_times(found: Mapping[str, Sequence[Times]]) -> None:
    """Print what a step and the whole command take, beside each peer."""
    title = f"The cached second run of {STEPS} steps that run a script"
    for peer in [name for name in found if name not in (LIBRARY, DAGS_TEST)]:
        steps = [
            Row(f"per step, {name}", _per_step(found[name]), _per_step(found[peer]), limit_s=limit_s)
            for name, limit_s in ((LIBRARY, LIMIT_S), (DAGS_TEST, None))
            if not (name == LIBRARY and peer == NO_OP)
        ]
        command = Row(f"whole command, {DAGS_TEST}", _commands(found[DAGS_TEST]), _commands(found[peer]))
        print_table(title, peer, [*steps, command])


def _executions(folder: Path) -> Mapping[str, int]:
    files = sorted(folder.glob(f"*/{EXECUTIONS}"))
    return {str(file): len(file.read_text().splitlines()) for file in files}


def _per_step(times: Sequence[Times]) -> list[float]:
    return [one.run / STEPS for one in times]


def _commands(times: Sequence[Times]) -> list[float]:
    return [one.command for one in times if one.command is not None]


if __name__ == "__main__":
    main()
