"""A step's argument list: from what a DAG file says to what the script receives."""

import enum
from pathlib import PurePosixPath

import pytest

from airflow_azureml.model.data import DataPath, DataPathComputeBinding, DataReference, PipelineData
from airflow_azureml.model.output_dataset import OutputFileDatasetConfig
from airflow_azureml.model.parameters import PipelineParameter
from airflow_azureml.model.ports import (
    Concatenation,
    InputToken,
    Opaque,
    OutputToken,
    ParameterToken,
    Text,
    bind_ports,
    map_tokens,
    render_arguments,
)
from airflow_azureml.model.tokens import token_from_document, token_to_document
from airflow_azureml.runtime.dataset import Dataset
from airflow_azureml.runtime.exceptions import DefinitionError

LAKE = type("Store", (), {"name": "lake"})()
TABLE = Dataset.Tabular.from_delimited_files((LAKE, "a.csv"), validate=False)
FILES = Dataset.File.from_files((LAKE, "folder"))


def bind(*arguments, **more):
    return bind_ports("PythonScriptStep", "train", arguments=list(arguments), **more)


def tokens(*arguments, **more):
    return list(bind(*arguments, **more).arguments)


def rendered(ports, parameters=None):
    return render_arguments(
        ports.arguments,
        input_values={port.name: f"/in/{port.name}" for port in ports.inputs},
        output_values={port.name: f"/out/{port.name}" for port in ports.outputs},
        parameter_values=parameters or {},
    )


def refusal(*arguments, **more):
    with pytest.raises(DefinitionError) as caught:
        bind(*arguments, **more)
    message = str(caught.value)
    assert message.startswith("PythonScriptStep 'train': argument ")
    assert "\n" not in message
    return message.removeprefix("PythonScriptStep 'train': argument ")


class Colour(enum.Enum):
    RED = 1


class TestLiterals:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (5, "5"),
            (-3, "-3"),
            (0.1, "0.1"),
            (1e-05, "1e-05"),
            (True, "True"),
            (None, "None"),
            ("", ""),
            ('{"a": "b;c"} \'$x\' `y`', '{"a": "b;c"} \'$x\' `y`'),
            ("--alpha", "--alpha"),
            (PurePosixPath("a/b"), "a/b"),
            (Colour.RED, "Colour.RED"),
            ([1, "a"], "[1, 'a']"),
        ],
    )
    def test_everything_reaches_the_script_as_its_text(self, value, text):
        assert rendered(bind(value)) == [text]

    def test_nothing_is_added(self):
        assert rendered(bind()) == []

    def test_what_has_no_text_yet_is_kept_as_it_is(self):
        value = PurePosixPath("x")
        assert tokens(value) == [Opaque(value)]

    def test_a_nul_character_is_refused(self):
        assert refusal("a", "b\0c") == "arguments[1] has a NUL character in it; no program can be given that"

    @pytest.mark.parametrize("arguments", ["--a 1", {"a": 1}, 5])
    def test_arguments_are_a_list(self, arguments):
        with pytest.raises(DefinitionError, match=r"argument arguments is an? \w+; give a list"):
            bind_ports("PythonScriptStep", "train", arguments=arguments)


