"""What Airflow learns about this package.

Airflow imports this module in every one of its processes, so it imports nothing but plain data.
"""

from typing import Any

from airflow_azureml import __version__
from airflow_azureml.connection_types import CONNECTION_TYPES

INTEGRATION = "Azure ML pipelines"

OPTIONS: dict[str, dict[str, Any]] = {
    "workspace": {
        "description": (
            "Root of the object store that holds snapshots, run records, datasets, models and results to reuse: "
            "a folder, a ``file://`` URL, or ``azure://connection/container/folder``: an Airflow connection and a container of "
            "Azure Blob storage. Every machine that runs steps must see the same one."
        ),
        "type": "string",
        "example": "/mnt/shared/azureml",
        "default": "{AIRFLOW_HOME}/azureml/workspace",
    },
    "deployment": {
        "description": (
            "Name of this Airflow deployment, written into run ids and run records so that several deployments can "
            "share one workspace. Empty: the value of ``[api] base_url``."
        ),
        "type": "string",
        "example": "analytics-production",
        "default": "",
    },
    "environments_directory": {
        "description": (
            "Folder on this machine for the interpreters of steps. Each distinct environment is built there once and "
            "used by every run."
        ),
        "type": "string",
        "example": "/var/cache/airflow-azureml/environments",
        "default": "{AIRFLOW_HOME}/azureml/environments",
    },
    "cache_directory": {
        "description": (
            "Folder on this machine for what can be computed again: file hashes, snapshots and the runtime that is "
            "put on a step's import path. Deleting it costs time, never results."
        ),
        "type": "string",
        "example": "/var/cache/airflow-azureml",
        "default": "{AIRFLOW_HOME}/azureml/cache",
    },
    "scratch_directory": {
        "description": (
            "Folder on this machine for the working directories of running steps. Removed when a step ends. On the "
            "file system of a local workspace, outputs are moved into place instead of copied."
        ),
        "type": "string",
        "example": "/mnt/fast/azureml",
        "default": "{AIRFLOW_HOME}/azureml/scratch",
    },
    "default_compute": {
        "description": "Compute target of a step that names none, in its pipeline or itself.",
        "type": "string",
        "example": "local",
        "default": "local",
    },
    "default_python": {
        "description": (
            "Python version of a step whose environment names none. Empty: the version that runs Airflow."
        ),
        "type": "string",
        "example": "3.12",
        "default": "",
    },
    "default_pip_packages": {
        "description": (
            "pip requirements, separated by blanks, of a step that declares no environment. Empty: a bare interpreter."
        ),
        "type": "string",
        "example": "pandas==2.3.* pyarrow scikit-learn",
        "default": "pandas pyarrow",
    },
    "inherit_variables": {
        "description": (
            "Names of environment variables, separated by blanks, that steps inherit from the Airflow worker beside "
            "the few that every process needs. Nothing else of the worker's environment reaches a step."
        ),
        "type": "string",
        "example": "HTTPS_PROXY NO_PROXY",
        "default": "",
    },
    "snapshot_limit_mb": {
        "description": (
            "Largest total size in MiB of a step's source directory. A larger one is refused, naming its largest files."
        ),
        "type": "integer",
        "example": "1000",
        "default": "300",
    },
    "data_cache_limit_mb": {
        "description": (
            "How many MiB of files of remote datastores may be kept below the cache directory, for all steps of this machine. "
            "What was not used for longest goes first; what a running step uses stays in any case. 0: no limit."
        ),
        "type": "integer",
        "example": "102400",
        "default": "20480",
    },
    "mount": {
        "description": (
            "How mounted inputs on remote datastores are read: ``auto`` (on demand where the machine can mount, else downloaded "
            "first), ``download``, or ``fuse`` (fail where the machine cannot mount)."
        ),
        "type": "string",
        "example": "download",
        "default": "auto",
    },
    "memory_limit_mb": {
        "description": "Memory in MiB that the processes of a local step may use together. 0: no limit.",
        "type": "integer",
        "example": "4096",
        "default": "0",
    },
    "cpu_limit": {
        "description": "Number of processors that the processes of a local step may run on. 0: no limit.",
        "type": "integer",
        "example": "2",
        "default": "0",
    },
    "grace_s": {
        "description": (
            "Seconds between asking a step's processes to end (SIGTERM) and ending them (SIGKILL) when a step is "
            "stopped or times out. Airflow ends the step's task five seconds after asking it when somebody marks or "
            "clears it, and the processes with it: more than three leave no time to close the records then."
        ),
        "type": "float",
        "example": "30",
        "default": "3",
    },
    "reuse": {
        "description": (
            "Whether earlier results take the place of running a step again. ``on``: use earlier results and record "
            "new ones. ``read``: use earlier results, record none. ``off``: run every step."
        ),
        "type": "string",
        "example": "read",
        "default": "on",
    },
    "reuse_gate": {
        "description": (
            "Where steps that name no place themselves look for earlier results. ``worker``: first thing in the worker, the "
            "shortest way for chains. ``triggerer``: before any worker is started; better for wide pipelines and busy workers."
        ),
        "type": "string",
        "example": "triggerer",
        "default": "worker",
    },
    "lease_s": {
        "description": (
            "Seconds for which nobody else computes a result after the step that computes it was last heard of. It says so "
            "three times in that span. Longer when machines stall or the workspace is slow; shorter to take over sooner."
        ),
        "type": "float",
        "example": "180",
        "default": "60",
    },
    "wait_poll_s": {
        "description": "Seconds between two looks of a step that waits for a result which another run is computing.",
        "type": "float",
        "example": "5",
        "default": "2",
    },
    "clear_reuses": {
        "description": (
            "Whether a task that somebody clears after it had succeeded may take its result from an earlier run. By default it "
            "runs again."
        ),
        "type": "boolean",
        "example": "True",
        "default": "False",
    },
    "accept_from": {
        "description": (
            "Names of the Airflow deployments, separated by blanks, whose results are reused beside this deployment's own. "
            "Empty: all that share the workspace."
        ),
        "type": "string",
        "example": "analytics-production",
        "default": "",
    },
    "salt": {
        "description": "Any text. Another one disowns all earlier results: every step runs again once.",
        "type": "string",
        "example": "after-the-driver-bug",
        "default": "",
    },
}
"""Every option of the ``[azureml]`` section, by name; read through ``airflow_azureml.config``."""


