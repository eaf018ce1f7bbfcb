import pytest
from jsonschema import Draft202012Validator

from airflow_azureml.model.data import DataPath
from airflow_azureml.model.parameters import ParameterType, PipelineParameter, merge_parameters
from airflow_azureml.runtime.dataset import Dataset
from airflow_azureml.runtime.exceptions import DefinitionError, UserErrorException

TABLE = Dataset.Tabular.from_delimited_files((type("Store", (), {"name": "lake"})(), "a.csv"), validate=False)
FILES = Dataset.File.from_files((type("Store", (), {"name": "lake"})(), "folder"))
DEFAULTS = {
    ParameterType.INT: 3,
    ParameterType.FLOAT: 0.5,
    ParameterType.STR: "",
    ParameterType.BOOL: True,
    ParameterType.NONE: None,
    ParameterType.DATAPATH: DataPath("lake", "in/x"),
    ParameterType.DATASET: TABLE,
}


def parameter(kind):
    return PipelineParameter("p", DEFAULTS[kind])


@pytest.mark.parametrize("kind", DEFAULTS)
def test_the_default_decides_the_type(kind):
    assert parameter(kind).type is kind


@pytest.mark.parametrize("default", [[1], {"a": 1}, b"x", object(), (1, 2)])
def test_other_defaults_are_refused_with_what_is_possible(default):
    with pytest.raises(
        DefinitionError, match=r"PipelineParameter 'p': argument default_value is an? .*; use an int"
    ):
        PipelineParameter("p", default)


def test_both_arguments_are_required():
    with pytest.raises(TypeError):
        PipelineParameter("p")


@pytest.mark.parametrize(
    ("kind", "value", "converted"),
    [
        (ParameterType.INT, 5, 5),
        (ParameterType.INT, 5.0, 5),
        (ParameterType.INT, " -5 ", -5),
        (ParameterType.FLOAT, 0.25, 0.25),
        (ParameterType.FLOAT, 2, 2.0),
        (ParameterType.FLOAT, "1e-3", 0.001),
        (ParameterType.FLOAT, ".5", 0.5),
        (ParameterType.STR, "x", "x"),
        (ParameterType.STR, "", ""),
        (ParameterType.STR, 12, "12"),
        (ParameterType.BOOL, False, False),
        (ParameterType.BOOL, 1, True),
        (ParameterType.BOOL, "False", False),
        (ParameterType.BOOL, "0", False),
        (ParameterType.NONE, None, None),
        (ParameterType.NONE, 1.5, 1.5),
        (ParameterType.NONE, "x", "x"),
        (ParameterType.DATAPATH, DataPath("lake", "/a/./b"), {"datastore": "lake", "path": "a/b"}),
        (ParameterType.DATAPATH, {"datastore": "lake", "path": "a"}, {"datastore": "lake", "path": "a"}),
        (
            ParameterType.DATAPATH,
            {"DataStoreName": "lake", "RelativePath": "a"},
            {"datastore": "lake", "path": "a"},
        ),
        (ParameterType.DATASET, TABLE, TABLE.definition),
        (ParameterType.DATASET, {"dataset_id": "1"}, {"dataset_id": "1"}),
        (ParameterType.DATASET, {"dataset_name": "n", "version": 2}, {"dataset_name": "n", "version": 2}),
    ],
)
def test_what_converts_without_loss_is_accepted(kind, value, converted):
    found = parameter(kind).convert(value)
    assert found == converted
    assert type(found) is type(converted)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (ParameterType.INT, 5.5),
        (ParameterType.INT, True),
        (ParameterType.INT, "5.0"),
        (ParameterType.INT, "1_000"),
        (ParameterType.INT, None),
        (ParameterType.FLOAT, True),
        (ParameterType.FLOAT, 2**53 + 1),
        (ParameterType.FLOAT, float("nan")),
        (ParameterType.FLOAT, "inf"),
        (ParameterType.FLOAT, "1e999"),
        (ParameterType.FLOAT, "x"),
        (ParameterType.STR, 1.5),
        (ParameterType.STR, True),
        (ParameterType.STR, None),
        (ParameterType.BOOL, 2),
        (ParameterType.BOOL, "yes"),
        (ParameterType.BOOL, 1.0),
        (ParameterType.NONE, [1]),
        (ParameterType.NONE, float("inf")),
        (ParameterType.DATAPATH, "lake/a"),
        (ParameterType.DATAPATH, {"datastore": "lake"}),
        (ParameterType.DATASET, "name"),
        (ParameterType.DATASET, FILES),
        (ParameterType.DATASET, {"kind": "tabular"}),
    ],
)
def test_what_would_lose_something_is_refused_with_name_and_expectation(kind, value):
    with pytest.raises(UserErrorException, match=r"^parameter 'p' is .*; expected ") as caught:
        parameter(kind).convert(value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", DEFAULTS)
def test_the_default_fits_the_json_schema_for_the_trigger_form(kind):
    schema = parameter(kind).json_schema()
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(parameter(kind).airflow_default())


def test_the_schema_belongs_to_the_caller():
    parameter(ParameterType.INT).json_schema()["type"] = "changed"
    assert parameter(ParameterType.INT).json_schema() == {"type": "integer"}


@pytest.mark.parametrize("kind", DEFAULTS)
def test_a_parameter_survives_its_document(kind):
    before = parameter(kind)
    after = PipelineParameter.from_document(before.to_document())
    assert after == before
    assert after.to_document() == before.to_document()
    assert hash(after) == hash(before)


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (1, True), (0.5, 0.25), ("", None)])
def test_parameters_with_other_defaults_or_types_differ(one, other):
    assert PipelineParameter("p", one) != PipelineParameter("p", other)


def test_one_name_stands_for_one_default():
    known = {}
    merge_parameters("Step 'a'", known, [PipelineParameter("p", 1), PipelineParameter("p", 1)])
    with pytest.raises(DefinitionError, match="Step 'b': parameter 'p' has default 2 here and 1 elsewhere"):
        merge_parameters("Step 'b'", known, [PipelineParameter("p", 2)])


def test_the_placeholder_is_that_of_v1():
    assert PipelineParameter("alpha", 1).arg_val == "$AML_PARAMETER_alpha"
    assert f"--a={PipelineParameter('alpha', 1)}" == "--a=$AML_PARAMETER_alpha"