class TestPorts:
    def test_pipeline_data_is_an_output_or_an_input_by_the_list_it_is_in(self):
        written, read = PipelineData("w"), PipelineData("r", output_name="o")
        assert tokens(written, read, inputs=[read], outputs=[written]) == [OutputToken("w"), InputToken("o")]

    def test_pipeline_data_in_arguments_alone_is_refused_with_both_ways_out(self):
        assert refusal("--x", PipelineData("a")) == (
            "arguments[1] is PipelineData 'a', which is neither in inputs nor in outputs; "
            "add it to outputs if the step writes it, to inputs if it reads it"
        )

    @pytest.mark.parametrize(
        "value",
        [
            PipelineData("a").as_mount("x"),
            DataReference("lake", "r"),
            (DataPath("lake", "a"), DataPathComputeBinding()),
            PipelineData("a").as_dataset().as_named_input("n"),
        ],
    )
    def test_other_bindings_in_arguments_alone_are_refused(self, value):
        assert "add it there too" in refusal(value)

    def test_bindings_mean_the_input_of_their_name(self):
        data, reference = PipelineData("a"), DataReference("lake", "r")
        pair = (DataPath("lake", "x", name="p"), DataPathComputeBinding())
        named = PipelineData("b").as_dataset().as_named_input("n")
        inputs = [data.as_input("x"), reference, pair, named]
        assert tokens(data.as_input("x"), reference, pair, named, data, inputs=inputs) == [
            InputToken(name) for name in ("x", "r", "p", "n", "x")
        ]

    def test_a_promoted_output_means_the_output_or_the_input_it_came_from(self):
        data = PipelineData("a")
        assert tokens(data.as_dataset(), outputs=[data]) == [OutputToken("a")]
        assert tokens(data.as_dataset(), inputs=[data.as_dataset().as_named_input("n")]) == [InputToken("n")]
        assert "neither in inputs nor in outputs" in refusal(data.as_dataset())

    def test_a_named_dataset_in_arguments_alone_becomes_an_input(self):
        ports = bind("--x", TABLE.as_named_input("raw"))
        assert [port.name for port in ports.inputs] == ["raw"]
        assert rendered(ports) == ["--x", "/in/raw"]

    def test_a_dataset_output_in_inputs_and_arguments_is_an_input(self):
        config = OutputFileDatasetConfig("out")
        for listed in (config, config.as_input("out")):
            ports = bind("--x", config, inputs=[listed])
            assert ([port.name for port in ports.inputs], ports.outputs) == (["out"], ())
            assert ports.arguments[1] == InputToken("out")

    def test_as_input_in_arguments_alone_becomes_an_input(self):
        ports = bind(OutputFileDatasetConfig("out").as_input("x"))
        assert [port.name for port in ports.inputs] == ["x"]

    def test_a_raw_dataset_is_refused_with_how_to_name_it(self):
        assert refusal(FILES) == (
            'arguments[0] is a FileDataset; give it a name for the script: dataset.as_named_input("files")'
        )

    def test_a_data_path_alone_is_refused(self):
        assert "pair it with its binding" in refusal(DataPath("lake", "a"))

    def test_a_renamed_input_is_found_under_the_name_it_was_called_by(self):
        reference, written = DataReference("lake", "a"), PipelineData("a")
        found = tokens(reference, written, written.arg_val, inputs=[reference], outputs=[written])
        assert found == [InputToken("INPUT_a"), OutputToken("a"), OutputToken("a")]
        dataset = FILES.as_named_input("a").as_mount()
        assert tokens(dataset.arg_val, inputs=[dataset], outputs=[written]) == [InputToken("INPUT_a")]


class TestMergingByName:
    def test_an_input_and_its_other_mode_in_arguments_are_one_input(self):
        named = FILES.as_named_input("x")
        ports = bind("--x", named.as_download("here"), inputs=[named])
        (port,) = ports.inputs
        assert (port.name, port.mode, port.path_on_compute) == ("x", "download", "here")
        assert ports.arguments[1] == InputToken("x")

    def test_a_bare_mention_does_not_take_a_mode_away(self):
        named, reference = FILES.as_named_input("x"), DataReference("lake", "r")
        ports = bind(named, reference, inputs=[named.as_download("here"), reference.as_download()])
        assert [(port.mode, port.path_on_compute) for port in ports.inputs] == [
            ("download", "here"),
            ("download", None),
        ]

    def test_other_data_under_the_same_name_is_refused(self):
        assert refusal(FILES.as_named_input("x"), inputs=[TABLE.as_named_input("x")]) == (
            "arguments[0] is named 'x' like another input; give one of them another name"
        )

    def test_one_name_in_two_modes_within_the_arguments_is_refused(self):
        named = FILES.as_named_input("x")
        assert refusal(named.as_mount(), named.as_download()) == (
            "arguments[1] asks for input 'x' by download, another argument by mount; give one of them another name"
        )

    def test_the_same_mention_may_be_repeated(self):
        named = FILES.as_named_input("x").as_mount()
        assert tokens(named, FILES.as_named_input("x").as_mount()) == [InputToken("x"), InputToken("x")]


