import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from airflow_azureml.model.data import DataPath, DataPathComputeBinding, DataReference, PipelineData
from airflow_azureml.model.definition import PipelineDefinition, StepDefinition, definition_schema
from airflow_azureml.model.environment import Environment
from airflow_azureml.model.output_dataset import OutputFileDatasetConfig
from airflow_azureml.model.parameters import PipelineParameter
from airflow_azureml.model.ports import (
    Concatenation,
    DatasetSource,
    InputPort,
    InputToken,
    OutputPort,
    OutputReference,
    OutputToken,
    ParameterSource,
    ParameterToken,
    PathSource,
    Text,
    bind_ports,
)
from airflow_azureml.runtime.dataset import Dataset
from airflow_azureml.runtime.exceptions import DefinitionError

LAKE = type("Store", (), {"name": "lake"})()
TABLE = Dataset.Tabular.from_delimited_files((LAKE, "a.csv"), validate=False)


def declared():
    """Two steps as a DAG file declares them: their ports by task id."""
    alpha, where = PipelineParameter("alpha", 0.5), PipelineParameter("where", DataPath("lake", "in"))
    prepared, scored = PipelineData("prepared"), OutputFileDatasetConfig("scored").register_on_complete("set")
    prepare = bind_ports(
        "PythonScriptStep",
        "prepare",
        inputs=[
            TABLE.as_named_input("raw"),
            (where, DataPathComputeBinding()),
            DataReference("lake", "r", "x"),
        ],
        outputs=[prepared],
        arguments=["--out=" + prepared.arg_val + "/part", alpha, True],
    )
    train = bind_ports(
        "PythonScriptStep",
        "train",
        inputs=[prepared.as_download("p")],
        arguments=[prepared, scored, "{{ ds }}"],
        params={"depth": 3, "alpha": alpha},
    )
    ports = {"prepare": prepare, "train": train}
    for task_id, bound in ports.items():
        for port in bound.outputs:
            port.origin.claim(task_id, f"PythonScriptStep {task_id!r}")
    return ports


def defined(ports=None):
    ports = declared() if ports is None else ports
    steps = [
        StepDefinition(
            type="PythonScriptStep",
            name=f"{task_id}.py",
            task_id=task_id,
            script_name=f"{task_id}.py",
            snapshot="0" * 64,
            environment=Environment.default("3.8", ["pandas==1.5.3"]).specification(),
            compute="local",
            settings={"retries": 2},
        ).with_ports(bound, lambda producer: producer)
        for task_id, bound in ports.items()
    ]
    parameters = {name: value for bound in ports.values() for name, value in bound.parameters.items()}
    return PipelineDefinition("diabetes", tuple(steps), tuple(parameters.values()), default_datastore="lake")


def step(task_id="a", **values):
    return StepDefinition("S", task_id, task_id, **values)


class TestBuilding:
    def test_an_input_names_the_step_and_the_output_it_reads(self):
        prepare, train = defined().steps
        assert train.inputs[0].source == OutputReference("prepare", "prepared")
        assert prepare.inputs[1].source == ParameterSource("where")

    def test_an_input_that_nobody_produces_is_refused_with_its_remedy(self):
        lonely = bind_ports("PythonScriptStep", "train", inputs=[PipelineData("a").as_mount("x")])
        with pytest.raises(
            DefinitionError, match=r"S 'a': input 'x' is PipelineData 'a', which no step writes; list it"
        ):
            step().with_ports(lonely, str)

    def test_what_has_no_text_yet_is_kept_as_its_text(self):
        class Reference:
            def __str__(self):
                return "{{ xcom }}"

        ports = bind_ports("S", "s", arguments=[Reference()], params={"a": Reference()})
        made = step().with_ports(ports, str)
        assert made.arguments == (Text("{{ xcom }}"),)
        assert made.environment_parameters == {"a": "{{ xcom }}"}

    def test_edges_come_from_data_and_run_after_each_once(self):
        pipeline = PipelineDefinition(
            "p",
            (
                step("a", outputs=(OutputPort("o", "pipeline_data"),)),
                step("b", inputs=(InputPort("i", "mount", OutputReference("a", "o")),), run_after=("a", "a")),
            ),
        )
        assert pipeline.edges() == (("a", "b", "i"), ("a", "b", None))


class TestRebuilding:
    def test_a_stored_definition_gives_the_ports_that_declaring_the_steps_gave(self):
        before = declared()
        after = PipelineDefinition.from_json(defined(before).to_json()).ports()
        for task_id, ports in before.items():
            assert after[task_id].outputs == ports.outputs
            assert after[task_id].arguments == ports.arguments
            assert after[task_id].parameters == ports.parameters
            assert after[task_id].environment_parameters == ports.environment_parameters
            assert [port.name for port in after[task_id].inputs] == [port.name for port in ports.inputs]

    def test_producer_and_consumer_share_an_identity_again(self):
        after = defined().ports()
        origin = after["prepare"].outputs[0].origin
        assert after["train"].input_origins() == {"p": origin}
        assert (origin.producer, origin.port_name) == (None, "prepared")
        origin.claim("new", "new")

    def test_defining_the_rebuilt_steps_gives_the_same_definition(self):
        before = defined()
        ports = before.ports()
        for task_id, bound in ports.items():
            for port in bound.outputs:
                port.origin.claim(task_id, task_id)
        assert defined(ports).to_json() == before.to_json()


