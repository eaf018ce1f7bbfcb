"""A step's interpreter, in use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from airflow_azureml.compute.environments.locks import FileLock


@dataclass(frozen=True, slots=True)
class Interpreter:
    """An interpreter a step can run with.

    As long as the object lives it keeps its environment from being pruned; ``with`` or :meth:`release` end that sooner.

    :param python: the interpreter's path, not resolved: a virtual environment is found by it.
    :param digest: the environment's digest; for a user-managed interpreter a digest of what was found there.
    :param variables: environment variables that belong to it, the declared ones included. PATH is not among them, see
        :func:`~airflow_azureml.compute.environments.inherited.base_environment`.
    :param lock: the exact packages, one requirement per line; ``None`` if nobody knows (user-managed).
    :param version: its Python version.
    """

    python: Path
    digest: str
    variables: Mapping[str, str]
    lock: str | None
    version: str = ""
    hold: FileLock | None = field(default=None, repr=False, compare=False)

    @property
    def bin(self) -> Path:
        """The folder of its programs."""
        return self.python.parent

    def release(self) -> None:
        """Let the environment be pruned."""
        if self.hold is not None:
            self.hold.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self.release()


def environment_folder_variables(prefix: Path) -> dict[str, str]:
    """The variables that activating the environment at ``prefix`` would set, PATH aside."""
    if (prefix / "conda-meta").is_dir():
        return {"CONDA_PREFIX": str(prefix)}
    if (prefix / "pyvenv.cfg").is_file():
        return {"VIRTUAL_ENV": str(prefix)}
    return {}
