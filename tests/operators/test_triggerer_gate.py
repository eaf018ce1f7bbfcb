"""``reuse_gate="triggerer"``: which steps start in the triggerer, and that it decides as a worker would."""

import asyncio
import json
import logging
import shutil
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.models.trigger import Trigger
from airflow.serialization.decoders import smart_decode_trigger_kwargs
from airflow.serialization.serialized_objects import DagSerialization
from airflow.triggers.base import TaskSuccessEvent

from airflow_azureml import config
from airflow_azureml.compute.execution import StepExecution
from airflow_azureml.compute.outputs import StoredOutput
from airflow_azureml.compute.step_inputs import resolve_inputs
from airflow_azureml.operators import triggerer_gate
from airflow_azureml.operators.gate_document import gate_document, step_of
from airflow_azureml.operators.planning_context import KnownResults, PlannedRun
from airflow_azureml.operators.services import execution_services, workspace_of
from airflow_azureml.operators.triggerer_gate import decide, start_in_triggerer, why_in_worker
from airflow_azureml.reuse.leases import Holder, LeaseStore
from airflow_azureml.runtime.exceptions import DefinitionError
from airflow_azureml.triggers import ReuseGateTrigger
from airflow_azureml.workspace.handle import open_workspace
from airflow_azureml.workspace.hashing import hash_tree

HEAD = f"""
from airflow.sdk import DAG, Asset, TaskGroup, task, task_group

from airflow_azureml import *
from airflow_azureml.operators import Pipeline, PythonScriptStep

here = Environment("here")
here.python.user_managed_dependencies = True
here.python.interpreter_path = {sys.executable!r}
usual = {{"environment": here, "source_directory": "steps"}}
"""

RICH = """
    with Pipeline("rich", default_args=usual, reuse_gate="triggerer") as pipeline:
        alpha = PipelineParameter("alpha", 0.5)
        prepared, scored = PipelineData("prepared"), OutputFileDatasetConfig("scored")
        prepare = PythonScriptStep("prepare.py", arguments=["--out", prepared], outputs=[prepared])
        train = PythonScriptStep(
            "train.py",
            name="The training",
            task_id="train",
            arguments=[
                prepared, "--alpha", alpha, "--a=" + alpha.arg_val, "{{ ds }}", "{{ params.alpha }}", "{ a }", None, 3, scored
            ],
            inputs=[prepared],
            outputs=[scored],
            params={"depth": 3, "when": "{{ ds_nodash }}", "alpha_too": alpha},
            hash_paths=["compare.py"],
            version="7",
            reuse_policy=ReusePolicy(ttl="7d", ignore_params=["alpha"]),
        )
"""


@pytest.fixture
def options(azureml_options, tmp_path):
    for option in ("workspace", "scratch_directory", "cache_directory", "environments_directory"):
        azureml_options.setenv(f"AIRFLOW__AZUREML__{option.upper()}", str(tmp_path / option))
    config.forget()


def stored_output(step):
    """What ``prepare`` wrote, as later steps read it."""
    root = workspace_of(step).datastores.root("workspaceblobstore")
    (root / "prepared").mkdir(parents=True)
    (root / "prepared" / "data.txt").write_text("x")
    found = StoredOutput(
        "prepared", "pipeline_data", "workspaceblobstore", "prepared", "directory", "", 1, 1, "prepared", True
    )
    digest = found.span.digest(hash_tree(root / "prepared", keep_empty_directories=True))
    return {**found.to_document(), "digest": digest}


def action_of(step, known):
    """What the step's result depends on, as the gate finds it in a run."""
    copied = step.prepare_for_execution()
    context = PlannedRun(step.dag, {}, KnownResults(known), None).context(step, -1)
    copied.render_template_fields(context)
    request, services = copied.request(context), execution_services(copied)
    execution = StepExecution(request, services, logging.getLogger(), threading.Event())
    return execution._gate.action(resolve_inputs(request, services))


