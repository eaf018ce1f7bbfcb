"""Which commands there are and what they take; each is imported when it is called.

Airflow imports this module whenever its command line starts, so it imports nothing but Airflow's command definitions.
"""

from __future__ import annotations

from airflow.cli.cli_config import (
    ARG_BUNDLE_NAME,
    ARG_DAGFILE_PATH,
    ARG_LOGICAL_DATE,
    ARG_OUTPUT,
    ARG_VERBOSE,
    ActionCommand,
    Arg,
    CLICommand,
    GroupCommand,
    lazy_load_command,
    positive_int,
)

from airflow_azureml.cli.datasets_definition import datasets_commands
from airflow_azureml.cli.datastores_definition import datastores_commands

_COMMANDS = "airflow_azureml.cli"

ARG_WORKSPACE = Arg(
    ("-w", "--workspace"), help="Root of the workspace: a folder or URL (default: [azureml] workspace)"
)
ARG_PIPELINE = Arg(("pipeline",), help="The pipeline: the id of a DAG with steps")
ARG_ASSIGNMENTS = Arg(
    ("assignments",), metavar="name=value", nargs="*", help="Values of pipeline parameters, such as alpha=0.7"
)
ARG_REGENERATE = Arg(
    ("--regenerate",),
    metavar="STEP[,STEP]|all",
    help="Steps that run although there are results, by name or task id",
)
ARG_REGENERATE_DOWNSTREAM = Arg(
    ("--downstream",), action="store_true", help="With --regenerate: also everything that depends on them"
)
ARG_MAX_STALENESS = Arg(
    ("--max-staleness",), metavar="AGE", help="Results older than this don't count: 7d, 36h, P7D, or seconds"
)
ARG_REUSE = Arg(
    ("--reuse",),
    choices=("off", "read", "readwrite"),
    help="What the run would do with earlier results and its own",
)
ARG_RUN = Arg(("run",), help="The run, as Airflow calls it: manual__2026-11-22T09:20:00+00:00")
ARG_STEP = Arg(("step",), help="The step: its name or task id; train[2] for one instance of a mapped step")
ARG_DEPLOYMENT = Arg(
    ("--deployment",), help="The Airflow whose run it is (default: this one, [azureml] deployment)"
)
ARG_KEY = Arg(("key",), help="Action key of the result, or a beginning of it that no other key has")
ARG_KEY_OPTIONAL = Arg(
    ("key",), nargs="?", help="Action key of the result, or a beginning of it that no other key has"
)
ARG_KEYS = Arg(("keys",), nargs="*", metavar="key", help="Action keys of results (default: all)")
ARG_DAG = Arg(("--dag",), help="Of this pipeline")
ARG_STEP_NAME = Arg(("--step",), help="Of this step, by name")
ARG_STATE = Arg(("--state",), choices=("live", "quarantined", "invalidated", "retired"), help="In this state")
ARG_LIMIT = Arg(
    ("--limit",), type=positive_int(allow_zero=False), default=50, help="Show at most so many (default: 50)"
)
ARG_USERS = Arg(
    ("--users",), action="store_true", help="Also which steps used it; looks through the records of all runs"
)
ARG_REASON = Arg(("--reason",), required=True, help="Why, for those who wonder")
ARG_INVALIDATE_DOWNSTREAM = Arg(
    ("--downstream",),
    action="store_true",
    help="Also all results that were computed from it, in any pipeline",
)
ARG_LEVEL = Arg(
    ("--level",),
    choices=("size", "digest"),
    default="digest",
    help="How closely to look: names and sizes, or content (default: digest)",
)
ARG_FULL = Arg(("--full",), action="store_true", help="Read every byte, whatever is remembered of the files")
ARG_DELETE = Arg(("--delete",), action="store_true", help="Delete; without it nothing is changed")
ARG_DRY_RUN = Arg(
    ("--dry-run",), action="store_true", help="Only show what would be deleted, as without --delete"
)
ARG_KEEP_RUNS = Arg(
    ("--keep-runs",), metavar="AGE", help="Keep what runs younger than this refer to (default: 30d)"
)
ARG_GRACE = Arg(("--grace",), metavar="AGE", help="Keep everything younger than this (default: 1d)")
ARG_QUOTA = Arg(
    ("--quota",),
    metavar="SIZE",
    help="Also delete results until the rest takes at most this, such as 50GB: first those that save least for their size",
)
ARG_SINCE = Arg(
    ("--since",), metavar="AGE", help="Of runs that started in this time: 7d, 36h (default: all that is kept)"
)