class TestPlaceholders:
    def test_text_around_a_placeholder_stays(self):
        data = PipelineData("a")
        ports = bind("--out=" + data.arg_val + "/part", outputs=[data])
        assert ports.arguments == (Concatenation((Text("--out="), OutputToken("a"), Text("/part"))),)
        assert rendered(ports) == ["--out=/out/a/part"]

    def test_text_may_continue_the_path_itself(self):
        data = PipelineData("a")
        assert rendered(bind(data.arg_val + "x.csv", f"{data}_2", outputs=[data])) == [
            "/out/ax.csv",
            "/out/a_2",
        ]

    def test_of_names_that_start_alike_the_longer_one_wins(self):
        first, second = PipelineData("out"), PipelineData("out2")
        assert rendered(bind(second.arg_val, first.arg_val + "3", outputs=[first, second])) == [
            "/out/out2",
            "/out/out3",
        ]

    def test_every_kind_of_port_and_parameter_has_one(self):
        data, config, table = PipelineData("d"), OutputFileDatasetConfig("o"), TABLE.as_named_input("t")
        alpha = PipelineParameter("learning rate", 1)
        text = f"{data}:{config}:{table.arg_val}:{alpha}"
        ports = bind(text, config, table, alpha, inputs=[data])
        assert rendered(ports, {"learning rate": 0.5})[0] == "/in/d:/out/o:/in/t:0.5"

    def test_an_unnamed_output_is_found_by_the_placeholder_it_had_before_it_was_named(self):
        config = OutputFileDatasetConfig()
        assert rendered(bind("--o=" + config.arg_val, outputs=[config])) == ["--o=/out/output_1"]
        read = OutputFileDatasetConfig().as_input()
        assert rendered(bind("--i=" + read.arg_val, inputs=[read])) == ["--i=/in/input_1"]

    @pytest.mark.parametrize(
        "text", ["$AZUREML_DATAREFERENCE_x", "--a=DatasetConsumptionConfig:x", "DatasetOutputConfig:x/part"]
    )
    def test_a_placeholder_of_no_port_is_refused(self, text):
        assert "which is no input or output of this step; put the object that it comes from" in refusal(text)

    def test_a_parameter_may_be_named_in_text(self):
        ports = bind("parameter:alpha", "--b=$AML_PARAMETER_beta")
        assert ports.arguments == (
            ParameterToken("alpha"),
            Concatenation((Text("--b="), ParameterToken("beta"))),
        )
        assert ports.parameters_by_name_only == ("alpha", "beta")

    @pytest.mark.parametrize("text", ["a parameter:alpha", "parameter:", "$HOME", "10:20", "s3://x"])
    def test_other_text_is_left_alone(self, text):
        assert tokens(text) == [Text(text)]

    def test_what_a_template_brings_in_cannot_address_ports(self):
        data = PipelineData("a")
        ports = bind("{{ x }}", Opaque, f"--o={data}{{{{ x }}}}", data, outputs=[data])
        found = map_tokens(
            ports.arguments, lambda value: "$AZUREML_DATAREFERENCE_a" if value != "--o=" else value
        )
        values = {"input_values": {}, "output_values": {"a": "/out/a"}, "parameter_values": {}}
        assert render_arguments(found, **values) == [
            "$AZUREML_DATAREFERENCE_a",
            "$AZUREML_DATAREFERENCE_a",
            "--o=/out/a$AZUREML_DATAREFERENCE_a",
            "/out/a",
        ]


class TestParameters:
    def test_values_of_the_run_become_text(self):
        parameters = [
            PipelineParameter(name, default)
            for name, default in [("a", 1), ("b", 0.5), ("c", "x"), ("d", True)]
        ]
        ports = bind(*parameters)
        assert rendered(ports, {"a": 2, "b": 1e-3, "c": "", "d": False}) == ["2", "0.001", "", "False"]
        assert dict(ports.parameters) == {parameter.name: parameter for parameter in parameters}

    def test_a_parameter_without_a_value_is_left_out_with_its_option(self):
        alpha = PipelineParameter("alpha", None)
        ports = bind("--first", "--alpha", alpha, "--alpha=" + alpha.arg_val, "-a", alpha, "--last", 1)
        assert rendered(ports, {"alpha": None}) == ["--first", "--last", "1"]
        assert rendered(ports, {"alpha": 3}) == [
            "--first",
            "--alpha",
            "3",
            "--alpha=3",
            "-a",
            "3",
            "--last",
            "1",
        ]

    def test_only_an_option_is_left_out_with_it(self):
        alpha = PipelineParameter("alpha", None)
        ports = bind("x", alpha, -3, alpha, "--k=v", alpha, "pre" + alpha.arg_val)
        assert rendered(ports, {"alpha": None}) == ["x", "-3", "--k=v", "pre"]

    def test_one_name_with_two_defaults_is_refused(self):
        message = refusal_of_defaults(PipelineParameter("p", 1), PipelineParameter("p", 2))
        assert message.startswith(
            "PythonScriptStep 'train': parameter 'p' has default 2 here and 1 elsewhere"
        )

    def test_data_parameters_are_refused_with_how_to_bind_them(self):
        assert refusal(PipelineParameter("p", DataPath("lake", "a"))) == (
            "arguments[0] is PipelineParameter 'p' of type datapath; bind it: (parameter, DataPathComputeBinding())"
        )
        assert 'DatasetConsumptionConfig("q", parameter)' in refusal(PipelineParameter("q", TABLE))


