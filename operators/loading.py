"""Loads a DAG that is not the one whose task runs, where tasks run: in a worker."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_azureml.runtime.exceptions import UserErrorException

if TYPE_CHECKING:
    from airflow.sdk import DAG


def load_dag(dag_id: str, own: DAG) -> DAG:
    """Return a DAG by its id: the running one, one of the same file, or one that Airflow knows.

    :param own: the DAG of the running task.
    :raises UserErrorException: there is no such DAG, or its file cannot be read.
    """
    if dag_id == own.dag_id:
        return own
    if own.fileloc and Path(own.fileloc).is_file():
        dags, _ = _read(Path(own.fileloc), None, None)
        if dag_id in dags:
            return dags[dag_id]
    return _from_bundle(dag_id)


def _from_bundle(dag_id: str) -> DAG:
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import DagResult, GetDag

    try:
        known = task_runner.SUPERVISOR_COMMS.send(GetDag(dag_id=dag_id))
    except Exception as error:
        if not _says_not_found(error):
            raise
        known = None
    if not isinstance(known, DagResult) or not known.bundle_name or not known.relative_fileloc:
        raise UserErrorException(f"there is no DAG {dag_id!r} in this Airflow")
    bundle = DagBundlesManager().get_bundle(known.bundle_name, known.bundle_version)
    bundle.initialize()
    file = Path(bundle.path, known.relative_fileloc)
    dags, problem = _read(file, bundle.path, known.bundle_name)
    if dag_id not in dags:
        raise UserErrorException(f"DAG {dag_id!r} is not in {known.relative_fileloc}: {problem}")
    return dags[dag_id]


def _says_not_found(error: Exception) -> bool:
    """Whether the API server has answered that there is no such thing, rather than not at all."""
    # From the supervisor of a task, and from the stand-in of "dags test".
    detail = getattr(getattr(error, "error", None), "detail", None) or {}
    status = detail.get("status_code") or getattr(getattr(error, "response", None), "status_code", None)
    return bool(status == HTTPStatus.NOT_FOUND)


def _read(file: Path, bundle_path: Path | None, bundle_name: str | None) -> tuple[dict[str, DAG], str]:
    """Return the DAGs of a file, and what was wrong with it."""
    from airflow.dag_processing.dagbag import BundleDagBag, DagBag

    if bundle_path is None:
        bag = DagBag(dag_folder=file, safe_mode=False, load_op_links=False)
    else:
        bag = BundleDagBag(
            dag_folder=file,
            safe_mode=False,
            load_op_links=False,
            bundle_path=bundle_path,
            bundle_name=bundle_name,
        )
    errors = [text.strip().splitlines()[-1] for text in bag.import_errors.values()]
    return dict(bag.dags), "; ".join(errors) or "it was removed from there"
