"""``StepReuseSensor``: the same in every mode, for steps of this pipeline and of others."""

import json
import sys
import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR, TriggerFailureReason
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)

from airflow_azureml import config
from airflow_azureml.operators import reuse_look
from airflow_azureml.operators.reuse_sensor import StepReuseSensor
from airflow_azureml.reuse.leases import Holder, LeaseStore
from airflow_azureml.runtime.exceptions import StoreError
from airflow_azureml.triggers import StepReuseTrigger
from airflow_azureml.workspace.handle import open_workspace

MODES = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
}

WRITE = """
    import os, sys

    os.makedirs(sys.argv[2])
    open(os.path.join(sys.argv[2], "a.txt"), "w").write(sys.argv[1])
"""

HEAD = f"""
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import task

from airflow_azureml import *
from airflow_azureml.operators import Pipeline, PythonScriptStep
from airflow_azureml.operators.reuse_sensor import StepReuseSensor

here = Environment("here")
here.python.user_managed_dependencies = True
here.python.interpreter_path = {sys.executable!r}
usual = {{"environment": here, "source_directory": "steps"}}
"""

# What a sensor finds is written where the test can read it.
MADE = """
from pathlib import Path
import json

with Pipeline("made", default_args=usual) as made:
    alpha, letter = PipelineParameter("alpha", 0.5), PipelineParameter("letter", "a")
    prepared = PipelineData("prepared")
    PythonScriptStep("write.py", arguments=[letter, prepared], outputs=[prepared])
    PythonScriptStep("train.py", arguments=[alpha], inputs=[prepared])
    PythonScriptStep("compare.py", "always", allow_reuse=False)

"""
SENSE = (
    MADE
    + """
with Pipeline("senses", continue_on_step_failure=True) as pipeline:
    found = StepReuseSensor(task_id="sense", {arguments})

    @task(trigger_rule="all_done")
    def keep(found):
        Path({kept!r}).write_text(json.dumps(found))

    keep(found.output)
"""
)


def head_of(key):
    return f"entries/{key[:2]}/{key}/head.json"


def given(**arguments):
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())


@pytest.fixture(params=MODES)
def mode(request, monkeypatch):
    """The arguments of each mode; ``dag.test()`` has a triggerer in it."""
    if request.param == "deferrable":
        monkeypatch.setattr("airflow_azureml.operators.waiting.triggerer_is_alive", lambda: True)
    return MODES[request.param]


@pytest.fixture
def world(run, tmp_path):
    """Runs the pipeline that makes results, and sensors that wait for them."""
    run.files.script("write.py", WRITE)
    kept = tmp_path / "found.json"

    def make(**parameters):
        from airflow_azureml.compute.identity import pipeline_run_id

        bag = run.files.bag(run.files.write(MADE, head=HEAD))
        assert not bag.import_errors
        done = bag.dags["made"].test(run_conf=parameters)
        assert str(done.state) == "success"
        run_id = pipeline_run_id(config.deployment(), "made", done.run_id)
        return {step["task_id"]: step for step in open_workspace(str(run.workspace)).runs.children(run_id)}

    def sense(**arguments):
        text = SENSE.format(kept=str(kept), arguments=given(**arguments))
        bag = run.files.bag(run.files.write(text, head=HEAD))
        assert not bag.import_errors, bag.import_errors
        done = bag.dags["senses"].test()
        state = {ti.task_id: ti.state for ti in done.get_task_instances()}["sense"]
        return state, json.loads(kept.read_text())

    return SimpleNamespace(
        make=make, sense=sense, files=run.files, store=open_workspace(str(run.workspace)).store
    )