def get_azureml_cli_commands() -> list[CLICommand]:
    """Return the command group; Airflow calls this when its command line starts."""
    return [
        GroupCommand(
            name="azureml",
            help="Azure ML pipelines on Airflow",
            subcommands=[
                GroupCommand(
                    name="reuse",
                    help="Reuse of results: what would run, why something ran, what is kept",
                    subcommands=[*_decisions(), *_results(), *_upkeep()],
                ),
                datasets_commands(),
                datastores_commands(),
            ],
        )
    ]


def _decisions() -> list[ActionCommand]:
    return [
        ActionCommand(
            name="plan",
            help="Show what a run of a pipeline would reuse and what it would run",
            func=lazy_load_command(f"{_COMMANDS}.decisions.plan"),
            args=(
                ARG_PIPELINE,
                ARG_ASSIGNMENTS,
                ARG_REGENERATE,
                ARG_REGENERATE_DOWNSTREAM,
                ARG_MAX_STALENESS,
                ARG_REUSE,
                ARG_LOGICAL_DATE,
                ARG_BUNDLE_NAME,
                ARG_DAGFILE_PATH,
                ARG_OUTPUT,
                ARG_VERBOSE,
            ),
        ),
        ActionCommand(
            name="explain",
            help="Show why a step of a run was reused or ran",
            func=lazy_load_command(f"{_COMMANDS}.decisions.explain"),
            args=(ARG_PIPELINE, ARG_RUN, ARG_STEP, ARG_DEPLOYMENT, ARG_WORKSPACE, ARG_OUTPUT, ARG_VERBOSE),
        ),
        ActionCommand(
            name="stats",
            help="Show what reuse has brought",
            func=lazy_load_command(f"{_COMMANDS}.decisions.stats"),
            args=(ARG_SINCE, ARG_DAG, ARG_STEP_NAME, ARG_WORKSPACE, ARG_OUTPUT, ARG_VERBOSE),
        ),
    ]


def _results() -> list[ActionCommand]:
    return [
        ActionCommand(
            name="list",
            help="List the results that are remembered, the newest first",
            func=lazy_load_command(f"{_COMMANDS}.results.list_results"),
            args=(
                ARG_DAG,
                ARG_STEP_NAME,
                ARG_STATE,
                ARG_LIMIT,
                ARG_WORKSPACE,
                ARG_OUTPUT,
                ARG_VERBOSE,
            ),
        ),
        ActionCommand(
            name="show",
            help="Show one result: where it came from and what it depends on",
            func=lazy_load_command(f"{_COMMANDS}.results.show"),
            args=(ARG_KEY, ARG_USERS, ARG_WORKSPACE, ARG_OUTPUT, ARG_VERBOSE),
        ),
    ]


def _upkeep() -> list[ActionCommand]:
    return [
        ActionCommand(
            name="invalidate",
            help="Make sure that a result is not reused again",
            description="Invalidate one result, by its key or as the newest one of a step (--dag and --step).",
            func=lazy_load_command(f"{_COMMANDS}.upkeep.invalidate"),
            args=(
                ARG_KEY_OPTIONAL,
                ARG_DAG,
                ARG_STEP_NAME,
                ARG_INVALIDATE_DOWNSTREAM,
                ARG_REASON,
                ARG_WORKSPACE,
                ARG_OUTPUT,
                ARG_VERBOSE,
            ),
        ),
        ActionCommand(
            name="verify",
            help="Check that the outputs of results are still what was written; set others aside",
            func=lazy_load_command(f"{_COMMANDS}.upkeep.verify"),
            args=(ARG_KEYS, ARG_LEVEL, ARG_FULL, ARG_WORKSPACE, ARG_OUTPUT, ARG_VERBOSE),
        ),
        ActionCommand(
            name="gc",
            help="Find what nothing refers to any more, and delete it with --delete",
            func=lazy_load_command(f"{_COMMANDS}.collecting.collect"),
            args=(
                ARG_DELETE,
                ARG_DRY_RUN,
                ARG_KEEP_RUNS,
                ARG_GRACE,
                ARG_QUOTA,
                ARG_WORKSPACE,
                ARG_OUTPUT,
                ARG_VERBOSE,
            ),
        ),
    ]
