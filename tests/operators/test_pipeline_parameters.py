"""A pipeline parameter is a parameter of the DAG: typed, checked by the trigger form and by REST."""

import pytest
from airflow.sdk import DAG, Param
from airflow.sdk.exceptions import ParamValidationError

from airflow_azureml import DefinitionError, Pipeline, PipelineParameter, PythonScriptStep


def step(*values, **arguments):
    return PythonScriptStep(script_name="train.py", arguments=list(values), **arguments)


@pytest.mark.parametrize(
    ("default", "schema", "good", "bad"),
    [
        (42, {"type": "integer"}, 7, "seven"),
        (0.5, {"type": "number"}, 1, "half"),
        ("rmse", {"type": "string"}, "", 3),
        (True, {"type": "boolean"}, False, "yes"),
        (None, {"type": ["null", "string", "number", "boolean"]}, "text", ["list"]),
    ],
    ids=["int", "float", "str", "bool", "None"],
)
@pytest.mark.parametrize("kind", [Pipeline, DAG])
def test_each_type_becomes_a_typed_param(kind, default, schema, good, bad):
    with kind("p", schedule=None) as dag:
        step("--value", PipelineParameter("value", default_value=default))
    param = dag.params.get_param("value")
    assert (param.value, param.schema) == (default, schema)
    assert type(param.value) is type(default)
    assert param.resolve(good) == good
    with pytest.raises(ParamValidationError):
        param.resolve(bad)


def test_wherever_a_step_uses_it():
    with Pipeline("p") as pipeline:
        step(PipelineParameter("alone", 1))
        step("--x=" + PipelineParameter("inside", 2).arg_val)
        step(params={"variable": PipelineParameter("of_a_variable", 3)})
        PythonScriptStep.partial(script_name="train.py").expand(arguments=[[PipelineParameter("mapped", 4)]])
    # Text names a parameter but can't declare it.
    assert dict(pipeline.params) == {"alone": 1, "of_a_variable": 3, "mapped": 4}


def test_steps_handed_over_bring_theirs():
    train = step(PipelineParameter("alpha", 0.5))
    assert dict(Pipeline("p", steps=[train]).params) == {"alpha": 0.5}


def test_one_parameter_may_serve_many_steps():
    alpha = PipelineParameter("alpha", 0.5)
    with Pipeline("p") as pipeline:
        step(alpha)
        step(alpha)
        step(PipelineParameter("alpha", 0.5))
    assert dict(pipeline.params) == {"alpha": 0.5}


@pytest.mark.parametrize("other", [0.6, 1, "0.5", None])
def test_one_name_with_two_defaults_is_refused(other):
    with Pipeline("p"):
        step(PipelineParameter("alpha", 0.5))
        with pytest.raises(
            DefinitionError, match=r"'train__1': parameter 'alpha' has default .* use one PipelineParameter"
        ):
            step(PipelineParameter("alpha", other))


class TestDeclaredByTheUser:
    def test_the_users_own_param_stays_with_its_default_and_schema(self):
        own = Param(0.3, type="number", minimum=0, maximum=1, title="Alpha")
        with Pipeline("p", params={"alpha": own}) as pipeline:
            step(PipelineParameter("alpha", 0.5))
        assert pipeline.params.get_param("alpha") is own

    def test_a_plain_value_does_too(self):
        with Pipeline("p", params={"alpha": 0.3}) as pipeline:
            step(PipelineParameter("alpha", 0.5))
        assert dict(pipeline.params) == {"alpha": 0.3}

    def test_one_without_a_default_has_to_be_given_at_each_run(self):
        with Pipeline("p", params={"alpha": Param(type="number")}) as pipeline:
            step(PipelineParameter("alpha", 0.5))
        assert not pipeline.params.get_param("alpha").has_value

    @pytest.mark.parametrize("value", ["high", None, [1]])
    def test_a_default_of_another_type_is_refused(self, value):
        with (
            Pipeline("p", params={"alpha": value}),
            pytest.raises(
                DefinitionError,
                match=r"'train': parameter 'alpha' is .* expected a finite float, but params of DAG",
            ),
        ):
            step(PipelineParameter("alpha", 0.5))