def refusal_of_defaults(*parameters):
    with pytest.raises(DefinitionError) as caught:
        bind(*parameters)
    return str(caught.value)


class TestParams:
    """v1's ``params``: variables of the script."""

    def variables(self, params, values=None, *arguments):
        return bind(*arguments, params=params).parameter_variables(values or {})

    def test_literals_and_parameters_become_variables(self):
        alpha = PipelineParameter("alpha", 1)
        params = {"a": 1, "b": True, "c": None, "d e": "x", "f": alpha}
        assert self.variables(params, {"alpha": 7}) == {
            "AML_PARAMETER_a": "1",
            "AML_PARAMETER_b": "True",
            "AML_PARAMETER_c": "None",
            "AML_PARAMETER_d_e": "x",
            "AML_PARAMETER_f": "7",
            "AML_PARAMETER_alpha": "7",
        }

    def test_every_parameter_in_arguments_has_a_variable_unless_it_is_none(self):
        alpha, beta = PipelineParameter("alpha", 1), PipelineParameter("beta", None)
        found = self.variables(None, {"alpha": 2, "beta": None, "gamma": 3}, alpha, beta, "parameter:gamma")
        assert found == {"AML_PARAMETER_alpha": "2", "AML_PARAMETER_gamma": "3"}

    def test_data_parameters_have_none(self):
        where = PipelineParameter("where", DataPath("lake", "a"))
        ports = bind_ports("S", "s", inputs=[(where, DataPathComputeBinding())])
        assert ports.parameter_variables({"where": {"datastore": "lake", "path": "a"}}) == {}

    def test_a_parameter_known_from_params_has_a_placeholder(self):
        alpha = PipelineParameter("learning rate", 1)
        assert tokens(f"--a={alpha}", params={"x": alpha}) == [
            Concatenation((Text("--a="), ParameterToken("learning rate")))
        ]

    @pytest.mark.parametrize(
        ("params", "arguments"),
        [
            ({"alpha": 5}, [PipelineParameter("alpha", 1)]),
            ({"a b": 5, "a-b": 6}, []),
            ({"alpha": PipelineParameter("beta", 1)}, [PipelineParameter("alpha", 1)]),
            ({"alpha": 5}, ["parameter:alpha"]),
        ],
    )
    def test_two_values_for_one_variable_are_refused(self, params, arguments):
        assert "both become the variable AML_PARAMETER_" in refusal(*arguments, params=params)

    def test_a_parameter_under_its_own_name_is_no_clash(self):
        alpha = PipelineParameter("alpha", 1)
        assert self.variables({"alpha": alpha}, {"alpha": 2}, alpha) == {"AML_PARAMETER_alpha": "2"}

    @pytest.mark.parametrize("params", [["a"], "a", {1: 2}, {"": 1}, {"p": PipelineParameter("p", TABLE)}])
    def test_other_forms_are_refused(self, params):
        assert refusal(params=params).startswith("params")


@pytest.mark.parametrize(
    "token",
    [
        Text("x"), InputToken("a"), OutputToken("b"), ParameterToken("c"),
        Concatenation((Text("--x="), InputToken("a"), Text(""))),
    ],
)  # fmt: skip
def test_a_token_survives_its_document(token):
    assert token_from_document(token_to_document(token)) == token


def test_an_opaque_value_is_written_as_its_text():
    assert token_to_document(Opaque(PurePosixPath("a/b"))) == {"text": "a/b"}


@pytest.mark.parametrize(
    "document", [{}, {"text": "a", "input": "b"}, {"other": "x"}, {"parts": [{"parts": []}]}]
)
def test_other_documents_are_refused(document):
    with pytest.raises(DefinitionError, match="an argument is one of"):
        token_from_document(document)
