"""Datasets as inputs of steps."""

import copy
import re

import pytest

from airflow_azureml.runtime.dataset import Dataset, DatasetConsumptionConfig
from airflow_azureml.runtime.exceptions import UserErrorException

FILES = Dataset.File.from_files("/data")
TABLE = Dataset.Tabular.from_delimited_files("/data/a.csv")


class Parameter:
    name = "p"

    def __init__(self, default_value):
        self.default_value = default_value


class Output:
    origin = object()


def test_a_named_input_is_used_directly():
    config = TABLE.as_named_input("raw")
    assert (config.name, config.dataset, config.mode, config.path_on_compute) == (
        "raw",
        TABLE,
        "direct",
        None,
    )
    assert config.arg_val == "DatasetConsumptionConfig:raw"


def test_modes_make_new_objects():
    config = FILES.as_named_input("raw")
    mounted, downloaded = config.as_mount("in/raw"), config.as_download()
    assert (mounted.mode, mounted.path_on_compute) == ("mount", "in/raw")
    assert (downloaded.mode, downloaded.path_on_compute) == ("download", None)
    assert config.mode == "direct"
    with pytest.raises(UserErrorException, match=r"hdfs is not supported"):
        config.as_hdfs()


def test_an_unnamed_input_has_the_same_name_in_every_process():
    names = {
        FILES.as_mount().name,
        FILES.as_download("x").name,
        Dataset.File.from_files("/data").as_mount().name,
    }
    assert len(names) == 1
    assert re.fullmatch("input_[0-9a-f]{8}", names.pop())
    assert FILES.as_mount().name != Dataset.File.from_files("/data2").as_mount().name


def test_a_tabular_dataset_is_no_path():
    assert not hasattr(TABLE, "as_mount")
    assert not hasattr(TABLE, "as_download")
    for config in (
        lambda: TABLE.as_named_input("raw").as_mount(),
        lambda: TABLE.as_named_input("raw").as_download(),
        lambda: DatasetConsumptionConfig("raw", TABLE, mode="mount"),
        lambda: DatasetConsumptionConfig("raw", Parameter(TABLE)).as_mount(),
    ):
        with pytest.raises(
            UserErrorException, match=r"input 'raw' is a tabular dataset, .*to_pandas_dataframe"
        ):
            config()


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a b", "ä", None, "a\n"])
def test_names(name):
    with pytest.raises(UserErrorException, match=r"letters, digits and underscores, no digit first"):
        FILES.as_named_input(name)


def test_names_of_well_known_variables_only_warn(caplog):
    assert FILES.as_named_input("Path").name == "Path"
    assert "sets an environment variable of that name" in caplog.text


@pytest.mark.parametrize(
    "dataset",
    [FILES, Parameter(FILES), Output(), (None, "name"), (None, "name", 3), (None, "name", "latest")],
)
def test_what_can_be_an_input(dataset):
    assert DatasetConsumptionConfig("raw", dataset, mode="mount").dataset is dataset


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("name", "give a dataset"),
        (None, "give a dataset"),
        (Parameter(7), "the parameter's default is 7, not a dataset"),
        ((None,), r"\(workspace, name\) or \(workspace, name, version\)"),
        ((None, 3), r"\(workspace, name\) or"),
        ((None, "name", "new"), "a version is a number or 'latest', not 'new'"),
        ((None, "name", True), "a version is a number"),
    ],
)
def test_what_cannot_be_an_input(dataset, message):
    with pytest.raises(UserErrorException, match=message):
        DatasetConsumptionConfig("raw", dataset)


def test_other_modes_are_refused():
    with pytest.raises(UserErrorException, match=r"mode is one of direct, mount, download, not 'upload'"):
        DatasetConsumptionConfig("raw", FILES, mode="upload")
    with pytest.raises(UserErrorException, match=r"path_on_compute is text"):
        FILES.as_named_input("raw").as_mount(3)


def test_inputs_compare_by_value_and_can_be_copied():
    config = FILES.as_named_input("raw").as_mount()
    assert config == FILES.as_named_input("raw").as_mount() != FILES.as_named_input("raw")
    assert copy.deepcopy(config) == config
    assert hash(copy.copy(config)) == hash(config)
