"""What stands in a step's ``inputs``, and what becomes of it."""

import pytest

from airflow_azureml.model.data import (
    DataPath,
    DataPathComputeBinding,
    DataReference,
    InputPortBinding,
    PipelineData,
)
from airflow_azureml.model.output_dataset import OutputFileDatasetConfig
from airflow_azureml.model.parameters import PipelineParameter
from airflow_azureml.model.ports import (
    DatasetSource,
    InputPort,
    OutputSource,
    ParameterSource,
    PathSource,
    bind_ports,
)
from airflow_azureml.runtime.dataset import Dataset, DatasetConsumptionConfig, FileDataset, TabularDataset
from airflow_azureml.runtime.exceptions import DefinitionError

LAKE = type("Store", (), {"name": "lake"})()
TABLE = Dataset.Tabular.from_delimited_files((LAKE, "a.csv"), validate=False)
FILES = Dataset.File.from_files((LAKE, "folder"))


def bind(*inputs, **more):
    return bind_ports("PythonScriptStep", "train", inputs=list(inputs), **more)


def only_input(*inputs, **more):
    (port,) = bind(*inputs, **more).inputs
    return port


def refusal(*inputs, **more):
    with pytest.raises(DefinitionError) as caught:
        bind(*inputs, **more)
    message = str(caught.value)
    assert message.startswith("PythonScriptStep 'train': ")
    assert "\n" not in message
    return message.removeprefix("PythonScriptStep 'train': ")


class TestPipelineData:
    def test_the_input_is_mounted_and_named_after_the_output(self):
        data = PipelineData("a", output_name="out")
        assert only_input(data) == InputPort("out", "mount", OutputSource(data.origin), kind="data")

    def test_a_binding_says_name_mode_and_place(self):
        data = PipelineData("a")
        port = only_input(data.as_download("x", "here", overwrite=True))
        assert port == InputPort("x", "download", OutputSource(data.origin), "here", True)

    def test_the_origin_is_handed_on_for_drawing_edges(self):
        first, second = PipelineData("a"), OutputFileDatasetConfig("b")
        reference = DataReference("lake", "c")
        assert bind(first, second.as_input("x"), reference).input_origins() == {
            "a": first.origin,
            "x": second.origin,
        }

    def test_a_promoted_one_is_a_dataset_input(self):
        dataset = PipelineData("a").as_dataset()
        port = only_input(dataset.as_named_input("n").as_download("here"))
        assert (port.name, port.mode, port.kind, port.path_on_compute) == ("n", "download", "dataset", "here")
        assert port.dataset_kind == "file"
        assert only_input(dataset).name == "a"

    def test_a_parsed_one_is_a_table(self):
        port = only_input(PipelineData("a").as_dataset().parse_parquet_files().as_named_input("t"))
        assert (port.mode, port.dataset_kind) == ("direct", "tabular")

    def test_one_output_may_be_read_as_mount_and_as_download_in_one_step(self):
        data = PipelineData("a")
        ports = bind(data.as_mount("x"), data.as_download("y")).inputs
        assert [(port.name, port.mode) for port in ports] == [("x", "mount"), ("y", "download")]

    def test_one_output_may_be_read_by_several_steps_of_different_kinds(self):
        data = PipelineData("a")
        first = bind_ports("PythonScriptStep", "one", inputs=[data])
        second = bind_ports("DatabricksStep", "two", inputs=[data.as_download("x")])
        assert first.input_origins()["a"] is second.input_origins()["x"]


class TestOutputFileDatasetConfig:
    def test_listed_by_itself_it_is_mounted_under_its_name(self):
        config = OutputFileDatasetConfig("scored")
        port = only_input(config)
        assert port == InputPort("scored", "mount", OutputSource(config.origin, config.read), kind="dataset")

    def test_as_input_gives_it_another_name(self):
        assert only_input(OutputFileDatasetConfig("scored").as_input("x")).name == "x"

    def test_read_as_a_table_it_is_direct(self):
        port = only_input(OutputFileDatasetConfig("scored").read_delimited_files())
        assert (port.mode, port.dataset_kind) == ("direct", "tabular")

    def test_a_table_cannot_be_mounted(self):
        table = OutputFileDatasetConfig("scored").read_delimited_files().as_input("t")
        assert refusal(table.as_mount()) == (
            "argument inputs[0] is a tabular dataset in mode 'mount'; a table is opened by the script, leave the mode out"
        )

    def test_unnamed_ones_are_named_by_their_place_always_the_same(self):
        def names():
            first, second = OutputFileDatasetConfig(), OutputFileDatasetConfig()
            ports = bind(DataReference("lake", "r"), first, second.as_input()).inputs
            return [(port.name, port.generated_name) for port in ports]

        assert names() == names() == [("r", False), ("input_2", True), ("input_3", True)]

    def test_a_generated_name_leaves_a_given_one_alone(self):
        ports = bind(OutputFileDatasetConfig(), PipelineData("input_1")).inputs
        assert [port.name for port in ports] == ["input_1_2", "input_1"]


