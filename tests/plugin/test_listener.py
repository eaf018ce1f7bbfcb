"""When a DAG run ends its record is closed."""

import logging
from types import SimpleNamespace

import pytest

from airflow_azureml import config, listener
from airflow_azureml.closing import CLOSER
from airflow_azureml.compute.identity import StepIdentity, pipeline_run_id
from airflow_azureml.compute.records import new_pipeline_record
from airflow_azureml.workspace.handle import open_workspace


class DagRunLike:
    """What the listener looks at of a DAG run."""

    dag_id = "diabetes"
    run_id = "manual__1"

    def __init__(self, *, fail_fast=False, module="airflow_azureml.operators.python_script", states=()):
        self._dag = SimpleNamespace(fail_fast=fail_fast, tasks=[SimpleNamespace(_task_module=module)])
        self._states = states
        self.state = "success"

    def get_dag(self):
        return self._dag

    def get_task_instances(self, session):
        assert session == "the scheduler's session"
        return [SimpleNamespace(state=state) for state in self._states]

    def set_state(self, state):
        self.state = state


RUN = DagRunLike()


@pytest.fixture(autouse=True)
def scheduler_session(monkeypatch):
    monkeypatch.setattr("sqlalchemy.orm.object_session", lambda dag_run: "the scheduler's session")


@pytest.fixture
def workspace(tmp_path, azureml_options):
    azureml_options.setenv("AIRFLOW__AZUREML__WORKSPACE", str(tmp_path / "workspace"))
    return open_workspace(str(tmp_path / "workspace"))


@pytest.fixture
def run_id(workspace):
    """A pipeline run that has begun."""
    identity = StepIdentity(
        deployment=config.deployment(),
        dag_id=RUN.dag_id,
        run_id=RUN.run_id,
        task_id="train",
        map_index=-1,
        try_number=1,
        step_name="train",
        step_type="PythonScriptStep",
        experiment=RUN.dag_id,
    )
    workspace.runs.create_pipeline_run(new_pipeline_record(identity, {}, None))
    return identity.pipeline_run_id


@pytest.mark.parametrize(
    ("ended", "status"), [(listener.on_dag_run_success, "Finished"), (listener.on_dag_run_failed, "Failed")]
)
def test_the_record_says_how_the_run_ended(workspace, run_id, ended, status):
    ended(RUN)
    record = workspace.runs.get(run_id)
    assert record["status"] == status
    assert record["end"] >= record["start"]


@pytest.mark.parametrize("ended", [listener.on_dag_run_success, listener.on_dag_run_failed])
def test_a_run_that_was_stopped_on_purpose_is_canceled(workspace, run_id, ended):
    cancel = {"reason": "bad data", "by": "train", "time": "2026-01-01T00:00:00+00:00"}
    workspace.runs.update(run_id, lambda record: {**record, "cancel": cancel})
    ended(RUN)
    record = workspace.runs.get(run_id)
    assert (record["status"], record["cancel"]) == ("Canceled", cancel)


class TestFailFast:
    """Airflow calls a run a success when its last tasks were skipped because an earlier one failed."""

    def test_a_pipeline_has_failed_then(self, workspace, run_id):
        run = DagRunLike(fail_fast=True, states=["failed", "skipped"])
        listener.on_dag_run_success(run)
        assert run.state == "failed"
        assert workspace.runs.get(run_id)["status"] == "Failed"

    @pytest.mark.parametrize(
        "run",
        [
            DagRunLike(fail_fast=True, states=["success", "skipped"]),
            DagRunLike(fail_fast=False, states=["failed", "success"]),
            DagRunLike(
                fail_fast=True,
                states=["failed", "skipped"],
                module="airflow.providers.standard.operators.bash",
            ),
        ],
        ids=["nothing failed", "somebody handles the failure", "no pipeline"],
    )
    def test_otherwise_airflow_is_right(self, workspace, run):
        listener.on_dag_run_success(run)
        assert run.state == "success"


def test_a_run_without_steps_of_ours_is_none_of_our_business(workspace, tmp_path):
    listener.on_dag_run_success(RUN)
    assert not (tmp_path / "workspace" / "runs").exists()


def test_trouble_with_the_record_does_not_trouble_the_scheduler(workspace, run_id, caplog):
    workspace.store.put(f"runs/{run_id}/record.json", b"damaged")
    with caplog.at_level(logging.WARNING, listener.__name__):
        listener.on_dag_run_success(RUN)
    assert "the record of run manual__1 of diabetes could not be closed" in caplog.text


class TestStarting:
    """The scheduler and the DAG processor import early what every fork of theirs would import again."""

    @pytest.fixture
    def preloaded(self, monkeypatch):
        calls = []
        monkeypatch.setattr("airflow_azureml.preload.preload", lambda: calls.append(1))
        return calls

    def test_a_job_of_airflow_imports_early(self, preloaded):
        listener.on_starting(SimpleNamespace(job_type=None))
        assert preloaded

    def test_a_task_imports_what_it_needs(self, preloaded):
        listener.on_starting(object())
        assert not preloaded


@pytest.mark.service("azurite")
def test_a_remote_workspace_is_looked_after_beside_the_scheduler(
    azurite_connection, azurite, azureml_options
):
    """The scheduler forks a process for each task; a storage client in use would not survive that."""
    azureml_options.setenv(
        "AIRFLOW__AZUREML__WORKSPACE", f"azure://{azurite_connection}/{azurite.container}/ws"
    )
    config.forget()
    run_id = pipeline_run_id(config.deployment(), RUN.dag_id, RUN.run_id)
    workspace = open_workspace(config.workspace_url())
    workspace.runs.create_pipeline_run(
        {"kind": "pipeline", "id": run_id, "status": "Running", "experiment": "diabetes"}
    )

    listener.on_dag_run_failed(RUN)
    first = CLOSER._process
    listener.on_dag_run_success(DagRunLike())
    assert CLOSER._process is first
    first.kill()
    first.wait()
    listener.on_dag_run_success(DagRunLike())
    CLOSER.wait()

    assert workspace.runs.get(run_id)["status"] == "Finished"
