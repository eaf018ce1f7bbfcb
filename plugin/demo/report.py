"""The tables that the demonstration prints: what each step of a run did, and why."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from airflow_azureml.demo.home import AirflowHome
from airflow_azureml.demo.rest import USER

Record = Mapping[str, Any]

_STATUS_STYLES = {"Finished": "green", "Failed": "red", "Canceled": "yellow"}
_PLAIN_WIDTH = 150


def make_console() -> Console:
    """Return a console; where there is no terminal whose width matters, one that is wide enough for the tables."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PLAIN_WIDTH)


def run_report(title: str, run_url: str, workspace: str, steps: Sequence[Record]) -> RenderableType:
    """Return the table of one run.

    :param title: heading.
    :param run_url: address of the run in the UI.
    :param workspace: folder of the workspace.
    :param steps: the records of the run's steps, in the order they started.
    """
    table = Table(title=title, title_justify="left", title_style="bold", caption_justify="left")
    table.add_column("step", style="bold")
    table.add_column("status")
    table.add_column("duration", justify="right")
    table.add_column("reused, or why it ran", overflow="fold")
    table.add_column("metrics", overflow="fold")
    for step in steps:
        status = str(step["status"])
        table.add_row(
            str(step["name"]),
            Text(status, style=_STATUS_STYLES.get(status, "")),
            duration(step.get("duration_s")),
            reason(step),
            metrics(step.get("metrics") or ()),
            end_section=True,
        )
    return Group(
        table,
        Text("outputs:"),
        outputs(workspace, steps),
        Text(f"this run in the UI: {run_url}", overflow="fold"),
    )


def login_help(home: AirflowHome, password: str) -> Text:
    """Return how to get into the UI."""
    return Text(f"log in at {home.url} as {USER} with password {password}", style="bold")


def duration(seconds: float | None) -> str:
    """Return a duration for people; a dash for none."""
    return "–" if seconds is None else f"{seconds:.1f} s"


def reason(step: Record) -> Text:
    """Return that a step was reused, or why it ran."""
    decision = step.get("reuse") or {}
    message = str(decision.get("message") or "")
    return Text(message, style="cyan" if decision.get("decision") == "reuse" else "")


def metrics(found: Iterable[Record]) -> str:
    """Return metrics one to a line; the last value of each, for what is no number its kind."""
    latest = {metric["name"]: metric for metric in found}
    return "\n".join(f"{name} {_value(metric)}" for name, metric in latest.items())


def _value(metric: Record) -> str:
    value = metric["value"]
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value) if metric["kind"] == "scalar" else f"({metric['kind']})"


def outputs(workspace: str, steps: Iterable[Record]) -> Table:
    """Return where the outputs of steps lie, as paths that can be opened."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column(overflow="fold")
    for step in steps:
        found = step.get("outputs") or ()
        for output in found.values() if isinstance(found, Mapping) else found:
            grid.add_row(
                f"  {output['name']}", f"{workspace}/datastores/{output['datastore']}/{output['path']}"
            )
    return grid