@pytest.mark.airflow
@pytest.mark.filterwarnings("ignore")
class TestInEveryMode:
    def test_a_result_that_is_there_is_found_and_described(self, world, mode):
        made = world.make()
        state, found = world.sense(step="train", pipeline="made", timeout=20, poke_interval=0.2, **mode)
        assert state == "success"
        assert (found["decision"], found["code"]) == ("reuse", "hit")
        assert found["origin"]["step_run_id"] == made["train"]["id"]
        assert found["key"] == made["train"]["reuse"]["key"]

    def test_a_result_in_progress_is_waited_for(self, world, mode):
        key = world.make()["train"]["reuse"]["key"]
        kept = world.store.get(head_of(key)).data
        world.store.delete(head_of(key))
        lease = LeaseStore(world.store, 60).take(key, Holder("somebody", "made", "other_run"))

        def finish():
            world.store.put(head_of(key), kept)
            lease.release()

        timer = threading.Timer(3, finish)
        timer.start()
        state, found = world.sense(step="train", pipeline="made", timeout=60, poke_interval=0.2, **mode)
        timer.join()
        assert state == "success"
        assert found["decision"] == "reuse"

    @pytest.mark.parametrize(("soft_fail", "expected"), [(False, "failed"), (True, "skipped")])
    def test_the_waiting_has_an_end(self, world, mode, soft_fail, expected):
        state, found = world.sense(
            step="train", pipeline="made", timeout=1, poke_interval=0.2, soft_fail=soft_fail, **mode
        )
        assert state == expected
        assert found is None

    def test_values_of_parameters_count(self, world, mode):
        world.make(alpha=0.7)
        more = {"step": "train", "pipeline": "made", "timeout": 1, "poke_interval": 0.2, **mode}
        assert world.sense(**more)[0] == "failed"
        assert world.sense(pipeline_parameters={"alpha": "{{ 0.7 }}"}, **more)[0] == "success"

    def test_what_can_never_come_ends_it_at_once(self, world, mode):
        for arguments in (
            {"step": "nothing", "pipeline": "made"},
            {"step": "train", "pipeline": "nowhere"},
            {"step": "always", "pipeline": "made"},
            {"step": "train", "pipeline": "made", "pipeline_parameters": {"beta": 1}},
        ):
            # Without retries that could be waited for.
            state, _ = world.sense(timeout=600, retries=3, retry_delay=600, **arguments, **mode)
            assert state == "failed"

    def test_without_waiting_it_says_what_there_is(self, world, mode):
        state, found = world.sense(step="train", pipeline="made", wait=False, **mode)
        assert state == "success"
        assert found["decision"] == "run"
        state, found = world.sense(step="always", pipeline="made", wait=False, **mode)
        assert state == "success"
        assert (found["decision"], found["code"]) == ("run", "bypassed_by_step")


@pytest.mark.airflow
@pytest.mark.filterwarnings("ignore")
class TestInAPipeline:
    def test_it_gates_a_part_of_its_own_pipeline(self, run):
        run.files.script("write.py", WRITE)
        text = """
            with Pipeline("gated", default_args=usual):
                prepared = PipelineData("prepared")
                write = PythonScriptStep("write.py", arguments=["a", prepared], outputs=[prepared])
                train = PythonScriptStep("train.py", inputs=[prepared])

                @task.branch
                def choose(found):
                    return "report" if found["decision"] == "reuse" else "write"

                look = StepReuseSensor(task_id="look", step=train, wait=False)
                choose(look.output) >> [write, EmptyOperator(task_id="report")]
        """
        first, second = (
            {ti.task_id: ti.state for ti in run.files.dag(text, head=HEAD).test().get_task_instances()}
            for _ in range(2)
        )
        assert first == {
            "look": "success", "choose": "success", "write": "success", "train": "success", "report": "skipped"
        }  # fmt: skip
        assert second == {
            "look": "success", "choose": "success", "write": "skipped", "train": "skipped", "report": "success"
        }  # fmt: skip

    def test_it_knows_what_steps_of_its_run_have_written(self, run):
        """The first step never reuses anything; what it wrote decides about the second one."""
        run.files.script("write.py", WRITE)
        text = """
            with Pipeline("known", default_args=usual):
                prepared = PipelineData("prepared")
                write = PythonScriptStep("write.py", arguments=["a", prepared], outputs=[prepared], allow_reuse=False)
                train = PythonScriptStep("train.py", inputs=[prepared])
                train >> EmptyOperator(task_id="between") >> StepReuseSensor(task_id="sense", step=train, timeout=0)
        """
        dag = run.files.dag(text, head=HEAD)
        assert {ti.task_id: ti.state for ti in dag.test().get_task_instances()}["sense"] == "success"


class TestItsArguments:
    def test_a_step_is_what_it_waits_for(self, dag_files):
        error = dag_files.error("""
            from airflow_azureml.operators.reuse_sensor import StepReuseSensor

            with Pipeline("p"):
                StepReuseSensor(task_id="sense", step=EmptyOperator(task_id="a"))
        """)
        assert "StepReuseSensor 'sense': argument step is a EmptyOperator" in error

    def test_a_step_that_never_reuses_is_refused(self, dag_files):
        error = dag_files.error("""
            from airflow_azureml.operators.reuse_sensor import StepReuseSensor

            with Pipeline("p", default_source_directory="steps"):
                StepReuseSensor(task_id="sense", step=PythonScriptStep("train.py", allow_reuse=False))
        """)
        assert "'train' has allow_reuse=False" in error

    def test_a_step_says_which_pipeline_it_is_of(self, dag_files):
        bag = dag_files.bag(
            dag_files.write("""
            from airflow_azureml.operators.reuse_sensor import StepReuseSensor

            with Pipeline("first", default_source_directory="steps") as first:
                train = PythonScriptStep("train.py")
            with Pipeline("second") as second:
                StepReuseSensor(task_id="by_object", step=train)
                StepReuseSensor(task_id="by_pipeline", step="train", pipeline=first)
                StepReuseSensor(task_id="by_name", step="train", pipeline="first")
                StepReuseSensor(task_id="own", step="train")
            """)
        )
        assert not bag.import_errors
        found = {task.task_id: (task.pipeline_id, task.step_id) for task in bag.dags["second"].tasks}
        assert found == {
            "by_object": ("first", "train"),
            "by_pipeline": ("first", "train"),
            "by_name": ("first", "train"),
            "own": ("second", "train"),
        }

    def test_airflows_default_says_whether_it_waits_in_the_triggerer(self, monkeypatch):
        assert not StepReuseSensor(task_id="a", step="b").deferrable
        monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "True")
        assert StepReuseSensor(task_id="a", step="b").deferrable


