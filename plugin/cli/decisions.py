"""``airflow azureml reuse plan``, ``explain`` and ``stats``: what reuse would decide, decided, and has brought."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_azureml import config
from airflow_azureml.cli.because import because
from airflow_azureml.cli.commands import UsageError, command, workspace_of
from airflow_azureml.cli.printing import (
    NOTHING,
    Answer,
    Table,
    fields,
    moment,
    plural,
    print_answer,
    seconds,
    size,
)
from airflow_azureml.compute.identity import pipeline_run_id
from airflow_azureml.reuse.controls import RunControls
from airflow_azureml.reuse.entries import EntryStore
from airflow_azureml.reuse.policy import parse_duration
from airflow_azureml.reuse.statistics import Statistics, Tally, statistics
from airflow_azureml.runtime.exceptions import UserErrorException

if TYPE_CHECKING:
    from argparse import Namespace

    from airflow_azureml.operators.planning import Plan, PlannedStep
    from airflow_azureml.workspace.handle import WorkspaceHandle

_ALL = "all"


@command
def plan(args: Namespace) -> None:
    """Show what a run would reuse and what it would run; changes nothing."""
    from airflow_azureml.cli.pipelines import load_pipeline
    from airflow_azureml.operators.planning import plan as plan_run
    from airflow_azureml.operators.planning_parameters import parameters_from_text

    # Connections and variables are read as in Airflow's own services.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    dag = load_pipeline(args.pipeline, args.bundle_name, args.dagfile_path)
    parameters = parameters_from_text(dag, _assignments(args.assignments))
    found = plan_run(dag, parameters, controls=_controls(args), logical_date=args.logical_date)
    if not found.steps:
        raise UserErrorException(f"DAG {dag.dag_id!r} has no steps, so there is nothing to plan")
    columns = ("step", "decision", "because", "would take", "saves")
    table = Table(columns, [_row(step) for step in found.steps], frozenset(columns[-2:]))
    print_answer(Answer(found.to_document(), [table, _summary(found)], table), args.output)


@command
def explain(args: Namespace) -> None:
    """Show the decision that was recorded for a step of a run."""
    deployment = args.deployment or config.deployment()
    records = _tries(args, deployment)
    parts: list[str | Table] = []
    for record in records:
        if parts:
            parts.append("")
        parts.extend(_explained(record))
    documents = [_explanation(record) for record in records]
    columns = ("step", "decision", "code", "what")
    plain = Table(columns, [row for record in records for row in _plain_rows(record)])
    print_answer(Answer(documents[0] if len(documents) == 1 else documents, parts, plain), args.output)


@command
def stats(args: Namespace) -> None:
    """Show what reuse has brought, by pipeline and step."""
    workspace = workspace_of(args)
    since = None
    if args.since:
        since = datetime.now(UTC) - timedelta(seconds=parse_duration(args.since))
    found = _count(workspace, since, args.dag, args.step)
    if args.step and not found.steps:
        # A step that names nothing else is called as its script; its task has no ending.
        found = _count(workspace, since, args.dag, f"{args.step}.py")
    columns = (
        "pipeline",
        "step",
        "reused",
        "ran",
        "share",
        "saved",
        "waited",
        "ran for",
        "bytes",
        "differed",
        "ran because",
    )
    rows = [_tally(dag_id, step, tally) for (dag_id, step), tally in sorted(found.steps.items())]
    table = Table(columns, rows, frozenset(columns[2:-1]))
    parts: list[str | Table] = [table, _total(found.total)] if rows else ["no step has run in that time"]
    print_answer(Answer(found.to_document(), parts, table), args.output)


def _count(
    workspace: WorkspaceHandle, since: datetime | None, dag_id: str | None, step: str | None
) -> Statistics:
    divergences = EntryStore(workspace.store).divergences
    return statistics(workspace.runs, since=since, dag_id=dag_id, step=step, divergences=divergences)


def _assignments(given: Iterable[str]) -> dict[str, str]:
    """Split ``name=value``."""
    values: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{text!r} is no value of a parameter; write name=value, such as alpha=0.7")
        if name in values:
            raise UsageError(f"parameter {name!r} is given twice")
        values[name] = value
    return values


def _controls(args: Namespace) -> RunControls:
    regenerate = args.regenerate
    if args.downstream and not regenerate:
        raise UsageError("--downstream says more about --regenerate, which is missing")
    return RunControls.from_conf(
        {
            "regenerate_outputs": True if regenerate == _ALL else regenerate,
            "regenerate_downstream": args.downstream,
            "max_staleness": args.max_staleness,
            "reuse": args.reuse,
        }
    )


def _row(step: PlannedStep) -> tuple[str, ...]:
    is_reused = step.saves_s is not None
    takes = NOTHING if is_reused else "?" if step.takes_s is None else f"~{seconds(step.takes_s)}"
    return (step.label, step.decision.value, because(step.reuse, step.message), takes, seconds(step.saves_s))


def _summary(plan: Plan) -> str:
    said = f"{plan.reused} of {plural(len(plan.steps), 'step')} reused"
    with_reuse, without = plan.takes_s, plan.takes_s + plan.saves_s
    if without:
        said += f", about {seconds(with_reuse)} instead of {seconds(without)}"
    unknown = plan.without_estimate
    if unknown:
        said += f"; how long {plural(unknown, 'step')} would take is not known"
    return said


def _tries(args: Namespace, deployment: str) -> list[dict[str, Any]]:
    """Return the newest try of a step in a run; of a mapped one, that of each instance."""
    workspace = workspace_of(args)
    run_id = pipeline_run_id(deployment, args.pipeline, args.run)
    records = workspace.runs.children(run_id)
    if not records:
        raise UserErrorException(
            f"the workspace knows no run {args.run!r} of pipeline {args.pipeline!r} in Airflow {deployment!r}; "
            "runs of another Airflow are found with --deployment, another workspace with --workspace"
        )
    wanted = [record for record in records if args.step in _names(record)]
    if not wanted:
        ran = ", ".join(sorted({_label(record) for record in records}))
        raise UserErrorException(f"no step {args.step!r} has started in that run; started have {ran}")
    newest: dict[int, dict[str, Any]] = {}
    for record in wanted:
        known = newest.get(record["map_index"])
        if known is None or record["try_number"] >= known["try_number"]:
            newest[record["map_index"]] = record
    return [newest[index] for index in sorted(newest)]


def _names(record: Mapping[str, Any]) -> set[str]:
    index = record["map_index"]
    named = {record["name"], record["task_id"]}
    return named if index < 0 else {*named, *(f"{name}[{index}]" for name in named)}


def _label(record: Mapping[str, Any]) -> str:
    index = record["map_index"]
    return str(record["task_id"]) if index < 0 else f"{record['task_id']}[{index}]"


def _explanation(record: Mapping[str, Any]) -> dict[str, Any]:
    fields = ("dag_id", "run_id", "task_id", "map_index", "name", "try_number", "status", "id", "reused_from")
    return {**{name: record[name] for name in fields}, "reuse": record["reuse"]}


def _explained(record: Mapping[str, Any]) -> list[str | Table]:
    reuse = record["reuse"]
    heading = f"{_label(record)} in run {record['run_id']}"
    if record["try_number"] > 1:
        heading += f", try {record['try_number']}"
    if reuse is None:
        return [f"{heading}: nothing was decided, the step ended before ({record['status']})"]
    origin = reuse["origin"] or {}
    facts = {
        "decision": reuse["decision"],
        "reasons": ", ".join(reuse["codes"]),
        "key": reuse["key"],
        "origin": f"run {origin['run_id']} of {origin['dag_id']}, {moment(origin['finished'])}"
        if origin
        else None,
        "written by": origin.get("writer"),
        "saved": seconds(reuse["saved_s"]) if reuse["saved_s"] is not None else None,
        "waited": seconds(reuse["waited_s"]) if reuse["waited_s"] else None,
        "step run": record["id"],
    }
    parts: list[str | Table] = [f"{heading}: {reuse['message']}", "", fields(facts)]
    if reuse["differences"]:
        parts += ["", "differences from the nearest earlier run:"]
        parts.append(Table((), [row for item in reuse["differences"] for row in _difference(item)]))
    return parts


def _difference(item: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [(f"  {item['code']}", str(item["what"]))]
    for kind, names in (item.get("files") or {}).items():
        rows += [("", f"  {kind}: {name}") for name in names]
    return rows


def _plain_rows(record: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    reuse = record["reuse"]
    if reuse is None:
        return [(_label(record), NOTHING, NOTHING, str(record["status"]))]
    found = [(str(item["code"]), str(item["what"])) for item in reuse["differences"]]
    return [
        (_label(record), reuse["decision"], code, what)
        for code, what in found or [(reuse["code"], because(reuse, reuse["message"]))]
    ]


def _tally(dag_id: str, step: str, tally: Tally) -> tuple[str, ...]:
    reasons = sorted(tally.misses.items(), key=lambda item: (-item[1], item[0]))
    return (
        dag_id,
        step,
        str(tally.hits + tally.joined),
        str(tally.ran),
        _share(tally),
        seconds(tally.saved_s),
        seconds(tally.waited_s),
        seconds(tally.ran_s),
        size(tally.reused_bytes),
        str(tally.diverged),
        ", ".join(f"{code} {count}" for code, count in reasons) or NOTHING,
    )


def _share(tally: Tally) -> str:
    return NOTHING if tally.hit_rate is None else f"{tally.hit_rate:.0%}"


def _total(total: Tally) -> str:
    reused = total.hits + total.joined
    return (
        f"{reused} of {plural(reused + total.ran, 'step run')} reused ({_share(total)}), "
        f"{seconds(total.saved_s)} and {size(total.reused_bytes)} saved, {seconds(total.waited_s)} waited"
    )
