from __future__ import annotations

import pytest

from airflow_azureml.runtime.exceptions import ComputeTargetException, UserErrorException
from airflow_azureml.workspace.computes import ComputeRecord, ComputeRegistry
from airflow_azureml.workspace.memory_store import MemoryStore


@pytest.fixture
def computes() -> ComputeRegistry:
    return ComputeRegistry(MemoryStore())


def test_local_is_always_there(computes: ComputeRegistry) -> None:
    assert computes.get("local") == ComputeRecord("local", "local")
    assert computes.list() == [computes.get("local")]


def test_a_target_is_registered_changed_and_deleted(computes: ComputeRegistry) -> None:
    computes.register("cluster", "AmlCompute", {"max_nodes": 2})
    computes.register("cluster", "AmlCompute", {"max_nodes": 4})
    assert computes.get("cluster") == ComputeRecord("cluster", "AmlCompute", {"max_nodes": 4})
    assert [record.name for record in computes.list()] == ["cluster", "local"]
    computes.delete("cluster")
    assert [record.name for record in computes.list()] == ["local"]


def test_an_unknown_target_is_v1s_exception_and_names_the_known(computes: ComputeRegistry) -> None:
    for attempt in (computes.get, computes.delete):
        with pytest.raises(ComputeTargetException, match=r"no compute target 'gpu' .*: local"):
            attempt("gpu")


def test_local_can_be_neither_replaced_nor_deleted(computes: ComputeRegistry) -> None:
    with pytest.raises(ComputeTargetException, match="built in"):
        computes.register("local", "Docker")
    with pytest.raises(ComputeTargetException, match="built in"):
        computes.delete("local")


def test_credentials_are_refused(computes: ComputeRegistry) -> None:
    with pytest.raises(UserErrorException, match=r"'attach\.access_token' is the name of a credential"):
        computes.register("dbr", "Databricks", {"attach": {"access_token": "hunter2"}})
    computes.register("dbr", "Databricks", {"connection_id": "databricks_default", "access_token": ""})


@pytest.mark.parametrize("name", ["../up", "a/b", "..", "ünï"])
def test_hostile_names_stay_in_their_place(computes: ComputeRegistry, name: str) -> None:
    computes.register(name, "AmlCompute")
    assert computes.get(name).name == name