class TestInTheTriggerer:
    """What is particular about waiting there."""

    @pytest.fixture
    def sensor(self, dag_files, azureml_options, tmp_path, monkeypatch):
        monkeypatch.setattr("airflow_azureml.operators.waiting.triggerer_is_alive", lambda: True)
        azureml_options.setenv("AIRFLOW__AZUREML__WORKSPACE", str(tmp_path / "workspace"))
        config.forget()
        dag = dag_files.dag("""
            from airflow_azureml.operators.reuse_sensor import StepReuseSensor

            with Pipeline("p", default_source_directory="steps"):
                StepReuseSensor(
                    task_id="sense", step=PythonScriptStep("train.py"), deferrable=True, timeout=100, poke_interval=7
                )
        """)
        return dag.get_task("sense")

    @pytest.fixture
    def looks(self, monkeypatch):
        """What the sensor sees, look by look."""
        coming = []

        def look(sensor, context):
            found = coming.pop(0)
            if isinstance(found, Exception):
                raise found
            return found

        monkeypatch.setattr(reuse_look, "look", look)
        return coming

    @staticmethod
    def seen(is_there, workspace="/nowhere"):
        document = {"decision": "reuse" if is_there else "run", "message": "…"}
        poked = reuse_look.PokeReturnValue(is_done=is_there, xcom_value=document)
        return reuse_look.ReuseLook(document, () if is_there else ("ab" * 32,), str(workspace), poked)

    @staticmethod
    def context(elapsed_s=0):
        return {"ti": SimpleNamespace(start_date=datetime.now(UTC) - timedelta(seconds=elapsed_s))}

    def test_it_waits_there_for_the_keys_that_it_misses(self, sensor, looks, tmp_path):
        looks += [self.seen(False, tmp_path)] * 2
        with pytest.raises(TaskDeferred) as caught:
            sensor.execute(self.context(elapsed_s=40))
        trigger = caught.value.trigger
        assert isinstance(trigger, StepReuseTrigger)
        assert trigger.seen == {"ab" * 32: 0}
        assert trigger.poll_s == 7
        assert 50 < caught.value.timeout.total_seconds() <= 60

    def test_a_result_that_comes_between_looking_and_waiting_is_not_missed(self, sensor, looks, tmp_path):
        looks += [self.seen(False, tmp_path), self.seen(True)]
        assert sensor.execute(self.context())["decision"] == "reuse"

    @pytest.mark.parametrize(
        ("method", "kwargs"),
        [
            ("execute", {"event": {"state": "changed"}}),
            (TRIGGER_FAIL_REPR, {"error": TriggerFailureReason.TRIGGER_TIMEOUT}),
        ],
    )
    def test_afterwards_it_looks_again_however_the_waiting_ended(self, sensor, looks, method, kwargs):
        looks += [self.seen(True)]
        assert sensor.resume_execution(method, kwargs, self.context(elapsed_s=200))["decision"] == "reuse"

    def test_the_time_runs_on_in_the_triggerer(self, sensor, looks):
        looks += [self.seen(False)]
        with pytest.raises(AirflowSensorTimeout):
            sensor.resume_execution("execute", {}, self.context(elapsed_s=101))

    def test_a_triggerer_that_cannot_wait_leaves_it_to_the_worker(self, sensor, looks, monkeypatch):
        monkeypatch.setattr("time.sleep", lambda s: None)
        looks += [self.seen(False), self.seen(True)]
        failure = {"error": TriggerFailureReason.TRIGGER_FAILURE, "traceback": ["…"]}
        assert sensor.resume_execution(TRIGGER_FAIL_REPR, failure, self.context())["decision"] == "reuse"

    @pytest.mark.parametrize(
        ("options", "error", "expected"),
        [
            ({}, AirflowFailException("no such step"), AirflowFailException),
            ({"soft_fail": True}, AirflowFailException("no such step"), AirflowSkipException),
            ({"never_fail": True}, StoreError("down"), AirflowSkipException),
            ({}, StoreError("down"), StoreError),
            ({"silent_fail": True}, StoreError("down"), TaskDeferred),
        ],
    )
    def test_errors_are_treated_as_in_a_worker(self, sensor, looks, options, error, expected):
        for name, value in options.items():
            setattr(sensor, name, value)
        looks += [error, error]
        with pytest.raises(expected):
            sensor.execute(self.context())
