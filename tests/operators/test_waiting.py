"""A step that waits for a result of another run: in the triggerer if there is one, else in the worker."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR, TriggerFailureReason
from airflow.sdk.exceptions import TaskDeferred

from airflow_azureml import config
from airflow_azureml.operators import step_run, waiting
from airflow_azureml.operators.waiting import triggerer_is_alive, wait_for_result
from airflow_azureml.reuse.entries import EntryStore
from airflow_azureml.reuse.leases import Holder, LeaseStore
from airflow_azureml.reuse.waiting import ResultInProgress
from airflow_azureml.runtime.exceptions import StepCanceled
from airflow_azureml.triggers import ResultTrigger
from airflow_azureml.workspace.handle import open_workspace

KEY = "ab" * 32

HEALTHY = json.dumps({"triggerer": {"status": "healthy"}})


@contextmanager
def api_server(answer, status=200, after_s=0.0):
    """Something that answers like Airflow's API server."""

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self):
            time.sleep(after_s)
            self.send_response(status if self.path == "/api/v2/monitor/health" else 404)
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def supervised(monkeypatch):
    monkeypatch.setattr("airflow_azureml.operators.supervision.is_supervised", lambda: True)


@pytest.mark.usefixtures("supervised")
class TestWhetherThereIsATriggerer:
    @pytest.mark.parametrize(
        ("answer", "status", "expected"),
        [
            (HEALTHY, 200, True),
            (json.dumps({"triggerer": {"status": "unhealthy"}}), 200, False),
            (json.dumps({"triggerer": {"status": None}}), 200, False),
            (json.dumps({"scheduler": {"status": "healthy"}}), 200, False),
            ("[]", 200, False),
            ("<html>", 200, False),
            (HEALTHY, 500, False),
        ],
    )
    def test_is_what_the_api_server_says(self, monkeypatch, answer, status, expected):
        with api_server(answer, status) as url:
            monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", f"{url}/execution/")
            assert triggerer_is_alive() is expected

    def test_is_asked_at_the_address_of_the_ui_when_tasks_have_none_of_their_own(self, monkeypatch):
        with api_server(HEALTHY) as url:
            monkeypatch.setenv("AIRFLOW__API__BASE_URL", f"{url}/")
            assert triggerer_is_alive()

    def test_is_a_no_when_nobody_answers(self, monkeypatch):
        with api_server(HEALTHY) as url:
            pass
        monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", f"{url}/execution/")
        assert not triggerer_is_alive()

    def test_is_a_no_when_the_answer_takes_long(self, monkeypatch):
        monkeypatch.setattr(waiting, "HEALTH_TIMEOUT_S", 0.05)
        with api_server(HEALTHY, after_s=0.3) as url:
            monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", f"{url}/execution/")
            assert not triggerer_is_alive()

    def test_is_a_no_outside_a_supervised_task(self, monkeypatch):
        monkeypatch.setattr("airflow_azureml.operators.supervision.is_supervised", lambda: False)
        with api_server(HEALTHY) as url:
            monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", f"{url}/execution/")
            assert not triggerer_is_alive()


STEP = """
    with Pipeline("waits"):
        PythonScriptStep("train.py", source_directory="steps", execution_timeout=__import__("datetime").timedelta(seconds=5))
"""


@pytest.fixture
def step(dag_files, azureml_options, tmp_path):
    azureml_options.setenv("AIRFLOW__AZUREML__WORKSPACE", str(tmp_path / "workspace"))
    azureml_options.setenv("AIRFLOW__AZUREML__WAIT_POLL_S", "0.01")
    config.forget()
    return dag_files.dag(STEP).get_task("train")


@pytest.fixture
def leases(tmp_path):
    return LeaseStore(open_workspace(str(tmp_path / "workspace")).store, 60)


@pytest.fixture
def busy(leases):
    lease = leases.take(KEY, Holder("somebody", "dag", "run"))
    return SimpleNamespace(lease=lease, error=ResultInProgress(KEY, leases.read(KEY)))


class TestWaitingInTheTriggerer:
    def test_takes_no_worker_and_leaves_the_time_limit_of_the_script_alone(
        self, step, busy, monkeypatch, tmp_path
    ):
        monkeypatch.setattr(waiting, "triggerer_is_alive", lambda: True)
        with pytest.raises(TaskDeferred) as caught:
            wait_for_result(step, {}, busy.error, since=12.0)
        deferred = caught.value
        assert isinstance(deferred.trigger, ResultTrigger)
        assert deferred.trigger.workspace_url == str(tmp_path / "workspace")
        assert (deferred.trigger.key, deferred.trigger.lease_ttl_s) == (KEY, 60)
        assert deferred.kwargs == {"waiting_since": 12.0}
        assert callable(getattr(step, deferred.method_name))
        # A worker looks now and then: nobody else notices that the triggerer has died.
        assert deferred.timeout.total_seconds() == waiting.LOOK_AGAIN_S


