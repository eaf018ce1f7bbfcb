import copy

import pytest

from airflow_azureml.model.output_dataset import (
    OutputFileDatasetConfig,
    OutputTabularDatasetConfig,
    render_destination,
)
from airflow_azureml.model.reading import definition_at
from airflow_azureml.runtime.dataset import DatasetConsumptionConfig, DataType, PromoteHeadersBehavior
from airflow_azureml.runtime.dataset.definition import check_definition
from airflow_azureml.runtime.exceptions import DefinitionError, UserErrorException


def test_run_id_and_output_name_are_replaced_wherever_they_stand():
    template = "base/{run-id}/x-{output-name}/{run-id}"
    assert render_destination(template, run_id="r1", output_name="out") == "base/r1/x-out/r1"


def test_a_destination_without_them_is_a_fixed_path_and_other_braces_stay():
    assert render_destination("fixed/{x}/{run_id}", run_id="r1", output_name="out") == "fixed/{x}/{run_id}"


def test_without_a_destination_the_output_has_a_folder_of_its_run():
    assert render_destination(None, run_id="r1", output_name="out") == "dataset/r1/out"


@pytest.mark.parametrize(
    ("destination", "datastore", "path"),
    [
        (None, None, None),
        ("lake", "lake", None),
        (("lake", "/a/{run-id}/"), "lake", "a/{run-id}"),
        (("lake", None), "lake", None),
        ((None, "a"), None, "a"),
    ],
)
def test_a_destination_is_a_datastore_a_pair_or_nothing(destination, datastore, path):
    config = OutputFileDatasetConfig("out", destination)
    assert (config.datastore_name, config.path_on_datastore) == (datastore, path)


@pytest.mark.parametrize("destination", [("lake",), ("lake", "a", "b"), 5, ("lake", "../a")])
def test_other_destinations_are_refused_with_the_name_of_the_output(destination):
    with pytest.raises(DefinitionError, match="OutputFileDatasetConfig 'out': argument"):
        OutputFileDatasetConfig("out", destination)


@pytest.mark.parametrize("name", ["a b", "", "PATH", "azureml_out"])
def test_wrong_names_are_refused(name):
    with pytest.raises(DefinitionError, match="OutputFileDatasetConfig: argument name is"):
        OutputFileDatasetConfig(name)


def test_every_method_returns_a_copy_that_shares_the_origin():
    config = OutputFileDatasetConfig("out", ("lake", "a"))
    copies = [
        config.as_mount(),
        config.as_upload(),
        config.register_on_complete("n"),
        config.read_delimited_files(),
        config.read_parquet_files(),
        *config.read_delimited_files().random_split(0.5),
        copy.deepcopy(config),
    ]
    assert all(other is not config and other.origin is config.origin for other in copies)
    assert (config.mode, config.register) == ("mount", None)
    assert all(other.path_on_datastore == "a" for other in copies)


def test_upload_keeps_what_it_was_told():
    config = OutputFileDatasetConfig("out").as_upload(overwrite=True, source_globs="**/*.csv")
    assert (config.mode, config.overwrite, config.source_globs) == ("upload", True, ["**/*.csv"])
    again = config.as_mount()
    assert (again.mode, again.overwrite, again.source_globs) == ("mount", None, None)


def test_a_registration_always_adds_a_version():
    config = OutputFileDatasetConfig("out").register_on_complete("set", description="d", tags={"a": "b"})
    assert config.register == {
        "name": "set",
        "description": "d",
        "tags": {"a": "b"},
        "create_new_version": True,
    }
    with pytest.raises(DefinitionError, match="OutputFileDatasetConfig 'out': the name to register is ''"):
        config.register_on_complete("")


def test_the_text_of_a_config_is_its_placeholder():
    assert f"--out={OutputFileDatasetConfig('out')}" == "--out=DatasetOutputConfig:out"


def test_unnamed_configs_have_placeholders_that_differ_and_no_name_yet():
    first, second = OutputFileDatasetConfig(), OutputFileDatasetConfig()
    assert first.arg_val != second.arg_val
    assert first.name is None


class TestAsInput:
    def test_files_are_mounted_under_the_given_name(self):
        config = OutputFileDatasetConfig("out")
        read = config.as_input("x")
        assert isinstance(read, DatasetConsumptionConfig)
        assert (read.name, read.mode, read.dataset) == ("x", "mount", config)
        assert read.as_download("there").path_on_compute == "there"

    def test_a_table_is_opened_directly(self):
        assert OutputFileDatasetConfig("out").read_parquet_files().as_input("x").mode == "direct"

    def test_without_a_name_the_input_is_called_like_the_output(self):
        assert OutputFileDatasetConfig("out").as_input().name == "out"


class TestReading:
    def test_options_of_delimited_text_are_kept_in_a_definition_that_can_be_evaluated(self):
        table = OutputFileDatasetConfig("out").read_delimited_files(
            include_path=True,
            separator=";",
            header=PromoteHeadersBehavior.NO_HEADERS,
            partition_format="/{year}/data.csv",
            path_glob="*/data.csv",
            set_column_types={"a": DataType.to_long()},
        )
        assert isinstance(table, OutputTabularDatasetConfig)
        definition = check_definition(
            definition_at(table.read, {"datastore": "lake", "path": "dataset/r/out"})
        )
        source = definition["source"]
        assert source["paths"] == [{"datastore": "lake", "path": "dataset/r/out/*/data.csv"}]
        assert (source["format"], source["separator"], source["include_path"]) == ("delimited", ";", True)

    def test_without_a_glob_all_of_the_output_is_read(self):
        table = OutputFileDatasetConfig("out").read_parquet_files()
        assert definition_at(table.read, {"local": "/x/out"})["source"]["paths"] == [{"local": "/x/out"}]

    def test_columns_are_chosen_in_the_words_of_datasets(self):
        table = (
            OutputFileDatasetConfig("out").read_delimited_files().keep_columns(["a", "b"]).drop_columns("b")
        )
        assert check_definition(definition_at(table.read, {"local": "/x"}))["operations"] == [
            {"op": "keep_columns", "columns": ["a", "b"]},
            {"op": "drop_columns", "columns": ["b"]},
        ]

    def test_a_split_without_seed_is_the_same_at_every_parse(self):
        first, second = (
            OutputFileDatasetConfig(n).read_delimited_files().random_split(0.3) for n in ("a", "b")
        )
        assert [part.read for part in first] == [part.read for part in second]
        assert first[0].read != first[1].read

    def test_files_keep_their_partition_format(self):
        read = OutputFileDatasetConfig("out", partition_format="/{y}/f").read
        assert (read["kind"], read["source"]["partition_format"]) == ("file", "/{y}/f")

    def test_a_wrong_option_is_refused_where_it_is_written(self):
        with pytest.raises(UserErrorException, match="separator"):
            OutputFileDatasetConfig("out").read_delimited_files(separator="")

    def test_a_table_config_is_made_by_reading_only(self):
        with pytest.raises(DefinitionError, match="read_delimited_files"):
            OutputTabularDatasetConfig()
