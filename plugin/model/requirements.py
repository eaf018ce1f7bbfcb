"""Lists of pip packages: requirements files, and the SDK packages that have no place in a step here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_azureml.runtime.exceptions import UserErrorException

__all__ = [
    "Requirements",
    "checked_option",
    "joined_settings",
    "package_name",
    "read_requirements",
    "refuse_credentials",
    "split_option",
    "split_settings",
    "without_sdk",
]

_NAME = re.compile(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[([^\]]*)\])?")
_COMMENT = re.compile(r"(^|\s)#.*$")
# git@github.com in an ssh URL is an account, not a secret; anything with a colon, or a bare token, is one.
_URL_WITH_USER = re.compile(r"//(?!git@)[^/@\s]+@")

# What step scripts import from these comes with the run context. The real packages would only find that there is no
# Azure ML service to talk to.
_SDK = frozenset(
    {
        "azureml-core",
        "azureml-dataprep",
        "azureml-dataprep-native",
        "azureml-dataprep-rslex",
        "azureml-dataset-runtime",
        "azureml-defaults",
        "azureml-pipeline",
        "azureml-pipeline-core",
        "azureml-pipeline-steps",
        "azureml-sdk",
        "azureml-telemetry",
        "azureml-train",
        "azureml-train-core",
        "azureml-train-restclients-hyperdrive",
        "azureml-widgets",
    }
)
_DATASET_PACKAGES = frozenset({"azureml-dataprep", "azureml-dataset-runtime"})
_FOR_TABLES = ("pandas", "pyarrow")


@dataclass(frozen=True, slots=True)
class Requirements:
    """What requirements files say.

    :param packages: requirement lines, in order.
    :param options: options for pip, one each, as ``--name value``.
    """

    packages: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)


def package_name(requirement: str) -> str | None:
    """Return the normalised name of the package that a requirement asks for, None if it names none.

    :param requirement: a requirement line.
    """
    match = _NAME.match(requirement)
    return re.sub(r"[-_.]+", "-", match.group(1)).lower() if match else None


def without_sdk(packages: Iterable[str]) -> tuple[list[str], list[str]]:
    """Replace the packages of the Azure ML SDK by what the run context needs in their place.

    :param packages: requirement lines.
    :return: the lines to install, and the lines that were dropped.
    """
    lines = list(packages)
    names = [package_name(line) for line in lines]
    kept = [line for line, name in zip(lines, names, strict=True) if name not in _SDK]
    dropped = [line for line, name in zip(lines, names, strict=True) if name in _SDK]
    for line in dropped:
        if package_name(line) in _DATASET_PACKAGES and "pandas" in _extras(line):
            kept += [name for name in _FOR_TABLES if name not in {package_name(other) for other in kept}]
    return kept, dropped


def _extras(requirement: str) -> list[str]:
    match = _NAME.match(requirement)
    return [extra.strip().lower() for extra in (match.group(2) or "").split(",")] if match else []


def read_requirements(path: Path) -> Requirements:
    """Read a requirements file and the files it includes.

    :param path: the file.
    :raises UserErrorException: it can't be read, or holds something that depends on where it lies.
    """
    found = Requirements()
    _read_into(path, found, ())
    return found


def _read_into(path: Path, found: Requirements, outer: tuple[Path, ...]) -> None:
    if path.resolve() in outer:
        raise UserErrorException(f"requirements file {path} includes itself")
    for number, line in _lines(path):
        option, value = split_option(line)
        if option in {"-r", "--requirement"}:
            _read_into(path.parent / value, found, (*outer, path.resolve()))
        elif option in {"-e", "--editable"} or line.startswith((".", "/", "~", "file:")):
            raise UserErrorException(
                f"{path}, line {number}: {line!r} is a path; name a package or a URL, "
                "or put the code into the step's source_directory"
            )
        elif option is not None:
            found.options.append(checked_option(line, f"{path}, line {number}"))
        else:
            found.packages.append(line)


def refuse_credentials(text: str, where: str) -> str:
    """Return the text of a requirement or an option, unless it carries a password.

    What an environment is made of is kept in definitions and run records, which many people read.

    :param text: as a requirements file has it.
    :param where: what it was given to, for the message.
    :raises UserErrorException: a URL in it names a user.
    """
    if _URL_WITH_USER.search(text):
        raise UserErrorException(
            f"{where}: a URL in {_URL_WITH_USER.sub('//***@', text)!r} holds credentials, which would be stored with every run; "
            "put them into pip.conf, ~/.netrc or the variable UV_INDEX_URL of the workers and leave them out here"
        )
    return text


def checked_option(line: str, where: str) -> str:
    """Return an option for pip in its one spelling: ``--name value``.

    :param line: the option as a requirements file has it.
    :param where: where it stands, for the message.
    :raises UserErrorException: an option that an environment can't have.
    """
    option, value = split_option(line)
    refuse_credentials(line, where)
    option = {"-i": "--index-url", "-f": "--find-links"}.get(option or "", option)
    if option not in _SETTINGS and option not in _PASSED_ON:
        raise UserErrorException(f"{where}: option {line!r} is not supported; take it out")
    return f"{option} {value}".strip()


def split_settings(options: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """Separate the settings of package indexes from other options for pip.

    :param options: options as :func:`checked_option` returns them.
    :return: ``index_url``, ``extra_index_urls``, ``find_links``, ``trusted_hosts``, ``prerelease``; the other options.
    """
    settings: dict[str, Any] = {
        "index_url": None,
        "extra_index_urls": [],
        "find_links": [],
        "trusted_hosts": [],
        "prerelease": False,
    }
    rest: list[str] = []
    for line in options:
        option, value = split_option(line)
        key = _SETTINGS.get(option or "")
        if key is None:
            rest.append(line)
        elif isinstance(settings[key], list):
            settings[key].append(value)
        else:
            settings[key] = value if key == "index_url" else True
    return settings, rest


def joined_settings(settings: Mapping[str, Any]) -> list[str]:
    """Return the options that :func:`split_settings` made settings of.

    :param settings: settings of package indexes.
    """
    found: list[str] = []
    for option, key in _SETTINGS.items():
        value = settings[key]
        if value is True:
            found.append(option)
        elif value:
            found += [f"{option} {item}" for item in ([value] if isinstance(value, str) else value)]
    return found


_SETTINGS = {
    "--index-url": "index_url",
    "--extra-index-url": "extra_index_urls",
    "--find-links": "find_links",
    "--trusted-host": "trusted_hosts",
    "--pre": "prerelease",
}
_PASSED_ON = frozenset({"--no-index", "--no-binary", "--only-binary"})


def split_option(line: str) -> tuple[str | None, str]:
    """Return name and value of an option; None and nothing for a line that is no option.

    :param line: a line of a requirements file.
    """
    if not line.startswith("-"):
        return None, ""
    if line.startswith("--"):
        name, _, value = line.replace("=", " ", 1).partition(" ")
        return name, value.strip()
    return line[:2], line[2:].strip()


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserErrorException(f"requirements file {path} cannot be read: {error}") from error
    joined = ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.endswith("\\"):
            joined += line[:-1] + " "
            continue
        whole = " ".join(_COMMENT.sub("", joined + line).split())
        joined = ""
        if whole:
            yield number, whole
    if joined.strip():
        yield len(text.splitlines()), " ".join(joined.split())
