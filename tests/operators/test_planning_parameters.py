"""What text at a terminal means for the parameters of a pipeline."""

import pytest

from airflow_azureml import UserErrorException
from airflow_azureml.operators.planning import plan
from airflow_azureml.operators.planning_parameters import parameters_from_text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("rounds=3", 3),
        ("alpha=1", 1.0),
        ("word=3", "3"),
        ("flag=true", True),
        ("open=3", 3),
        ("open=three", "three"),
        ("open=null", None),
        ('where={"datastore": "d", "path": "p"}', {"datastore": "d", "path": "p"}),
        ("own=4", 4),
        ("plain=4", "4"),
    ],
)
def test_text_becomes_the_type_that_the_pipeline_declares(dag_files, text, value):
    dag = dag_files.dag("""
        with Pipeline(
            "typed",
            default_source_directory="steps",
            params={"own": Param(1, type="integer"), "plain": Param("x", type="string")},
        ):
            values = [
                PipelineParameter("rounds", 1), PipelineParameter("alpha", 0.5), PipelineParameter("word", "x"),
                PipelineParameter("flag", False), PipelineParameter("open", None),
            ]
            where = PipelineParameter("where", DataPath("d", "q"))
            PythonScriptStep("compare.py", arguments=values, inputs=[(where, DataPathComputeBinding())])
    """)
    name, _, given = text.partition("=")
    found = parameters_from_text(dag, {name: given})[name]
    assert (found, type(found)) == (value, type(value))


def test_a_parameter_without_a_value_is_asked_for(dag_files):
    dag = dag_files.dag("""
        with Pipeline("needy", default_source_directory="steps", params={"day": Param(type="string")}):
            PythonScriptStep("compare.py", arguments=["{{ params.day }}"])
    """)
    with pytest.raises(UserErrorException, match=r"parameter day: .*takes day \(str, no default\)"):
        plan(dag, {})