def get_provider_info() -> dict[str, Any]:
    """Describe the provider to Airflow.

    The answer follows Airflow's ``provider_info.schema.json``.
    """
    return {
        "package-name": "airflow-azureml",
        "name": INTEGRATION,
        "description": "Azure ML pipelines (SDK v1) on Apache Airflow.",
        "versions": [__version__],
        "integrations": [{"integration-name": INTEGRATION, "tags": ["azure", "software"]}],
        "operators": [
            {
                "integration-name": INTEGRATION,
                "python-modules": [
                    "airflow_azureml.operators.data_transfer",
                    "airflow_azureml.operators.python_script",
                ],
            }
        ],
        "hooks": [{"integration-name": INTEGRATION, "python-modules": ["airflow_azureml.hooks.storage"]}],
        "connection-types": CONNECTION_TYPES,
        "sensors": [
            {
                "integration-name": INTEGRATION,
                "python-modules": ["airflow_azureml.operators.reuse_sensor"],
            }
        ],
        "triggers": [{"integration-name": INTEGRATION, "python-modules": ["airflow_azureml.triggers"]}],
        "extra-links": ["airflow_azureml.operators.origin_link.OriginLink"],
        "cli": ["airflow_azureml.cli.definition.get_azureml_cli_commands"],
        "plugins": [
            {"name": "airflow_azureml", "plugin-class": "airflow_azureml.airflow_plugin.AzureMLPlugin"}
        ],
        "config": {
            "azureml": {
                "description": "Azure ML pipelines on Airflow.",
                "options": {name: {"version_added": "0.1.0", **option} for name, option in OPTIONS.items()},
            }
        },
    }
