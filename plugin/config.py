"""The options of the ``[azureml]`` section, read once per process at first use.

They are declared, with defaults and descriptions, in ``airflow_azureml.provider_info``. Like every Airflow option
each can be set in ``airflow.cfg`` or as ``AIRFLOW__AZUREML__<NAME>``. A value of the wrong type raises Airflow's
``AirflowConfigException``, which names the option.
"""

from collections.abc import Callable
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from airflow_azureml.compute.virtual_mount import MountMode

SECTION = "azureml"
_BYTES_PER_MIB = 1024 * 1024


class ReuseMode(Enum):
    """What a deployment does with earlier results."""

    ON = "on"
    READ = "read"
    OFF = "off"


def _conf() -> Any:
    # Reading Airflow's configuration costs as much as importing Airflow; a DAG file pays only if it asks.
    from airflow.sdk import conf

    return conf


def _text(option: str) -> str:
    value: str | None = _conf().get(SECTION, option)
    return (value or "").strip()


def _directory(option: str) -> Path:
    return Path(_text(option)).expanduser().absolute()


def _limit(option: str) -> int | None:
    value = int(_conf().getint(SECTION, option))
    if value < 0:
        raise ValueError(
            f"[{SECTION}] {option} is {value}; expected a number of at least 0, where 0 means no limit"
        )
    return value or None


@cache
def workspace_url() -> str:
    """Root of the workspace's object store."""
    return _text("workspace")


@cache
def deployment() -> str:
    """Name of this Airflow deployment; without one, the address of its API server."""
    return _text("deployment") or base_url()


@cache
def base_url() -> str:
    """Address of Airflow's API server, without a slash at its end."""
    conf = _conf()
    url: str = (
        conf.get("api", "base_url", fallback="")
        or f"http://localhost:{conf.get('api', 'port', fallback='8080')}"
    )
    return url.rstrip("/")


@cache
def environments_directory() -> Path:
    """Folder of the interpreters of steps."""
    return _directory("environments_directory")


@cache
def cache_directory() -> Path:
    """Folder for what can be computed again."""
    return _directory("cache_directory")


@cache
def scratch_directory() -> Path:
    """Folder for the working directories of running steps."""
    return _directory("scratch_directory")


@cache
def default_compute() -> str:
    """Compute target of a step that names none."""
    return _text("default_compute")


@cache
def default_python() -> str | None:
    """Python version of a step whose environment names none; None for the version that runs Airflow."""
    return _text("default_python") or None


@cache
def default_pip_packages() -> tuple[str, ...]:
    """Requirements for pip of a step that declares no environment."""
    return tuple(_text("default_pip_packages").split())


@cache
def inherit_variables() -> tuple[str, ...]:
    """Names of the worker's environment variables that steps inherit as well."""
    return tuple(_text("inherit_variables").split())


@cache
def snapshot_limit_bytes() -> int:
    """Largest total size of a step's source directory."""
    return int(_conf().getint(SECTION, "snapshot_limit_mb")) * _BYTES_PER_MIB


@cache
def data_cache_limit_bytes() -> int | None:
    """How much of remote datastores may be kept on this machine; None for no limit."""
    limit = _limit("data_cache_limit_mb")
    return None if limit is None else limit * _BYTES_PER_MIB


@cache
def mount() -> "MountMode":
    """How mounted inputs on remote datastores are read."""
    from airflow_azureml.compute.virtual_mount import MODES

    word = _text("mount")
    if word not in MODES:
        raise ValueError(f"[{SECTION}] mount is {word!r}; expected one of {', '.join(MODES)}")
    return cast("MountMode", word)


@cache
def memory_limit_bytes() -> int | None:
    """Memory that the processes of a local step may use together; None for no limit."""
    limit = _limit("memory_limit_mb")
    return None if limit is None else limit * _BYTES_PER_MIB


@cache
def cpu_limit() -> int | None:
    """Number of processors that the processes of a local step may run on; None for no limit."""
    return _limit("cpu_limit")


@cache
def grace_s() -> float:
    """Seconds between asking a step's processes to end and ending them."""
    return float(_conf().getfloat(SECTION, "grace_s"))


@cache
def reuse() -> ReuseMode:
    """Whether earlier results take the place of running a step again.

    Raises ``ValueError`` for a word that is not one of on, read, off.
    """
    word = _text("reuse").lower()
    try:
        return ReuseMode(word)
    except ValueError:
        expected = ", ".join(mode.value for mode in ReuseMode)
        raise ValueError(f"[{SECTION}] reuse is {word!r}; expected one of {expected}") from None


@cache
def reuse_gate() -> str:
    """Where steps look for earlier results: ``worker`` or ``triggerer``.

    Raises ``ValueError`` for another word.
    """
    word = _text("reuse_gate").lower()
    if word not in {"worker", "triggerer"}:
        raise ValueError(f"[{SECTION}] reuse_gate is {word!r}; expected worker or triggerer")
    return word


@cache
def lease_s() -> float:
    """Seconds for which nobody else computes a result after its computer was last heard of."""
    value = float(_conf().getfloat(SECTION, "lease_s"))
    if value <= 0:
        raise ValueError(f"[{SECTION}] lease_s is {value}; expected a number greater than 0")
    return value


@cache
def wait_poll_s() -> float:
    """Seconds between two looks of a step that waits for a result."""
    value = float(_conf().getfloat(SECTION, "wait_poll_s"))
    if value <= 0:
        raise ValueError(f"[{SECTION}] wait_poll_s is {value}; expected a number greater than 0")
    return value


@cache
def clear_reuses() -> bool:
    """Whether a task that is cleared after it had succeeded may take its result from reuse."""
    return bool(_conf().getboolean(SECTION, "clear_reuses"))


@cache
def accept_from() -> tuple[str, ...]:
    """Names of the deployments whose results count; empty for all."""
    return tuple(_text("accept_from").split())


@cache
def salt() -> str:
    """Text that enters all keys."""
    return _text("salt")


GETTERS: dict[str, Callable[[], Any]] = {
    "workspace": workspace_url,
    "deployment": deployment,
    "environments_directory": environments_directory,
    "cache_directory": cache_directory,
    "scratch_directory": scratch_directory,
    "default_compute": default_compute,
    "default_python": default_python,
    "default_pip_packages": default_pip_packages,
    "inherit_variables": inherit_variables,
    "snapshot_limit_mb": snapshot_limit_bytes,
    "data_cache_limit_mb": data_cache_limit_bytes,
    "mount": mount,
    "memory_limit_mb": memory_limit_bytes,
    "cpu_limit": cpu_limit,
    "grace_s": grace_s,
    "reuse": reuse,
    "reuse_gate": reuse_gate,
    "lease_s": lease_s,
    "wait_poll_s": wait_poll_s,
    "clear_reuses": clear_reuses,
    "accept_from": accept_from,
    "salt": salt,
}
"""The getter of every declared option; a test keeps this and the declaration equal."""


def forget() -> None:
    """Read every option again at its next use, for tests that change them."""
    for getter in (*GETTERS.values(), base_url):
        getter.cache_clear()  # type: ignore[attr-defined]
