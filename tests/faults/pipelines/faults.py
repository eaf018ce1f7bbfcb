"""Small pipelines, each with one fault."""

from datetime import timedelta

from airflow_azureml import OutputFileDatasetConfig, Pipeline, PipelineData, PipelineParameter, ReusePolicy
from airflow_azureml.operators import PythonScriptStep

AT_ONCE = {"retries": 1, "retry_delay": timedelta(0)}


def step(script, name="step", *arguments, **options):
    """A step that declares an output of every kind; ``traces.py`` writes them.

    Many pipelines have one script: none of them waits for the result of another.
    """
    out = PipelineData("out")
    kept = OutputFileDatasetConfig("kept").register_on_complete(f"kept_of_{name}_in_{script[:-3]}")
    return PythonScriptStep(
        script_name=script,
        name=name,
        arguments=["--out", out, "--kept", kept, "--try", "{{ ti.try_number }}", *arguments],
        outputs=[out],
        source_directory="scripts",
        reuse_policy=ReusePolicy(wait="never"),
        **options,
    )


def alone(name, script, **options):
    with Pipeline(name):
        step(script, **options)


alone("exits", "exits.py")
alone("raises", "raises.py")
alone("killed", "killed.py")
alone("forks", "forks.py")
alone("second_try", "second_try.py", **AT_ONCE)
alone("times_out", "stubborn.py", execution_timeout=timedelta(seconds=5))
alone("marked_failed", "stubborn.py")
alone("run_marked_failed", "stubborn.py")
alone("cleared", "stubborn.py")
alone("lost_worker", "stubborn.py", **AT_ONCE)
alone("lost_task", "stubborn.py", **AT_ONCE)
alone("lost_for_good", "stubborn.py")
alone("lost_scheduler", "stubborn.py", **AT_ONCE)
alone("fills_the_disk", "fills_the_disk.py")

with Pipeline("at_once"):
    meeting = PipelineParameter("meeting", default_value="")
    step("meets.py", "step", "--meeting", meeting)

with Pipeline("half_good"):
    step("exits.py", "bad").run_after(step("good.py", "good"))

for name, goes_on in (("fails_fast", False), ("goes_on", True)):
    with Pipeline(name, continue_on_step_failure=goes_on):
        meeting = PipelineParameter("meeting", default_value="")
        bad = step("fails_beside.py", "bad", "--meeting", meeting)
        sibling = step("waits_a_little.py" if goes_on else "waits.py", "sibling", "--meeting", meeting)
        step("good.py", "after_bad").run_after(bad)
        step("good.py", "after_sibling").run_after(sibling)

with Pipeline("cancels"):
    meeting = PipelineParameter("meeting", default_value="")
    canceler = step("cancels.py", "canceler", "--meeting", meeting)
    sibling = step("waits.py", "sibling", "--meeting", meeting)
    step("good.py", "after").run_after(canceler)

with Pipeline("talks"):
    PythonScriptStep(script_name="talks.py", name="step", arguments=["1024"], source_directory="scripts")
