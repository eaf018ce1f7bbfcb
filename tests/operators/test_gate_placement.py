"""Which steps with ``reuse_gate="triggerer"`` start in the triggerer, and which ones stay with the worker."""

import sys

import pytest

from airflow_azureml import config
from airflow_azureml.operators.triggerer_gate import start_in_triggerer, why_in_worker

HEAD = f"""
from airflow.sdk import DAG, Asset, TaskGroup, task, task_group

from airflow_azureml import *
from airflow_azureml.operators import Pipeline, PythonScriptStep

here = Environment("here")
here.python.user_managed_dependencies = True
here.python.interpreter_path = {sys.executable!r}
usual = {{"environment": here, "source_directory": "steps"}}
"""


@pytest.fixture
def options(azureml_options, tmp_path):
    for option in ("workspace", "scratch_directory", "cache_directory", "environments_directory"):
        azureml_options.setenv(f"AIRFLOW__AZUREML__{option.upper()}", str(tmp_path / option))
    config.forget()


@pytest.fixture
def step(dag_files, options):
    """Returns the only step of a pipeline."""

    def read(arguments="", before="", **of_pipeline):
        given = "".join(f", {name}={value}" for name, value in of_pipeline.items())
        return dag_files.dag(
            f"""
            with Pipeline("one", default_args=usual{given}) as pipeline:
                alpha = PipelineParameter("alpha", 0.5)
                {before}
                PythonScriptStep("train.py", task_id="train"{arguments})
            """,
            head=HEAD,
        ).get_task("train")

    return read


class TestAStepStaysWithTheWorker:
    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            (", outlets=[Asset('s3://bucket/a')]", "asset events"),
            (", on_success_callback=print", "callbacks"),
            (", on_execute_callback=print", "callbacks"),
            (", pre_execute=print", "hook"),
            (", allow_reuse=False", "allow_reuse"),
            (", arguments=['{{ ti.xcom_pull(task_ids=\"a\") }}']", "templates"),
            (", arguments=['{{ conn.a.password }}']", "templates"),
            (", arguments=['{{ broken']", "templates"),
            (", params={'a': '{{ prev_start_date_success }}'}", "templates"),
            (", arguments=['$AML_PARAMETER_beta']", "name a parameter"),
            (", params={'api_key': 'x'}", "credential"),
            (", arguments=['https://user:pass@host/']", "credential"),
            (", arguments=['x' * 70_000]", "too large"),
        ],
    )
    def test_that_would_lose_something_in_the_triggerer(self, step, arguments, reason):
        found = step(arguments, params="{'beta': 1}", reuse_gate="'triggerer'")
        assert reason in why_in_worker(found)
        start_in_triggerer(found)
        assert not found.start_from_trigger

    @pytest.mark.parametrize(
        ("pipeline", "reason"),
        [
            ({"user_defined_macros": "{'double': 2}"}, "templates"),
            ({"jinja_environment_kwargs": "{'trim_blocks': True}"}, "templates"),
        ],
    )
    def test_whose_templates_need_the_dag_file(self, step, pipeline, reason):
        assert reason in why_in_worker(step(", arguments=['{{ ds }}']", **pipeline))
        assert why_in_worker(step(", arguments=['plain']", **pipeline)) is None

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("""
            with Pipeline("p", default_args=usual):
                parts = PipelineData("parts")
                PythonScriptStep.partial(script_name="prepare.py", outputs=[parts]).expand(arguments=[["a", parts], ["b", parts]])
                PythonScriptStep("train.py", inputs=[parts])
            """, "mapped step writes"),
            ("""
            with Pipeline("p", default_args=usual):
                @task_group
                def study(column):
                    PythonScriptStep("train.py", task_id="train")
                study.expand(column=["a"])
            """, "mapped"),
            ("""
            with Pipeline("p", default_args=usual):
                @task
                def number():
                    return 3
                PythonScriptStep("train.py", arguments=[number()])
            """, "another task"),
            ("""
            with Pipeline("p", default_args=usual):
                @task
                def number():
                    return 3
                PythonScriptStep("train.py", params={"depth": number()})
            """, "another task"),
            ("""
            with Pipeline("p", default_args=usual):
                @task
                def each(item):
                    return item
                each.expand(item=PythonScriptStep("train.py").output)
            """, "mapped over its result"),
            ("""
            class Own(PythonScriptStep):
                pass

            with Pipeline("p", default_args=usual):
                Own("train.py")
            """, "Own"),
        ],
    )  # fmt: skip
    def test_that_the_triggerer_cannot_follow(self, dag_files, options, text, reason):
        dag = dag_files.dag(text, head=HEAD)
        (step,) = [task for task in dag.tasks if task.task_id.endswith("train")]
        assert reason in why_in_worker(step)

    def test_by_default(self, step):
        found = step()
        start_in_triggerer(found)
        assert why_in_worker(found) is None
        assert not found.start_from_trigger

    def test_whose_source_is_in_a_versioned_bundle(self, step, dag_files, monkeypatch):
        found = step()
        monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH", str(dag_files.folder))
        assert "version" in why_in_worker(found)
