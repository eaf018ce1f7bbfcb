"""A step's interpreter is built from what its environment says, and says clearly why it cannot be built."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml.compute.environments import EnvironmentCache
from airflow_azureml.compute.environments.pythons import find_python
from airflow_azureml.model.conda import CondaDependencies
from airflow_azureml.model.environment import Environment
from airflow_azureml.runtime.exceptions import EnvironmentBuildError

Make = Callable[..., Any]
Run = Callable[[Path, str], str]


def test_an_environment_has_its_packages_and_none_of_the_workers(
    cache: EnvironmentCache, lines: list[str], environment: Make, output_of: Run
) -> None:
    wanted = environment("stem", "leaf<1.1", environment_variables={"MODE": "test"})
    interpreter = cache.ensure(wanted, lines.append)
    assert output_of(interpreter.python, "import leaf, stem; print(leaf.version, stem.version)") == "1.0 2.0"
    assert (
        output_of(interpreter.python, "import importlib.util as u; print(u.find_spec('airflow'))") == "None"
    )
    assert interpreter.lock == "leaf==1.0\nstem==2.0\n"
    assert interpreter.digest == wanted.digest
    assert interpreter.variables == {"VIRTUAL_ENV": str(interpreter.python.parent.parent), "MODE": "test"}
    subprocess.run([interpreter.bin / "leaf"], check=True)  # scripts know where their interpreter is


def test_an_environment_of_the_model_is_understood(
    cache: EnvironmentCache, wheels: Path, lines: list[str], output_of: Run
) -> None:
    wanted = Environment("mine")
    packages = CondaDependencies.create(pip_packages=["stem==2.0", "azureml-core"])
    packages.set_pip_option("--no-index")
    packages.set_pip_option(f"--find-links {wheels}")
    wanted.python.conda_dependencies = packages
    wanted.environment_variables["MODE"] = "model"
    interpreter = cache.ensure(wanted, lines.append)
    assert interpreter.lock == "leaf==1.1\nstem==2.0\n"
    assert interpreter.variables["MODE"] == "model"
    assert output_of(interpreter.python, "import leaf, stem; print(stem.version)") == "2.0"


def test_progress_is_told_with_the_environments_short_digest(
    cache: EnvironmentCache, lines: list[str], environment: Make
) -> None:
    wanted = environment("stem")
    interpreter = cache.ensure(wanted, lines.append)
    prefix = f"environment {wanted.digest[:8]}: "
    assert lines[0] == f"{prefix}resolving 1 requirement for Python {interpreter.version}"
    assert lines[-1].startswith(f"{prefix}installed 2 packages in ")


def test_an_environment_that_is_there_is_used_at_once_and_in_silence(
    cache: EnvironmentCache, lines: list[str], monkeypatch: pytest.MonkeyPatch, environment: Make
) -> None:
    first = cache.ensure(environment("leaf"), lines.append)
    lines.clear()
    monkeypatch.setattr(subprocess, "Popen", None)  # no process is started
    started = time.perf_counter()
    for _ in range(20):
        cache.ensure(environment("leaf"), lines.append).release()
    assert (time.perf_counter() - started) / 20 < 0.005  # 0.2 ms on an idle machine
    assert cache.ensure(environment("leaf"), lines.append) == first
    assert lines == []


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.13"])
def test_other_python_versions(
    version: str, cache: EnvironmentCache, lines: list[str], environment: Make, output_of: Run
) -> None:
    if find_python(version) is None:
        pytest.skip(f"Python {version} is not on this machine")
    interpreter = cache.ensure(environment("leaf", python_version=version), lines.append)
    assert output_of(interpreter.python, "import leaf, sys; print('%d.%d' % sys.version_info[:2])") == version
    assert interpreter.version.startswith(version + ".")


def test_a_python_that_has_gone_is_found_anew(
    cache: EnvironmentCache, lines: list[str], tmp_path: Path, environment: Make, output_of: Run
) -> None:
    first = cache.ensure(environment("leaf"), lines.append)
    first.release()
    first.python.unlink()
    first.python.symlink_to(tmp_path / "uninstalled")
    assert output_of(cache.ensure(environment("leaf"), lines.append).python, "import leaf") == ""


def test_the_tools_own_error_comes_first_then_advice(
    cache: EnvironmentCache, lines: list[str], tmp_path: Path, environment: Make
) -> None:
    with pytest.raises(EnvironmentBuildError) as caught:
        cache.ensure(environment("leaf==7"), lines.append)
    message = str(caught.value).splitlines()
    assert "No solution found" in message[0]
    assert "leaf==7" in str(caught.value)
    assert message[-1] == "relax or correct the requirements, or choose another python_version"
    assert "leaf==7" in caught.value.log_tail
    assert [p for p in (tmp_path / "environments").iterdir() if not p.name.startswith(".")] == []


def test_a_version_nobody_has_is_an_error_that_lists_what_there_is(
    cache: EnvironmentCache, lines: list[str], monkeypatch: pytest.MonkeyPatch, environment: Make
) -> None:
    monkeypatch.setenv("UV_OFFLINE", "1")
    with pytest.raises(EnvironmentBuildError) as caught:
        cache.ensure(environment(python_version="3.4", pip=[]), lines.append)
    assert "Python 3.4 is not on this machine and uv cannot get it. Found: " in str(caught.value)
    assert f"{sys.version_info[0]}.{sys.version_info[1]}." in str(caught.value)


def test_a_python_version_that_is_none_is_refused(
    cache: EnvironmentCache, lines: list[str], environment: Make
) -> None:
    with pytest.raises(EnvironmentBuildError, match=r"'three' is not understood; give one such as '3\.8'"):
        cache.ensure(environment(python_version="three"), lines.append)


def test_credentials_of_an_index_are_never_shown(
    cache: EnvironmentCache, lines: list[str], monkeypatch: pytest.MonkeyPatch, environment: Make
) -> None:
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    secret = "s3cr3t"
    address = f"http://user:{secret}@127.0.0.1:9/simple"  # nothing answers on the discard port
    with pytest.raises(EnvironmentBuildError) as caught:
        cache.ensure(
            environment(index={"index_url": address}, pip=[f"leaf @ {address}/leaf-1.0-py3-none-any.whl"]),
            lines.append,
        )
    assert "127.0.0.1" in str(caught.value)
    assert str(caught.value).endswith("and the proxy")
    assert secret not in f"{caught.value}{caught.value.log_tail}{lines}"


def test_a_full_disk_is_told_and_leaves_nothing(
    lines: list[str], tmp_path: Path, environment: Make, wheel_maker: Callable[..., None]
) -> None:
    wheel_maker(tmp_path, "heavy", "1.0", payload=os.urandom(4_000_000))
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], capture_output=True
    ).returncode:
        pytest.skip("mounting a file system is not allowed here")
    try:
        with pytest.raises(EnvironmentBuildError, match=r"No space left.*\n(.*\n)*free space on the disk"):
            EnvironmentCache(small).ensure(environment("heavy", find_links=tmp_path), lines.append)
        assert [p for p in small.iterdir() if not p.name.startswith(".")] == []
    finally:
        subprocess.run(["umount", small], check=True)


def test_the_first_machine_publishes_its_versions_and_others_install_the_same(
    lines: list[str], tmp_path: Path, store: Any, environment: Make, wheel_maker: Callable[..., None]
) -> None:
    old = tmp_path / "wheels"
    old.mkdir()
    wanted = environment("leaf")
    wheel_maker(old, "leaf", "1.0")
    key = f"environments/{wanted.digest}/"
    published = EnvironmentCache(tmp_path / "one", locks=store).ensure(wanted, lines.append)
    assert [name.startswith(key) and name.endswith(".lock") for name in store.objects] == [True]
    assert list(store.objects.values()) == [b"leaf==1.1\n"]
    store.objects = dict.fromkeys(store.objects, b"leaf==1.0\n")
    lines.clear()
    other = EnvironmentCache(tmp_path / "two", locks=store).ensure(wanted, lines.append)
    assert (published.lock, other.lock) == ("leaf==1.1\n", "leaf==1.0\n")
    assert not any("resolving" in line for line in lines)


def test_a_published_version_that_cannot_be_had_says_where_it_comes_from(
    lines: list[str], tmp_path: Path, store: Any, environment: Make
) -> None:
    wanted = environment("leaf")
    EnvironmentCache(tmp_path / "one", locks=store).ensure(wanted, lines.append)
    store.objects = dict.fromkeys(store.objects, b"leaf==0.1\n")
    with pytest.raises(EnvironmentBuildError, match=r"leaf==0\.1"):
        EnvironmentCache(tmp_path / "two", locks=store).ensure(wanted, lines.append)


def test_a_store_that_is_down_costs_no_build(
    lines: list[str], tmp_path: Path, store: Any, environment: Make
) -> None:
    store.fails = True
    interpreter = EnvironmentCache(tmp_path / "one", locks=store).ensure(environment("leaf"), lines.append)
    assert interpreter.lock == "leaf==1.1\n"
    assert any("cannot be read" in line for line in lines)


def test_a_lock_that_names_files_of_this_machine_is_not_published(
    wheels: Path, lines: list[str], tmp_path: Path, store: Any, environment: Make
) -> None:
    wanted = environment(f"leaf @ file://{wheels}/leaf-1.0-py3-none-any.whl")
    interpreter = EnvironmentCache(tmp_path / "one", locks=store).ensure(wanted, lines.append)
    assert interpreter.lock is not None
    assert interpreter.lock.startswith("leaf @ file:")
    assert store.objects == {}
