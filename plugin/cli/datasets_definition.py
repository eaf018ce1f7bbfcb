"""The commands of ``airflow azureml datasets`` and what they take; see :mod:`airflow_azureml.cli.definition`."""

from __future__ import annotations

from airflow.cli.cli_config import (
    ARG_OUTPUT,
    ARG_VERBOSE,
    ActionCommand,
    Arg,
    GroupCommand,
    lazy_load_command,
    positive_int,
)

_LOOKING = "airflow_azureml.cli.datasets"
_READING = "airflow_azureml.cli.datasets_data"

_NAME = Arg(("name",), help="The dataset's registered name")
_VERSION = Arg(("--version",), type=positive_int(allow_zero=False), help="Its version (default: the newest)")
_ROWS = Arg(
    ("--rows",),
    type=positive_int(allow_zero=False),
    default=10,
    help="Show so many rows or files (default: 10)",
)
_FIRST = Arg(
    ("--from",),
    dest="first",
    type=positive_int(allow_zero=False),
    help="The earlier version (default: the one before)",
)
_SECOND = Arg(
    ("--to",),
    dest="second",
    type=positive_int(allow_zero=False),
    help="The later version (default: the newest)",
)
_PATHS = Arg(
    ("paths",),
    nargs="*",
    metavar="path",
    help="Files: paths on --datastore, else local paths or web addresses; they may hold * and **",
)
_DATASTORE = Arg(("--datastore",), help="The datastore that the paths or the query are on")
_FORMAT = Arg(
    ("--format",),
    choices=("files", "delimited", "parquet", "jsonlines"),
    default="files",
    help="How rows are read from the files; files for none (default: files)",
)
_QUERY = Arg(("--query",), help="A SQL query on --datastore instead of paths")
_DEFINITION = Arg(
    ("--definition",),
    metavar="FILE",
    help="A JSON file with the whole definition instead, as `show --output json` prints it",
)
_SEPARATOR = Arg(("--separator",), default=",", help="What separates fields of delimited files (default: ,)")
_ENCODING = Arg(("--encoding",), default="utf8", help="Encoding of text files (default: utf8)")
_PARTITION = Arg(
    ("--partition-format",),
    help="Columns that are spelled in the paths, such as {country}/{day:yyyy/MM/dd}/*.csv",
)
_DESCRIPTION = Arg(("--description",), help="What it is, for people")
_TAGS = Arg(("--tag",), action="append", default=[], metavar="key=value", help="A tag; may be given again")
_NEW_VERSION = Arg(
    ("--new-version",), action="store_true", help="Add a version when the name is taken by something else"
)
_WORKSPACE = Arg(
    ("-w", "--workspace"), help="Root of the workspace: a folder or URL (default: [azureml] workspace)"
)
_COMMON = (_WORKSPACE, ARG_OUTPUT, ARG_VERBOSE)


def datasets_commands() -> GroupCommand:
    """Return the group of commands."""
    return GroupCommand(
        name="datasets",
        help="Datasets: what is registered, what is in it, who made and used it",
        subcommands=[
            _command(
                f"{_LOOKING}.list_datasets", "list", "List the newest version of every registered dataset"
            ),
            _command(
                f"{_LOOKING}.show",
                "show",
                "Show a version: its definition, its files, and whether they are what they were",
                _NAME,
                _VERSION,
            ),
            _command(f"{_LOOKING}.versions", "versions", "List the versions of a dataset", _NAME),
            _command(
                f"{_READING}.preview",
                "preview",
                "Show the first rows of a table, or the first files",
                _NAME,
                _VERSION,
                _ROWS,
            ),
            _command(
                f"{_READING}.profile",
                "profile",
                "Show what the columns of a table hold: counts, extremes, mean, quantiles, histogram",
                _NAME,
                _VERSION,
            ),
            _command(
                f"{_READING}.diff",
                "diff",
                "Show how two versions differ: definition, files, columns, rows",
                _NAME,
                _FIRST,
                _SECOND,
            ),
            _command(
                f"{_READING}.lineage",
                "lineage",
                "Show which steps wrote and read a dataset; looks through the records of all runs",
                _NAME,
                _VERSION,
            ),
            _command(
                f"{_LOOKING}.register",
                "register",
                "Register a dataset, or a new version of one",
                _NAME,
                _PATHS,
                _DATASTORE,
                _FORMAT,
                _SEPARATOR,
                _ENCODING,
                _PARTITION,
                _QUERY,
                _DEFINITION,
                _DESCRIPTION,
                _TAGS,
                _NEW_VERSION,
            ),
            _command(
                f"{_LOOKING}.unregister",
                "unregister",
                "Take a name with all its versions out of the registry; data stay",
                _NAME,
            ),
        ],
    )


def _command(function: str, name: str, help_text: str, *args: Arg) -> ActionCommand:
    return ActionCommand(name=name, help=help_text, func=lazy_load_command(function), args=(*args, *_COMMON))
