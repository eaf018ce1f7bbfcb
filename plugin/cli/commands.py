"""What all commands have in common: the workspace they look at, and errors as one sentence."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, NoReturn

from airflow.sdk.exceptions import AirflowException
from airflow.utils.cli import action_cli, suppress_logs_and_warning
from airflow.utils.providers_configuration_loader import providers_configuration_loaded

from airflow_azureml import config
from airflow_azureml.runtime.exceptions import AzureMLException
from airflow_azureml.workspace.handle import open_workspace

if TYPE_CHECKING:
    from argparse import Namespace

    from airflow_azureml.workspace.handle import WorkspaceHandle

FAILED, WRONG_USAGE = 1, 2


class UsageError(Exception):
    """A command was given arguments that don't go together."""


def command(function: Callable[[Namespace], None]) -> Callable[[Namespace], None]:
    """Make a function a command: its errors become one sentence on stderr and an exit code.

    Airflow's log lines would mix with what is printed; ``--verbose`` shows them, and where an error came from.
    """

    @wraps(function)
    def run(args: Namespace) -> None:
        try:
            suppress_logs_and_warning(providers_configuration_loaded(function))(args)
        except UsageError as error:
            _fail(str(error), WRONG_USAGE)
        except BrokenPipeError:
            # Whoever read the output has seen enough; Python would complain once more when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(FAILED)
        except Exception as error:
            if args.verbose:
                raise
            expected = isinstance(error, AzureMLException | AirflowException | OSError | ValueError)
            _fail(
                str(error) if expected else f"{type(error).__name__}: {error}; --verbose shows where", FAILED
            )

    return run


def audited(function: Callable[[Namespace], None]) -> Callable[[Namespace], None]:
    """Make a function a command that changes something: Airflow's audit log says who gave it."""
    run: Callable[[Namespace], None] = action_cli(command(function), check_db=False)
    return run


def workspace_of(args: Namespace) -> WorkspaceHandle:
    """Return the workspace that a command is about."""
    return open_workspace(args.workspace or config.workspace_url())


def who() -> str:
    """Return who gives the command, for records: the user and this Airflow."""
    try:
        return f"{getpass.getuser()} at {config.deployment()}"
    except (OSError, KeyError):
        # In a container the user may have no name.
        return config.deployment()


def _fail(sentence: str, code: int) -> NoReturn:
    whole = " ".join(sentence.split()) or "it failed and does not say why; --verbose shows where"
    sys.stderr.write(f"error: {whole}\n")
    sys.exit(code)
