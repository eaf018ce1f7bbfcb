import pytest

from airflow_azureml.model import names
from airflow_azureml.runtime.exceptions import DefinitionError


@pytest.mark.parametrize("name", ["prepared", "a", "_x", "9", "Data_2", "user", "shell"])
def test_a_port_name_is_letters_digits_and_underscores(name):
    assert names.port_name_problem(name) is None


@pytest.mark.parametrize("name", ["", "a-b", "a b", "a.b", "a/b", "é", "a\n", None, 3])
def test_other_port_names_are_refused(name):
    assert "no valid name" in names.port_name_problem(name)


def test_a_dataset_name_starts_with_no_digit():
    assert names.dataset_name_problem("raw_1") is None
    assert "no digit first" in names.dataset_name_problem("1raw")


@pytest.mark.parametrize(
    "name",
    ["PATH", "path", "Home", "LD_LIBRARY_PATH", "pythonpath", "tmpdir", "AZUREML_RUN_ID", "azureml_x",
     "AML_PARAMETER_x", "airflow_home"],
)  # fmt: skip
def test_names_that_would_overwrite_what_the_process_needs_are_reserved_in_any_case(name):
    assert names.is_reserved_port_name(name)
    assert "reserved" in names.port_name_problem(name)


@pytest.mark.parametrize("name", ["exp", "A-b_c9", "x" * 255])
def test_experiment_names_of_v1_are_accepted(name):
    assert names.check_experiment_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "_a", "a b", "x" * 256, "a\n", None])
def test_other_experiment_names_are_refused(name):
    with pytest.raises(DefinitionError, match="Experiment: argument name"):
        names.check_experiment_name(name)


def test_a_parameter_with_an_unusual_name_gets_a_variable_all_the_same():
    assert names.parameter_variable("learning rate-1") == "AML_PARAMETER_learning_rate_1"


@pytest.mark.parametrize("name", ["", " ", "a\nb", None, 1])
def test_a_parameter_has_a_name_of_one_line(name):
    with pytest.raises(DefinitionError, match="argument name"):
        names.check_parameter_name(name)


@pytest.mark.parametrize(
    ("step", "task"),
    [("train.py", "train_py"), ("sub/train model", "sub_train_model"), ("ok-1", "ok-1"), ("", "step")],
)
def test_a_task_id_keeps_what_airflow_allows_and_no_dots(step, task):
    assert names.task_id_for(step) == task
