"""Builds the environment of a step: a virtual environment with uv, or a conda prefix with a conda tool and uv."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_azureml.compute.environments.published import PublishedLock
from airflow_azureml.compute.environments.pythons import find_python, known_pythons
from airflow_azureml.compute.environments.tools import ToolFailed, ToolRunner, advice_for, uv_program
from airflow_azureml.runtime.exceptions import EnvironmentBuildError

CONDA_TOOLS = ("micromamba", "mamba", "conda")


@dataclass(frozen=True, slots=True)
class Built:
    """What a build has made.

    :param python: the interpreter.
    :param version: its version.
    :param lock: the exact packages.
    """

    python: Path
    version: str
    lock: str


def build(
    folder: Path, specification: Mapping[str, Any], version: str, tools: ToolRunner, published: PublishedLock
) -> Built:
    """Build an environment at its final place.

    :param folder: where; must not exist.
    :param specification: as of ``Environment.specification()``.
    :param version: the Python version, one to three numbers.
    :param tools: runs the programs.
    :param published: the lock other machines have built this environment from, or will.
    :raises EnvironmentBuildError: the tool's own error first, then what to try.
    :raises StepCanceled: the build was cancelled.
    """
    if specification.get("conda"):
        return _build_conda(folder, specification, version, tools)
    return _build_virtual(folder, specification, version, tools, published)


def _build_virtual(
    folder: Path, specification: Mapping[str, Any], version: str, tools: ToolRunner, published: PublishedLock
) -> Built:
    uv = uv_program()
    base, full_version = _base_python(version, tools, uv)
    python = folder / "bin" / "python"
    _attempt(
        tools,
        [uv, "venv", "--quiet", "--no-project", "--python", base, folder],
        "check that this Python works",
    )
    requirements, options = _requirements(specification)
    if not requirements:
        return Built(python, full_version, "")
    lock = published.read()
    if lock is None:
        lock = published.write(_resolve(folder, python, full_version, requirements, options, tools))
        advice = "correct the environment's packages"
    else:
        advice = f"the versions come from {published.key} in the workspace; delete that to resolve them anew"
    _install(folder, python, lock, options, tools, advice)
    return Built(python, full_version, lock)


def _resolve(
    folder: Path, python: Path, version: str, requirements: list[str], options: list[str], tools: ToolRunner
) -> str:
    count = "1 requirement" if len(requirements) == 1 else f"{len(requirements)} requirements"
    tools.report(f"resolving {count} for Python {version}")
    wanted = _write_lines(folder / "requirements.in", [*options, *requirements])
    lock = folder / "requirements.lock"
    argv = [uv_program(), "pip", "compile", "--no-header", "--no-annotate", "--python", str(python)]
    _attempt(tools, [*argv, "--output-file", str(lock), str(wanted)], "correct the environment's packages")
    return "".join(line + "\n" for line in lock.read_text().splitlines() if line and not line.startswith("#"))


def _install(
    folder: Path, python: Path, lock: str, options: list[str], tools: ToolRunner, advice: str
) -> None:
    started = time.monotonic()
    pinned = _write_lines(folder / "requirements.lock", [*options, *lock.splitlines()])
    argv = [uv_program(), "pip", "install", "--no-deps", "--python", str(python)]
    _attempt(tools, [*argv, "--requirement", str(pinned)], advice)
    _report_installed(tools, lock, started)


def _report_installed(tools: ToolRunner, lock: str, started: float) -> None:
    count = len([line for line in lock.splitlines() if line and not line.startswith((" ", "#", "-"))])
    packages = "1 package" if count == 1 else f"{count} packages"
    duration_s = time.monotonic() - started
    tools.report(f"installed {packages} in {duration_s:.{1 if duration_s >= 1 else 2}f} s")


def _base_python(version: str, tools: ToolRunner, uv: str) -> tuple[Path, str]:
    """An interpreter of the version, downloaded by uv if the machine has none."""
    found = find_python(version)
    if found is None:
        tools.report(f"Python {version} is not on this machine; asking uv for it")
        lines: list[str] = []
        essence: list[str] = []
        try:
            tools.run([uv, "python", "install", "--quiet", "--no-bin", version])
            found = find_python(version)
        except ToolFailed as failure:
            lines, essence = failure.lines, failure.essence()
        if found is None:
            have = ", ".join(known_pythons()) or "none"
            text = f"Python {version} is not on this machine and uv cannot get it. Found: {have}"
            hint = f"install Python {version}, or set python_version to one of these"
            raise EnvironmentBuildError("\n".join([*essence, text, hint]), log_tail="\n".join(lines))
    return found.base, found.version


def _build_conda(folder: Path, specification: Mapping[str, Any], version: str, tools: ToolRunner) -> Built:
    packages = list(specification["conda"])
    tool = _conda_tool()
    if tool is None:
        names = ", ".join(packages)
        raise EnvironmentBuildError(
            f"the environment has conda packages ({names}), and none of {', '.join(CONDA_TOOLS)} is installed here; "
            "install micromamba on the worker, or name the packages as pip packages"
        )
    started = time.monotonic()
    tools.report(f"installing Python {version} and {len(packages)} conda packages with {tool.name}")
    channels = list(specification.get("conda_channels") or ["conda-forge"])
    argv: list[str | Path] = [tool, "create", "--yes", "--quiet", "--prefix", folder, "--override-channels"]
    for channel in channels:
        argv += ["--channel", channel]
    _attempt(tools, [*argv, f"python={version}", *packages], "correct the conda packages or channels")
    python = folder / "bin" / "python"
    requirements, options = _requirements(specification)
    if requirements:
        # Without a lock: a requirement that a conda package fulfils already is left to conda, as pip did in v1.
        wanted = _write_lines(folder / "requirements.in", [*options, *requirements])
        argv = [uv_program(), "pip", "install", "--python", python, "--requirement", wanted]
        _attempt(tools, argv, "correct the environment's packages")
    lines = tools.run([uv_program(), "pip", "freeze", "--quiet", "--python", python])
    lock = "".join(line + "\n" for line in lines)
    _report_installed(tools, lock, started)
    return Built(python, version, lock)


def _conda_tool() -> Path | None:
    named = [os.environ.get(name) for name in ("MAMBA_EXE", "CONDA_EXE")]
    for candidate in [*(shutil.which(name) for name in CONDA_TOOLS), *named]:
        if candidate and os.access(candidate, os.X_OK):
            return Path(candidate)
    return None


def _attempt(tools: ToolRunner, argv: Sequence[str | Path], advice: str) -> None:
    """Run a tool; its failure becomes an error that begins with the tool's own words."""
    try:
        tools.run(argv)
    except ToolFailed as failure:
        message = "\n".join([*failure.essence(), advice_for(failure.lines, advice)])
        raise EnvironmentBuildError(message, log_tail="\n".join(failure.lines)) from None


def _requirements(specification: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The packages, and the options among them (``--no-binary``, say), which a lock does not hold."""
    lines = specification.get("pip") or ()
    return [line for line in lines if not line.startswith("-")], [
        line for line in lines if line.startswith("-")
    ]


def _write_lines(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(line + "\n" for line in lines))
    path.chmod(0o600)  # addresses in it may hold credentials
    return path
