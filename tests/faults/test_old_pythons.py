"""Steps run under interpreters and packages of their time, while Airflow runs on current ones."""

import os
from typing import TYPE_CHECKING, Any

import pytest

from airflow_azureml.compute.environments.pythons import find_python

if TYPE_CHECKING:
    from conftest import FaultyAirflow

pytestmark = pytest.mark.airflow


def needs_python(version: str) -> pytest.MarkDecorator:
    """Skips where there is no such interpreter; where everything has to be tested uv gets it, or the test fails."""
    missing = find_python(version) is None and os.environ.get("CI", "").lower() != "true"
    return pytest.mark.skipif(missing, reason=f"needs Python {version}: not found on this machine")


@pytest.mark.parametrize(
    ("version", "packages"),
    [
        pytest.param("3.8", ("1.23.", "1.5."), marks=needs_python("3.8")),
        pytest.param("3.12", ("1.26.", "2.1."), marks=needs_python("3.12")),
    ],
)
def test_a_step_has_its_own_interpreter(
    airflow: "FaultyAirflow", version: str, packages: tuple[str, str]
) -> None:
    run = airflow.start(f"python_{version}")

    assert run.ended() == "success", [item["event"] for item in run.log()]

    step = run.step()
    metrics: dict[str, Any] = {metric["name"]: metric["value"] for metric in step["metrics"]}
    assert metrics["python"] == version
    assert step["environment"]["python_version"].startswith(f"{version}.")
    numpy, pandas = metrics["versions"]
    assert (numpy.startswith(packages[0]), pandas.startswith(packages[1])) == (True, True)
    assert (metrics["rows"], metrics["tons"], metrics["mean"]) == (4, 12.75, 4.25)
    assert metrics["planted"]["south"] == "2021-04-02"
    model = airflow.workspace.models.get(f"harvest_python_{version}")
    assert model.run_id == run.step_id()
    assert model.tags["python"].startswith(version)
