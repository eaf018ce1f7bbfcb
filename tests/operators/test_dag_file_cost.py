"""What reading a DAG file leaves out, because it would be paid for again and again."""

from airflow.sdk import DAG, Param

from airflow_azureml import Pipeline, PipelineParameter
from airflow_azureml.operators import PythonScriptStep


def two_steps(folder, **arguments):
    (folder / "train.py").write_text("print('train')\n")
    with Pipeline("costs", default_source_directory=str(folder), **arguments) as pipeline:
        PythonScriptStep(script_name="train.py", name="first")
        PythonScriptStep(script_name="train.py", name="second", arguments=[PipelineParameter("alpha", 0.5)])
    return pipeline


def test_params_of_the_dag_are_not_copied_to_its_steps(tmp_path):
    pipeline = two_steps(tmp_path, params={"rounds": Param(3, type="integer")})
    assert [dict(task.params) for task in pipeline.tasks] == [{}, {}]
    assert set(pipeline.params) == {"rounds", "alpha"}


def test_params_of_a_step_itself_stay_with_it(tmp_path):
    with DAG("own", params={"rounds": Param(3, type="integer")}):
        step = PythonScriptStep(script_name="train.py", params={"rounds": Param(5, type="integer")})
    assert dict(step.params) == {"rounds": 5}


def test_a_task_checks_the_source_of_its_own_step_only(tmp_path, monkeypatch):
    pipeline = two_steps(tmp_path)
    checked = []
    monkeypatch.setattr(PythonScriptStep, "check", lambda step: checked.append(step.task_id))
    pipeline.validate()
    assert checked == ["first", "second"]
    checked.clear()
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "costs")
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_TASK_ID", "second")
    pipeline.validate()
    assert checked == ["second"]
