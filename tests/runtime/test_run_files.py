"""Files of a run and models made of them, inside a step and outside any."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml import Model, Run
from airflow_azureml.runtime.exceptions import (
    ModelNotFoundException,
    ModelPathNotFoundException,
    UserErrorException,
    WebserviceException,
)


@pytest.fixture
def run(place: Any) -> Run:
    return Run.get_context()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "m.pkl"
    path.write_bytes(b"model")
    return path


class TestFiles:
    def test_there_and_back(self, run: Run, file: Path, tmp_path: Path) -> None:
        run.upload_file("models/m.pkl", str(file))
        run.upload_file("stream.bin", io.BytesIO(b"streamed"))

        run.download_file("models/m.pkl")
        run.download_file("models/m.pkl", str(tmp_path))
        run.download_file("stream.bin", str(tmp_path / "new" / "s.bin"))

        assert run.get_file_names() == ["models/m.pkl", "stream.bin"]
        assert Path("m.pkl").read_bytes() == file.read_bytes() == b"model"
        assert (tmp_path / "new" / "s.bin").read_bytes() == b"streamed"

    def test_a_big_file(self, run: Run, tmp_path: Path) -> None:
        content = os.urandom(1 << 20) * 20
        (tmp_path / "big").write_bytes(content)

        run.upload_file("big", tmp_path / "big")
        run.download_file("big", str(tmp_path / "back"))

        assert (tmp_path / "back").read_bytes() == content

    def test_a_stream_that_cannot_seek(self, run: Run, tmp_path: Path) -> None:
        reader, writer = os.pipe()
        os.write(writer, b"through a pipe")
        os.close(writer)

        with os.fdopen(reader, "rb") as pipe:
            run.upload_file("piped", pipe)

        run.download_file("piped", str(tmp_path / "back"))
        assert (tmp_path / "back").read_bytes() == b"through a pipe"

    def test_text_streams_are_refused(self, run: Run) -> None:
        with pytest.raises(UserErrorException, match='mode "rb"'):
            run.upload_file("x", io.StringIO("text"))  # type: ignore[arg-type]

    def test_uploading_again_replaces(self, run: Run, tmp_path: Path) -> None:
        run.upload_file("x", io.BytesIO(b"old"))
        run.upload_file("./x", io.BytesIO(b"new"))

        run.download_file("x", str(tmp_path / "back"))
        assert (tmp_path / "back").read_bytes() == b"new"
        assert run.get_file_names() == ["x"]

    def test_several(self, run: Run, file: Path) -> None:
        run.upload_files(["a", "b/c"], [str(file), str(file)])
        run.upload_folder("all", str(file.parent / "code"))

        assert run.get_file_names() == ["a", "b/c"]
        with pytest.raises(TypeError, match="1 names for 2 paths"):
            run.upload_files(["a"], [str(file), str(file)])

    def test_a_folder(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "tree" / "deep").mkdir(parents=True)
        (tmp_path / "tree" / "deep" / "x").write_text("x")
        (tmp_path / "tree" / "y").write_text("y")

        run.upload_folder("all/", str(tmp_path / "tree"))

        assert run.get_file_names() == ["all/deep/x", "all/y"]

    def test_many_downloads(self, run: Run, tmp_path: Path) -> None:
        for name in ("a/1", "a/2", "b"):
            run.upload_file(name, io.BytesIO(name.encode()))

        run.download_files("a", str(tmp_path / "one"))
        run.download_files("a", str(tmp_path / "two"), append_prefix=False)
        run.download_files("a", str(tmp_path), output_paths=["x", "y"])

        assert (tmp_path / "one" / "a" / "1").read_text() == "a/1"
        assert (tmp_path / "two" / "2").read_text() == "a/2"
        assert (tmp_path / "y").read_text() == "a/2"
        with pytest.raises(UserErrorException, match="1 output_paths for 2 files"):
            run.download_files("a", output_paths=["x"])

    def test_what_lies_in_outputs_and_logs_counts_at_once(
        self, run: Run, working_directory: Path, tmp_path: Path
    ) -> None:
        (working_directory / "outputs").mkdir()
        (working_directory / "logs").mkdir()
        (working_directory / "outputs" / "m.pkl").write_text("model")
        (working_directory / "logs" / "l.txt").write_text("log")
        (working_directory / "secret.txt").write_text("no")

        assert run.get_file_names() == ["logs/l.txt", "outputs/m.pkl"]
        run.download_file("outputs/m.pkl", str(tmp_path / "back"))
        assert (tmp_path / "back").read_text() == "model"
        with pytest.raises(UserErrorException, match=r"no file 'secret\.txt'"):
            run.download_file("secret.txt")

    def test_links_out_of_the_working_directory_are_not_followed(
        self, run: Run, working_directory: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "secret.txt").write_text("no")
        (working_directory / "outputs").mkdir()
        (working_directory / "outputs" / "link").symlink_to(tmp_path / "secret.txt")
        (working_directory / "outputs" / "folder").symlink_to(tmp_path)
        os.mkfifo(working_directory / "outputs" / "pipe")

        assert run.get_file_names() == []
        for name in ("outputs/link", "outputs/folder/secret.txt", "outputs/pipe"):
            with pytest.raises(UserErrorException, match="no file"):
                run.download_file(name, str(tmp_path / "back"))

    @pytest.mark.parametrize("name", ["", "..", "a/../../b", "/", "a\0b", "x" * 2000])
    def test_names_that_cannot_be(self, run: Run, name: str) -> None:
        with pytest.raises(UserErrorException, match="cannot be the name"):
            run.upload_file(name, io.BytesIO(b""))

    def test_a_name_cannot_be_file_and_folder(self, run: Run) -> None:
        run.upload_file("a/b", io.BytesIO(b""))

        for name in ("a", "a/b/c"):
            with pytest.raises(UserErrorException, match="cannot be beside it"):
                run.upload_file(name, io.BytesIO(b""))

    def test_what_is_missing_is_named(self, run: Run, tmp_path: Path) -> None:
        run.upload_file("x", io.BytesIO(b""))

        with pytest.raises(UserErrorException, match="no file 'y'; it has x"):
            run.download_file("y", str(tmp_path / "kept"))
        with pytest.raises(UserErrorException, match="no file 'nowhere'"):
            run.upload_file("y", "nowhere")
        with pytest.raises(UserErrorException, match="no folder 'nowhere'"):
            run.upload_folder("y", "nowhere")
        assert not (tmp_path / "kept").exists()
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".download")] == []


class TestModels:
    def test_from_outputs_before_the_end(self, run: Run, working_directory: Path, tmp_path: Path) -> None:
        (working_directory / "outputs").mkdir()
        (working_directory / "outputs" / "m.pkl").write_text("model")

        model = run.register_model(
            "ridge",
            model_path="./outputs/m.pkl",
            tags={"area": "houses"},
            properties={"alpha": 0.5},
            description="best",
            model_framework="ScikitLearn",
        )

        assert (model.name, model.version, model.id) == ("ridge", 1, "ridge:1")
        assert (model.tags, model.properties) == ({"area": "houses"}, {"alpha": "0.5"})
        assert (model.description, model.model_framework) == ("best", "ScikitLearn")
        assert model.run_id == run.id
        assert model.run == run
        assert model.serialize()["id"] == "ridge:1"
        assert Path(model.download(str(tmp_path / "got"))).read_text() == "model"

    def test_a_folder(self, run: Run, tmp_path: Path) -> None:
        for name in ("outputs/model/a", "outputs/model/b/c", "outputs/other"):
            run.upload_file(name, io.BytesIO(name.encode()))

        got = Path(run.register_model("net", "outputs/model").download(str(tmp_path)))

        assert got == tmp_path / "model"
        assert (got / "b" / "c").read_text() == "outputs/model/b/c"

    def test_the_path_is_the_name_by_default(self, run: Run) -> None:
        run.upload_file("ridge", io.BytesIO(b""))

        assert run.register_model("ridge").version == 1

    def test_a_path_that_is_not_there(self, run: Run) -> None:
        run.upload_file("outputs/m.pkl", io.BytesIO(b""))

        with pytest.raises(ModelPathNotFoundException, match=r"no file or folder 'm\.pkl'.*outputs/m\.pkl"):
            run.register_model("ridge", "m.pkl")

    def test_local_files_and_versions(self, run: Run, file: Path) -> None:
        workspace = run.experiment.workspace

        first = Model.register(workspace, file, "ridge", tags={"quality": "good", "a": "1"})
        second = Model.register(workspace, str(file), "ridge", tags={"quality": "bad"})

        assert (first.version, second.version) == (1, 2)
        assert Model(workspace, "ridge").version == 2
        assert Model(workspace, "ridge", version=1).tags["quality"] == "good"
        assert Model(workspace, id="ridge:1").version == 1
        assert Model(workspace, "ridge", tags=[["quality", "good"]]).version == 1
        assert [model.id for model in Model.list(workspace, tags=["a"])] == ["ridge:1"]
        assert [model.version for model in Model.list(workspace, "ridge", latest=True)] == [2]
        assert workspace.models["ridge"].version == 2

    def test_a_local_folder(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "net" / "w").mkdir(parents=True)
        (tmp_path / "net" / "w" / "1").write_text("1")
        (tmp_path / "net" / "2").write_text("2")

        model = Model.register(run.experiment.workspace, tmp_path / "net", "net")

        assert (Path(model.download(str(tmp_path / "got"))) / "w" / "1").read_text() == "1"
        part = Model.register(run.experiment.workspace, tmp_path / "net", "part", child_paths=["2"])
        assert [p.name for p in Path(part.download(str(tmp_path / "part"))).iterdir()] == ["2"]
        with pytest.raises(ModelPathNotFoundException, match="nowhere"):
            Model.register(run.experiment.workspace, "nowhere", "x")

    def test_a_missing_model_is_what_scripts_catch(self, run: Run) -> None:
        for ask in (
            lambda: Model(None, "nobody"),
            lambda: Model(None, "nobody", version=3),
            lambda: Model(None, "nobody", tags=["x"]),
        ):
            with pytest.raises(WebserviceException, match="nobody") as caught:
                ask()
            assert isinstance(caught.value, ModelNotFoundException)
        assert Model.list(None, "nobody") == []

    def test_downloads_do_not_overwrite_unasked(self, run: Run, file: Path, tmp_path: Path) -> None:
        model = Model.register(None, file, "ridge")
        model.download(str(tmp_path / "got"))

        with pytest.raises(WebserviceException, match="exist_ok=True"):
            model.download(str(tmp_path / "got"))
        model.download(str(tmp_path / "got"), exist_ok=True)

    def test_the_local_path_of_a_model(self, run: Run, file: Path) -> None:
        Model.register(None, file, "ridge")

        path = Model.get_model_path("ridge")

        assert path == "azureml-models/ridge/1/m.pkl"
        assert Path(path).read_bytes() == b"model"
        assert Model.get_model_path("ridge", version=1) == path

    def test_notes_of_a_model(self, run: Run, file: Path) -> None:
        model = Model.register(None, file, "ridge", tags={"a": "1"}, properties={"p": "1"})

        model.add_tags({"b": 2})
        model.remove_tags(["a"])
        model.add_properties({"q": "2"})
        model.update(description="best")

        again = Model(None, "ridge")
        assert (again.tags, again.properties, again.description) == ({"b": "2"}, {"p": "1", "q": "2"}, "best")
        with pytest.raises(UserErrorException, match="'p' of model ridge:1"):
            model.add_properties({"p": "2"})
        with pytest.raises(WebserviceException, match="cannot be deleted"):
            model.delete()
