"""What OpenLineage is told of a step."""

import json
from typing import Any

import pytest

from airflow_azureml.compute.request import StepOutcome
from airflow_azureml.workspace.datastores import DatastoreRecord
from airflow_azureml.workspace.handle import open_workspace

PIPELINE = """
    with Pipeline("moves"):
        source = DataReference("landing", path_on_datastore="raw")
        DataTransferStep("copy", source, DataReference("archive", path_on_datastore="sales"))
"""


@pytest.fixture
def places(
    dag_files: Any, azureml_options: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> Any:
    """Inputs and outputs as a step's record has them, to what OpenLineage is told."""
    azureml_options.setenv("AIRFLOW__AZUREML__WORKSPACE", str(tmp_path / "workspace"))
    account = {"conn_type": "wasb", "login": "account", "password": "a2V5"}
    monkeypatch.setenv("AIRFLOW_CONN_STORE", json.dumps(account))
    datastores = open_workspace(str(tmp_path / "workspace")).datastores
    datastores.register(
        DatastoreRecord("landing", "AzureBlob", "store", container="in", path="team"), overwrite=True
    )
    datastores.register(DatastoreRecord("folder", "Local", root=str(tmp_path / "folder")), overwrite=True)
    step = dag_files.dag(PIPELINE).get_task("copy")

    def told(inputs: dict[str, Any], outputs: dict[str, Any]) -> tuple[Any, Any]:
        step.outcome = StepOutcome({"outputs": outputs}, {}, inputs)
        lineage = step.get_openlineage_facets_on_complete(None)
        return tuple(
            [(item.namespace, item.name) for item in side] for side in (lineage.inputs, lineage.outputs)
        )

    return told


def test_files_have_the_names_that_other_tools_give_them(places: Any, tmp_path: Any) -> None:
    inputs = {
        "a": {"kind": "reference", "datastore": "landing", "path": "raw/2026"},
        "b": {"kind": "produced", "outputs": [{"datastore": "folder", "path": "x.csv"}]},
    }
    outputs = {"out": {"datastore": "folder", "path": "copied"}}
    assert places(inputs, outputs) == (
        [
            ("wasbs://in@account.blob.core.windows.net", "team/raw/2026"),
            ("file", str(tmp_path / "folder/x.csv")),
        ],
        [("file", str(tmp_path / "folder/copied"))],
    )


def test_a_step_that_has_not_ended_well_tells_nothing(dag_files: Any) -> None:
    assert dag_files.dag(PIPELINE).get_task("copy").get_openlineage_facets_on_complete(None) is None


def test_the_destination_of_a_transfer_is_an_asset(dag_files: Any) -> None:
    (asset,) = dag_files.dag(PIPELINE).get_task("copy").outlets
    assert asset.uri == "azureml://datastores/archive/paths/sales"