class TestChecks:
    def refusal(self, *steps, **values):
        with pytest.raises(DefinitionError) as caught:
            PipelineDefinition("p", tuple(steps), **values)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_task_ids_are_unique(self):
        assert "task ids are unique" in self.refusal(step("a"), step("a"))

    def test_an_input_reads_an_output_of_the_pipeline(self):
        reading = step("b", inputs=(InputPort("i", "mount", OutputReference("a", "x")),))
        message = self.refusal(step("a", outputs=(OutputPort("o", "pipeline_data"),)), reading)
        assert message == (
            "pipeline 'p': step 'b': input 'i' reads output 'x' of 'a', which no step of the pipeline writes"
        )

    def test_a_step_runs_after_steps_of_the_pipeline(self):
        assert "runs after 'z', which is no step" in self.refusal(step("a", run_after=("z",)))

    @pytest.mark.parametrize(
        "values",
        [
            {"arguments": (ParameterToken("x"),)},
            {"arguments": (Concatenation((Text("a"), ParameterToken("x"))),)},
            {"inputs": (InputPort("i", "mount", ParameterSource("x")),)},
            {"environment_parameters": {"v": ParameterToken("x")}},
            {"compute": ParameterToken("x")},
        ],
    )
    def test_every_parameter_that_a_step_uses_is_one_of_the_pipeline(self, values):
        assert "step 'a' uses parameter 'x', which the pipeline doesn't have" in self.refusal(
            step("a", **values)
        )

    def test_a_parameter_has_one_default(self):
        parameters = (PipelineParameter("x", 1), PipelineParameter("x", 2))
        assert "has default 2 here and 1 elsewhere" in self.refusal(parameters=parameters)

    def test_a_pipeline_output_name_is_given_once(self):
        outputs = (OutputPort("o", "pipeline_data", pipeline_output_name="result"),)
        assert "both have pipeline_output_name 'result'" in self.refusal(
            step("a", outputs=outputs), step("b", outputs=outputs)
        )

    def test_a_cycle_shows_its_path(self):
        message = self.refusal(
            step("a", run_after=("c",)), step("b", run_after=("a",)), step("c", run_after=("b",))
        )
        assert message.startswith("pipeline 'p' runs in a circle: c → a → b → c; ")


class TestDocuments:
    def test_the_schema_is_a_valid_one(self):
        Draft202012Validator.check_schema(definition_schema())

    def test_the_digest_of_a_known_definition_stays_what_it_is(self):
        outputs = (OutputPort("o", "pipeline_data"),)
        reading = (
            InputPort("i", "mount", OutputReference("a", "o")),
            InputPort("r", "download", PathSource("lake", "x")),
        )
        arguments = (Text("--é"), InputToken("i"), Concatenation((Text("--n="), ParameterToken("n"))))
        steps = (
            step("a", outputs=outputs),
            step("b", inputs=reading, arguments=arguments, snapshot="0" * 64),
        )
        pipeline = PipelineDefinition("p", steps, (PipelineParameter("n", 0.5),))
        assert pipeline.digest == "0c59c5864de3f9f4bd6582593eda146683ab38c3e7b3565b18561b5900c36593"

    @pytest.mark.parametrize(
        "change",
        [
            lambda document: document.pop("steps"),
            lambda document: document.update(extra=1),
            lambda document: document.update(name=""),
            lambda document: document["steps"][0].update(snapshot="abc"),
            lambda document: document["steps"][0]["arguments"].append({"text": 5}),
            lambda document: document["steps"][0]["inputs"][0].update(mode="hdfs"),
            lambda document: document["steps"][0]["outputs"][0].pop("mode"),
            lambda document: document["parameters"][0].update(type="list"),
            lambda document: document["steps"][0]["environment"].update(secret="x"),
        ],
    )
    def test_other_documents_are_refused_with_the_place(self, change):
        document = json.loads(defined().to_json())
        change(document)
        with pytest.raises(DefinitionError, match=r"this is no pipeline definition: \$") as caught:
            PipelineDefinition.from_document(document)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("document", [None, [], "x", {}])
    def test_something_else_is_refused(self, document):
        with pytest.raises(DefinitionError, match="this is no pipeline definition"):
            PipelineDefinition.from_document(document)

    def test_a_newer_version_is_told_apart(self):
        with pytest.raises(DefinitionError, match=r"has schema 2, .* reads up to 1; update it"):
            PipelineDefinition.from_document({"schema": 2})

    def test_text_that_is_no_json_is_refused(self):
        with pytest.raises(DefinitionError, match="is no JSON"):
            PipelineDefinition.from_json(b"{")


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,6}", fullmatch=True).filter(
    lambda n: not n.upper().startswith("A")
)
TEXT = st.text(max_size=8)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
OBJECTS = st.dictionaries(TEXT, SCALARS | st.lists(SCALARS, max_size=2), max_size=3)
DEFINITIONS = st.builds(
    lambda kind, options, operations: {
        "schema": 1,
        "kind": kind,
        "source": options,
        "operations": operations,
    },
    st.sampled_from(["file", "tabular"]),
    OBJECTS,
    st.lists(OBJECTS, max_size=2),
)
PARAMETERS = st.lists(
    st.builds(
        PipelineParameter,
        NAMES,
        SCALARS | st.builds(DataPath, st.just("lake"), st.from_regex(r"[a-z/]{0,5}", fullmatch=True)),
    ),
    max_size=4,
    unique_by=lambda parameter: parameter.name,
)
OUTPUTS = st.lists(
    st.builds(
        OutputPort,
        name=NAMES,
        kind=st.sampled_from(["pipeline_data", "file_dataset"]),
        datastore=st.none() | TEXT,
        path=st.none() | TEXT,
        mode=st.sampled_from(["mount", "upload"]),
        path_on_compute=st.none() | TEXT,
        source=st.none() | TEXT,
        register=st.none()
        | st.builds(
            lambda name, tags, new: {
                "name": name,
                "description": None,
                "tags": tags,
                "create_new_version": new,
            },
            NAMES,
            st.dictionaries(TEXT, TEXT, max_size=2),
            st.booleans(),
        ),
        source_globs=st.none() | st.lists(TEXT, max_size=2).map(tuple),
        overwrite=st.none() | st.booleans(),
        read=st.none() | DEFINITIONS,
        is_directory=st.none() | st.booleans(),
        generated_name=st.booleans(),
    ),
    max_size=3,
    unique_by=lambda port: port.name,
)


