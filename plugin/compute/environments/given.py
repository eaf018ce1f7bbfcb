"""An interpreter that the user manages: checked, not built."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_azureml.compute.environments.interpreter import Interpreter, environment_folder_variables
from airflow_azureml.compute.environments.pythons import FoundPython, probe
from airflow_azureml.runtime.exceptions import EnvironmentBuildError


def given_interpreter(root: Path, specification: Mapping[str, Any], source: Mapping[str, str]) -> Interpreter:
    """Check a user-managed interpreter and say what it is.

    The digest covers the interpreter's real path, its version, and the names and versions of the packages that are
    installed beside it. It does not cover their contents: a package edited in place, or installed in editable mode,
    changes without the digest changing.

    Starting an interpreter takes longer than a step may cost, so the answer is remembered for as long as neither the
    interpreter nor a folder of its import path is modified. Not for a wrapper such as a pyenv shim: what that leads to
    may change with nothing changing here.

    :param root: the environment cache, which remembers the answers.
    :param specification: with ``interpreter_path``: a path, or a name to look up on PATH.
    :param source: this process's variables.
    :raises EnvironmentBuildError: there is no such interpreter or it does not run.
    """
    wanted = str(specification.get("interpreter_path") or "python")
    for path in _paths(wanted, source):
        facts = _remembered(root, path) or _examine(root, path, source)
        if facts is not None:
            # A name may lead to a shim that costs each step more than its interpreter; a path is taken as it is given.
            python = path if os.sep in wanted else Path(facts["executable"])
            declared = specification.get("environment_variables") or {}
            return Interpreter(
                python=python,
                digest=facts["digest"],
                variables={**environment_folder_variables(python.parent.parent), **declared},
                lock=None,
                version=facts["version"],
            )
    raise EnvironmentBuildError(
        f"the interpreter {wanted!r} does not run on this machine; "
        "give interpreter_path the full path of a working Python, or let the environment be built"
    )


def _paths(wanted: str, source: Mapping[str, str]) -> list[Path]:
    """Where the interpreter may be. A name is tried in every folder of PATH, because a pyenv shim may not work."""
    if os.sep in wanted:
        path = Path(wanted).expanduser()
        return [path] if path.is_absolute() and os.access(path, os.X_OK) else []
    folders = [Path(part) for part in source.get("PATH", os.defpath).split(os.pathsep) if part]
    return [folder / wanted for folder in folders if os.access(folder / wanted, os.X_OK)]


def _examine(root: Path, path: Path, source: Mapping[str, str]) -> dict[str, str] | None:
    found = probe(path, source)
    if found is None:
        return None
    facts = {
        "version": found.version,
        "digest": _digest(found),
        "executable": str(found.executable),
        "signature": _signature(path, found.folders),
    }
    if os.path.realpath(path) == os.path.realpath(found.executable):
        _remember(root, path, {**facts, "folders": found.folders})
    return facts


def _remember(root: Path, path: Path, facts: dict[str, Any]) -> None:
    memory = _memory(root, path)
    memory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = memory.with_name(f"{memory.name}.{os.getpid()}")
    temporary.write_text(json.dumps(facts))
    temporary.replace(memory)


def _remembered(root: Path, path: Path) -> dict[str, str] | None:
    try:
        facts: dict[str, Any] = json.loads(_memory(root, path).read_text())
        return facts if facts["signature"] == _signature(path, facts["folders"]) else None
    except (OSError, ValueError, KeyError):
        return None


def _memory(root: Path, path: Path) -> Path:
    return root / ".interpreters" / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"


def _digest(found: FoundPython) -> str:
    content = [
        "user-managed",
        os.path.realpath(found.executable),
        found.implementation,
        found.version,
        *found.packages,
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _signature(path: Path, folders: list[str] | tuple[str, ...]) -> str:
    """Changes when the interpreter is replaced or a package is installed, updated or removed."""
    parts = [os.path.realpath(path)]
    for name in (path, *map(Path, folders)):
        try:
            status = name.stat()
            parts.append(f"{status.st_mtime_ns}:{status.st_size}:{status.st_ino}")
        except OSError:
            parts.append("gone")
    return "|".join(parts)
