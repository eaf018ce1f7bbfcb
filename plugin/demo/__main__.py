"""Run the example pipeline twice in an Airflow of its own, and show what each step did.

On a terminal Airflow serves on until Ctrl-C; otherwise it ends when the runs have ended. No process is left behind.
"""

import argparse
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import quote

import httpx
from rich.console import Console

from airflow_azureml.compute.identity import pipeline_run_id
from airflow_azureml.demo.home import DEPLOYMENT, AirflowHome
from airflow_azureml.demo.report import duration, login_help, make_console, run_report
from airflow_azureml.demo.rest import AirflowProblem, AirflowRest
from airflow_azureml.demo.server import AirflowServer, AirflowStopped
from airflow_azureml.workspace.handle import open_workspace

DAG_ID = "diabetes"
RUNS: tuple[Mapping[str, Any], ...] = ({}, {"metric": "mae"})
"""Parameters of the runs. The second changes one that only the last step uses."""

_START_LIMIT_S = 600.0
_PARSE_LIMIT_S = 300.0
_RUN_LIMIT_S = 3600.0


def main(arguments: list[str] | None = None) -> int:
    """Run the demonstration and return the exit code: 0 when every run succeeded."""
    parser = argparse.ArgumentParser(prog="python -m airflow_azureml.demo", description=__doc__)
    parser.add_argument(
        "--home", type=Path, default=Path(".airflow"), help="folder for Airflow (default: .airflow)"
    )
    parser.add_argument(
        "--serve",
        action=argparse.BooleanOptionalAction,
        default=sys.stdin.isatty() and sys.stdout.isatty(),
        help="keep serving until Ctrl-C (default: on a terminal)",
    )
    options = parser.parse_args(arguments)
    # Ended by a signal, it must stop Airflow on the way out like by Ctrl-C.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    console = make_console()
    try:
        return demonstrate(AirflowHome.create(options.home), console, serve=options.serve)
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 130
    except (AirflowStopped, AirflowProblem, httpx.HTTPError) as error:
        console.print(f"{error}", style="red", markup=False)
        return 1


def demonstrate(home: AirflowHome, console: Console, *, serve: bool) -> int:
    """Start Airflow, run the example, print the reports; with ``serve``, go on until Airflow ends or Ctrl-C."""
    clock = Progress(console)
    clock.tell(f"Starting Airflow in {home.path} (its log: {home.log_file})")
    with AirflowServer(home) as server:
        rest = AirflowRest(home, server.check)
        try:
            rest.wait_for_health(_START_LIMIT_S, lambda service: clock.tell(f"  {service}: healthy"))
            clock.tell(f"Airflow serves at {home.url}")
            rest.log_in()
            rest.wait_for_dag(DAG_ID, _PARSE_LIMIT_S)
            states = [run_once(home, rest, clock, number, given) for number, given in enumerate(RUNS, 1)]
            console.print(login_help(home, rest.password()))
            if serve:
                console.print("Airflow keeps serving; Ctrl-C ends it.")
                serve_until_interrupted(server)
        finally:
            rest.close()
            clock.tell("Stopping Airflow")
    clock.tell("Airflow has stopped")
    return 0 if set(states) == {"success"} else 1


def run_once(
    home: AirflowHome, rest: AirflowRest, clock: "Progress", number: int, given: Mapping[str, Any]
) -> str:
    """Run the example once, print its table, and return the state it ended in."""
    run_id = rest.trigger(DAG_ID, given)
    words = ", ".join(f"{name} = {value}" for name, value in given.items()) or "default parameters"
    clock.tell(f"Run {number} started, {words}")
    started = time.monotonic()
    state = rest.follow(DAG_ID, run_id, _RUN_LIMIT_S, clock.tell_task)
    took = duration(time.monotonic() - started)
    clock.tell(f"Run {number} ended after {took}: {state}")
    records = open_workspace(str(home.workspace)).runs.children(pipeline_run_id(DEPLOYMENT, DAG_ID, run_id))
    title = f"Run {number} of {DAG_ID}, {words}: {state} in {took}"
    url = f"{home.url}/dags/{DAG_ID}/runs/{quote(run_id)}"
    clock.console.print()
    clock.console.print(run_report(title, url, str(home.workspace), records))
    clock.console.print()
    return state


def serve_until_interrupted(server: AirflowServer) -> None:
    """Return at Ctrl-C; raises ``AirflowStopped`` if Airflow ends by itself."""
    try:
        server.wait()
    except KeyboardInterrupt:
        return
    server.check()


class Progress:
    """Lines that say what happens, each with the seconds since the start.

    :param console: where they are printed.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._started = time.monotonic()

    def tell(self, text: str) -> None:
        """Print a line."""
        self.console.print(f"{time.monotonic() - self._started:7.1f} s  {text}", markup=False, soft_wrap=True)

    def tell_task(self, task: Mapping[str, Any]) -> None:
        """Print the new state of a task instance, unless it is on its way to running."""
        if task["state"] in (None, "scheduled", "queued"):
            return
        took = (
            f" after {duration(task['duration'])}"
            if task.get("duration") and task["state"] != "running"
            else ""
        )
        self.tell(f"  {task['task_display_name']}: {task['state']}{took}")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
