import pytest

from airflow_azureml.model.compute import ComputeTarget, LocalCompute
from airflow_azureml.runtime import service
from airflow_azureml.runtime.exceptions import ComputeTargetException

RECORDS = {
    "local": {"name": "local", "type": "local", "properties": {}},
    "cluster": {"name": "cluster", "type": "Databricks", "properties": {"connection_id": "dbx"}},
}


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    def call(method, /, payload=None, **params):
        if method == "compute.list":
            return list(RECORDS.values())
        if params["name"] not in RECORDS:
            raise ComputeTargetException("no compute target of that name")
        return RECORDS[params["name"]]

    monkeypatch.setattr(service, "call", call)


def test_a_target_is_found_by_its_name():
    target = ComputeTarget(workspace=None, name="cluster")
    assert (target.name, target.type, target.properties) == (
        "cluster",
        "Databricks",
        {"connection_id": "dbx"},
    )


def test_an_unknown_one_raises_what_v1_code_catches():
    with pytest.raises(ComputeTargetException):
        ComputeTarget(None, "other")


def test_all_targets_are_listed():
    assert [target.name for target in ComputeTarget.list(None)] == ["local", "cluster"]


def test_the_local_target_needs_no_workspace(monkeypatch):
    monkeypatch.setattr(service, "call", None)
    assert (LocalCompute().name, LocalCompute().type) == ("local", "local")


def test_targets_of_one_record_are_equal():
    assert ComputeTarget(None, "local") == LocalCompute()
    assert hash(ComputeTarget(None, "local")) == hash(LocalCompute())
    assert ComputeTarget(None, "local") != ComputeTarget(None, "cluster")
