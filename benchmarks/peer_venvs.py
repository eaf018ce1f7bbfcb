"""Virtual environments of the programs that benchmarks compare with; made once, from the package index, and kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from airflow_azureml.compute.environments.tools import uv_program


def peer_python(requirement: str) -> Path | None:
    """Return the interpreter of a virtual environment in which a program is installed.

    :param requirement: the program with its version, ``name==version``.
    :return: ``None``, with a line that says why, when it can't be installed.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "airflow-azureml-benchmarks"
    venv = folder / f"{requirement.replace('==', '-')}-py{sys.version_info[0]}.{sys.version_info[1]}"
    python = venv / "bin" / "python"
    complete = venv / ".complete"
    if complete.exists():
        return python
    shutil.rmtree(venv, ignore_errors=True)
    try:
        _uv("venv", "--python", sys.executable, str(venv))
        _uv("pip", "install", "--compile-bytecode", "--python", str(python), requirement)
    except subprocess.CalledProcessError as error:
        print(f"left out: {requirement} can't be installed: {(error.stderr or '').strip() or error}")
        return None
    complete.touch()
    return python


def _uv(*arguments: str) -> None:
    subprocess.run([uv_program(), *arguments, "--quiet"], check=True, capture_output=True, text=True)
