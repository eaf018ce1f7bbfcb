"""v1's CondaDependencies: Python version, conda packages and pip packages of an environment.

v1 source: ``azureml.core.conda_dependencies.CondaDependencies``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from airflow_azureml.model.files import find_file
from airflow_azureml.model.requirements import (
    Requirements,
    checked_option,
    package_name,
    read_requirements,
    refuse_credentials,
    split_option,
)
from airflow_azureml.runtime.exceptions import UserErrorException

__all__ = ["CondaDependencies"]


class CondaDependencies:
    """The packages of an environment.

    Without a Python version a step runs on the version that declares the pipeline (v1: 3.8).

    :param conda_dependencies_file_path: a conda environment file (YAML) to start from.
    :raises UserErrorException: the file can't be read or is no conda environment.
    """

    def __init__(self, conda_dependencies_file_path: str | Path | None = None) -> None:
        self._python: str | None = None
        self._conda: list[str] = []
        self._pip: list[str] = []
        self._pip_options: list[str] = []
        self._channels: list[str] = []
        if conda_dependencies_file_path is not None:
            self._take(find_file(conda_dependencies_file_path))

    @staticmethod
    def create(
        pip_indexurl: str | None = None,
        pip_packages: Iterable[str] | None = None,
        conda_packages: Iterable[str] | None = None,
        python_version: str | None = None,
        pin_sdk_version: bool = True,
    ) -> CondaDependencies:
        """Return the dependencies that consist of these packages.

        :param pip_indexurl: the package index.
        :param pip_packages: pip requirements.
        :param conda_packages: conda packages; they need micromamba or conda on the worker.
        :param python_version: such as ``3.8`` or ``3.8.13``.
        :param pin_sdk_version: v1 pinned its own packages; they aren't installed here.
        """
        del pin_sdk_version
        dependencies = CondaDependencies()
        if python_version is not None:
            dependencies.set_python_version(python_version)
        if pip_indexurl is not None:
            dependencies.set_pip_index_url(pip_indexurl)
        for package in conda_packages or ():
            dependencies.add_conda_package(package)
        for package in pip_packages or ():
            dependencies.add_pip_package(package)
        return dependencies

    @property
    def python_version(self) -> str | None:
        """Python version, None if not said."""
        return self._python

    @property
    def conda_packages(self) -> list[str]:
        """Conda packages, without Python itself."""
        return list(self._conda)

    @property
    def pip_packages(self) -> list[str]:
        """Pip requirements."""
        return list(self._pip)

    @property
    def pip_options(self) -> list[str]:
        """Options for pip, such as ``--extra-index-url https://…``."""
        return list(self._pip_options)

    @property
    def conda_channels(self) -> list[str]:
        """Channels that conda packages come from."""
        return list(self._channels)

    def get_python_version(self) -> str | None:
        """Return the Python version, None if not said."""
        return self._python

    def set_python_version(self, version: str) -> None:
        """Set the Python version.

        :param version: such as ``3.8`` or ``3.8.13``.
        """
        self._python = str(version).lstrip("=").removesuffix(".*").strip()

    def set_pip_index_url(self, index_url: str) -> None:
        """Set the package index.

        :param index_url: its URL, or the whole option ``--index-url URL``.
        """
        self._pip_options = [option for option in self._pip_options if not option.startswith("--index-url ")]
        self.set_pip_option(index_url if index_url.startswith("-") else f"--index-url {index_url}")

    def set_pip_option(self, pip_option: str) -> None:
        """Add an option for pip.

        :param pip_option: the option with its value, as a requirements file has it.
        :raises UserErrorException: an option that an environment can't have.
        """
        option = checked_option(pip_option, "CondaDependencies")
        if option not in self._pip_options:
            self._pip_options.append(option)

    def remove_pip_option(self, pip_option: str) -> None:
        """Remove an option for pip.

        :param pip_option: the option with its value.
        """
        option = checked_option(pip_option, "CondaDependencies")
        self._pip_options = [known for known in self._pip_options if known != option]

    def add_pip_package(self, pip_package: str) -> None:
        """Add a pip requirement; one of the same package is replaced.

        :param pip_package: a requirement such as ``pandas==1.5.3``.
        :raises UserErrorException: a URL in it holds credentials.
        """
        refuse_credentials(pip_package, "CondaDependencies")
        self.remove_pip_package(pip_package)
        self._pip.append(pip_package.strip())

    def add_pip_line(self, line: str) -> None:
        """Add a pip requirement or an option for pip.

        :param line: either, as a requirements file has it.
        :raises UserErrorException: an option that an environment can't have.
        """
        if line.startswith("-"):
            self.set_pip_option(line)
        else:
            self.add_pip_package(line)

    def add_requirements(self, requirements: Requirements) -> None:
        """Add what requirements files say.

        :param requirements: their content.
        """
        for package in requirements.packages:
            self.add_pip_package(package)
        for option in requirements.options:
            self.set_pip_option(option)

    def remove_pip_package(self, pip_package: str) -> None:
        """Remove a pip requirement.

        :param pip_package: a requirement of the package, any version.
        """
        self._pip = _without(self._pip, pip_package)

    def add_conda_package(self, conda_package: str) -> None:
        """Add a conda package; one of the same name is replaced.

        :param conda_package: such as ``numpy=1.23``. ``python=3.8`` sets the Python version.
        """
        package = conda_package.strip()
        if package_name(package.rpartition("::")[2]) == "python":
            version = package.rpartition("::")[2][len("python") :].strip()
            self._python = version.lstrip("= ").removesuffix(".*") or None
            return
        if _key(package) == "pip":
            # Conda files list pip so that conda installs it; pip packages are installed without it here.
            return
        self.remove_conda_package(package)
        self._conda.append(package)

    def remove_conda_package(self, conda_package: str) -> None:
        """Remove a conda package.

        :param conda_package: the package, any version.
        """
        self._conda = _without(self._conda, conda_package)

    def add_channel(self, channel: str) -> None:
        """Add a channel.

        :param channel: such as ``conda-forge``.
        """
        if channel not in self._channels:
            self._channels.append(channel)

    def remove_channel(self, channel: str) -> None:
        """Remove a channel.

        :param channel: such as ``conda-forge``.
        """
        self._channels = [known for known in self._channels if known != channel]

    def as_dict(self) -> dict[str, Any]:
        """Return the conda environment as data."""
        dependencies: list[Any] = [f"python={self._python}"] if self._python else []
        dependencies += self._conda
        if self._pip or self._pip_options:
            dependencies.append({"pip": [*self._pip_options, *self._pip]})
        return {"name": "project_environment", "channels": self.conda_channels, "dependencies": dependencies}

    def serialize_to_string(self) -> str:
        """Return the conda environment as YAML."""
        return str(_yaml().safe_dump(self.as_dict(), sort_keys=False))

    def save_to_file(self, base_directory: str, conda_file_path: str = "conda_dependencies.yml") -> str:
        """Write the conda environment to a file.

        :param base_directory: folder.
        :param conda_file_path: file below it.
        :return: ``conda_file_path``.
        """
        target = Path(base_directory, conda_file_path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(self.serialize_to_string(), encoding="utf-8")
        return conda_file_path

    def _take(self, path: Path) -> None:
        document = _read_yaml(path)
        entries = document.get("dependencies") if isinstance(document, Mapping) else None
        if not isinstance(document, Mapping) or not isinstance(entries, list | None):
            raise UserErrorException(f"{path} is no conda environment; it needs a list called dependencies")
        for channel in document.get("channels") or ():
            self.add_channel(str(channel))
        for entry in entries or ():
            if isinstance(entry, Mapping) and set(entry) == {"pip"}:
                self._take_pip(entry["pip"] or (), path.parent)
            elif isinstance(entry, str):
                self.add_conda_package(entry)
            else:
                raise UserErrorException(f"{path}: dependency {entry!r} is neither a package nor a pip list")

    def _take_pip(self, lines: Iterable[object], folder: Path) -> None:
        for line in map(str, lines):
            option, value = split_option(line)
            if option in {"-r", "--requirement"}:
                self.add_requirements(read_requirements(folder / value))
            else:
                self.add_pip_line(line)


def _without(packages: list[str], package: str) -> list[str]:
    name = _key(package)
    return [known for known in packages if _key(known) != name]


def _key(package: str) -> str:
    # "conda-forge::numpy=1.23" is numpy; what has no package name, such as a URL, is only itself.
    plain = package.rpartition("::")[2]
    return plain if "://" in plain else package_name(plain) or plain


def _read_yaml(path: Path) -> object:
    try:
        text = path.read_text(encoding="utf-8-sig")
        return _yaml().safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise UserErrorException(f"conda file {path} cannot be read: {error}") from error
    except _yaml().YAMLError as error:
        raise UserErrorException(f"conda file {path} is no YAML: {' '.join(str(error).split())}") from error


def _yaml() -> Any:
    try:
        import yaml  # type: ignore[import-untyped, unused-ignore]
    except ImportError as error:
        raise UserErrorException(
            "conda environment files need PyYAML; install it: pip install pyyaml"
        ) from error
    return yaml
