"""What steps and builds see of the machine's settings, and which Pythons are found."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from airflow_azureml.compute.environments import Interpreter, base_environment
from airflow_azureml.compute.environments.indexes import build_environment, redact
from airflow_azureml.compute.environments.pythons import (
    candidates,
    find_python,
    matches,
    normalise_version,
    probe,
)
from airflow_azureml.compute.environments.tools import advice_for

# --- a step's variables ---------------------------------------------------------------------------------------------


def test_a_step_inherits_how_the_machine_is_reached_and_nothing_else() -> None:
    kept = {
        "PATH": "/usr/bin",
        "HOME": "/home/worker",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "TMPDIR": "/scratch",
        "https_proxy": "http://proxy:3128",
        "SSL_CERT_FILE": "/etc/company.pem",
        "CUDA_VISIBLE_DEVICES": "1",
        "NVIDIA_VISIBLE_DEVICES": "all",
        "OMP_NUM_THREADS": "2",
    }
    dropped = {
        "AIRFLOW__CORE__FERNET_KEY": "secret",
        "AIRFLOW_CONN_WAREHOUSE": "secret",
        "AIRFLOW_HOME": "/opt/airflow",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AZURE_CLIENT_SECRET": "secret",
        "PYTHONPATH": "/opt/airflow/lib",
        "PYTHONHOME": "/usr",
        "PYTHONDONTWRITEBYTECODE": "1",
        "VIRTUAL_ENV": "/opt/airflow/venv",
        "LD_PRELOAD": "x.so",
    }
    assert base_environment(source={**kept, **dropped}) == kept


def test_more_can_be_allowed_by_name_or_pattern_but_never_airflows_own() -> None:
    source = {
        "PATH": "/bin",
        "MY_TOKEN": "1",
        "TEAM_A": "2",
        "AIRFLOW__CORE__FERNET_KEY": "3",
        "AIRFLOW_CONN_X": "4",
    }
    assert base_environment(["MY_TOKEN", "TEAM_*"], source) == {
        "PATH": "/bin",
        "MY_TOKEN": "1",
        "TEAM_A": "2",
    }
    assert base_environment(["*", "AIRFLOW__CORE__FERNET_KEY"], source).keys() == {
        "PATH",
        "MY_TOKEN",
        "TEAM_A",
    }


def test_the_interpreter_comes_first_on_path_and_its_variables_win() -> None:
    interpreter = Interpreter(Path("/envs/a/bin/python"), "d", {"VIRTUAL_ENV": "/envs/a", "TZ": "CET"}, None)
    result = base_environment(source={"PATH": "/usr/bin", "TZ": "UTC"}, interpreter=interpreter)
    assert result == {"PATH": "/envs/a/bin:/usr/bin", "VIRTUAL_ENV": "/envs/a", "TZ": "CET"}
    assert base_environment(source={}, interpreter=interpreter)["PATH"].startswith("/envs/a/bin:/")


# --- a build's variables --------------------------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """The variables of a machine whose configuration files are all below ``tmp_path``."""
    return {"HOME": str(tmp_path / "home"), "PATH": "/usr/bin"}


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def built(machine: dict[str, str], tmp_path: Path, **index: object) -> dict[str, str]:
    result = build_environment(index, machine, system_root=tmp_path)
    return {name: value for name, value in result.items() if name not in {*machine, "UV_NO_PROGRESS"}}


def test_pips_configuration_files_are_handed_to_uv(machine: dict[str, str], tmp_path: Path) -> None:
    write(
        tmp_path / "etc/pip.conf",
        "[global]\nindex-url = https://mirror/simple\ncert = /etc/company.pem\ntrusted-host = mirror\n  other\n",
    )
    write(
        tmp_path / "home/.config/pip/pip.conf",
        "[global]\nextra-index-url = https://a/simple\n    https://b/simple\nfind_links = /wheels\n"
        "[install]\nindex-url = https://mine/simple\n[list]\nformat = columns\n",
    )
    assert built(machine, tmp_path) == {
        "UV_DEFAULT_INDEX": "https://mine/simple",
        "UV_INDEX": "https://a/simple https://b/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "/wheels",
        "UV_INSECURE_HOST": "mirror other",
        "SSL_CERT_FILE": "/etc/company.pem",
    }


def test_pips_old_file_and_its_variables_count_too(machine: dict[str, str], tmp_path: Path) -> None:
    write(tmp_path / "home/.pip/pip.conf", "[global]\nindex-url = https://old/simple\ntimeout = 60\n")
    assert built(machine, tmp_path) == {"UV_DEFAULT_INDEX": "https://old/simple", "UV_HTTP_TIMEOUT": "60"}
    machine["PIP_INDEX_URL"] = "https://variable/simple"
    assert built(machine, tmp_path)["UV_DEFAULT_INDEX"] == "https://variable/simple"


def test_pip_may_be_told_to_read_another_file_or_none(machine: dict[str, str], tmp_path: Path) -> None:
    write(tmp_path / "etc/pip.conf", "[global]\nindex-url = https://system/simple\n")
    write(tmp_path / "special.conf", "[global]\nindex-url = https://special/simple\n")
    machine["PIP_CONFIG_FILE"] = str(tmp_path / "special.conf")
    assert built(machine, tmp_path)["UV_DEFAULT_INDEX"] == "https://special/simple"
    machine["PIP_CONFIG_FILE"] = os.devnull
    assert built(machine, tmp_path) == {}


def test_what_uv_itself_is_told_comes_first(machine: dict[str, str], tmp_path: Path) -> None:
    write(
        tmp_path / "etc/pip.conf",
        "[global]\nindex-url = https://pip/simple\nextra-index-url = https://more/simple\n",
    )
    machine["UV_DEFAULT_INDEX"] = "https://uv/simple"
    result = build_environment({}, machine, system_root=tmp_path)
    assert result["UV_DEFAULT_INDEX"] == "https://uv/simple"
    assert "UV_INDEX" not in result


def test_what_the_environment_names_comes_before_all(machine: dict[str, str], tmp_path: Path) -> None:
    write(
        tmp_path / "etc/pip.conf",
        "[global]\nindex-url = https://pip/simple\nextra-index-url = https://more/simple\n",
    )
    machine["PIP_FIND_LINKS"] = "/a /b"
    result = built(
        machine, tmp_path, index_url="https://env/simple", extra_index_urls=["https://x"], find_links=["/c"]
    )
    assert result["UV_DEFAULT_INDEX"] == "https://env/simple"
    assert result["UV_INDEX"] == "https://more/simple https://x"
    assert result["UV_FIND_LINKS"] == "/a,/b,/c"


def test_a_broken_configuration_file_is_left_to_pip(machine: dict[str, str], tmp_path: Path) -> None:
    write(tmp_path / "etc/pip.conf", "no section\n")
    assert built(machine, tmp_path) == {}


def test_a_build_sees_no_secret_and_nothing_that_redirects_it(
    machine: dict[str, str], tmp_path: Path
) -> None:
    noise = {
        "AIRFLOW__CORE__FERNET_KEY": "s",
        "UV_PYTHON": "3.9",
        "UV_SYSTEM_PYTHON": "1",
        "UV_PROJECT_ENVIRONMENT": "/",
    }
    assert built({**machine, **noise}, tmp_path) == {}


def test_prereleases_are_an_option_of_the_environment(machine: dict[str, str], tmp_path: Path) -> None:
    assert built(machine, tmp_path, prerelease=True) == {"UV_PRERELEASE": "allow"}
    assert built(machine, tmp_path, prerelease=False, index_url=None, extra_index_urls=[]) == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("at https://user:pa%40ss@host/simple failed", "at https://***@host/simple failed"),
        ("https://token@host https://b:c@d", "https://***@host https://***@d"),
        ("https://host/@scope/x a@b", "https://host/@scope/x a@b"),
    ],
)
def test_credentials_in_addresses_are_replaced(text: str, expected: str) -> None:
    assert redact(text) == expected


def test_advice_fits_the_error() -> None:
    assert "free space" in advice_for(
        ["error: write failed", "No space left on device (os error 28)"], "else"
    )
    assert advice_for(["anything"], "else") == "else"


# --- Pythons --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "version", "fits"),
    [
        ("3.8", "3.8.18", True),
        ("3.8.18", "3.8.18", True),
        ("3.8.13", "3.8.18", False),
        ("3.1", "3.12.1", False),
    ],
)
def test_a_minor_version_takes_any_patch_and_an_exact_one_only_itself(
    wanted: str, version: str, fits: bool
) -> None:
    assert matches(wanted, version) is fits


@pytest.mark.parametrize(("wanted", "expected"), [("3.8", "3.8"), ("3.8.*", "3.8"), ("==3.8.13", "3.8.13")])
def test_versions_as_conda_writes_them_are_understood(wanted: str, expected: str) -> None:
    assert normalise_version(wanted) == expected


def test_without_a_wish_the_workers_own_minor_version_is_taken() -> None:
    assert normalise_version(None) == ".".join(map(str, sys.version_info[:2]))


def install(folder: Path, name: str, version: str) -> Path:
    """A program that answers as a Python of that version does."""
    facts = (
        f'{{"version": "{version}", "implementation": "cpython", "flavour": "", "executable": "{folder}/{name}", '
        f'"base": "{folder}/{name}", "packages": [], "folders": []}}'
    )
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{facts}'\n")
    program.chmod(0o755)
    return program


def test_pyenvs_versions_are_found_and_its_shims_do_not_confuse(tmp_path: Path) -> None:
    shims = tmp_path / "pyenv/shims"
    install(shims, "python3.4", "3.4.10").write_text("#!/bin/sh\nexit 127\n")
    install(tmp_path / "pyenv/versions/3.4.9/bin", "python3.4", "3.4.9")
    newest = install(tmp_path / "pyenv/versions/3.4.10/bin", "python3.4", "3.4.10")
    source = {"PATH": f"{shims}:/usr/bin", "PYENV_ROOT": str(tmp_path / "pyenv")}
    found = find_python("3.4", source)
    assert found is not None
    assert (found.path, found.version) == (newest, "3.4.10")
    exact = find_python("3.4.9", source)
    assert exact is not None
    assert exact.version == "3.4.9"
    assert find_python("3.4.8", source) is None


def test_path_comes_before_pyenv_and_programs_that_do_not_work_are_passed_over(tmp_path: Path) -> None:
    install(tmp_path / "broken", "python3.4", "").write_text("#!/bin/sh\nexit 1\n")
    install(tmp_path / "other", "python3", "3.5.1")
    good = install(tmp_path / "good", "python3", "3.4.1")
    path = ":".join(str(tmp_path / name) for name in ("broken", "other", "good"))
    found = find_python("3.4", {"PATH": path, "HOME": str(tmp_path)})
    assert found is not None
    assert found.path == good


def test_what_uv_has_installed_is_found(tmp_path: Path) -> None:
    program = install(tmp_path / "uv/python/cpython-3.4.10-linux-x86_64-gnu/bin", "python3.4", "3.4.10")
    found = find_python("3.4", {"PATH": "", "HOME": "/nonexistent", "XDG_DATA_HOME": str(tmp_path)})
    assert found is not None
    assert found.path == program


def test_an_interpreter_is_listed_once(tmp_path: Path) -> None:
    program = install(tmp_path, "python3.4", "3.4.1")
    (tmp_path / "python3").symlink_to(program)
    listed = [
        path for path in candidates({"PATH": str(tmp_path), "HOME": str(tmp_path)}) if path.parent == tmp_path
    ]
    assert len(listed) == 1


def test_a_virtual_environment_is_traced_to_the_python_it_is_based_on() -> None:
    found = probe(Path(sys.executable))
    assert found is not None
    assert found.usual
    assert os.path.realpath(found.base) == os.path.realpath(sys.executable)
