import pytest

from airflow_azureml.model.data import PipelineData
from airflow_azureml.model.reading import definition_at
from airflow_azureml.runtime.exceptions import DefinitionError


def test_a_promoted_output_stands_for_the_same_output():
    data = PipelineData("a", output_name="out")
    dataset = data.as_dataset()
    assert dataset.origin is data.origin
    assert dataset.name == "out"


def test_it_is_mounted_unless_said_otherwise_and_every_method_returns_a_copy():
    dataset = PipelineData("a").as_dataset()
    assert dataset.input_mode == "mount"
    assert dataset.as_download("x").input_mode == "download"
    assert dataset.as_download("x").path_on_compute == "x"
    assert dataset.as_download("x").as_mount().path_on_compute is None
    assert dataset.as_direct().input_mode == "direct"
    assert dataset.as_named_input("n").input_name == "n"
    assert (dataset.input_mode, dataset.input_name, dataset.path_on_compute) == ("mount", None, None)


@pytest.mark.parametrize("name", ["1a", "a b", "path"])
def test_the_name_of_an_input_becomes_a_variable_and_is_checked(name):
    with pytest.raises(DefinitionError, match="PipelineData 'a': as_named_input: argument name is"):
        PipelineData("a").as_dataset().as_named_input(name)


def test_registration_says_whether_a_taken_name_gets_another_version():
    dataset = PipelineData("a").as_dataset().register("n", create_new_version=False)
    assert dataset.registration["create_new_version"] is False
    assert PipelineData("a").as_dataset().register("n").registration["create_new_version"] is True


def test_parsed_files_are_a_table_that_is_always_direct():
    table = (
        PipelineData("a")
        .as_dataset()
        .as_named_input("t")
        .parse_delimited_files(separator="\t", file_extension=".tsv", quoted_line_breaks=True)
    )
    assert (table.input_mode, table.input_name) == ("direct", "t")
    source = definition_at(table.read, {"datastore": "lake", "path": "azureml/r/a"})["source"]
    assert source["paths"] == [{"datastore": "lake", "path": "azureml/r/a/**/*.tsv"}]
    assert (source["separator"], source["support_multi_line"]) == ("\t", True)


def test_parquet_files_are_found_by_their_extension():
    table = PipelineData("a").as_dataset().parse_parquet_files()
    assert table.read["source"]["paths"] == [{"relative": "**/*.parquet"}]


def test_tables_choose_columns_and_split():
    table = PipelineData("a").as_dataset().parse_parquet_files().keep_columns("x").drop_columns(["y"])
    assert [operation["op"] for operation in table.read["operations"]] == ["keep_columns", "drop_columns"]
    first, second = table.random_split(0.5, seed=3)
    assert [part.read["operations"][-1]["part"] for part in (first, second)] == ["first", "second"]
