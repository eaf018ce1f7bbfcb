import copy
import inspect

import pytest

from airflow_azureml.model.data import (
    DataPath,
    DataPathComputeBinding,
    DataReference,
    InputPortBinding,
    OutputPortBinding,
    PipelineData,
)
from airflow_azureml.model.identity import OutputIdentity
from airflow_azureml.runtime.exceptions import DefinitionError, UserErrorException


class Store:
    name = "lake"


def arguments_of(kind):
    return {
        name: parameter.default
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }


@pytest.mark.parametrize(
    ("kind", "required", "defaults"),
    [
        (
            PipelineData,
            ["name"],
            dict.fromkeys(
                ["datastore", "output_name", "output_mode", "output_path_on_compute", "output_overwrite", "data_type",
                 "is_directory", "pipeline_output_name", "training_output"]
            ) | {"output_mode": "mount"},
        ),
        (
            DataReference,
            ["datastore"],
            {"data_reference_name": None, "path_on_datastore": None, "mode": "mount", "path_on_compute": None,
             "overwrite": False},
        ),
        (DataPath, [], {"datastore": None, "path_on_datastore": None, "name": None}),
        (DataPathComputeBinding, [], {"mode": "mount", "path_on_compute": None, "overwrite": False}),
        (
            InputPortBinding,
            ["name"],
            {"bind_object": None, "bind_mode": "mount", "path_on_compute": None, "overwrite": None,
             "is_resource": False, "additional_transformations": None},
        ),
    ],
)  # fmt: skip
def test_constructors_have_the_arguments_of_v1_in_its_order(kind, required, defaults):
    assert list(inspect.signature(kind).parameters) == [*required, *defaults]
    assert arguments_of(kind) == defaults


class TestPipelineData:
    def test_the_port_is_called_by_output_name_and_by_name_without_one(self):
        assert PipelineData("a").output_name == "a"
        assert PipelineData("a", output_name="b").get_env_variable_name() == "AZUREML_DATAREFERENCE_b"
        assert PipelineData("a", output_name="b").arg_val == "$AZUREML_DATAREFERENCE_b"
        assert f"--x={PipelineData('a')}" == "--x=$AZUREML_DATAREFERENCE_a"

    @pytest.mark.parametrize("datastore", [Store(), "lake"])
    def test_a_datastore_is_an_object_or_a_name(self, datastore):
        data = PipelineData("a", datastore)
        assert data.datastore is datastore
        assert data.datastore_name == "lake"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"name": "a-b"}, "PipelineData: argument name is 'a-b', which is no valid name"),
            ({"name": "HOME"}, "PipelineData: argument name is 'HOME', which is reserved"),
            ({"name": "a", "output_name": "x y"}, "PipelineData 'a': argument output_name is 'x y'"),
            (
                {"name": "a", "output_mode": "download"},
                "argument output_mode is 'download'; use one of 'mount', 'upload'",
            ),
            ({"name": "a", "datastore": 5}, "argument datastore is 5; give a Datastore"),
            ({"name": "a", "training_output": object()}, "argument training_output"),
        ],
    )
    def test_wrong_arguments_are_refused_at_once(self, arguments, message):
        with pytest.raises(DefinitionError, match=message):
            PipelineData(**arguments)

    def test_consumption_bindings_keep_the_origin_and_mount_by_default(self):
        data = PipelineData("a", output_name="out")
        assert [
            (b.name, b.bind_mode, b.bind_object)
            for b in (data.as_mount(), data.as_input("x"), data.as_mount("y"))
        ] == [
            ("out", "mount", data),
            ("x", "mount", data),
            ("y", "mount", data),
        ]
        down = data.as_download("z", "/tmp/z", overwrite=True)
        assert (down.name, down.bind_mode, down.path_on_compute, down.overwrite) == (
            "z",
            "download",
            "/tmp/z",
            True,
        )
        assert down.arg_val == "$AZUREML_DATAREFERENCE_z"
        assert data.create_input_binding(mode="direct").bind_mode == "direct"

    def test_there_is_no_as_upload(self):
        assert not hasattr(PipelineData("a"), "as_upload")

    def test_an_output_port_binding_is_another_spelling_of_it(self):
        data = OutputPortBinding("a", "lake", "b", bind_mode="upload", path_on_compute="x")
        assert (data.output_name, data.datastore_name, data.output_mode, data.output_path_on_compute) == (
            "b", "lake", "upload", "x",
        )  # fmt: skip