class TestWaitingInTheWorker:
    def test_ends_when_nobody_computes_the_result_any_more(self, step, busy):
        timer = threading.Timer(0.1, busy.lease.release)
        timer.start()
        waited = wait_for_result(step, {}, busy.error, since=time.time() - 10)
        timer.join()
        assert 10 < waited.seconds < 20
        assert waited.seen_expired is None

    def test_says_which_lease_was_seen_to_expire(self, step, tmp_path):
        leases = LeaseStore(open_workspace(str(tmp_path / "workspace")).store, 0.1)
        leases.take(KEY, Holder("dead"))
        waited = wait_for_result(step, {}, ResultInProgress(KEY, leases.read(KEY)), since=time.time())
        assert leases.take(KEY, Holder("heir"), seen_expired=waited.seen_expired)

    def test_ends_at_once_when_airflow_stops_the_step(self, step, busy):
        timer = threading.Timer(0.1, step.on_kill)
        timer.start()
        with pytest.raises(StepCanceled):
            wait_for_result(step, {}, busy.error, since=time.time())
        timer.join()


class TestAfterTheTriggerer:
    @pytest.fixture
    def ran(self, monkeypatch):
        """What the step was run with."""
        found = []
        monkeypatch.setattr(
            step_run,
            "run_step",
            lambda step, context, waited=None: found.append(waited) or {"status": "Finished"},
        )
        return found

    @pytest.fixture
    def context(self):
        return {"ti": SimpleNamespace(try_number=1)}

    @pytest.mark.parametrize(
        "next_kwargs",
        [
            {"error": TriggerFailureReason.TRIGGER_TIMEOUT},
            {"error": TriggerFailureReason.TRIGGER_FAILURE, "traceback": ["line 1"]},
            {"error": "Could not resume the task"},
            None,
        ],
    )
    def test_a_step_whose_trigger_failed_runs_here(self, step, ran, context, next_kwargs):
        assert step.resume_execution(TRIGGER_FAIL_REPR, next_kwargs, context) == {"status": "Finished"}
        assert ran == [None]

    def test_a_step_that_the_gate_sent_on_runs_here(self, step, ran, context):
        event = {"state": "worker", "reason": "there is none", "waited_s": None, "seen_expired": None}
        step.resume_execution("resume_from_gate", {"event": event}, context)
        assert ran == [None]

    def test_what_the_gate_has_waited_for_is_brought_along(self, step, ran, context):
        event = {"state": "worker", "reason": "free", "waited_s": 3.5, "seen_expired": "tag"}
        step.resume_execution("resume_from_gate", {"event": event}, context)
        (waited,) = ran
        assert (waited.seconds, waited.seen_expired) == (3.5, "tag")

    def test_results_of_an_earlier_try_are_gone_before_the_step_runs(self, step, ran, monkeypatch):
        deleted = []
        monkeypatch.setattr(
            "airflow.sdk.execution_time.xcom.XCom.delete", lambda **what: deleted.append(what["key"])
        )
        ti = SimpleNamespace(try_number=2, dag_id="d", task_id="t", run_id="r", map_index=-1)
        step.resume_execution("resume_from_gate", {"event": {}}, {"ti": ti})
        assert deleted == ["return_value", "reuse"]


MEETS = """
    with Pipeline("meets", default_args=usual):
        PythonScriptStep("train.py")
"""


@pytest.mark.airflow
@pytest.mark.filterwarnings("ignore")
class TestInARun:
    def test_a_step_takes_the_result_that_another_run_was_computing(self, run, azureml_options):
        azureml_options.setenv("AIRFLOW__AZUREML__WAIT_POLL_S", "0.05")
        first = run(MEETS)
        key = first.steps["train"]["reuse"]["key"]
        store = open_workspace(str(run.workspace)).store
        head_key = f"entries/{key[:2]}/{key}/head.json"
        head = store.get(head_key).data
        store.delete(head_key)
        lease = LeaseStore(store, 60).take(key, Holder("somebody", "meets", "other_run"))

        def finish():
            store.put(head_key, head)
            lease.release()

        timer = threading.Timer(2, finish)
        timer.start()
        second = run(MEETS)
        timer.join()

        assert second.state == "success"
        reuse = second.steps["train"]["reuse"]
        assert (reuse["decision"], reuse["code"]) == ("reuse", "joined")
        assert reuse["waited_s"] > 0
        assert second.steps["train"]["reused_from"] == first.steps["train"]["id"]

    def test_a_step_takes_over_when_the_other_run_has_died(self, run, azureml_options):
        azureml_options.setenv("AIRFLOW__AZUREML__WAIT_POLL_S", "0.05")
        first = run(MEETS)
        key = first.steps["train"]["reuse"]["key"]
        store = open_workspace(str(run.workspace)).store
        store.delete(f"entries/{key[:2]}/{key}/head.json")
        LeaseStore(store, 3).take(key, Holder("dead", "meets", "other_run"))

        second = run(MEETS)

        assert second.state == "success"
        assert second.steps["train"]["reuse"]["decision"] == "run"
        assert EntryStore(store).find(key).step_run_id == second.steps["train"]["id"]
