"""The link "Reused from": to the run that made a result, where that is known."""

from types import SimpleNamespace

import pytest

from airflow_azureml import config
from airflow_azureml.operators.origin_link import LINK_KEY, OriginLink, origin_url


@pytest.fixture(autouse=True)
def deployment(azureml_options):
    azureml_options.setenv("AIRFLOW__AZUREML__DEPLOYMENT", "here")
    azureml_options.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/prefix/")
    config.forget()


def document(writer="here", decision="reuse"):
    origin = {
        "step_run_id": "1",
        "dag_id": "the dag",
        "run_id": "manual__2026-01-01T00:00:00+00:00",
        "writer": writer,
    }
    return {"decision": decision, "origin": origin}


RUN = "dags/the%20dag/runs/manual__2026-01-01T00%3A00%3A00%2B00%3A00"


@pytest.mark.parametrize(
    ("found", "url"),
    [
        (document(), f"https://airflow.example/prefix/{RUN}"),
        # Written before results carried their writer.
        (document(writer=""), f"https://airflow.example/prefix/{RUN}"),
        # A deployment without a name is called by its address.
        (document(writer="https://other.example"), f"https://other.example/{RUN}"),
        (document(writer="somewhere"), ""),
        (document(decision="run"), ""),
        ({"decision": "run", "origin": None}, ""),
        (None, ""),
    ],
)
def test_it_leads_to_the_run_that_made_the_result(found, url):
    assert origin_url(found) == url
    step = SimpleNamespace(reuse_document=found)
    assert OriginLink().get_link(step, ti_key=None) == url


def test_airflow_keeps_it_under_a_key_of_its_own():
    assert LINK_KEY == "_link_OriginLink"
    assert OriginLink().name == "Reused from"
