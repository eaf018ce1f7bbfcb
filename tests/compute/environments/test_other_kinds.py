"""Environments with conda packages, and interpreters that the user manages."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml.compute.environments import EnvironmentCache
from airflow_azureml.runtime.exceptions import EnvironmentBuildError

Make = Callable[..., Any]
Run = Callable[[Path, str], str]


def test_conda_packages_without_a_conda_tool_are_an_error_that_names_them(
    cache: EnvironmentCache,
    lines: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: Make,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("MAMBA_EXE", raising=False)
    monkeypatch.delenv("CONDA_EXE", raising=False)
    with pytest.raises(EnvironmentBuildError, match=r"conda packages \(scipy, gdal\).*install micromamba"):
        cache.ensure(environment(conda=["scipy", "gdal"], pip=[]), lines.append)


def test_conda_packages_come_through_the_conda_tool_and_pip_packages_on_top(
    cache: EnvironmentCache,
    lines: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: Make,
) -> None:
    """With a stand-in for micromamba that makes a virtual environment and notes how it was called."""
    program = tmp_path / "bin" / "micromamba"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/called\nwhile [ "$1" != --prefix ]; do shift; done\n'
        f'{sys.executable} -m venv --without-pip "$2" && mkdir "$2/conda-meta" && rm "$2/pyvenv.cfg.none" 2>/dev/null; true\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    wanted = environment("leaf", conda=["scipy"], conda_channels=["internal"], python_version="3.12")
    interpreter = cache.ensure(wanted, lines.append)
    called = (tmp_path / "called").read_text()
    assert called.endswith("--override-channels --channel internal python=3.12 scipy\n")
    assert interpreter.variables == {"CONDA_PREFIX": str(interpreter.python.parent.parent)}
    assert interpreter.lock == "leaf==1.1\n"


def test_a_user_managed_interpreter_is_checked_and_used_as_it_is(
    cache: EnvironmentCache, lines: list[str], environment: Make
) -> None:
    wanted = environment(user_managed=True, interpreter_path=sys.executable, environment_variables={"A": "b"})
    interpreter = cache.ensure(wanted, lines.append)
    assert interpreter.python == Path(sys.executable)
    assert interpreter.lock is None
    assert interpreter.variables["A"] == "b"
    assert interpreter.version == ".".join(map(str, sys.version_info[:3]))


def test_its_digest_follows_the_installed_packages(
    cache: EnvironmentCache, lines: list[str], tmp_path: Path, environment: Make
) -> None:
    prefix = tmp_path / "mine"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", prefix], check=True)
    wanted = environment(user_managed=True, interpreter_path=str(prefix / "bin" / "python"))
    before = cache.ensure(wanted, lines.append)
    assert cache.ensure(wanted, lines.append) == before
    assert before.variables == {"VIRTUAL_ENV": str(prefix)}
    site = next(prefix.glob("lib/*/site-packages"))
    (site / "leaf-1.0.dist-info").mkdir()
    assert cache.ensure(wanted, lines.append).digest != before.digest


def test_asking_again_starts_no_interpreter(
    cache: EnvironmentCache, lines: list[str], monkeypatch: pytest.MonkeyPatch, environment: Make
) -> None:
    wanted = environment(user_managed=True, interpreter_path=sys.executable)
    first = cache.ensure(wanted, lines.append)
    monkeypatch.setattr(subprocess, "run", None)
    assert cache.ensure(wanted, lines.append) == first


def test_a_name_is_looked_up_on_path_past_programs_that_do_not_work(
    cache: EnvironmentCache,
    lines: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: Make,
) -> None:
    for name, text in (
        ("shims", "#!/bin/sh\nexit 127\n"),
        ("good", f'#!/bin/sh\nexec {sys.executable} "$@"\n'),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mypython").write_text(text)
        (tmp_path / name / "mypython").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/shims:{tmp_path}/good:/usr/bin:/bin")
    interpreter = cache.ensure(environment(user_managed=True, interpreter_path="mypython"), lines.append)
    assert interpreter.python == Path(sys.executable)


@pytest.mark.parametrize("wanted", ["/no/such/python", "no-such-python", "relative/python", "/bin/true"])
def test_a_user_managed_interpreter_that_does_not_run_is_an_error(
    wanted: str, cache: EnvironmentCache, lines: list[str], environment: Make
) -> None:
    with pytest.raises(
        EnvironmentBuildError, match=f"the interpreter '{wanted}' does not run on this machine"
    ):
        cache.ensure(environment(user_managed=True, interpreter_path=wanted), lines.append)
