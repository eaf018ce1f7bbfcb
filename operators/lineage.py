"""What a step read and wrote, for OpenLineage.

Namespaces and names follow OpenLineage's naming of datasets, so that what other tools say of the same data meets it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_azureml.operators.services import workspace_of
from airflow_azureml.runtime.exceptions import AzureMLException
from airflow_azureml.storage.files import joined

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_azureml.compute.request import StepOutcome
    from airflow_azureml.operators.step import PipelineStep
    from airflow_azureml.workspace.handle import WorkspaceHandle

_SCHEMES = {"azure": "wasbs", "adls": "abfss"}
_SERVICES = {"wasbs": "blob.core.windows.net", "abfss": "dfs.core.windows.net"}

Place = tuple[str, str]
"""OpenLineage's namespace and name of a dataset."""


def lineage(step: PipelineStep, outcome: StepOutcome) -> OperatorLineage[Any, Any]:
    """Return what a step read and wrote.

    :param outcome: how it ended.
    """
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.openlineage.extractors import OperatorLineage

    workspace = workspace_of(step)
    read = dict.fromkeys(place for item in outcome.inputs.values() for place in _read(workspace, item))
    outputs = outcome.document["outputs"].values()
    written = dict.fromkeys(_place(workspace, item["datastore"], item["path"]) for item in outputs)
    return OperatorLineage(
        inputs=[Dataset(namespace=namespace, name=name) for namespace, name in read],
        outputs=[Dataset(namespace=namespace, name=name) for namespace, name in written],
    )


def _read(workspace: WorkspaceHandle, document: Mapping[str, Any]) -> Iterator[Place]:
    """Yield the places behind an input, as the run record has it."""
    if document["kind"] == "produced":
        for output in document["outputs"]:
            yield _place(workspace, output["datastore"], output["path"])
    elif document["kind"] == "reference":
        yield _place(workspace, document["datastore"], document["path"])
    elif document["kind"] == "sql":
        source = document["source"]
        yield _place(workspace, document["datastore"], source["text"] if source["kind"] == "table" else "")
    elif document["kind"] == "dataset":
        yield from _of_dataset(workspace, workspace.datasets.get(document["id"])["source"])


def _of_dataset(workspace: WorkspaceHandle, source: Mapping[str, Any]) -> Iterator[Place]:
    if source["format"] == "sql":
        yield _place(workspace, source["datastore"], "")
    if "tabular" in source:
        yield from _of_dataset(workspace, source["tabular"]["source"])
    for entry in source.get("paths", ()):
        if "local" in entry:
            yield "file", entry["local"]
        elif "url" in entry:
            parts = urlsplit(entry["url"])
            yield f"{parts.scheme}://{parts.netloc}", parts.path.lstrip("/")
        else:
            yield _place(workspace, entry["datastore"], entry["path"])


def _place(workspace: WorkspaceHandle, datastore: str, path: str) -> Place:
    try:
        if workspace.datastores.is_database(datastore):
            return _table(workspace.datastores.database(datastore).uri, path)
        store = workspace.datastores.files(datastore)
    except AzureMLException:
        # Somebody has unregistered the datastore since, or its connection is gone: its name is all there is.
        return f"azureml://datastores/{datastore}", path
    if store.local_root is not None:
        return "file", str(store.local_root / path)
    parts = urlsplit(store.uri)
    scheme = _SCHEMES.get(parts.scheme, parts.scheme)
    container, _, folder = parts.path.strip("/").partition("/")
    if scheme == "s3":
        return f"s3://{container}", joined(folder, path)
    if scheme in _SERVICES:
        return f"{scheme}://{container}@{parts.netloc}.{_SERVICES[scheme]}", joined(folder, path)
    return f"{scheme}://{parts.netloc}", joined(parts.path.strip("/"), path)


def _table(uri: str, table: str) -> Place:
    """Return the place of a table; of the whole database where no table is named."""
    parts = urlsplit(uri)
    scheme = "postgres" if parts.scheme == "postgresql" else parts.scheme
    name = parts.path.strip("/")
    return f"{scheme}://{parts.netloc}", f"{name}.{table}" if table else name
