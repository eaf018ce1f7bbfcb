"""The package holds what it should, and nothing else."""

import configparser
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PACKAGE = "airflow_azureml"
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".airflow", ".*_cache", ".hypothesis", "build", "dist", "*.egg-info", "__pycache__"
)


def packages_in(folder: Path, name: str) -> set[str]:
    return {".".join((name, *init.parent.relative_to(folder).parts)) for init in folder.rglob("__init__.py")}


@pytest.fixture(scope="module")
def setup_cfg(repository: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(repository / "setup.cfg")
    return parser


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    copy = tmp_path_factory.mktemp("wheel") / "source"
    shutil.copytree(repository, copy, ignore=LEFT_OUT)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist", "."]
    built = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = (copy / "dist").glob("*.whl")
    return zipfile.ZipFile(path).namelist()


def test_every_folder_with_an_init_is_a_listed_package(
    repository: Path, setup_cfg: configparser.ConfigParser
) -> None:
    listed = setup_cfg["options"]["packages"].split()
    folders = dict(line.split(" = ") for line in setup_cfg["options"]["package_dir"].strip().splitlines())

    found = set().union(*(packages_in(repository / folder, name) for name, folder in folders.items()))

    assert sorted(listed) == sorted(found)


def test_the_wheel_has_one_top_level_name(wheel: list[str]) -> None:
    names = {name.partition("/")[0] for name in wheel}

    assert {name for name in names if not name.endswith(".dist-info")} == {PACKAGE}


def test_the_wheel_holds_every_module_and_data_file(repository: Path, wheel: list[str]) -> None:
    folders = {"plugin": PACKAGE, "operators": f"{PACKAGE}/operators", "hooks": f"{PACKAGE}/hooks"}
    folders["dags"] = f"{PACKAGE}/example_dags"
    expected = {
        f"{target}/{path.relative_to(repository / folder).as_posix()}"
        for folder, target in folders.items()
        for path in (repository / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert expected - set(wheel) == set()
    assert {name for name in wheel if ".dist-info/" not in name} - expected == set()


def test_the_wheel_carries_the_licence(wheel: list[str]) -> None:
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel)


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("purpose", ["", "-dev"])
def test_locks_pin_every_package_and_name_no_host(repository: Path, version: str, purpose: str) -> None:
    text = (repository / "requirements" / f"py{version}{purpose}.txt").read_text()
    pins = [line for line in text.splitlines() if not line.lstrip().startswith("#")]

    assert "apache-airflow==3." in text
    assert all("==" in pin for pin in pins)
    assert "://" not in text
    assert "--" not in text


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("purpose", ["", "-dev"])
def test_locks_hold_what_the_package_requires(
    repository: Path, setup_cfg: configparser.ConfigParser, version: str, purpose: str
) -> None:
    text = (repository / "requirements" / f"py{version}{purpose}.txt").read_text()
    pins = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE))
    required = [Requirement(line) for line in setup_cfg["options"]["install_requires"].split("\n") if line]

    assert [str(need) for need in required if not need.specifier.contains(pins.get(need.name, "0"))] == []
