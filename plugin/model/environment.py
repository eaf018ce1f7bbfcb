"""The interpreter and the packages of a step, never Airflow's own.

v1 source: ``azureml.core.Environment``, ``azureml.core.runconfig``. Objects are open to change, as v1 code expects;
what counts is :meth:`Environment.specification` when a step is declared.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from airflow_azureml.model.canonical import digest_of
from airflow_azureml.model.conda import CondaDependencies
from airflow_azureml.model.files import find_file
from airflow_azureml.model.requirements import (
    joined_settings,
    read_requirements,
    split_settings,
    without_sdk,
)
from airflow_azureml.runtime.exceptions import DefinitionError

__all__ = [
    "CondaDependencies",
    "DockerConfiguration",
    "DockerSection",
    "Environment",
    "PythonSection",
    "RunConfiguration",
]

SPECIFICATION_SCHEMA = 1
_DEFAULT_NAME = "default-environment"


class PythonSection:
    """The Python part of an environment.

    :param conda_dependencies: packages and Python version.
    :param interpreter_path: the interpreter to use as it is, when ``user_managed_dependencies`` is set.
    :param user_managed_dependencies: take ``interpreter_path`` and install nothing.
    :param conda_dependencies_file: a conda environment file, used when ``conda_dependencies`` is None.
    """

    def __init__(
        self,
        *,
        conda_dependencies: CondaDependencies | None = None,
        interpreter_path: str = "python",
        user_managed_dependencies: bool = False,
        conda_dependencies_file: str | None = None,
    ) -> None:
        self.conda_dependencies = conda_dependencies
        self.interpreter_path = interpreter_path
        self.user_managed_dependencies = user_managed_dependencies
        self.conda_dependencies_file = conda_dependencies_file

    def dependencies(self) -> CondaDependencies:
        """Return the packages and the Python version, wherever they are said."""
        if self.conda_dependencies is not None:
            return self.conda_dependencies
        return CondaDependencies(self.conda_dependencies_file)


class DockerSection:
    """The image part of an environment, for compute targets that run images.

    :param enabled: v1's old switch for using an image.
    :param base_image: the image.
    :param base_dockerfile: text of a Dockerfile to build instead.
    :param arguments: arguments for starting the container.
    :param shm_size: size of its shared memory, such as ``2g``.
    """

    def __init__(
        self,
        *,
        enabled: bool = False,
        base_image: str | None = None,
        base_dockerfile: str | None = None,
        arguments: list[str] | None = None,
        shm_size: str | None = None,
    ) -> None:
        self.enabled = enabled
        self.base_image = base_image
        self.base_dockerfile = base_dockerfile
        self.arguments = list(arguments or ())
        self.shm_size = shm_size


class Environment:
    """What a step's script runs in.

    :param name: a label; it has no part in the digest.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.python = PythonSection()
        self.docker = DockerSection()
        self.environment_variables: dict[str, str] = {}

    @staticmethod
    def default(python_version: str | None = None, pip_packages: Iterable[str] | None = None) -> Environment:
        """Return the environment of steps that name none.

        :param python_version: such as ``3.11``; None for the version that declares the pipeline.
        :param pip_packages: pip requirements.
        """
        environment = Environment(_DEFAULT_NAME)
        environment.python.conda_dependencies = CondaDependencies.create(
            pip_packages=pip_packages, python_version=python_version or None
        )
        return environment

    @staticmethod
    def from_pip_requirements(
        name: str, file_path: str | Path, pip_version: str | None = None
    ) -> Environment:
        """Return an environment of the packages in a requirements file.

        :param name: a label.
        :param file_path: absolute, or relative to the calling file or the current directory.
        :param pip_version: accepted as in v1; no pip is used to build an environment.
        :raises UserErrorException: the file can't be read, or holds what an environment can't have.
        """
        del pip_version
        environment = Environment(name)
        environment.python.conda_dependencies = CondaDependencies()
        environment.python.conda_dependencies.add_requirements(read_requirements(find_file(file_path)))
        return environment

    @staticmethod
    def from_conda_specification(name: str, file_path: str | Path) -> Environment:
        """Return an environment of the packages in a conda environment file.

        :param name: a label.
        :param file_path: absolute, or relative to the calling file or the current directory.
        :raises UserErrorException: the file can't be read or is no conda environment.
        """
        environment = Environment(name)
        environment.python.conda_dependencies = CondaDependencies(file_path)
        return environment

    @staticmethod
    def from_interpreter(name: str, interpreter_path: str) -> Environment:
        """Return an environment that uses an interpreter as it is (v1: ``user_managed_dependencies``).

        :param name: a label.
        :param interpreter_path: path of the interpreter on the workers.
        """
        environment = Environment(name)
        environment.python.user_managed_dependencies = True
        environment.python.interpreter_path = interpreter_path
        return environment

    @staticmethod
    def from_specification(document: Mapping[str, Any], name: str = _DEFAULT_NAME) -> Environment:
        """Return the environment that a specification describes.

        :param document: as :meth:`specification` returns it.
        :param name: a label.
        """
        environment = Environment(name)
        environment.environment_variables = dict(document["environment_variables"])
        image = document["image"] or {}
        environment.docker.base_image = image.get("base_image")
        environment.docker.base_dockerfile = image.get("base_dockerfile")
        if document["user_managed"]:
            environment.python.user_managed_dependencies = True
            environment.python.interpreter_path = document["interpreter_path"]
            return environment
        dependencies = CondaDependencies.create(
            conda_packages=document["conda"], python_version=document["python_version"]
        )
        for line in document["pip"]:
            dependencies.add_pip_line(line)
        for option in joined_settings(document["index"]):
            dependencies.set_pip_option(option)
        for channel in document["conda_channels"]:
            dependencies.add_channel(channel)
        environment.python.conda_dependencies = dependencies
        return environment

    def clone(self, new_name: str) -> Environment:
        """Return a copy that can be changed by itself.

        :param new_name: its label.
        """
        clone = copy.deepcopy(self)
        clone.name = new_name
        return clone

    @property
    def dropped_packages(self) -> list[str]:
        """Requirements that aren't installed because the run context stands in for them."""
        if self.python.user_managed_dependencies:
            return []
        return without_sdk(self.python.dependencies().pip_packages)[1]

    def specification(self) -> dict[str, Any]:
        """Return all that building and using the environment depends on, as JSON.

        A user-managed one is its ``interpreter_path`` and nothing else. Otherwise there are ``python_version``, ``pip``
        (requirements and what options for pip are left beside ``index``), ``conda``, ``conda_channels``. Lists are
        sorted, except where the order counts: in ``index`` and ``conda_channels``.

        :raises DefinitionError: an environment variable isn't text.
        """
        return {
            "schema": SPECIFICATION_SCHEMA,
            **self._interpreter(),
            "environment_variables": self._variables(),
            "image": self._image(),
        }

    @property
    def digest(self) -> str:
        """SHA-256 over the specification: equal for equal environments, whatever they are called."""
        return digest_of(self.specification())

    def _interpreter(self) -> dict[str, Any]:
        managed = bool(self.python.user_managed_dependencies)
        dependencies = CondaDependencies() if managed else self.python.dependencies()
        index, options = split_settings(dependencies.pip_options)
        packages = set(without_sdk(dependencies.pip_packages)[0])
        own_version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return {
            "user_managed": managed,
            "interpreter_path": str(self.python.interpreter_path) if managed else None,
            "python_version": None if managed else dependencies.python_version or own_version,
            "pip": [*sorted(packages), *sorted(options)],
            "index": index,
            "conda": sorted(set(dependencies.conda_packages)),
            "conda_channels": dependencies.conda_channels,
        }

    def _variables(self) -> dict[str, str]:
        for name, value in self.environment_variables.items():
            if not name or "=" in name or "\0" in f"{name}{value}":
                raise DefinitionError(
                    f"Environment {self.name!r}: environment variable {name!r} is no proper one; use text without NUL"
                )
        return {name: str(value) for name, value in sorted(self.environment_variables.items())}

    def _image(self) -> dict[str, Any] | None:
        if self.docker.base_image is None and self.docker.base_dockerfile is None:
            return None
        return {"base_image": self.docker.base_image, "base_dockerfile": self.docker.base_dockerfile}

    def __repr__(self) -> str:
        """Return the constructor's call with the name."""
        return f"Environment({self.name!r})"


