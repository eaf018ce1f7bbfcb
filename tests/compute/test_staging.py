"""Where outputs are written and where they end up."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml import DataReference, OutputFileDatasetConfig, PipelineData
from airflow_azureml.compute.staging import find_places
from airflow_azureml.model.port_types import OutputPort
from airflow_azureml.runtime.exceptions import StepFailed, UserErrorException
from airflow_azureml.workspace.datastores import DatastoreRecord

BLOB = "workspaceblobstore"


def content(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class TestADestination:
    @pytest.mark.parametrize(
        ("destination", "path"),
        [
            ("a/{run-id}/{output-name}", "a/RUN/out"),
            ("{output-name}", "out"),
            ("/a//b/", "a/b"),
            ("x-{run-id}", "x-RUN"),
        ],
    )
    def test_is_rendered(self, lab: Any, in_process: Any, destination: str, path: str) -> None:
        in_process(lambda cwd, env, argv: Path(argv[0], "a").write_text("1"))
        lab.script("")
        out = OutputFileDatasetConfig("out", destination=(BLOB, destination))
        outcome = lab.run(arguments=[out], outputs=[out])
        document = outcome.document["outputs"]["out"]
        assert document["path"] == path.replace("RUN", outcome.document["step_run_id"])
        assert document["exclusive"] is ("{run-id}" in destination)
        assert content(lab.datastore / document["path"]) == {"a": "1"}

    @pytest.mark.parametrize("destination", ["..", "a/../../b", "", "/", ".", "a\\b", "a\0b", "a\nb"])
    def test_that_is_no_folder_is_refused(self, destination: str) -> None:
        port = OutputPort("out", "file_dataset", path=destination)
        with pytest.raises(UserErrorException, match="output 'out': destination .* give a relative path"):
            find_places([port], "run", BLOB)

    def test_inside_that_of_another_output_is_refused(self) -> None:
        ports = [OutputPort(name, "file_dataset", path=path) for name, path in (("a", "x"), ("b", "x/y"))]
        with pytest.raises(UserErrorException, match="output 'b': its destination 'x/y' lies in 'x'"):
            find_places(ports, "run", BLOB)
        elsewhere = [ports[0], OutputPort("b", "file_dataset", path="x/y", datastore="workspacefilestore")]
        assert len(find_places(elsewhere, "run", BLOB)) == 2

    def test_may_be_shared_by_two_outputs(self, lab: Any, in_process: Any) -> None:
        in_process(lambda cwd, env, argv: Path(argv[1], "a").write_text("1"))
        lab.script("")
        one, two = (OutputFileDatasetConfig(name, destination=(BLOB, "out")) for name in ("one", "two"))
        outcome = lab.run(arguments=[one, two], outputs=[one, two])
        assert content(lab.path_of(outcome, "one")) == content(lab.path_of(outcome, "two")) == {"a": "1"}

    def test_exists_before_the_script_starts(self, lab: Any, in_process: Any) -> None:
        seen = []
        in_process(lambda cwd, env, argv: seen.append(os.listdir(argv[0])))
        lab.script("")
        lab.datastore_file("out/from_before", "")
        out = OutputFileDatasetConfig("out", destination=(BLOB, "out"))
        lab.run(arguments=[out], outputs=[out])
        assert seen == [[]]

    def test_shows_nothing_of_the_inputs_that_are_mounted_there(self, lab: Any, in_process: Any) -> None:

        lab.datastore_file("shared/out/old.csv", "old")
        in_process(lambda cwd, env, argv: Path(argv[1], "new.csv").write_text("new"))
        lab.script("")
        out = OutputFileDatasetConfig("out", destination=(BLOB, "shared/out"))
        everything = DataReference(BLOB, "everything", "shared")
        outcome = lab.run(inputs=[everything], arguments=[everything, out], outputs=[out])
        assert outcome.document["outputs"]["out"]["file_count"] == 1
        assert content(lab.datastore / "shared/out") == {"new.csv": "new", "old.csv": "old"}


class TestAFixedDestination:
    def write(self, lab: Any, in_process: Any, run_id: str, **texts: str) -> Any:
        def script(cwd: Path, env: Any, argv: list[str]) -> None:
            for name, text in texts.items():
                Path(argv[0], name).write_text(text)

        in_process(script)
        out = OutputFileDatasetConfig("out", destination=(BLOB, "shared"))
        return lab.run("write", arguments=[out, *texts.values()], outputs=[out], run_id=run_id)

    def test_keeps_other_peoples_files(self, lab: Any, in_process: Any) -> None:
        lab.script("")
        lab.datastore_file("shared/theirs", "theirs")
        outcome = self.write(lab, in_process, "run-1", ours="1")
        assert content(lab.datastore / "shared") == {"ours": "1", "theirs": "theirs"}
        assert outcome.document["outputs"]["out"]["file_count"] == 1
        lab.datastore_file("shared/theirs", "changed")
        lab.datastore_file("shared/more", "")
        assert self.write(lab, in_process, "run-2", ours="1").reuse["code"] == "hit"

    def test_overwritten_by_a_later_run_the_older_result_is_none(self, lab: Any, in_process: Any) -> None:
        lab.script("")
        self.write(lab, in_process, "run-1", ours="1")
        self.write(lab, in_process, "run-2", ours="2")
        again = self.write(lab, in_process, "run-3", ours="1")
        assert again.reuse["code"] == "output_corrupt"
        assert content(lab.datastore / "shared") == {"ours": "1"}
        assert self.write(lab, in_process, "run-4", ours="1").reuse["code"] == "hit"

    def test_emptied_by_hand_the_result_is_gone(self, lab: Any, in_process: Any) -> None:
        lab.script("")
        self.write(lab, in_process, "run-1", ours="1")
        (lab.datastore / "shared/ours").unlink()
        assert self.write(lab, in_process, "run-2", ours="1").reuse["code"] == "output_gone"

    def test_read_by_a_consumer_shows_the_steps_own_files_only(self, lab: Any, in_process: Any) -> None:
        lab.script("")
        lab.datastore_file("shared/theirs", "theirs")
        out = OutputFileDatasetConfig("out", destination=(BLOB, "shared"))
        in_process(lambda cwd, env, argv: Path(argv[0], "ours").write_text("1"))
        lab.run("write", arguments=[out], outputs=[out])
        seen = []
        in_process(lambda cwd, env, argv: seen.append(content(Path(argv[0]))))
        lab.run("read", arguments=[out.as_input()], inputs=[out.as_input()])
        assert seen == [{"ours": "1"}]

    def test_overwritten_while_a_consumer_reads_it_the_consumer_keeps_what_it_saw(
        self, lab: Any, in_process: Any
    ) -> None:
        lab.script("")
        out = OutputFileDatasetConfig("out", destination=(BLOB, "shared"))
        in_process(lambda cwd, env, argv: Path(argv[0], "ours").write_text("1"))
        lab.run("write", arguments=[out], outputs=[out])
        seen = []

        def read(cwd: Path, env: Any, argv: list[str]) -> None:
            self.write(lab, in_process, "run-2", ours="2")
            seen.append(content(Path(argv[0])))

        in_process(read)
        lab.run("read", arguments=[out.as_input()], inputs=[out.as_input()])
        assert seen == [{"ours": "1"}]
        assert content(lab.datastore / "shared") == {"ours": "2"}

    def test_is_laid_by_two_runs_at_once_without_loss(self, lab: Any, in_process: Any) -> None:
        lab.script("")

        def script(cwd: Path, env: Any, argv: list[str]) -> None:
            Path(argv[0], argv[1]).write_text("")

        in_process(script)

        def run(name: str) -> None:
            out = OutputFileDatasetConfig("out", destination=(BLOB, "shared"))
            lab.run("write", arguments=[out, name], outputs=[out], run_id=f"run-{name}")

        threads = [threading.Thread(target=run, args=[str(number)]) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(os.listdir(lab.datastore / "shared")) == [str(number) for number in range(8)]


class TestUpload:
    def upload(self, lab: Any, in_process: Any, out: Any, run_id: str = "run-1") -> Any:
        def script(cwd: Path, env: Any, argv: list[str]) -> None:
            place = Path(argv[0])
            for name in ("a.csv", "deep/b.csv", "deep/c.txt", "d.txt"):
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                (place / name).write_text(name)

        in_process(script)
        lab.script("")
        return lab.run("train", arguments=[out], outputs=[out], run_id=run_id)

    @pytest.mark.parametrize("source", [None, "written/here"])
    @pytest.mark.parametrize(
        ("globs", "kept"),
        [
            (None, ["a.csv", "d.txt", "deep/b.csv", "deep/c.txt"]),
            ("*.csv", ["a.csv"]),
            (["**/*.csv", "d.*"], ["a.csv", "d.txt", "deep/b.csv"]),
            ("nothing*", []),
        ],
    )
    def test_takes_the_files_that_its_globs_name(
        self, lab: Any, in_process: Any, source: str | None, globs: Any, kept: list[str]
    ) -> None:
        out = OutputFileDatasetConfig("out", source=source).as_upload(source_globs=globs)
        outcome = self.upload(lab, in_process, out)
        assert sorted(content(lab.path_of(outcome, "out"))) == kept

    @pytest.mark.parametrize("glob", ["/etc/*", "../**/*", "**/../../*", ""])
    def test_takes_nothing_from_elsewhere(self, lab: Any, in_process: Any, glob: str) -> None:
        out = OutputFileDatasetConfig("out").as_upload(source_globs=[glob])
        with pytest.raises(StepFailed, match="source_globs"):
            self.upload(lab, in_process, out)

    def test_of_pipeline_data_from_a_place_of_the_users_choosing(self, lab: Any, in_process: Any) -> None:
        out = PipelineData("out", output_mode="upload", output_path_on_compute="written/here")
        outcome = self.upload(lab, in_process, out)
        assert len(content(lab.path_of(outcome, "out"))) == 4

    def test_without_overwrite_refuses_to_replace_a_file(self, lab: Any, in_process: Any) -> None:
        def out() -> Any:
            return OutputFileDatasetConfig("out", destination=(BLOB, "shared")).as_upload(overwrite=False)

        lab.datastore_file("shared/other", "")
        self.upload(lab, in_process, out())
        lab.script("changed", "helper.py")
        with pytest.raises(
            UserErrorException, match=r"shared/a\.csv exists already; pass as_upload\(overwrite=True\)"
        ):
            self.upload(lab, in_process, out(), "run-2")
        assert content(lab.datastore / "shared")["a.csv"] == "a.csv"


def test_a_datastore_of_any_name_stays_in_its_place(lab: Any, in_process: Any) -> None:

    lab.workspace.datastores.register(DatastoreRecord("../../lake", "Local", root=str(lab.root / "lake")))
    written = []

    def script(cwd: Path, env: Any, argv: list[str]) -> None:
        Path(argv[0]).write_text("1")
        written.append(Path(argv[0]))

    in_process(script)
    lab.script("")
    out = PipelineData("out", datastore="../../lake")
    outcome = lab.run(arguments=[out], outputs=[out])
    assert written[0].resolve().is_relative_to(lab.services.scratch)
    assert lab.path_of(outcome, "out").is_relative_to(lab.root / "lake")
    seen = []
    in_process(lambda cwd, env, argv: seen.append(Path(argv[0]).read_text()))
    lab.run("use", arguments=[out], inputs=[out])
    assert seen == ["1"]


def test_a_full_tree_moves_across_file_systems(lab: Any, in_process: Any) -> None:
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == lab.root.stat().st_dev:
        pytest.skip("no second file system here")
    scratch = shm / lab.root.name
    lab.with_services(scratch=scratch)

    def script(cwd: Path, env: Any, argv: list[str]) -> None:
        for place in argv:
            Path(place, "deep").mkdir(parents=True)
            Path(place, "deep", "a").write_text("1")

    in_process(script)
    lab.script("")
    own, fixed = PipelineData("own"), OutputFileDatasetConfig("fixed", destination=(BLOB, "shared"))
    try:
        outcome = lab.run(arguments=[own, fixed], outputs=[own, fixed])
        assert (
            content(lab.path_of(outcome, "own")) == content(lab.path_of(outcome, "fixed")) == {"deep/a": "1"}
        )
        reuse = lab.run(arguments=[own, fixed], outputs=[own, fixed], run_id="run-2").reuse
        assert reuse["code"] == "hit"
        assert not list(scratch.iterdir())
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
