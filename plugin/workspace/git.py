"""Which commit a source directory was at, as v1 records it on a run.

v1 source: the git properties of runs and snapshots. Unlike v1, credentials in a remote's URL are not recorded.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

_TIMEOUT_S = 5.0

# Property names for each fact, and the variable that wins over what git says.
_KEYS = {
    "repository_uri": ("azureml.git.repository_uri", "mlflow.source.git.repoURL"),
    "branch": ("azureml.git.branch", "mlflow.source.git.branch"),
    "commit": ("azureml.git.commit", "mlflow.source.git.commit"),
    "dirty": ("azureml.git.dirty",),
    "build_id": ("azureml.git.build_id",),
    "build_uri": ("azureml.git.build_uri",),
}
_VARIABLE = "AZUREML_GIT_{}"
_URLS = ("repository_uri", "build_uri")

# A variable that names another repository (git sets them for its hooks) would answer for the wrong directory.
_MISLEADING = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX", "GIT_NAMESPACE")
_QUIET = {
    "GIT_OPTIONAL_LOCKS": "0",  # never touch the user's index
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
# A repository's own settings may name a program to run for status; looking at a directory must not start it.
_GIT = ("git", "-c", "core.fsmonitor=false")

_AUTHORITY = re.compile(r"^(?P<scheme>[\w+.-]+://)(?P<rest>.*)$", re.DOTALL)
_NO_PORT = re.compile(r":(?!\d*$)")


def git_properties(directory: Path | str, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Describe the git checkout that a directory lies in, under v1's property names.

    ``AZUREML_GIT_*`` variables win over what git says, and are all there is outside a checkout or without git.

    :param directory: a step's source directory; changes outside it don't make it dirty.
    :param environ: the variables; those of this process by default.
    """
    variables = os.environ if environ is None else environ
    facts = _ask_git(Path(directory), variables)
    for name in _KEYS:
        value = variables.get(_VARIABLE.format(name.upper()))
        if value:
            facts[name] = value
    for name in _URLS:
        if name in facts:
            facts[name] = redact_url(facts[name])
    return {key: facts[name] for name, keys in _KEYS.items() if name in facts for key in keys}


def redact_url(url: str) -> str:
    """Remove what may be secret from a URL: user and password, query and fragment.

    A bare user name stays where it is part of the address (``ssh://git@host``, ``git@host:path``).
    """
    parts = _AUTHORITY.match(url)
    if parts is None:
        user, at, rest = url.rpartition("@")
        return f"{user.split(':', 1)[0]}@{rest}" if at else url
    rest = re.split(r"[?#]", parts["rest"], maxsplit=1)[0]
    authority = rest.partition("/")[0]
    if "@" not in authority and _NO_PORT.search(authority):
        authority = rest  # a password, cut in two by a slash that should have been escaped
    user, at, _ = authority.rpartition("@")
    kept = f"{user.split(':', 1)[0]}@" if at and "ssh" in parts["scheme"] else ""
    return f"{parts['scheme']}{kept}{rest[len(user) + len(at) :]}"


def _ask_git(directory: Path, environ: Mapping[str, str]) -> dict[str, str]:
    if not _is_in_checkout(directory):
        return {}  # without starting a program
    variables = {name: value for name, value in environ.items() if name not in _MISLEADING} | _QUIET
    # One command tells commit, branch and changes, the other runs beside it.
    status = _start(
        directory, variables, "status", "--porcelain=v2", "--branch", "--untracked-files=normal", "--", "."
    )
    remote = _start(directory, variables, "ls-remote", "--get-url")
    deadline = time.monotonic() + _TIMEOUT_S
    facts = {}
    if address := (_finish(remote, deadline) or "").strip():
        facts["repository_uri"] = address
    text = _finish(status, deadline)
    if text is None:
        # A huge or slow checkout: the commit is cheap to know, whether it is clean is not.
        head = _start(directory, variables, "rev-parse", "HEAD")
        commit = _finish(head, time.monotonic() + _TIMEOUT_S)
        return facts | ({"commit": commit.strip()} if commit else {})
    return facts | _read_status(text)


def _is_in_checkout(directory: Path) -> bool:
    place = Path(os.path.abspath(directory))  # noqa: PTH100 - git looks upwards in the same way
    return any((folder / ".git").exists() for folder in (place, *place.parents))


def _start(directory: Path, environ: Mapping[str, str], *arguments: str) -> subprocess.Popen[str] | None:
    with suppress(OSError):  # no git on this machine
        return subprocess.Popen(
            [*_GIT, *arguments],
            cwd=directory,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            errors="replace",
        )
    return None


def _finish(process: subprocess.Popen[str] | None, deadline: float) -> str | None:
    """Return what a command printed; None if it failed or took too long."""
    if process is None:
        return None
    with process:
        try:
            text, _ = process.communicate(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            return None
    return text if process.returncode == 0 else None


def _read_status(text: str) -> dict[str, str]:
    facts = {"dirty": "False"}
    for line in text.splitlines():
        if line.startswith("# branch.oid "):
            facts["commit"] = line.removeprefix("# branch.oid ")
        elif line.startswith("# branch.head "):
            facts["branch"] = line.removeprefix("# branch.head ")
        elif not line.startswith("#"):
            facts["dirty"] = "True"
            break
    # What git says before the first commit, and without a branch.
    if facts.get("commit") == "(initial)":
        del facts["commit"]
    if facts.get("branch") == "(detached)":
        del facts["branch"]
    return facts
