import sys

import pytest

from airflow_azureml.model.environment import CondaDependencies, Environment, RunConfiguration
from airflow_azureml.runtime.exceptions import DefinitionError


def environment(**changes):
    made = Environment("train")
    made.python.conda_dependencies = CondaDependencies.create(
        pip_packages=["pandas==1.5.3", "numpy==1.23.5"], python_version="3.8"
    )
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def changed(change):
    made = environment()
    change(made)
    return made


def test_the_specification_is_written_out():
    made = environment()
    made.environment_variables = {"B": "2", "A": 1}
    made.python.conda_dependencies.set_pip_index_url("https://index")
    made.python.conda_dependencies.set_pip_option("--no-binary numpy")
    assert made.specification() == {
        "schema": 1,
        "user_managed": False,
        "interpreter_path": None,
        "python_version": "3.8",
        "pip": ["numpy==1.23.5", "pandas==1.5.3", "--no-binary numpy"],
        "index": {
            "index_url": "https://index",
            "extra_index_urls": [],
            "find_links": [],
            "trusted_hosts": [],
            "prerelease": False,
        },
        "conda": [],
        "conda_channels": [],
        "environment_variables": {"A": "1", "B": "2"},
        "image": None,
    }


def test_the_digest_of_a_known_environment_stays_what_it_is():
    assert environment().digest == "e17da418e042a05e05bf88323ce957ed9b210dcc9de5ee169f0b80cc3b17537f"
    assert (
        Environment.from_interpreter("x", "/opt/python").digest
        == "e1ad5a60bd51f1e733e6725fd51a1186b9b79c6fc97dd533466fe7497d814971"
    )


VARIES = {
    "a package": lambda made: made.python.conda_dependencies.add_pip_package("scipy"),
    "a version": lambda made: made.python.conda_dependencies.add_pip_package("pandas==1.5.2"),
    "the Python version": lambda made: made.python.conda_dependencies.set_python_version("3.9"),
    "a conda package": lambda made: made.python.conda_dependencies.add_conda_package("lightgbm"),
    "a channel": lambda made: made.python.conda_dependencies.add_channel("conda-forge"),
    "the index": lambda made: made.python.conda_dependencies.set_pip_index_url("https://index"),
    "an option for pip": lambda made: made.python.conda_dependencies.set_pip_option("--pre"),
    "a variable": lambda made: made.environment_variables.update(A="1"),
    "the image": lambda made: setattr(made.docker, "base_image", "python:3.8"),
    "the interpreter": lambda made: setattr(made.python, "user_managed_dependencies", True),
}
VARIES_NOT = {
    "its name": lambda made: setattr(made, "name", "other"),
    "the order of packages": lambda made: made.python.conda_dependencies.add_pip_package("pandas==1.5.3"),
    "a dropped SDK package": lambda made: made.python.conda_dependencies.add_pip_package(
        "azureml-core==1.48"
    ),
    "pip for conda": lambda made: made.python.conda_dependencies.add_conda_package("pip=21"),
    "an unused interpreter path": lambda made: setattr(made.python, "interpreter_path", "/x/python"),
    "how a container is started": lambda made: setattr(made.docker, "shm_size", "2g"),
}


@pytest.mark.parametrize("change", VARIES)
def test_the_digest_varies_on(change):
    assert changed(VARIES[change]).digest != environment().digest


@pytest.mark.parametrize("change", VARIES_NOT)
def test_the_digest_does_not_vary_on(change):
    assert changed(VARIES_NOT[change]).digest == environment().digest


def test_all_those_digests_differ():
    assert len({changed(change).digest for change in VARIES.values()}) == len(VARIES)


@pytest.mark.parametrize("change", [*VARIES, *VARIES_NOT])
def test_an_environment_survives_its_specification(change):
    made = changed({**VARIES, **VARIES_NOT}[change])
    again = Environment.from_specification(made.specification(), "again")
    assert again.specification() == made.specification()
    assert again.digest == made.digest


def test_without_a_python_version_it_is_that_of_the_declaring_process():
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert Environment("x").specification()["python_version"] == version
    assert Environment.default().specification()["python_version"] == version
    assert Environment.default("3.9", ["pandas"]).specification()["python_version"] == "3.9"


def test_a_user_managed_interpreter_brings_nothing_else():
    made = environment()
    made.python.user_managed_dependencies = True
    made.python.interpreter_path = "/opt/python"
    found = made.specification()
    assert (found["interpreter_path"], found["python_version"], found["pip"]) == ("/opt/python", None, [])
    assert made.dropped_packages == []


def test_dropped_packages_are_told():
    made = Environment.default("3.8", ["azureml-defaults", "azureml-dataset-runtime[pandas]", "x"])
    assert made.dropped_packages == ["azureml-defaults", "azureml-dataset-runtime[pandas]"]
    assert made.specification()["pip"] == ["pandas", "pyarrow", "x"]


def test_a_clone_changes_by_itself():
    made = environment()
    clone = made.clone("other")
    clone.python.conda_dependencies.add_pip_package("scipy")
    clone.environment_variables["A"] = "1"
    assert clone.name == "other"
    assert made.digest == environment().digest


@pytest.mark.parametrize("variables", [{"": "x"}, {"A=B": "x"}, {"A": "x\0"}])
def test_impossible_variables_are_refused(variables):
    with pytest.raises(DefinitionError, match="Environment 'train': environment variable"):
        _ = environment(environment_variables=variables).digest


def test_files_are_found_beside_the_calling_file(tmp_path, monkeypatch):
    (tmp_path / "requirements.txt").write_text("pandas==1.5\n")
    (tmp_path / "env.yml").write_text("dependencies: [python=3.8]\n")
    calling = tmp_path / "dag.py"
    calling.write_text(
        "from airflow_azureml.model.environment import Environment\n"
        "pip = Environment.from_pip_requirements('a', 'requirements.txt', pip_version='21')\n"
        "conda = Environment.from_conda_specification('b', file_path='env.yml')\n"
    )
    monkeypatch.chdir("/")
    found = {}
    exec(compile(calling.read_text(), str(calling), "exec"), found)
    assert found["pip"].specification()["pip"] == ["pandas==1.5"]
    assert found["conda"].specification()["python_version"] == "3.8"


def test_files_are_found_in_the_current_directory_too(tmp_path, monkeypatch):
    (tmp_path / "mine.txt").write_text("pandas\n")
    monkeypatch.chdir(tmp_path)
    assert Environment.from_pip_requirements("a", "mine.txt").specification()["pip"] == ["pandas"]


def test_a_conda_file_may_be_named_instead_of_dependencies(tmp_path):
    (tmp_path / "env.yml").write_text("dependencies: [python=3.8]\n")
    made = Environment("a")
    made.python.conda_dependencies_file = str(tmp_path / "env.yml")
    assert made.specification()["python_version"] == "3.8"


def test_a_run_configuration_has_the_defaults_of_v1():
    configuration = RunConfiguration()
    assert (configuration.target, configuration.framework, configuration.communicator, configuration.node_count) == (
        "local", "Python", None, 1,
    )  # fmt: skip
    assert configuration.environment.name == "default-environment"
    assert configuration.environment.python.user_managed_dependencies is False


def test_its_variables_are_those_of_its_environment():
    configuration = RunConfiguration(conda_dependencies=CondaDependencies.create(python_version="3.8"))
    configuration.environment_variables = {"A": "1"}
    configuration.environment_variables["B"] = "2"
    assert configuration.environment.specification()["environment_variables"] == {"A": "1", "B": "2"}
    assert configuration.environment.specification()["python_version"] == "3.8"
