"""The example on Airflow with PostgreSQL and the LocalExecutor, through REST and through the UI's trigger form."""

import re
import shutil
from typing import Any

import httpx
import pytest

from airflow_azureml.compute.identity import pipeline_run_id
from airflow_azureml.demo.home import DEPLOYMENT, AirflowHome
from airflow_azureml.demo.rest import USER, AirflowRest
from airflow_azureml.workspace.handle import open_workspace

pytestmark = [pytest.mark.airflow, pytest.mark.service("postgresql")]

ENDS_WITHIN_S = 600


def parameters_of(home: AirflowHome, run_id: str) -> dict[str, Any]:
    record = open_workspace(str(home.workspace)).runs.get(pipeline_run_id(DEPLOYMENT, "diabetes", run_id))
    return dict(record["parameters"])


def test_a_run_triggered_through_rest_takes_its_parameters(home: AirflowHome, rest: AirflowRest) -> None:
    run_id = rest.trigger("diabetes", {"seed": 7, "alpha": 0.25, "standardize": False})

    assert rest.follow("diabetes", run_id, ENDS_WITHIN_S, lambda task: None) == "success"
    expected = {"seed": 7, "alpha": 0.25, "standardize": False, "metric": "rmse"}
    assert parameters_of(home, run_id) == expected


@pytest.mark.parametrize(
    ("name", "value"), [("seed", 1.5), ("alpha", "much"), ("standardize", "maybe"), ("metric", 3)]
)
def test_a_parameter_of_the_wrong_type_is_refused(rest: AirflowRest, name: str, value: Any) -> None:
    with pytest.raises(httpx.HTTPStatusError, match="400") as refused:
        rest.trigger("diabetes", {name: value})

    assert name in refused.value.response.text or str(value) in refused.value.response.text


@pytest.mark.service("browser")
def test_the_trigger_form_has_a_typed_field_for_every_parameter(home: AirflowHome, rest: AirflowRest) -> None:
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.goto(f"{home.url}/dags/diabetes")
        page.locator("input[name=username]").fill(USER)
        page.locator("input[name=password]").fill(rest.password())
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name=re.compile("Trigger")).first.click()
        form = page.get_by_role("dialog")

        expect(form.get_by_role("spinbutton", name="seed")).to_have_value("42", timeout=60_000)
        expect(form.get_by_role("checkbox", name="standardize")).to_be_checked()
        expect(form.get_by_role("textbox").and_(form.locator("[name=element_metric]"))).to_have_value("rmse")
        form.get_by_role("spinbutton", name="alpha").fill("0.75")
        form.get_by_role("button", name="Trigger").click()
        expect(form).to_be_hidden(timeout=60_000)
        browser.close()

    (run,) = rest._get("/api/v2/dags/diabetes/dagRuns?order_by=-run_after&limit=1")["dag_runs"]
    assert rest.follow("diabetes", run["dag_run_id"], ENDS_WITHIN_S, lambda task: None) == "success"
    assert parameters_of(home, run["dag_run_id"])["alpha"] == 0.75


def chromium() -> str:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(path for name in names if (path := shutil.which(name)))