class TestTheDocument:
    @pytest.mark.parametrize("name", ["prepare", "train"])
    def test_leads_to_the_key_that_the_worker_computes(self, dag_files, options, name):
        step = dag_files.dag(RICH, head=HEAD).get_task(name)
        assert why_in_worker(step) is None

        known = {("prepare", -1): {"step_run_id": "1", "outputs": {"prepared": stored_output(step)}}}
        ours, theirs = action_of(step, known), action_of(step_of(gate_document(step)), known)

        assert ours.document == theirs.document
        assert ours.key == theirs.key

    def test_is_the_same_however_often_the_file_is_read(self, dag_files, options):
        first = gate_document(dag_files.dag(RICH, head=HEAD).get_task("train"))
        dag_files.script("train.py", "print('edited')\n")
        assert gate_document(dag_files.dag(RICH, head=HEAD).get_task("train")) == first
        assert len(first) < 4096

    def test_sees_a_change_of_the_source_after_the_file_was_read(self, dag_files, options):
        document = gate_document(dag_files.dag(RICH, head=HEAD).get_task("prepare"))
        before = action_of(step_of(document), {}).key
        dag_files.script("prepare.py", "print('edited')\n")
        assert action_of(step_of(document), {}).key != before

    def test_is_of_no_use_where_the_source_is_not(self, dag_files, options):
        document = gate_document(dag_files.dag(RICH, head=HEAD).get_task("prepare"))
        shutil.rmtree(dag_files.scripts)
        with pytest.raises(DefinitionError, match="no folder"):
            action_of(step_of(document), {})

    def test_comes_through_what_airflow_keeps_of_a_dag_and_of_a_trigger(self, dag_files, options):
        dag = dag_files.dag(RICH, head=HEAD)
        step = dag.get_task("train")
        start_in_triggerer(step)

        kept = DagSerialization.deserialize_dag(json.loads(json.dumps(DagSerialization.serialize_dag(dag))))
        task = kept.get_task("train")
        assert task.start_from_trigger
        arguments = task.start_trigger_args
        row = Trigger(arguments.trigger_cls, arguments.trigger_kwargs)
        given = {name: smart_decode_trigger_kwargs(value) for name, value in row.kwargs.items()}

        assert arguments.trigger_cls == "airflow_azureml.triggers.ReuseGateTrigger"
        assert given == {"gate": gate_document(step)}
        assert arguments.next_method == "resume_from_gate"
        assert callable(getattr(step, arguments.next_method, None))
        # Also without a triggerer the step runs in the end.
        assert arguments.timeout == timedelta(seconds=triggerer_gate.AT_MOST_S)


@dataclass
class TaskInstance:
    """A task instance as the triggerer has it."""

    step: Any
    results: dict[str, Any]
    id: str = "0190-1"
    try_number: int = 1
    map_index: int = -1
    run_id: str = "manual__2"

    @property
    def dag_id(self):
        return self.step.dag_id

    @property
    def task_id(self):
        return self.step.task_id

    def get_template_context(self):
        context = dict(PlannedRun(self.step.dag, {}, KnownResults({}), None).context(self.step, -1))
        return {**context, "ti": self, "task_instance": self, "run_id": self.run_id}

    def xcom_pull(self, task_ids, map_indexes):
        # Without indexes, or with more than one task, the triggerer would wait for ever.
        assert map_indexes == [-1]
        return [self.results[task_id] for task_id in task_ids]


CHAIN = """
    with Pipeline("chain", default_args=usual, reuse_gate="triggerer"):
        prepared = PipelineData("prepared")
        PythonScriptStep("write.py", arguments=[prepared], outputs=[prepared])
        PythonScriptStep("train.py", inputs=[prepared])
"""
WRITE = """
    import os, sys

    os.makedirs(sys.argv[1])
    open(os.path.join(sys.argv[1], "a.txt"), "w").write("x")
"""


