"""What Airflow is told about the package is valid, and true."""

import ast
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest

from airflow_azureml import __version__, config
from airflow_azureml.provider_info import OPTIONS, get_provider_info


def dotted_paths(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name != "config":
                yield from dotted_paths(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from dotted_paths(inner)
    elif isinstance(value, str) and value.startswith("airflow_azureml."):
        yield value


def resolve(path: str) -> Any:
    module, _, name = path.rpartition(".")
    if importlib.util.find_spec(module).submodule_search_locations and importlib.util.find_spec(path):
        return importlib.import_module(path)
    return getattr(importlib.import_module(module), name)


def test_it_follows_airflows_schema() -> None:
    schema = Path(airflow.__file__).parent / "provider_info.schema.json"

    jsonschema.validate(get_provider_info(), json.loads(schema.read_text()))


def test_every_dotted_path_can_be_imported() -> None:
    paths = list(dotted_paths(get_provider_info()))

    assert paths
    assert all(resolve(path) for path in paths)


def test_its_version_is_the_packages() -> None:
    assert get_provider_info()["versions"][0] == __version__


def test_airflow_finds_the_provider_and_its_options() -> None:
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()

    assert manager.providers["airflow-azureml"].version == __version__
    assert set(dict(manager.provider_configs)["airflow-azureml"]["azureml"]["options"]) == set(OPTIONS)


def test_every_declared_option_has_a_getter_and_every_getter_an_option() -> None:
    assert set(config.GETTERS) == set(OPTIONS)


def test_every_getter_is_used(repository: Path) -> None:
    files = [*(repository / "operators").rglob("*.py"), *(repository / "plugin").rglob("*.py")]
    read = {
        node.attr
        for path in files
        if path.name != "config.py"
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "config"
    }

    assert {getter.__name__ for getter in config.GETTERS.values()} - read == set()


@pytest.mark.parametrize("option", OPTIONS)
def test_every_default_is_readable(option: str, azureml_options: pytest.MonkeyPatch) -> None:
    assert config.GETTERS[option]() is not ...


def test_options_are_read_from_the_environment_and_kept(azureml_options: pytest.MonkeyPatch) -> None:
    azureml_options.setenv("AIRFLOW__AZUREML__DEFAULT_PIP_PACKAGES", " numpy  pandas==2.* ")

    assert config.default_pip_packages() == ("numpy", "pandas==2.*")
    assert config.default_pip_packages() is config.default_pip_packages()


def test_limits_are_off_by_default_and_never_negative(azureml_options: pytest.MonkeyPatch) -> None:
    assert config.memory_limit_bytes() is None
    assert config.cpu_limit() is None

    config.forget()
    azureml_options.setenv("AIRFLOW__AZUREML__MEMORY_LIMIT_MB", "2")
    azureml_options.setenv("AIRFLOW__AZUREML__CPU_LIMIT", "-1")

    assert config.memory_limit_bytes() == 2 * 1024 * 1024
    with pytest.raises(ValueError, match=r"\[azureml\] cpu_limit is -1; expected a number of at least 0"):
        config.cpu_limit()


def test_an_unknown_reuse_mode_is_refused(azureml_options: pytest.MonkeyPatch) -> None:
    azureml_options.setenv("AIRFLOW__AZUREML__REUSE", "sometimes")

    with pytest.raises(ValueError, match=r"\[azureml\] reuse is 'sometimes'; expected one of on, read, off"):
        config.reuse()


def test_the_deployment_is_named_by_its_address_unless_it_has_a_name(
    azureml_options: pytest.MonkeyPatch,
) -> None:
    azureml_options.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/team/")

    assert config.deployment() == "https://airflow.example/team"

    config.forget()
    azureml_options.setenv("AIRFLOW__AZUREML__DEPLOYMENT", "team")

    assert config.deployment() == "team"
