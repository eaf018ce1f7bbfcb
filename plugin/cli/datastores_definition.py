"""The commands of ``airflow azureml datastores`` and what they take; see :mod:`airflow_azureml.cli.definition`."""

from __future__ import annotations

from airflow.cli.cli_config import (
    ARG_OUTPUT,
    ARG_VERBOSE,
    ActionCommand,
    Arg,
    GroupCommand,
    lazy_load_command,
)

_LOOKING = "airflow_azureml.cli.datastores"
_CHANGING = "airflow_azureml.cli.datastores_changes"

TYPES = (
    "Local",
    "AzureBlob",
    "AzureFile",
    "AzureDataLake",
    "AzureDataLakeGen2",
    "S3",
    "GoogleCloudStorage",
    "DBFS",
    "AzureSqlDatabase",
    "AzurePostgreSql",
    "AzureMySql",
)

_NAME = Arg(("name",), help="The datastore's name")
_PATH = Arg(("path",), nargs="?", default="", help="A folder on the datastore (default: all of it)")
_FILE_OR_FOLDER = Arg(
    ("path",), nargs="?", default="", help="A file or folder on the datastore (default: all of it)"
)
_TYPE = Arg(("--type",), required=True, choices=TYPES, help="What it is")
_CONNECTION = Arg(("--connection",), help="The id of the Airflow connection (default: azureml_NAME)")
_CONTAINER = Arg(("--container",), help="The container, file share, file system, bucket or database")
_FOLDER = Arg(("--path",), help="The folder in the container that the datastore begins at")
_ROOT = Arg(("--root",), help="The folder of a Local datastore, on every machine that runs steps")
_ACCOUNT = Arg(
    ("--account",), help="The storage account or server; refused when the connection is one to another"
)
_REPLACES = Arg(
    ("--replaces",), metavar="STORE", help="The ADLS Gen1 account whose data this one has now, by its name"
)
_DESCRIPTION = Arg(("--description",), help="What it is for, for people")
_TAGS = Arg(("--tag",), action="append", default=[], metavar="key=value", help="A tag; may be given again")
_CREATE = Arg(("--create",), action="store_true", help="Make the container or file share if it isn't there")
_NO_CHECK = Arg(("--no-check",), action="store_true", help="Don't ask the service whether it can be read")
_DEFAULT = Arg(("--default",), action="store_true", help="Also make it the default datastore")
_REPLACE = Arg(("--overwrite",), action="store_true", help="Replace a datastore of that name")
_SOURCE = Arg(("source",), help="A local file or folder")
_TARGET = Arg(
    ("--target",), default="", metavar="PATH", help="The folder on the datastore (default: its root)"
)
_TO = Arg(
    ("--to",), required=True, metavar="FOLDER", help="The local folder; paths on the datastore are kept in it"
)
_OVERWRITE = Arg(("--overwrite",), action="store_true", help="Replace files that are there; else they stay")
_WORKSPACE = Arg(
    ("-w", "--workspace"), help="Root of the workspace: a folder or URL (default: [azureml] workspace)"
)


def datastores_commands() -> GroupCommand:
    """Return the group of commands."""
    return GroupCommand(
        name="datastores",
        help="Datastores: where data are, and the files on them",
        subcommands=[
            _command(f"{_LOOKING}.list_datastores", "list", "List the datastores"),
            _command(f"{_LOOKING}.show", "show", "Show one, and what its connection says", _NAME),
            _command(f"{_LOOKING}.browse", "browse", "List a folder of one", _NAME, _PATH),
            _command(
                f"{_CHANGING}.register",
                "register",
                "Register one behind an Airflow connection, or a folder",
                *(_NAME, _TYPE, _CONNECTION, _CONTAINER, _FOLDER, _ROOT, _ACCOUNT, _REPLACES),
                *(_DESCRIPTION, _TAGS, _CREATE, _NO_CHECK, _DEFAULT, _REPLACE),
            ),
            _command(f"{_CHANGING}.set_default", "set-default", "Make one the default", _NAME),
            _command(f"{_CHANGING}.unregister", "unregister", "Forget one; its data stay", _NAME),
            _command(
                f"{_CHANGING}.upload",
                "upload",
                "Copy a file or folder to one",
                _NAME,
                _SOURCE,
                _TARGET,
                _OVERWRITE,
            ),
            _command(
                f"{_CHANGING}.download",
                "download",
                "Copy a file or folder from one",
                *(_NAME, _FILE_OR_FOLDER, _TO, _OVERWRITE),
            ),
        ],
    )


def _command(function: str, name: str, help_text: str, *args: Arg) -> ActionCommand:
    common = (_WORKSPACE, ARG_OUTPUT, ARG_VERBOSE)
    return ActionCommand(name=name, help=help_text, func=lazy_load_command(function), args=(*args, *common))
