"""Pipelines that really run: Airflow's own scheduling and task runner, steps in processes of their own."""

import pytest

# What the libraries under Airflow warn of while it runs is not ours.
pytestmark = [pytest.mark.airflow, pytest.mark.filterwarnings("ignore")]

SEEN = """
    import sys
    from azureml.core import Run

    Run.get_context().log("seen", " | ".join(sys.argv[1:]))
"""


def test_values_of_tasks_and_templates_reach_the_script_and_v1_text_is_left_alone(run):
    run.files.script("train.py", SEEN)
    done = run(
        """
        text = "it's {\\"a\\": {\\"b\\": 1}}; $(id) }} \\r\\n"

        with Pipeline("arguments", default_args=usual):
            alpha = PipelineParameter("alpha", 0.5)

            @task
            def number():
                return 3

            @task
            def everything():
                return ["--all", 4, None, "{{ ds }}"]

            PythonScriptStep("train.py", "parts", [number(), "{{ params.alpha }}", "{{ run_id[:6] }}", alpha, True, None, text])
            PythonScriptStep("train.py", "whole", everything())

            @task
            def after(result):
                return result["status"]

            after(PythonScriptStep("train.py", "last", ["x"]).output)
    """,
        alpha=0.7,
    )
    assert done.state == "success"
    assert (
        done.printed("parts") == '3 | 0.7 | manual | 0.7 | True | None | it\'s {"a": {"b": 1}}; $(id) }} \r\n'
    )
    assert done.printed("whole") == "--all | 4 | None | {{ ds }}"
    assert done.pipeline["status"] == "Finished"


WRITE = """
    import os, sys

    part, out = sys.argv[1], sys.argv[2]
    os.mkdir(out)
    with open(os.path.join(out, "part.txt"), "w") as file:
        file.write(part)
"""
READ_ALL = """
    import os, sys
    from azureml.core import Run

    root = sys.argv[1]
    found = {name: open(os.path.join(root, name, "part.txt")).read() for name in sorted(os.listdir(root))}
    Run.get_context().log("seen", repr(found))
"""
READ_ONE = """
    import os, sys
    from azureml.core import Run

    Run.get_context().log("seen", open(os.path.join(sys.argv[1], "part.txt")).read())
"""


def test_who_reads_a_mapped_step_sees_what_each_instance_wrote(run):
    run.files.script("write.py", WRITE)
    run.files.script("read.py", READ_ALL)
    done = run("""
        with Pipeline("mapped", default_args=usual):
            parts, empty = PipelineData("parts"), PipelineData("empty")

            @task
            def columns():
                return [["age", "$AZUREML_DATAREFERENCE_parts"], ["bmi", "x"]]

            PythonScriptStep.partial(script_name="write.py", outputs=[parts]).expand(
                arguments=[["age", parts], ["bmi", parts], ["bp", parts]]
            )
            PythonScriptStep("read.py", arguments=[parts], inputs=[parts])
            # As many as a task says, with values that it returns.
            PythonScriptStep.partial(script_name="prepare.py", name="counted").expand(arguments=columns())
    """)
    assert done.state == "success"
    assert done.printed("read") == repr({"0": "age", "1": "bmi", "2": "bp"})
    assert done.steps["write[1]"]["arguments"][0] == "bmi"
    # A value can't name an input or output.
    assert done.steps["counted[0]"]["arguments"] == ["age", "$AZUREML_DATAREFERENCE_parts"]


def test_in_a_mapped_task_group_each_reader_sees_its_own_writer(run):
    run.files.script("write.py", WRITE)
    run.files.script("read.py", READ_ONE)
    run.files.script("all.py", READ_ALL)
    done = run("""
        with Pipeline("groups", default_args=usual):
            part = PipelineData("part")

            @task_group
            def study(column):
                PythonScriptStep("write.py", arguments=[column, part], outputs=[part])
                with TaskGroup("inner"):
                    PythonScriptStep("read.py", arguments=[part], inputs=[part])

            study.expand(column=["age", "bmi"])
            PythonScriptStep("all.py", arguments=[part], inputs=[part])
    """)
    assert done.state == "success"
    assert [done.printed(f"study.inner.read[{index}]") for index in (0, 1)] == ["age", "bmi"]
    assert done.printed("all") == repr({"0": "age", "1": "bmi"})


CANCEL = """
    import time
    from azureml.core import Run

    run = Run.get_context()
    run.parent.cancel()
    time.sleep(60)
    raise SystemExit("was not stopped")
"""


def test_a_step_that_cancels_its_pipeline_run_skips_what_comes_after(run):
    """Q13: stopped on purpose is not failed."""
    run.files.script("train.py", CANCEL)
    done = run("""
        with Pipeline("canceled", default_args=usual, continue_on_step_failure=True):
            model = PipelineData("model")
            PythonScriptStep("train.py", outputs=[model]) >> PythonScriptStep(
                "compare.py", inputs=[model], trigger_rule="all_done"
            )
            PythonScriptStep("prepare.py", "reader", inputs=[model])
    """)
    assert done.tasks == {"train": "skipped", "compare": "skipped", "reader": "skipped"}
    assert done.pipeline["status"] == "Canceled"
    assert done.pipeline["cancel"]["reason"]
    assert done.pipeline["cancel"]["by"] == done.steps["train"]["id"]
    assert done.steps["train"]["status"] == "Canceled"
    assert done.steps["train"]["error"] == done.pipeline["cancel"]["reason"]
    assert not done.steps["train"]["outputs"]


@pytest.mark.parametrize(
    ("go_on", "states"),
    [
        (True, {"broken": "failed", "after": "upstream_failed", "apart": "success", "last": "success"}),
        (False, {"broken": "failed", "after": "skipped", "apart": "skipped", "last": "skipped"}),
    ],
)
def test_after_a_failure_steps_that_do_not_need_it_go_on_if_they_may(run, go_on, states):
    run.files.script("broken.py", "raise SystemExit(3)\n")
    done = run(f"""
        with Pipeline("failing", default_args=usual, continue_on_step_failure={go_on}):
            data = PipelineData("data")
            first = EmptyOperator(task_id="first")
            broken = PythonScriptStep("broken.py", outputs=[data])
            PythonScriptStep("compare.py", "after", inputs=[data])
            apart = PythonScriptStep("prepare.py", "apart")
            # Scheduled when the other one has failed already.
            first >> [EmptyOperator(task_id="second")] >> apart >> PythonScriptStep("train.py", "last")
    """)
    assert {name: state for name, state in done.tasks.items() if name in states} == states
    assert done.state == "failed"
    assert done.pipeline["status"] == "Failed"
    assert done.steps["broken"]["status"] == "Failed"
    assert "exit code 3" in done.steps["broken"]["error"]
    assert "after" not in done.steps
