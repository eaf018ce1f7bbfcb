"""What a step sees of its worker's environment variables."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from fnmatch import translate

from airflow_azureml.compute.environments.interpreter import Interpreter

INHERITED = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "TZ",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_RUNTIME_DIR",
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "LD_LIBRARY_PATH",
    "CUDA_*",
    "NVIDIA_*",
    "ROCR_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "OMP_*",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_*",
)
"""Patterns of the variables a step inherits: how the machine is reached and used, nothing of whose it is."""

NEVER = ("AIRFLOW__*", "AIRFLOW_CONN_*", "AIRFLOW_VAR_*", "_AIRFLOW_*", "__AIRFLOW_*")
"""Airflow's configuration, connections and variables: no allow-list opens these, not even by ``*``."""


def _matcher(patterns: Iterable[str]) -> Callable[[str], object]:
    # One expression for all patterns; where there are none, one that nothing matches.
    return re.compile("|".join(map(translate, patterns)) or "(?!)").match


# Made once: every step waited 5 ms for them.
_is_inherited, _is_airflows = _matcher(INHERITED), _matcher(NEVER)


def base_environment(
    allow: Iterable[str] = (),
    source: Mapping[str, str] = os.environ,
    *,
    interpreter: Interpreter | None = None,
) -> dict[str, str]:
    """Build the variables a step starts with, from an allow-list.

    Everything that is not listed stays out: secrets, Airflow's configuration, and settings of the worker's own
    interpreter such as ``PYTHONPATH``, ``VIRTUAL_ENV`` or ``PYTHONDONTWRITEBYTECODE``. The last one matters for time:
    with it every run would compile the packages it imports again, seconds for pandas and scikit-learn.

    :param allow: more names or shell-style patterns.
    :param source: the worker's variables.
    :param interpreter: the step's interpreter: its folder comes first on PATH, its variables win.
    """
    is_allowed = _matcher(allow)
    result = {
        name: value
        for name, value in source.items()
        if (_is_inherited(name) or is_allowed(name)) and not _is_airflows(name)
    }
    if interpreter is not None:
        path = result.get("PATH", os.defpath)
        result["PATH"] = f"{interpreter.bin}{os.pathsep}{path}"
        result.update(interpreter.variables)
    return result
