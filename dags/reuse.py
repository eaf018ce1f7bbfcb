"""What a result depends on, where it is looked for, and tasks that run only where there is none.

Trigger the DAG twice: the second run starts no script, and the tasks of ``machine`` are skipped, because nobody needs a machine.
Trigger it with another ``build``: that makes no difference. With more ``points``: both steps run again. With ``Run again`` set to
``simulate`` in the trigger form: ``simulate`` runs, writes the same bytes, and ``summarize`` is reused.
"""

from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import TaskGroup, task

from airflow_azureml import Environment, Pipeline, PipelineData, PipelineParameter, ReusePolicy
from airflow_azureml.operators import PythonScriptStep, StepReuseSensor

points = PipelineParameter("points", default_value=200_000)
build = PipelineParameter("build", default_value="local")

with Pipeline(
    "reuse",
    description="Results that are reused, and tasks that depend on it",
    default_source_directory="reuse_steps",
    default_args={"environment": Environment("bare")},
    # The scripts share a folder: only what a script imports counts for it. The build number changes nothing.
    reuse_policy=ReusePolicy(code_scope="imports", ignore_params=["build"]),
    # A result that is there ends a step before any worker is started.
    reuse_gate="triggerer",
    # Skipped tasks must not end the run.
    continue_on_step_failure=True,
    doc_md=__doc__,
) as pipeline:
    samples = PipelineData("samples")

    simulate = PythonScriptStep(
        script_name="simulate.py",
        arguments=["--points", points, "--build", build, "--out", samples],
        outputs=[samples],
        trigger_rule="none_failed",
    )
    summarize = PythonScriptStep(
        script_name="summarize.py",
        arguments=["--in", samples],
        inputs=[samples],
        # A policy of its own takes the place of the pipeline's.
        reuse_policy=ReusePolicy(code_scope="imports", ttl="7d"),
    )

    # Looks once; with wait=True it would wait for the result.
    look = StepReuseSensor(task_id="look", step=simulate, wait=False)

    @task.short_circuit(ignore_downstream_trigger_rules=False)
    def has_to_run(found: dict[str, Any]) -> bool:
        """The reuse document says what the step would do, and why."""
        return bool(found["decision"] != "reuse")

    with TaskGroup("machine") as machine:
        EmptyOperator(task_id="order") >> EmptyOperator(task_id="wait_for_it")

    has_to_run(look.output) >> machine >> simulate
