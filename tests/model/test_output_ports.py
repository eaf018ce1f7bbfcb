"""What stands in a step's ``outputs``, and what becomes of it."""

import pytest

from airflow_azureml.model.data import DataReference, OutputPortBinding, PipelineData
from airflow_azureml.model.output_dataset import OutputFileDatasetConfig
from airflow_azureml.model.ports import OutputPort, OutputToken, bind_ports
from airflow_azureml.runtime.dataset import Dataset
from airflow_azureml.runtime.exceptions import DefinitionError

LAKE = type("Store", (), {"name": "lake"})()
FILES = Dataset.File.from_files((LAKE, "folder"))


def bind(*outputs, **more):
    return bind_ports("PythonScriptStep", "train", outputs=list(outputs), **more)


def only_output(*outputs, **more):
    (port,) = bind(*outputs, **more).outputs
    return port


def test_pipeline_data_brings_what_it_was_told():
    data = PipelineData(
        "a", LAKE, "out", "upload", "here", True, is_directory=False, pipeline_output_name="result"
    )
    port = only_output(data)
    assert port == OutputPort(
        "out", "pipeline_data", "lake", mode="upload", path_on_compute="here", overwrite=True, is_directory=False,
        pipeline_output_name="result",
    )  # fmt: skip
    assert port.origin is data.origin


def test_an_output_port_binding_works_like_it():
    assert only_output(OutputPortBinding("a", "lake")) == only_output(PipelineData("a", "lake"))


def test_a_promoted_output_brings_its_registration():
    dataset = PipelineData("a").as_dataset().register("set")
    port = only_output(dataset)
    assert (port.kind, port.register["name"], port.read["kind"]) == ("pipeline_data", "set", "file")
    assert port.origin is dataset.origin


def test_a_dataset_output_brings_destination_mode_and_registration():
    config = OutputFileDatasetConfig("out", ("lake", "x/{run-id}"), source="here")
    port = only_output(config.as_upload(source_globs="*.csv").register_on_complete("set"))
    assert (port.kind, port.datastore, port.path, port.source) == (
        "file_dataset",
        "lake",
        "x/{run-id}",
        "here",
    )
    assert (port.mode, port.source_globs, port.overwrite, port.register["name"]) == (
        "upload",
        ("*.csv",),
        False,
        "set",
    )
    assert port.origin is config.origin


def test_an_output_read_as_a_table_is_registered_as_a_table():
    config = OutputFileDatasetConfig("out").read_parquet_files().register_on_complete("set")
    assert only_output(config).read["kind"] == "tabular"


def test_unnamed_outputs_are_named_by_their_place_always_the_same():
    def ports():
        return bind(PipelineData("a"), OutputFileDatasetConfig(), OutputFileDatasetConfig()).outputs

    assert [(p.name, p.generated_name) for p in ports()] == [
        ("a", False),
        ("output_2", True),
        ("output_3", True),
    ]
    assert ports() == ports()


def test_a_step_that_reads_an_unnamed_output_learns_its_name_from_the_identity():
    config = OutputFileDatasetConfig()
    bind(config)
    assert config.name == config.origin.port_name == "output_1"


def test_in_arguments_alone_a_dataset_output_is_an_output():
    config = OutputFileDatasetConfig("out")
    ports = bind(PipelineData("a"), arguments=["--out", config])
    assert [port.name for port in ports.outputs] == ["a", "out"]
    assert ports.arguments[1] == OutputToken("out")


