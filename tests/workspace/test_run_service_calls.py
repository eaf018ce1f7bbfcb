"""How calls of the run service are checked before they run."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_azureml.runtime.exceptions import AzureMLException, UserErrorException
from airflow_azureml.workspace.handle import WorkspaceHandle
from airflow_azureml.workspace.memory_store import MemoryStore
from airflow_azureml.workspace.run_service import RunService
from airflow_azureml.workspace.run_state import RunState


@pytest.fixture
def service(tmp_path: Path) -> RunService:
    workspace = WorkspaceHandle("memory://checks", MemoryStore())
    state = RunState(
        workspace, "s", staging=tmp_path / "staging", pipeline_run_id="p", working_directory=tmp_path
    )
    return RunService(workspace, state)


def test_unknown_methods(service: RunService) -> None:
    for method in ("run.nothing", "run.__init__", "run._target", "", "os.system"):
        with pytest.raises(UserErrorException, match="no method"):
            service.dispatch(method, {})


@pytest.mark.parametrize(
    ("method", "params", "message"),
    [
        ("run.log", {}, r"run\.log: missing a required argument: 'name'"),
        (
            "run.log",
            {"name": "a", "kind": "scalar", "value": 1, "more": 1},
            "unexpected keyword argument",
        ),
        ("run.log", {"name": 5, "kind": "scalar", "value": 1}, r"run\.log: name cannot be a int"),
        ("run.log", {"name": "a", "kind": "scalar", "value": 1, "step": True}, "step cannot be a bool"),
        ("run.log", {"name": "a", "kind": "nonsense", "value": 1}, "kind 'nonsense' isn't one of"),
        ("run.set_tags", {"tags": []}, "tags cannot be a list"),
        ("run.set_tags", {"tags": {"a": 5}}, "the value of 'a' is a text"),
        ("run.upload", {"name": "a"}, "a file must come along"),
        ("run.upload", {"name": "a", "payload": "x"}, "a file must come along"),
        ("model.get", {"name": "a", "version": "1"}, "version cannot be a str"),
        ("model.register", {"name": "a", "files": []}, "at least one file"),
        ("model.register", {"name": "a", "files": [{"path": "x"}]}, "a model's file is"),
        ("model.register", {"name": "a", "files": [{"path": "x", "upload": "../.."}]}, "no such upload"),
        ("model.register", {"name": "a", "files": [{"path": "x", "upload": "0" * 64}]}, "no such upload"),
        ("datastore.upload", {"name": "workspaceblobstore", "path": "../x"}, "file must come along"),
    ],
)
def test_parameters_are_checked(
    service: RunService, method: str, params: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserErrorException, match=message):
        service.dispatch(method, params)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(st.data())
def test_whatever_is_asked_ends_in_an_answer_or_a_known_error(
    service: RunService, data: st.DataObject
) -> None:
    value = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just([]) | st.just({})
    method = data.draw(st.sampled_from(service.methods))
    names = [
        "name",
        "run",
        "value",
        "kind",
        "path",
        "tags",
        "files",
        "version",
        "definition",
        "id",
        "names",
    ]
    params = data.draw(st.dictionaries(st.sampled_from(names), value))
    payload = data.draw(st.none() | st.binary(max_size=10))

    try:
        reply = service.dispatch(method, params, None if payload is None else io.BytesIO(payload))
    except (AzureMLException, TypeError, ValueError):
        return
    if reply.payload is not None:
        reply.payload.close()