class TestDeciding:
    """With results that a real run has left."""

    pytestmark = pytest.mark.filterwarnings("ignore")

    @pytest.fixture
    def ran(self, run, monkeypatch):
        run.files.script("write.py", WRITE)
        done = run(CHAIN)
        assert done.state == "success"
        dag = run.files.dag(CHAIN, head=HEAD)
        store = open_workspace(str(run.workspace)).store
        xcoms = {}
        for method in ("set", "_set_xcom_in_db"):
            monkeypatch.setattr(
                f"airflow.sdk.execution_time.xcom.XCom.{method}",
                lambda *, key, value, task_id, **_: xcoms.setdefault(task_id, {}).update({key: value}),
            )
        workspace = open_workspace(str(run.workspace))
        return SimpleNamespace(
            dag=dag, done=done, files=run.files, store=store, workspace=workspace, xcoms=xcoms
        )

    def answer(self, ran, name, results, **more):
        """What the gate says, and the XComs that it leaves."""
        step = ran.dag.get_task(name)
        ti = TaskInstance(step, results, **more)
        ran.xcoms.clear()
        answer = decide(gate_document(step), ti, logging.getLogger("gate"), None)
        assert answer.is_reused == bool(ran.xcoms)
        return SimpleNamespace(
            xcoms=ran.xcoms.get(name, {}), reason=answer.reason, in_progress=answer.in_progress
        )

    def test_a_chain_of_results_ends_without_a_worker(self, ran):
        first = self.answer(ran, "write", {})
        second = self.answer(ran, "train", {"write": first.xcoms["return_value"]})

        for name, answer in (("write", first), ("train", second)):
            origin = ran.done.steps[name]
            assert answer.xcoms["return_value"]["reused_from"] == origin["id"]
            assert answer.xcoms["reuse"]["code"] == "hit"
            assert answer.xcoms["_link_OriginLink"].endswith(
                f"/dags/chain/runs/{origin['run_id'].replace(':', '%3A').replace('+', '%2B')}"
            )
            record = ran.workspace.runs.get(answer.xcoms["return_value"]["step_run_id"])
            assert record["status"] == "Finished"
            assert record["reused_from"] == origin["id"]

    def test_two_triggerers_that_decide_the_same_write_the_same(self, ran):
        first, second = (self.answer(ran, "write", {}) for _ in range(2))
        assert first.xcoms["return_value"] == second.xcoms["return_value"]
        assert len(ran.workspace.runs.children(first.xcoms["return_value"]["pipeline_run_id"])) == 1

    def test_what_has_changed_needs_a_worker(self, ran):
        ran.files.script("write.py", WRITE + "\n    # edited\n")
        answer = self.answer(ran, "write", {})
        assert not answer.xcoms
        assert answer.reason

    def test_a_result_in_progress_is_waited_for(self, ran):
        ran.files.script("write.py", WRITE + "\n    # edited\n")
        step = ran.dag.get_task("write")
        key = action_of(step, {}).key
        lease = LeaseStore(ran.store, 60).take(key, Holder("somebody", "chain", "other_run"))
        answer = self.answer(ran, "write", {})
        assert answer.in_progress.key == key
        assert "other_run" in str(answer.in_progress)
        lease.release()
        assert self.answer(ran, "write", {}).in_progress is None

    def events(self, trigger, ti):
        trigger.task_instance = ti

        async def collect():
            return [event async for event in trigger.run()]

        return asyncio.run(collect())

    def test_the_trigger_ends_the_task_with_a_result(self, ran):
        step = ran.dag.get_task("write")
        (event,) = self.events(ReuseGateTrigger(gate_document(step)), TaskInstance(step, {}))
        assert isinstance(event, TaskSuccessEvent)
        # Airflow would keep them as text.
        assert not event.xcoms
        assert ran.xcoms["write"]["reuse"]["decision"] == "reuse"

    def test_the_trigger_hands_on_what_it_cannot_decide(self, ran):
        step = ran.dag.get_task("train")
        (event,) = self.events(ReuseGateTrigger(gate_document(step)), TaskInstance(step, {"write": None}))
        assert event.payload["state"] == "worker"
        assert "left no result" in event.payload["reason"]

    def test_the_trigger_waits_and_takes_the_result_of_the_other_run(self, ran, azureml_options):
        azureml_options.setenv("AIRFLOW__AZUREML__WAIT_POLL_S", "0.02")
        config.forget()
        step = ran.dag.get_task("write")
        key = action_of(step, {}).key
        lease = LeaseStore(ran.store, 60).take(key, Holder("somebody", "chain", "other_run"))
        # As if the result had not been there when the gate looked first.
        head = ran.store.get(f"entries/{key[:2]}/{key}/head.json").data
        ran.store.delete(f"entries/{key[:2]}/{key}/head.json")

        def finish():
            ran.store.put(f"entries/{key[:2]}/{key}/head.json", head)
            lease.release()

        timer = threading.Timer(0.5, finish)
        timer.start()
        (event,) = self.events(ReuseGateTrigger(gate_document(step)), TaskInstance(step, {}))
        timer.join()
        assert isinstance(event, TaskSuccessEvent)
        assert ran.xcoms["write"]["reuse"]["code"] == "joined"
        assert ran.xcoms["write"]["reuse"]["waited_s"] > 0

    def test_the_trigger_gives_the_task_away_before_airflow_takes_it(self, ran, azureml_options):
        azureml_options.setenv("AIRFLOW__AZUREML__WAIT_POLL_S", "0.02")
        config.forget()
        ran.files.script("write.py", WRITE + "\n    # edited\n")
        step = ran.dag.get_task("write")
        lease = LeaseStore(ran.store, 60).take(action_of(step, {}).key, Holder("somebody"))
        trigger = ReuseGateTrigger(gate_document(step))
        trigger.timeout_after = datetime.now(UTC) + timedelta(seconds=6)
        (event,) = self.events(trigger, TaskInstance(step, {}))
        assert event.payload["state"] == "worker"
        lease.release()
