"""What ``airflow_azureml`` offers, and that it costs nothing before it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import airflow_azureml


@pytest.mark.parametrize("name", sorted(set(airflow_azureml.__all__) - {"__version__"}))
def test_every_public_name_is_there(name: str) -> None:
    value = getattr(airflow_azureml, name)

    assert value.__name__ == name
    assert value.__module__.startswith("airflow_azureml.")
    assert name in dir(airflow_azureml)


def test_names_for_type_checkers_are_the_names_there_are() -> None:
    tree = ast.parse(Path(airflow_azureml.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    declared = {
        alias.name: node.module
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    assert sorted(declared) == sorted(set(airflow_azureml.__all__) - {"__version__"})
    assert {name: f"airflow_azureml.{airflow_azureml._MODULES[name]}" for name in declared} == declared


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'airflow_azureml' has no attribute 'Nothing'"):
        airflow_azureml.Nothing  # type: ignore[attr-defined]  # noqa: B018


def test_importing_the_package_imports_nothing_of_it() -> None:
    code = "import airflow_azureml, sys; print([n for n in sys.modules if n.startswith('airflow')])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "['airflow_azureml']"


def test_a_missing_library_keeps_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    # An import that fails deeper down is no sign of being inside a step.
    def fail(path: str) -> None:
        raise ModuleNotFoundError("No module named 'airflow'", name="airflow")

    monkeypatch.setattr(airflow_azureml, "import_module", fail)
    monkeypatch.delitem(vars(airflow_azureml), "Pipeline", raising=False)

    with pytest.raises(ModuleNotFoundError, match="No module named 'airflow'"):
        airflow_azureml.Pipeline  # noqa: B018
