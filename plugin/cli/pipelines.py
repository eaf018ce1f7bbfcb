"""Finding a pipeline as Airflow does: in the DAG bundles of this Airflow, or in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import BundleDagBag

from airflow_azureml.cli.commands import UsageError
from airflow_azureml.runtime.exceptions import UserErrorException

if TYPE_CHECKING:
    from airflow.dag_processing.bundles.base import BaseDagBundle
    from airflow.sdk import DAG


def load_pipeline(dag_id: str, bundle_names: list[str] | None = None, file: str | None = None) -> DAG:
    """Return a DAG by its id; nothing is written to Airflow's database.

    :param bundle_names: look into these bundles; by default into all.
    :param file: look into this file alone, or with a bundle into this file of it.
    :raises UserErrorException: there is none; when a file that mentions it can't be imported, that is why.
    """
    broken: dict[str, str] = {}
    places = _places(bundle_names, file)
    for folder, bundle in places:
        bag = BundleDagBag(dag_folder=folder, bundle_path=bundle.path, bundle_name=bundle.name)
        if dag_id in bag.dags:
            return bag.dags[dag_id]
        broken.update({str(Path(bundle.path, path)): error for path, error in bag.import_errors.items()})
    raise UserErrorException(_not_found(dag_id, [bundle.name for _, bundle in places], file, broken))


def _places(bundle_names: list[str] | None, file: str | None) -> list[tuple[str | Path, BaseDagBundle]]:
    manager = DagBundlesManager()
    known = sorted(manager.get_all_bundle_names())
    unknown = sorted(set(bundle_names or ()) - set(known))
    if unknown:
        raise UsageError(f"there is no DAG bundle {unknown[0]!r}; there are {', '.join(known)}")
    if file is not None and not Path(file).is_file() and not bundle_names:
        raise UsageError(f"there is no file {file!r}")
    found: list[tuple[str | Path, BaseDagBundle]] = []
    for name in bundle_names or known:
        bundle = manager.get_bundle(name)
        bundle.initialize()
        found.append((Path(bundle.path, file).absolute() if file else bundle.path, bundle))
    if file is not None and not bundle_names:
        whole = Path(file).absolute()
        return [(whole, found[0][1])]
    return found


def _not_found(dag_id: str, bundles: list[str], file: str | None, broken: dict[str, str]) -> str:
    for path, error in broken.items():
        if _mentions(Path(path), dag_id):
            last = error.strip().splitlines()[-1]
            return f"pipeline {dag_id!r} cannot be read: {path}: {last}"
    where = file or f"the DAG bundles of this Airflow ({', '.join(bundles)})"
    return f"there is no pipeline {dag_id!r} in {where}"


def _mentions(path: Path, dag_id: str) -> bool:
    try:
        return dag_id in path.read_text(errors="replace")
    except OSError:
        return False
