"""Finds a Python of a wanted version on the machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from airflow_azureml.compute.environments.inherited import base_environment

PROBE_TIMEOUT_S = 20.0
_VERSION = re.compile(r"\d+(\.\d+){0,2}")

_PROBE = """\
import json, os, sys
found, folders = set(), []
for folder in sys.path:
    if folder and os.path.isdir(folder):
        folders.append(folder)
        found.update(n for n in os.listdir(folder) if n.endswith((".dist-info", ".egg-info", ".egg-link", ".pth")))
print(json.dumps({
    "version": "%d.%d.%d" % sys.version_info[:3],
    "implementation": sys.implementation.name,
    "flavour": getattr(sys, "abiflags", "").replace("m", ""),
    "executable": sys.executable,
    "base": getattr(sys, "_base_executable", None) or sys.executable,
    "packages": sorted(found),
    "folders": folders,
}))
"""


@dataclass(frozen=True, slots=True)
class FoundPython:
    """An interpreter that was started and answered.

    :param path: how it was started.
    :param version: three numbers.
    :param executable: what it says it is; another file than ``path`` if that is a wrapper, such as a pyenv shim.
    :param base: the interpreter it is based on, when it belongs to a virtual environment; else itself.
    :param flavour: ABI flags other than the usual ones, such as ``t`` for a build without the global lock.
    :param packages: names of the installed packages' metadata folders, with their versions.
    :param folders: its import path.
    """

    path: Path
    version: str
    implementation: str
    executable: Path
    base: Path
    flavour: str
    packages: tuple[str, ...]
    folders: tuple[str, ...]

    @property
    def usual(self) -> bool:
        """Whether ordinary wheels fit it."""
        return self.implementation == "cpython" and not self.flavour


def matches(wanted: str, version: str) -> bool:
    """Whether ``version`` is the wanted one: "3.8" takes every 3.8.x, "3.8.13" only itself."""
    return version == wanted or version.startswith(wanted + ".")


def normalise_version(wanted: str | None) -> str:
    """The wanted version as one to three numbers; without a wish, this process's own minor version.

    :raises ValueError: it is none.
    """
    if not wanted:
        return f"{sys.version_info[0]}.{sys.version_info[1]}"
    text = wanted.strip().lstrip("=").removesuffix(".*")
    if _VERSION.fullmatch(text) is None:
        raise ValueError(f"Python version {wanted!r} is not understood; give one such as '3.8' or '3.8.13'")
    return text


def probe(path: Path, source: Mapping[str, str] = os.environ) -> FoundPython | None:
    """Start an interpreter and ask what it is; ``None`` if it doesn't run or isn't one (a pyenv shim, say)."""
    try:
        answer = subprocess.run(
            [path, "-c", _PROBE],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd="/",
            env=base_environment(source=source),
            timeout=PROBE_TIMEOUT_S,
            check=True,
        ).stdout
        facts = json.loads(answer)
        return FoundPython(
            path=path,
            version=facts["version"],
            implementation=facts["implementation"],
            executable=Path(facts["executable"]),
            base=Path(facts["base"]),
            flavour=facts["flavour"],
            packages=tuple(facts["packages"]),
            folders=tuple(facts["folders"]),
        )
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None


def find_python(wanted: str, source: Mapping[str, str] = os.environ) -> FoundPython | None:
    """Find an interpreter of a version.

    Looked at in this order: this process's own base, PATH, pyenv's versions, ``/usr/local/bin``, ``/usr/bin``,
    ``/opt``, and what uv has installed. The first that runs and fits is taken.

    :param wanted: as from :func:`normalise_version`.
    :param source: this process's variables.
    """
    for path in candidates(source, wanted):
        found = probe(path, source)
        if found is not None and found.usual and matches(wanted, found.version):
            return found
    return None


def known_pythons(source: Mapping[str, str] = os.environ) -> list[str]:
    """Every interpreter that would be found, as ``version (path)``; for error messages."""
    found: dict[str, Path] = {}
    for path in candidates(source):
        python = probe(path, source)
        if python is not None and python.usual:
            found.setdefault(python.version, python.base)
    order = sorted(found, key=lambda version: [int(part) for part in version.split(".")])
    return [f"{version} ({found[version]})" for version in order]


def candidates(source: Mapping[str, str], wanted: str | None = None) -> Iterator[Path]:
    """Files that may be interpreters, each real file once; with ``wanted``, without those whose name says otherwise."""
    seen = set()
    for path in _places(source, wanted):
        if _contradicts(path, wanted) or not os.access(path, os.X_OK):
            continue
        real = os.path.realpath(path)
        if real not in seen:
            seen.add(real)
            yield path


def _places(source: Mapping[str, str], wanted: str | None) -> Iterator[Path]:
    minor = ".".join((wanted or "").split(".")[:2])
    yield Path(getattr(sys, "_base_executable", sys.executable))
    folders = [Path(part) for part in source.get("PATH", "").split(os.pathsep) if part]
    pyenv = Path(source.get("PYENV_ROOT") or Path(source.get("HOME", "/")) / ".pyenv")
    for folder in [f for f in folders if f != pyenv / "shims"]:  # shims only point to what is looked at next
        yield from _interpreters(folder, minor)
    for folder in _newest_first(pyenv / "versions"):
        yield from _interpreters(folder / "bin", minor)
    for folder in (Path("/usr/local/bin"), Path("/usr/bin")):
        yield from _interpreters(folder, minor)
    for folder in _newest_first(Path("/opt")):
        yield from _interpreters(folder / "bin", minor)
    for folder in _newest_first(uv_python_folder(source)):
        yield from _interpreters(folder / "bin", minor)


def uv_python_folder(source: Mapping[str, str]) -> Path:
    """Where uv keeps the interpreters it has downloaded."""
    chosen = source.get("UV_PYTHON_INSTALL_DIR")
    data = source.get("XDG_DATA_HOME") or Path(source.get("HOME", "/")) / ".local/share"
    return Path(chosen) if chosen else Path(data) / "uv/python"


def _interpreters(folder: Path, minor: str) -> Iterator[Path]:
    """Files in a folder that are named like an interpreter, the most exact name first."""
    if minor:
        yield from (folder / f"python{minor}", folder / "python3", folder / "python")
        return
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError:
        return
    yield from (folder / name for name in sorted(names) if re.fullmatch(r"python(\d(\.\d+)?)?", name))


def _newest_first(folder: Path) -> list[Path]:
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError:
        return []
    return [folder / name for name in sorted(names, key=_numbers, reverse=True)]


def _numbers(name: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", name)]


def _contradicts(path: Path, wanted: str | None) -> bool:
    """Whether the folder of an installation is named after another version: then it need not be started."""
    if wanted is None:
        return False
    named = re.search(r"(?:^|-)(\d+\.\d+\.\d+)(?:-|$)", path.parent.parent.name)
    return named is not None and not matches(wanted, named.group(1))
