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
    done = run("""
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
    """, alpha=0.7)
    assert done.state == "success"
    assert done.printed("parts") == " | ".join(
        ["3", "0.7", "manual", "0.7", "True", "None", "it's {\"a\": {\"b\": 1}}; $(id) }} \r\n"]
    )
    assert done.printed("whole") == "--all | 4 | None | {{ ds }}"
    assert done.pipeline["status"] == "Finished"