class TestDatasets:
    def test_a_named_table_is_direct(self):
        port = only_input(TABLE.as_named_input("raw"))
        assert port == InputPort("raw", "direct", DatasetSource(TABLE.definition), kind="dataset")
        assert port.dataset_kind == "tabular"

    def test_named_files_are_mounted_downloaded_or_direct(self):
        named = FILES.as_named_input("files")
        modes = [only_input(config).mode for config in (named, named.as_mount(), named.as_download("x"))]
        assert modes == ["direct", "mount", "download"]

    def test_files_without_a_name_get_one_that_is_the_same_everywhere(self):
        first, second = (only_input(Dataset.File.from_files((LAKE, "f")).as_mount()) for _ in range(2))
        assert first == second
        assert first.generated_name

    def test_a_registered_one_keeps_name_and_version(self):
        registered = TabularDataset(TABLE.definition, {"name": "n", "version": 3, "id": "i"})
        source = only_input(registered.as_named_input("raw")).source
        assert source == DatasetSource(TABLE.definition, {"dataset_name": "n", "version": 3})

    @pytest.mark.parametrize(
        ("given", "reference"),
        [
            ((None, "n"), {"dataset_name": "n"}),
            ((None, "n", "latest"), {"dataset_name": "n"}),
            ((None, "n", 2), {"dataset_name": "n", "version": 2}),
        ],
    )
    def test_a_dataset_by_name_is_left_to_each_run(self, given, reference):
        port = only_input(DatasetConsumptionConfig("raw", given))
        assert port.source == DatasetSource(None, reference)
        assert port.dataset_kind is None

    def test_a_dataset_parameter_is_an_input_and_a_parameter_of_the_step(self):
        parameter = PipelineParameter("source", TABLE)
        ports = bind(DatasetConsumptionConfig("raw", parameter))
        assert ports.inputs[0].source == ParameterSource("source")
        assert ports.parameters == {"source": parameter}

    @pytest.mark.parametrize(
        ("dataset", "name"),
        [(TABLE, "TabularDataset"), (FILES, "FileDataset"), (FileDataset(FILES.definition), "FileDataset")],
    )
    def test_a_raw_dataset_is_refused_with_how_to_name_it(self, dataset, name):
        assert refusal(dataset).startswith(
            f"argument inputs[0] is a {name}; give it a name for the script: dataset.as_named_input("
        )

    def test_the_message_for_a_raw_table_is_the_documented_one(self):
        assert refusal(TABLE) == (
            'argument inputs[0] is a TabularDataset; give it a name for the script: dataset.as_named_input("raw")'
        )


class TestPathsInDatastores:
    def test_a_reference_brings_name_mode_and_path(self):
        port = only_input(DataReference("lake", "r", "in/a", "download", "here", True))
        assert port == InputPort("r", "download", PathSource("lake", "in/a"), "here", True)

    def test_a_reference_without_a_name_has_a_generated_one(self):
        assert only_input(DataReference("lake", path_on_datastore="a")).generated_name

    def test_a_reference_cannot_be_read_by_uploading(self):
        assert "mode 'upload'" in refusal(DataReference("lake", "r").as_upload())

    def test_a_binding_may_hold_a_reference(self):
        port = only_input(InputPortBinding("x", DataReference("lake", "r", "a"), "download"))
        assert port == InputPort("x", "download", PathSource("lake", "a"))

    def test_a_data_path_comes_with_its_binding(self):
        pair = (DataPath("lake", "in/a", name="p"), DataPathComputeBinding("download", "here", True))
        assert only_input(pair) == InputPort("p", "download", PathSource("lake", "in/a"), "here", True)

    def test_a_data_path_parameter_names_the_input(self):
        parameter = PipelineParameter("where", DataPath("lake", "a"))
        ports = bind((parameter, DataPathComputeBinding()))
        assert ports.inputs == (InputPort("where", "mount", ParameterSource("where"), overwrite=False),)
        assert ports.parameters == {"where": parameter}

    @pytest.mark.parametrize(
        "pair",
        [
            (DataPath("lake", "a"),),
            (DataPath("lake", "a"), "mount"),
            (PipelineParameter("p", 1), DataPathComputeBinding()),
        ],
    )
    def test_other_tuples_are_refused_with_the_form_of_the_pair(self, pair):
        assert "DataPathComputeBinding)" in refusal(pair)

    def test_a_data_path_alone_is_refused_with_its_pair(self):
        assert refusal(DataPath("lake", "a")) == (
            "argument inputs[0] is a DataPath; pair it with its binding: (path, DataPathComputeBinding())"
        )


class TestRefusals:
    @pytest.mark.parametrize(
        ("value", "found"),
        [
            ("data", "the text 'data'"),
            (5, "an int"),
            (None, "a NoneType"),
            ([PipelineData("a")], "a list"),
            (PipelineParameter("alpha", 1), "PipelineParameter 'alpha'"),
        ],
    )
    def test_other_objects_are_refused_with_what_is_possible(self, value, found):
        assert refusal(PipelineData("x"), value).startswith(f"argument inputs[1] is {found}; ")

    @pytest.mark.parametrize("inputs", ["data", PipelineData("a"), {"a": PipelineData("a")}, 5])
    def test_inputs_are_a_list(self, inputs):
        with pytest.raises(DefinitionError, match=r"argument inputs is an? \w+; give a list"):
            bind_ports("PythonScriptStep", "train", inputs=inputs)

    def test_two_inputs_of_one_name_are_refused(self):
        message = refusal(PipelineData("a"), DataReference("lake", "a"))
        assert message == "argument inputs[1] is named 'a' like another input; give one of them another name"

    @pytest.mark.parametrize("name", ["home", "Path", "AZUREML_X", "pythonpath"])
    def test_a_reserved_name_is_refused(self, name):
        assert f"has the name '{name}', which is reserved" in refusal(TABLE.as_named_input(name))
