"""The machine's package index settings: where pip would look, uv looks too.

uv reads neither pip's configuration files nor its variables, yet on a company's machine these are what is set. They are
handed to uv as variables, never as arguments: a process list shows arguments, and index addresses may hold passwords.
"""

from __future__ import annotations

import configparser
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from airflow_azureml.compute.environments.inherited import base_environment

_BUILD_TOOLS = (
    "UV_*",
    "CC",
    "CXX",
    "CFLAGS",
    "CPPFLAGS",
    "CXXFLAGS",
    "LDFLAGS",
    "PKG_CONFIG_PATH",
    "GIT_SSL_CAINFO",
    "SSH_AUTH_SOCK",
    "NETRC",
    "SSL_CLIENT_CERT",
    "XDG_*",
    "CONDA_PKGS_DIRS",
    "CONDARC",
    "MAMBA_ROOT_PREFIX",
)
"""What building packages may need beyond what a step inherits."""

_NOT_OURS = (
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    "UV_BREAK_SYSTEM_PACKAGES",
    "UV_PROJECT",
    "UV_PROJECT_ENVIRONMENT",
    "UV_WORKING_DIR",
    "UV_VENV_SEED",
    "UV_VENV_RELOCATABLE",
    "UV_COMPILE_BYTECODE",
)
"""Settings of uv that say what to build or where; both are decided here."""

_CREDENTIALS = re.compile(r"(?<=://)[^/\s@]+@")


def redact(text: str) -> str:
    """Replace user names, passwords and tokens in addresses by ``***``."""
    return _CREDENTIALS.sub("***@", text)


def build_environment(
    index: Mapping[str, Any], source: Mapping[str, str] = os.environ, *, system_root: Path = Path("/")
) -> dict[str, str]:
    """The variables uv and other builders run with.

    An address the environment itself names comes before uv's own settings on this machine, these before pip's.

    :param index: index settings of the environment's specification.
    :param source: this process's variables.
    :param system_root: where the system's configuration files are.
    """
    result = base_environment(_BUILD_TOOLS, source)
    for name in _NOT_OURS:
        result.pop(name, None)
    _apply_pip_settings(result, pip_settings(source, system_root=system_root))
    _apply_environment_settings(result, index)
    result.setdefault("UV_NO_PROGRESS", "1")
    return result


def pip_settings(source: Mapping[str, str] = os.environ, *, system_root: Path = Path("/")) -> dict[str, str]:
    """What pip would have configured: files from the most general to the most special, then ``PIP_*`` variables.

    :returns: option name in pip's spelling for files (``index-url``) to value.
    """
    settings: dict[str, str] = {}
    for path in _pip_files(source, system_root):
        settings.update(_read_pip_file(path))
    prefix = "PIP_"
    for name, value in source.items():
        if name.startswith(prefix) and value:
            settings[name.removeprefix(prefix).lower().replace("_", "-")] = value
    return settings


def _pip_files(source: Mapping[str, str], system_root: Path) -> list[Path]:
    home = Path(source.get("HOME", "/nonexistent"))
    files = [system_root / "etc/xdg/pip/pip.conf", system_root / "etc/pip.conf"]
    chosen = source.get("PIP_CONFIG_FILE")
    if chosen == os.devnull:
        return []  # how pip is told to read no files
    files += [
        home / ".pip/pip.conf",
        Path(source.get("XDG_CONFIG_HOME") or home / ".config") / "pip/pip.conf",
        Path(sys.prefix) / "pip.conf",
    ]
    return [*files, Path(chosen)] if chosen else files


def _read_pip_file(path: Path) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError):
        return {}  # pip itself would complain; an environment that needs no index builds without it
    result: dict[str, str] = {}
    for section in ("global", "install"):
        if parser.has_section(section):
            result.update({name.replace("_", "-"): value for name, value in parser.items(section) if value})
    return result


def _apply_pip_settings(variables: dict[str, str], pip: Mapping[str, str]) -> None:
    """Translate pip's settings to uv's variables, where uv has not been told something else."""
    own_index = {"UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"} & variables.keys()
    if not own_index:
        if "index-url" in pip:
            variables["UV_DEFAULT_INDEX"] = pip["index-url"]
        if "extra-index-url" in pip:
            _add_indexes(variables, pip["extra-index-url"].split())
    translations = {
        "find-links": ("UV_FIND_LINKS", ","),
        "trusted-host": ("UV_INSECURE_HOST", " "),
        "cert": ("SSL_CERT_FILE", ""),
        "client-cert": ("SSL_CLIENT_CERT", ""),
        "proxy": ("HTTPS_PROXY", ""),
        "timeout": ("UV_HTTP_TIMEOUT", ""),
        "constraint": ("UV_CONSTRAINT", " "),
    }
    for option, (variable, separator) in translations.items():
        if option in pip:
            value = separator.join(pip[option].split()) if separator else pip[option]
            variables.setdefault(variable, value)


def _apply_environment_settings(variables: dict[str, str], index: Mapping[str, Any]) -> None:
    if index.get("index_url"):
        variables.pop("UV_INDEX_URL", None)
        variables["UV_DEFAULT_INDEX"] = index["index_url"]
    _add_indexes(variables, index.get("extra_index_urls") or ())
    _extend(variables, "UV_FIND_LINKS", index.get("find_links") or (), ",")
    _extend(variables, "UV_INSECURE_HOST", index.get("trusted_hosts") or (), " ")
    if index.get("prerelease"):
        variables["UV_PRERELEASE"] = "allow"


def _add_indexes(variables: dict[str, str], urls: Iterable[str]) -> None:
    urls = list(urls)
    _extend(variables, "UV_INDEX", urls, " ")
    if urls:
        # pip takes the best version from all indexes together; uv by default stops at the first index that has the
        # name at all, and then doesn't find what pip does.
        variables.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")


def _extend(variables: dict[str, str], name: str, values: Iterable[str], separator: str) -> None:
    parts = [*(part for part in variables.get(name, "").split(separator) if part), *values]
    if parts:
        variables[name] = separator.join(parts)
