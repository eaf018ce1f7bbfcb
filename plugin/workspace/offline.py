"""The run of a process that belongs to no step: the same service, against the local workspace.

What such a run registers counts at once. What it says of itself is recorded when the process ends, as a pipeline run with
one step, so that it can be found and read like any other; a run that said nothing leaves no trace.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import shutil
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any, BinaryIO

from airflow_azureml.model.status import RunStatus
from airflow_azureml.runtime.exceptions import AzureMLException, UserErrorException, rebuild, wire_name
from airflow_azureml.runtime.transport import Answer, copy_exactly, measured
from airflow_azureml.workspace.data_cache import DataCache
from airflow_azureml.workspace.dataset_files import DatasetFiles
from airflow_azureml.workspace.documents import utc_now
from airflow_azureml.workspace.handle import WorkspaceHandle, open_workspace
from airflow_azureml.workspace.run_service import RunService
from airflow_azureml.workspace.run_state import RunState

WORKSPACE_VARIABLE = "AIRFLOW__AZUREML__WORKSPACE"
EXPERIMENT_VARIABLE = "AZUREML_ARM_PROJECT_NAME"
_CONFIG = "airflow_azureml.config"
_DEFAULT_EXPERIMENT = "offline"


class LocalService:
    """A run service in this process; values travel as over the socket, so that scripts behave alike in both places.

    :param service: what answers.
    """

    def __init__(self, service: RunService) -> None:
        self._service = service

    def request(
        self,
        method: str,
        params: dict[str, Any],
        payload: BinaryIO | bytes | None = None,
        into: BinaryIO | None = None,
    ) -> Answer:
        """Ask and return the answer; see ``airflow_azureml.runtime.transport.SocketService.request``."""
        with contextlib.ExitStack() as stack:
            stream = None if payload is None else stack.enter_context(measured(payload))[0]
            try:
                reply = self._service.dispatch(method, _copied(params), stream)
            except (AzureMLException, TypeError, ValueError) as error:
                raise rebuild(wire_name(error), str(error)) from error
        file = reply.payload
        if file is not None and into is not None:
            with file, measured(file) as (source, size_bytes):
                copy_exactly(source, into, size_bytes)
            file = None
        return Answer(_copied(reply.result), file)


def create_service() -> LocalService:
    """Return the service of this process's offline run in the local workspace."""
    workspace = open_workspace(local_workspace_url())
    # Only named: a process that just reads leaves nothing behind.
    staging = Path(tempfile.gettempdir(), f"azureml-offline-{uuid.uuid4().hex}")
    state = offline_state(workspace, staging)
    owner = os.getpid()

    def end() -> None:
        # A forked child inherits this function, not the run.
        if os.getpid() != owner:
            return
        try:
            record(state, failed=hasattr(sys, "last_value"))
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    atexit.register(end)
    data = DatasetFiles(workspace.datastores, _data_cache, staging / "datasets")
    return LocalService(RunService(workspace, state, is_step=False, data=data))


def offline_state(workspace: WorkspaceHandle, staging: Path) -> RunState:
    """Return the state of a new offline run.

    :param staging: folder for its uploads.
    """
    number = uuid.uuid4()
    return RunState(
        workspace,
        f"OfflineRun_{number}",
        staging=staging,
        pipeline_run_id=f"OfflineRun_{number}_parent",
        experiment=os.environ.get(EXPERIMENT_VARIABLE) or _DEFAULT_EXPERIMENT,
        name=Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python",
        pipeline_name=_DEFAULT_EXPERIMENT,
        working_directory=Path.cwd(),
        pending=False,
    )


def record(state: RunState, *, failed: bool = False) -> None:
    """Write an offline run that said anything into the workspace.

    :param failed: whether the process ends with an error.
    """
    if not state.said_anything:
        return
    status = (RunStatus.FAILED if failed else RunStatus.FINISHED).value
    # Offline ./outputs is just a folder of the user's: only what was uploaded is the run's.
    state.publish(watched=False)
    end = utc_now()
    shared = {
        "schema": 1,
        "experiment": state.experiment,
        "status": status,
        "start": state.root.start,
        "end": end,
    }
    state.workspace.runs.create_pipeline_run(
        {
            **shared,
            "metrics": [],
            "tags": {},
            "properties": {},
            "parameters": {},
            "cancel": None,
            "url": None,
            "kind": "pipeline",
            "id": state.parent.id,
            "name": state.pipeline_name,
        }
    )
    state.workspace.runs.write_step(
        {
            **shared,
            **state.to_record(),
            "kind": "step",
            "id": state.run_id,
            "pipeline_run_id": state.parent.id,
            "name": state.root.name,
            "step_type": "OfflineRun",
            "error": state.root.error,
        }
    )
    state.workspace.runs.commit(state.run_id)


def local_workspace_url() -> str:
    """Return where the local workspace is: what Airflow is configured with, or a folder below ``AIRFLOW_HOME``.

    :raises UserErrorException: Airflow's configuration cannot be read.
    """
    chosen = os.environ.get(WORKSPACE_VARIABLE)
    if chosen:
        return chosen
    try:
        # By name: this layer knows nothing of Airflow, and has to ask it only here.
        url: str = importlib.import_module(_CONFIG).workspace_url()
    except ModuleNotFoundError:
        home = os.environ.get("AIRFLOW_HOME") or "~/airflow"
        return str(Path(home).expanduser() / "azureml" / "workspace")
    return url


def _data_cache() -> DataCache:
    """Open the cache that the steps of this machine use, too."""
    try:
        config = importlib.import_module(_CONFIG)
    except ModuleNotFoundError:
        home = os.environ.get("AIRFLOW_HOME") or "~/airflow"
        return DataCache(Path(home).expanduser() / "azureml" / "cache" / "data", None)
    return DataCache(config.cache_directory() / "data", config.data_cache_limit_bytes())


def _copied(value: Any) -> Any:
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise UserErrorException(f"a value cannot be sent as JSON: {error}") from error