def test_in_outputs_and_arguments_it_is_one_output_and_the_arguments_add_to_it():
    config = OutputFileDatasetConfig("out", ("lake", "x"))
    port = only_output(
        config.register_on_complete("set"),
        arguments=[config.as_upload(overwrite=True), config.read_parquet_files()],
    )
    assert (port.mode, port.overwrite, port.register["name"], port.path) == ("upload", True, "set", "x")
    assert port.read["kind"] == "tabular"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("out", "is the text 'out'; give a PipelineData or an OutputFileDatasetConfig"),
        (5, "is an int; give a PipelineData"),
        (FILES, "is a FileDataset; that is something to read; put it into inputs"),
        (FILES.as_named_input("x"), "is a DatasetConsumptionConfig; that is something to read"),
        (PipelineData("a").as_mount(), "is an InputPortBinding; that is something to read"),
        (DataReference("lake", "r"), "is a DataReference; that is something to read"),
    ],
)
def test_other_objects_are_refused_with_what_is_possible(value, message):
    with pytest.raises(DefinitionError) as caught:
        bind(value)
    assert str(caught.value).startswith(f"PythonScriptStep 'train': argument outputs[0] {message}")


def test_two_outputs_of_one_name_are_refused():
    with pytest.raises(DefinitionError, match=r"outputs\[1\] is named 'a' like another output"):
        bind(PipelineData("a"), OutputFileDatasetConfig("a"))


def test_an_output_listed_twice_is_refused():
    data = PipelineData("a")
    with pytest.raises(DefinitionError, match="like another output"):
        bind(data, data.as_dataset())


def test_a_step_cannot_read_what_it_writes():
    data = PipelineData("a")
    with pytest.raises(DefinitionError, match=r"outputs\[0\] is PipelineData 'a', which the step reads too"):
        bind(data, inputs=[data.as_mount("x")])
    config = OutputFileDatasetConfig("b")
    with pytest.raises(
        DefinitionError, match=r"arguments\[0\] reads OutputFileDatasetConfig 'b', which the step writes"
    ):
        bind(config, arguments=[config.as_input("x")])


def test_an_input_called_like_an_output_is_renamed_as_in_v1():
    ports = bind(PipelineData("a"), inputs=[DataReference("lake", "a")])
    assert [port.name for port in ports.inputs] == ["INPUT_a"]
    assert [port.name for port in ports.outputs] == ["a"]


def test_a_rename_that_meets_another_input_is_refused():
    with pytest.raises(
        DefinitionError, match="input 'a' is named like an output, and 'INPUT_a' is taken too"
    ):
        bind(PipelineData("a"), inputs=[DataReference("lake", "a"), DataReference("lake", "INPUT_a")])


def test_two_producers_of_one_output_are_refused_when_the_second_claims_it():
    data = PipelineData("a")
    for producer in ("one", "two"):
        (port,) = bind_ports("PythonScriptStep", producer, outputs=[data]).outputs
        if producer == "one":
            port.origin.claim(producer, "PythonScriptStep 'one'")
        else:
            with pytest.raises(
                DefinitionError, match=r"'two': .* which PythonScriptStep 'one' writes already"
            ):
                port.origin.claim(producer, "PythonScriptStep 'two'")


def test_an_output_in_the_arguments_of_a_second_step_alone_is_a_second_producer():
    config = OutputFileDatasetConfig("a")
    bind_ports("PythonScriptStep", "one", arguments=[config]).outputs[0].origin.claim(
        1, "PythonScriptStep 'one'"
    )
    (port,) = bind_ports("PythonScriptStep", "two", arguments=[config]).outputs
    with pytest.raises(DefinitionError, match=r"to read it here put it, or its as_input\(...\), into inputs"):
        port.origin.claim(2, "PythonScriptStep 'two'")


def test_the_lists_of_the_caller_stay_as_they_are():
    config, table = OutputFileDatasetConfig("out"), FILES.as_named_input("x")
    inputs, outputs, arguments, params = [], [], [config, table], {"a": 1}
    bind_ports("S", "s", inputs=inputs, outputs=outputs, arguments=arguments, params=params)
    assert (inputs, outputs, arguments, params) == ([], [], [config, table], {"a": 1})


def test_binding_the_same_arguments_again_gives_the_same_ports():
    config, data = OutputFileDatasetConfig(), PipelineData("d")
    arguments = {"inputs": [data], "arguments": ["--out", config, "--x=" + config.arg_val, data]}
    assert bind_ports("S", "s", **arguments) == bind_ports("S", "s", **arguments)
