"""An action to vary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_azureml.reuse.action import Action, IdentityClass, InputIdentity, build_action

BASE: dict[str, Any] = {
    "step_type": "PythonScriptStep",
    "step_version": 1,
    "script": "train.py",
    "code": "c0de",
    "arguments": [{"text": "--alpha"}, {"parameter": "alpha"}, {"input": "raw"}, {"output": "model"}],
    "parameters": {"alpha": 0.5, "epochs": 3},
    "variables": {"lr": {"text": "0.1"}},
    "outputs": [{"name": "model", "kind": "pipeline_data", "datastore": "blob", "path": None}],
    "inputs": [InputIdentity("raw", "mount", IdentityClass.CONTENT, "da7a", files={"a.csv": "1"})],
    "environment": "e0e0e0e0e0",
    "version": None,
}


@pytest.fixture
def action() -> Callable[..., Action]:
    """Build an action that differs from the usual one in what is given."""
    return lambda **changes: build_action(**{**BASE, **changes})