class DockerConfiguration:
    """How a run uses images.

    :param use_docker: whether it uses one.
    :param shared_volumes: accepted as in v1.
    :param arguments: arguments for starting the container.
    :param shm_size: size of its shared memory, such as ``2g``.
    """

    def __init__(
        self,
        use_docker: bool = False,
        shared_volumes: bool = True,
        arguments: list[str] | None = None,
        shm_size: str | None = None,
    ) -> None:
        self.use_docker = use_docker
        self.shared_volumes = shared_volumes
        self.arguments = list(arguments or ())
        self.shm_size = shm_size


class RunConfiguration:
    """Where and in what a script runs.

    :param script: accepted as in v1; a step names its script itself.
    :param arguments: accepted as in v1; a step names its arguments itself.
    :param framework: v1's word for what runs the script.
    :param communicator: v1's word for how several nodes talk; a step here is one process.
    :param conda_dependencies: packages and Python version of :attr:`environment`.
    """

    def __init__(
        self,
        script: str | None = None,
        arguments: list[Any] | None = None,
        framework: str | None = None,
        communicator: str | None = None,
        conda_dependencies: CondaDependencies | None = None,
    ) -> None:
        self.script = script
        self.arguments = list(arguments or ())
        self.framework = framework or "Python"
        self.communicator = communicator
        self.target: Any = "local"
        self.node_count = 1
        self.max_run_duration_seconds: int | None = None
        self.docker = DockerConfiguration()
        self.environment = Environment(_DEFAULT_NAME)
        if conda_dependencies is not None:
            self.environment.python.conda_dependencies = conda_dependencies

    @property
    def environment_variables(self) -> dict[str, str]:
        """Variables of the environment."""
        return self.environment.environment_variables

    @environment_variables.setter
    def environment_variables(self, variables: Mapping[str, str]) -> None:
        self.environment.environment_variables = dict(variables)
