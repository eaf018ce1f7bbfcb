"""How arguments reach the script: templates and XCom values put in, everything else as it was written."""

import pytest
from airflow.sdk import DAG, literal

from airflow_azureml import Pipeline, PipelineData, PipelineParameter, PythonScriptStep, UserErrorException
from airflow_azureml.model.ports import render_arguments


def rendered(step, **context):
    """The argument vector of a run, rendered by Airflow and then by the step."""
    step = step.prepare_for_execution()
    step.render_template_fields(context)
    step.render(context)
    values = {name: value.airflow_default() for name, value in step.ports.parameters.items()}
    return render_arguments(
        step.ports.arguments,
        input_values={port.name: f"/in/{port.name}" for port in step.ports.inputs},
        output_values={port.name: f"/out/{port.name}" for port in step.ports.outputs},
        parameter_values=values,
    )


def step(*arguments, dag=None, **others):
    with dag or Pipeline("p"):
        return PythonScriptStep(script_name="train.py", arguments=list(arguments), **others)


class FromATask:
    """Stands for an XCom reference: Airflow resolves whatever can be."""

    def __init__(self, value):
        self.value = value

    def iter_references(self):
        return iter(())

    def resolve(self, context):
        return self.value


@pytest.mark.parametrize(
    "text",
    [
        '{"a": {"b": [1, 2]}}',
        'it\'s; rm -rf "$HOME" `id` $(id) && |',
        "}}%}#}",
        "{a} { {b} } %s %(x)d",
        "line one\r\nline two\n\n",
        "  spaces\t",
        "",
        "007",
        "1_000",
        "['a']",
        "train.sql",
        "ünï→",
        "--opt=a:b,c",
    ],
)
@pytest.mark.parametrize("native", [False, True])
def test_text_of_v1_arrives_untouched(text, native):
    dag = DAG("p", schedule=None, render_template_as_native_obj=native)
    assert rendered(step(text, "--x=" + text, dag=dag)) == [text, "--x=" + text]


def test_numbers_and_none_arrive_as_their_text():
    """Q11."""
    assert rendered(step(1, -2.5, True, None, 1e-7)) == ["1", "-2.5", "True", "None", "1e-07"]


class TestTemplates:
    def test_a_template_is_rendered(self):
        assert rendered(step("--day", "{{ ds }}", "{% if 1 %}x{% endif %}"), ds="2026-01-01") == [
            "--day",
            "2026-01-01",
            "x",
        ]

    def test_also_beside_a_placeholder(self):
        data, alpha = PipelineData("data"), PipelineParameter("alpha", 0.5)
        found = step(data.arg_val + "/{{ ds }}.csv", alpha, outputs=[data])
        assert rendered(found, ds="2026-01-01") == ["/out/data/2026-01-01.csv", "0.5"]

    def test_what_a_template_brings_in_cannot_name_inputs(self):
        data = PipelineData("data")
        found = step("{{ sneaky }}", data, outputs=[data])
        assert rendered(found, sneaky=data.arg_val) == [data.arg_val, "/out/data"]

    def test_text_that_looks_like_one_can_be_kept(self):
        assert rendered(step(literal("{{ ds }}"), "{% raw %}{{ ds }}{% endraw %}")) == [
            "{{ ds }}",
            "{{ ds }}",
        ]

    def test_marks_of_the_dags_own_are_seen(self):
        dag = DAG(
            "p",
            schedule=None,
            jinja_environment_kwargs={"variable_start_string": "<<", "variable_end_string": ">>"},
        )
        assert rendered(step("<< ds >>", "{{ ds }}", dag=dag), ds="2026-01-01") == ["2026-01-01", "{{ ds }}"]

    def test_native_rendering_gives_text_all_the_same(self):
        dag = DAG("p", schedule=None, render_template_as_native_obj=True)
        assert rendered(step("{{ 1 + 1 }}", dag=dag)) == ["2"]

    def test_variables_of_the_script_are_templates_too(self):
        with Pipeline("p"):
            found = PythonScriptStep(
                script_name="train.py",
                params={
                    "day": "{{ ds }}",
                    "text": "a\r\n",
                    "alpha": PipelineParameter("alpha", 0.5),
                    "n": 3,
                    "x": FromATask(7),
                },
            )
        found.render_template_fields({"ds": "2026-01-01"})
        found.render({"ds": "2026-01-01"})
        assert found.ports.parameter_variables({"alpha": 0.7}) == {
            "AML_PARAMETER_alpha": "0.7",
            "AML_PARAMETER_day": "2026-01-01",
            "AML_PARAMETER_n": "3",
            "AML_PARAMETER_text": "a\r\n",
            "AML_PARAMETER_x": "7",
        }


class TestValuesOfTasks:
    def test_a_value_becomes_an_argument(self):
        data = PipelineData("data")
        assert rendered(step("--n", FromATask(3), data, outputs=[data])) == ["--n", "3", "/out/data"]

    def test_it_cannot_name_inputs(self):
        data = PipelineData("data")
        assert rendered(step(FromATask(data.arg_val), data, outputs=[data])) == [data.arg_val, "/out/data"]

    def test_it_can_be_all_arguments(self):
        with Pipeline("p"):
            found = PythonScriptStep(
                script_name="train.py", arguments=FromATask(["--n", 3, None, "{{ ds }}"])
            )
        assert rendered(found) == ["--n", "3", "None", "{{ ds }}"]

    def test_all_arguments_have_to_be_a_list(self):
        with Pipeline("p"):
            found = PythonScriptStep(script_name="train.py", arguments=FromATask("--n 3"))
        with pytest.raises(
            UserErrorException,
            match=r"'train': argument arguments is a str in this run.* has to return a list",
        ):
            rendered(found)
