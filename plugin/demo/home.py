"""A private Airflow home: settings, folders and free ports of the demonstration."""

import json
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from airflow_azureml import example_dags

DEPLOYMENT = "demo"
_HOST = "127.0.0.1"
_USUAL_PORT = 8080
_BUNDLE_CLASS = "airflow.dag_processing.bundles.local.LocalDagBundle"


@dataclass(frozen=True, slots=True)
class AirflowHome:
    """An Airflow home and the ports its services listen on.

    :param path: the home's folder.
    :param port: port of the API server and UI.
    :param log_ports: ports from which the scheduler's and the triggerer's logs are served.
    """

    path: Path
    port: int
    log_ports: tuple[int, int]

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make the folder, if it is not there, and find free ports; the usual one for the UI if that is free."""
        path = path.absolute()
        path.mkdir(parents=True, exist_ok=True)
        return cls(path, port=free_port(_USUAL_PORT), log_ports=(free_port(), free_port()))

    @property
    def url(self) -> str:
        """Address of the API server and UI."""
        return f"http://localhost:{self.port}"

    @property
    def workspace(self) -> Path:
        """Folder of the workspace."""
        return self.path / "azureml" / "workspace"

    @property
    def password_file(self) -> Path:
        """File in which Airflow writes the password it makes up for the user ``admin``."""
        return self.path / "simple_auth_manager_passwords.json.generated"

    @property
    def log_file(self) -> Path:
        """File for everything Airflow's processes print."""
        return self.path / "standalone.log"

    def environment(self) -> dict[str, str]:
        """Return the environment of Airflow's processes: this one's, with the settings of the home.

        Settings of another Airflow (``AIRFLOW__…``) are left out, so that only the home's hold.
        """
        inherited = {
            name: value
            for name, value in os.environ.items()
            # Uncompiled, Airflow's processes take twice as long to start.
            if not name.startswith(("AIRFLOW_", "AIRFLOW__")) and name != "PYTHONDONTWRITEBYTECODE"
        }
        # `airflow standalone` looks for `airflow` on PATH.
        search_path = os.pathsep.join([str(Path(sys.executable).parent), inherited.get("PATH", os.defpath)])
        return {**inherited, "PATH": search_path, "AIRFLOW_HOME": str(self.path), **self._settings()}

    def _settings(self) -> dict[str, str]:
        bundle = {"name": "examples", "classpath": _BUNDLE_CLASS, "kwargs": {"path": _examples_folder()}}
        return {
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__HOST": _HOST,
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__AZUREML__DEPLOYMENT": DEPLOYMENT,
            "AIRFLOW__AZUREML__WORKSPACE": str(self.workspace),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            # LocalExecutor starts this many processes at once; the default of 32 is felt on a laptop.
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            # The API server's first answers to a task can take longer than the default of 5 s, and then the task fails.
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "120",
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(self.log_ports[1]),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(self.log_ports[0]),
        }


def _examples_folder() -> str:
    return str(Path(example_dags.__file__).parent)


def free_port(wanted: int = 0) -> int:
    """Return a TCP port that is free on this machine: ``wanted``, or any other when that is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", wanted))
        except OSError:
            return free_port()
        port: int = probe.getsockname()[1]
        return port