class TestInputPortBinding:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"name": "a"}, "argument bind_object is None"),
            ({"name": "a b", "bind_object": PipelineData("x")}, "argument name is 'a b'"),
            (
                {"name": "a", "bind_object": PipelineData("x"), "bind_mode": "upload"},
                "bind_mode is 'upload'; use one of",
            ),
            ({"name": "a", "bind_object": PipelineData("x"), "is_resource": True}, "is_resource"),
        ],
    )
    def test_wrong_arguments_are_refused_at_once(self, arguments, message):
        with pytest.raises(DefinitionError, match=message):
            InputPortBinding(**arguments)


class TestDataReference:
    def test_an_unnamed_one_is_called_like_its_datastore_or_by_its_path_always_the_same(self):
        assert DataReference(Store()).name == "lake"
        assert DataReference(Store(), path_on_datastore="/").name == "lake"
        first, second = (DataReference("lake", path_on_datastore=path) for path in ("in/a", "./in/a/"))
        assert first.name == second.name == "lake_f2eb4a5b"
        assert DataReference("lake", path_on_datastore="in/b").name != first.name

    @pytest.mark.parametrize("mode", ["direct", "hdfs", None])
    def test_an_unknown_mode_is_a_user_error(self, mode):
        with pytest.raises(UserErrorException, match="argument mode"):
            DataReference("lake", mode=mode)

    def test_a_path_stays_in_its_datastore(self):
        assert DataReference("lake", "x", "/a//b/./c").path_on_datastore == "a/b/c"
        with pytest.raises(DefinitionError, match="stays inside its datastore"):
            DataReference("lake", "x", "a/../../b")

    def test_copies_keep_what_they_do_not_change(self):
        reference = DataReference("lake", "x", "a", path_on_compute="here")
        down = reference.as_download(overwrite=True)
        assert (down.mode, down.name, down.path_on_datastore, down.path_on_compute, down.overwrite) == (
            "download", "x", "a", "here", True,
        )  # fmt: skip
        assert (reference.mode, reference.overwrite) == ("mount", False)
        assert reference.as_upload("there").path_on_compute == "there"
        assert reference.as_download().as_mount().mode == "mount"
        assert reference.path("b", "y").path_on_datastore == "a/b"

    def test_its_text_is_its_placeholder(self):
        assert str(DataReference("lake", "x")) == "$AZUREML_DATAREFERENCE_x"

    def test_a_datastore_is_needed(self):
        with pytest.raises(DefinitionError, match="argument datastore is None"):
            DataReference(None)


class TestDataPath:
    def test_it_needs_a_datastore(self):
        with pytest.raises(ValueError, match="argument datastore is None"):
            DataPath()

    def test_an_unnamed_one_has_the_same_name_in_every_process(self):
        assert DataPath(Store(), "in/a").name == "lake_f2eb4a5b"
        assert DataPath(Store(), "in/a", name="mine").name == "mine"

    def test_it_survives_its_document(self):
        assert DataPath.from_document(DataPath("lake", "a").to_document()).to_document() == {
            "datastore": "lake",
            "path": "a",
        }

    def test_a_binding_knows_its_modes(self):
        with pytest.raises(ValueError, match="argument mode is 'upload'"):
            DataPathComputeBinding(mode="upload")


class TestOutputIdentity:
    def test_one_producer_claims_it_and_may_do_so_again(self):
        identity = OutputIdentity("a", "PipelineData")
        producer = object()
        identity.claim(producer, "Step 'one'")
        identity.claim(producer, "Step 'one'")
        assert identity.producer is producer

    def test_an_equal_producer_is_the_same_one(self):
        identity = OutputIdentity("a", "PipelineData")
        identity.claim(("dag", "task"), "Step 'one'")
        identity.claim(tuple(iter(("dag", "task"))), "Step 'one'")

    def test_a_second_producer_is_refused_naming_both_and_the_way_out(self):
        identity = OutputIdentity("a", "PipelineData")
        identity.claim("x", "Step 'one'")
        with pytest.raises(
            DefinitionError, match=r"^Step 'two': .*PipelineData 'a', which Step 'one' writes.*as_input"
        ):
            identity.claim("y", "Step 'two'")

    def test_consumers_are_noted_once_in_order(self):
        identity = OutputIdentity("a", "PipelineData")
        for consumer in ("x", "y", "x"):
            identity.add_consumer(consumer)
        assert identity.consumers == ["x", "y"]

    def test_copies_of_a_declaration_stand_for_the_same_output(self):
        data = PipelineData("a")
        assert copy.deepcopy(data).origin is data.origin
        assert copy.copy(data).origin is data.origin