@st.composite
def inputs(draw, written, parameters):
    kinds = [
        st.builds(DatasetSource, DEFINITIONS),
        st.builds(
            DatasetSource,
            st.none(),
            st.fixed_dictionaries({"dataset_name": NAMES}, optional={"version": st.integers(1)}),
        ),
        st.builds(PathSource, NAMES, TEXT),
    ]
    if written:
        kinds.append(
            st.builds(
                lambda address, read: OutputReference(*address, read),
                st.sampled_from(written),
                st.none() | DEFINITIONS,
            )
        )
    if parameters:
        kinds.append(st.builds(ParameterSource, st.sampled_from(parameters)))
    port = st.builds(
        InputPort,
        name=NAMES,
        mode=st.sampled_from(["mount", "download", "direct"]),
        source=st.one_of(kinds),
        path_on_compute=st.none() | TEXT,
        overwrite=st.none() | st.booleans(),
        kind=st.sampled_from(["data", "dataset"]),
        generated_name=st.booleans(),
    )
    return tuple(draw(st.lists(port, max_size=3, unique_by=lambda item: item.name)))


@st.composite
def pipelines(draw):
    parameters = draw(PARAMETERS)
    names = [parameter.name for parameter in parameters]
    parts = [st.builds(Text, TEXT), st.builds(InputToken, NAMES), st.builds(OutputToken, NAMES)]
    if names:
        parts.append(st.builds(ParameterToken, st.sampled_from(names)))
    part = st.one_of(parts)
    token = part | st.builds(Concatenation, st.lists(part, min_size=1, max_size=3).map(tuple))
    literal = SCALARS if not names else SCALARS | st.builds(ParameterToken, st.sampled_from(names))
    steps, written = [], []
    for number in range(draw(st.integers(0, 3))):
        outputs = tuple(draw(OUTPUTS))
        before = [step.task_id for step in steps]
        steps.append(
            StepDefinition(
                type=draw(NAMES),
                name=draw(NAMES),
                task_id=f"task{number}",
                script_name=draw(st.none() | TEXT),
                arguments=tuple(draw(st.lists(token, max_size=4))),
                inputs=draw(inputs(written, names)),
                outputs=outputs,
                environment_parameters=draw(st.dictionaries(NAMES, literal, max_size=2)),
                snapshot=draw(st.none() | st.from_regex(r"[0-9a-f]{64}", fullmatch=True)),
                environment=draw(st.none() | st.just(Environment.default("3.8", ["x"]).specification())),
                compute=draw(st.none() | NAMES),
                allow_reuse=draw(st.booleans()),
                version=draw(st.none() | TEXT),
                run_after=tuple(draw(st.lists(st.sampled_from(before), max_size=2))) if before else (),
                settings=draw(OBJECTS),
            )
        )
        written += [(steps[-1].task_id, port.name) for port in outputs]
    return PipelineDefinition(
        name=draw(NAMES),
        steps=tuple(steps),
        parameters=tuple(parameters),
        description=draw(st.none() | TEXT),
        default_datastore=draw(st.none() | TEXT),
        experiment=draw(st.none() | TEXT),
        continue_on_step_failure=draw(st.booleans()),
    )


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(pipelines())
def test_every_definition_survives_json_exactly(pipeline):
    text = pipeline.to_json()
    again = PipelineDefinition.from_json(text)
    assert again == pipeline
    assert again.to_json() == text
    assert again.digest == pipeline.digest
