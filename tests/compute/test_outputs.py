"""Outputs: where scripts write them, what they are known by, where they end up."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml import OutputFileDatasetConfig, PipelineData
from airflow_azureml.compute.outputs import Span, StoredOutput, stored_manifest
from airflow_azureml.runtime.exceptions import AzureMLException, StepFailed
from airflow_azureml.workspace import hashing
from airflow_azureml.workspace.manifest import FileDigest, TreeManifest

BLOB = "workspaceblobstore"


def content(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def files(*paths: str) -> TreeManifest:
    return TreeManifest([FileDigest(path, "0" * 64, 1, False) for path in paths])


class TestWhatAPipelineDataFinds:
    def test_a_place_that_is_not_there_below_a_folder_that_is(self, lab: Any, in_process: Any) -> None:
        def script(cwd: Path, env: Any, argv: list[str]) -> None:
            assert not os.path.exists(argv[0])
            assert os.path.isdir(os.path.dirname(argv[0]))
            assert env["AZUREML_DATAREFERENCE_out"] == argv[0]
            os.mkdir(argv[0])

        in_process(script)
        lab.script("")
        out = PipelineData("out")
        outcome = lab.run(arguments=[out], outputs=[out])
        assert outcome.document["outputs"]["out"]["type"] == "directory"
        assert lab.path_of(outcome, "out").is_dir()

    def test_it_may_become_a_file(self, lab: Any, in_process: Any) -> None:
        in_process(lambda cwd, env, argv: Path(argv[0]).write_text("text"))
        lab.script("")
        out = PipelineData("out")
        outcome = lab.run(arguments=[out], outputs=[out])
        assert outcome.document["outputs"]["out"]["type"] == "file"
        assert lab.path_of(outcome, "out").read_text() == "text"

    @pytest.mark.parametrize("output", [PipelineData("out"), OutputFileDatasetConfig("out")])
    def test_it_may_stay_unwritten_and_its_consumer_finds_an_empty_folder(
        self, lab: Any, in_process: Any, output: Any
    ) -> None:
        lab.script("")
        in_process(lambda *_: None)
        lab.run("make", arguments=[output], outputs=[output])
        found = []
        in_process(lambda cwd, env, argv: found.append(os.listdir(argv[0])))
        source = output if isinstance(output, PipelineData) else output.as_input()
        lab.run("use", arguments=[source], inputs=[source])
        assert found == [[]]
        again = lab.run("make", arguments=[output], outputs=[output], run_id="run-2")
        assert again.reuse["code"] == "hit"


class TestTextGluedOntoAnOutputPath:
    @pytest.mark.parametrize("output", [PipelineData("out"), OutputFileDatasetConfig("out")])
    def test_lies_beside_the_output_and_its_consumer_finds_it(
        self, lab: Any, in_process: Any, output: Any
    ) -> None:
        lab.script("")
        in_process(lambda cwd, env, argv: Path(argv[0] + "x.csv").write_text("1"))
        outcome = lab.run("make", arguments=[output], outputs=[output])
        found = []
        in_process(lambda cwd, env, argv: found.append(Path(argv[0] + "x.csv").read_text()))
        source = output if isinstance(output, PipelineData) else output.as_input()
        lab.run("use", arguments=[source], inputs=[source])
        assert found == ["1"]
        assert outcome.document["outputs"]["out"]["file_count"] == 0

    def test_counts_for_the_consumers_key(self, lab: Any, in_process: Any) -> None:
        lab.script("")
        out = PipelineData("out")
        for text in ("1", "2"):
            in_process(lambda cwd, env, argv, text=text: Path(argv[0] + "x.csv").write_text(text))
            lab.run("make", arguments=[out], outputs=[out], run_id=f"run-{text}", regenerate=True)
            in_process(lambda *_: None)
            reuse = lab.run("use", arguments=[out], inputs=[out], run_id=f"run-{text}").reuse
        assert reuse["message"] == (
            "ran again because input out (written by producer): outx.csv changed (last used in run run-1)"
        )

    def test_gone_it_makes_the_output_no_longer_what_was_written(self, lab: Any, in_process: Any) -> None:
        lab.script("")
        out = PipelineData("out")
        in_process(lambda cwd, env, argv: Path(argv[0] + "x.csv").write_text("1"))
        outcome = lab.run("make", arguments=[out], outputs=[out])
        Path(f"{lab.path_of(outcome, 'out')}x.csv").unlink()
        assert (
            lab.run("make", arguments=[out], outputs=[out], run_id="run-2").reuse["code"] == "output_corrupt"
        )


class TestOutputsWhoseNamesStartAlike:
    def test_do_not_depend_on_each_other(self, lab: Any, in_process: Any) -> None:
        lab.script("")
        data, data2 = PipelineData("data"), PipelineData("data2")
        digests = []
        for text in ("1", "2"):

            def script(cwd: Path, env: Any, argv: list[str], text: str = text) -> None:
                Path(argv[0]).mkdir()
                Path(argv[1]).mkdir()
                Path(argv[0], "same").write_text("same")
                Path(argv[1], "other").write_text(text)

            in_process(script)
            outputs = lab.run(
                arguments=[data, data2], outputs=[data, data2], run_id=f"run-{text}", regenerate=True
            ).document["outputs"]
            digests.append((outputs["data"]["digest"], outputs["data2"]["digest"]))
        assert digests[0][0] == digests[1][0]
        assert digests[0][1] != digests[1][1]
        seen = []
        in_process(lambda cwd, env, argv: seen.append(sorted(os.listdir(Path(argv[0]).parent))))
        lab.run("use", arguments=[data], inputs=[data], run_id="run-2")
        assert seen == [["data"]]

    def test_a_span_tells_own_beside_and_foreign_apart(self) -> None:
        span = Span("data", ("data2",))
        assert [span.is_own(path) for path in ("data", "data/x", "datax", "data2/x")] == [
            True,
            True,
            False,
            False,
        ]
        assert [span.is_beside(path) for path in ("data", "data/x", "datax", "data2/x", "data2y", "dat")] == [
            False,
            False,
            True,
            False,
            False,
            False,
        ]


class TestTheDigest:
    def test_tells_a_file_from_a_folder_with_that_file_from_nothing(self) -> None:
        span = Span("out")
        digests = {
            span.digest(files("out")),
            span.digest(files("out/out")),
            span.digest(files()),
            span.digest(TreeManifest([], ["out"])),
            span.digest(files("outx")),
        }
        assert len(digests) == 5

    def test_does_not_depend_on_where_the_output_lies(self) -> None:
        assert Span("out").digest(files("out/a")) == Span("").digest(files("a"))
        assert Span("out").digest(files("out/a")) == Span("out").digest(files("out/a", "other/b"))

    def test_is_pinned(self) -> None:
        assert Span("out").digest(files("out/a")) == (
            "d8fca9a845e0252ad6e537c7f10a474b20aa0101cb748a3175a2b7153540183f"
        )


class TestKeptFiles:
    def test_are_read_only_and_executables_stay_so(self, lab: Any, in_process: Any) -> None:
        def script(cwd: Path, env: Any, argv: list[str]) -> None:
            Path(argv[0]).mkdir()
            Path(argv[0], "tool").write_text("#!")
            Path(argv[0], "tool").chmod(0o755)

        in_process(script)
        lab.script("")
        out = PipelineData("out")
        tool = lab.path_of(lab.run(arguments=[out], outputs=[out]), "out") / "tool"
        assert stat.S_IMODE(tool.stat().st_mode) == 0o555

    def test_hold_the_content_of_links_not_the_links(self, lab: Any, in_process: Any) -> None:
        elsewhere = lab.root / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "a.csv").write_text("1")

        def script(cwd: Path, env: Any, argv: list[str]) -> None:
            Path(argv[0]).symlink_to(elsewhere)

        in_process(script)
        lab.script("")
        out = PipelineData("out")
        kept = lab.path_of(lab.run(arguments=[out], outputs=[out]), "out")
        assert content(kept) == {"a.csv": "1"}
        assert not kept.is_symlink()

    def test_are_apart_from_the_input_a_script_moved_there(self, lab: Any, in_process: Any) -> None:
        from airflow_azureml import DataReference

        source = lab.datastore_file("raw/a.csv", "1")

        def script(cwd: Path, env: Any, argv: list[str]) -> None:
            os.rename(os.path.join(argv[0], "a.csv"), argv[1])

        in_process(script)
        lab.script("")
        out = PipelineData("out")
        raw = DataReference(BLOB, "raw", "raw")
        kept = lab.path_of(lab.run(inputs=[raw], arguments=[raw, out], outputs=[out]), "out")
        source.write_text("2")
        assert kept.read_text() == "1"
        assert not kept.is_symlink()

    @pytest.mark.parametrize(
        ("target", "what"), [("nowhere", "where there is nothing"), ("..", "that it is in")]
    )
    def test_cannot_be_links_that_lead_nowhere(
        self, lab: Any, in_process: Any, target: str, what: str
    ) -> None:
        in_process(lambda cwd, env, argv: Path(argv[0]).symlink_to(target))
        lab.script("")
        out = PipelineData("out")
        with pytest.raises(StepFailed, match=f"output 'out' cannot be kept: 'out' is a link to .*{what}"):
            lab.run(arguments=[out], outputs=[out])
        assert not list(lab.workspace.store.list("entries/"))

    def test_are_hashed_once_and_then_known_by_a_look(
        self, lab: Any, in_process: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import time

        def script(cwd: Path, env: Any, argv: list[str]) -> None:
            Path(argv[0]).mkdir()
            Path(argv[0], "big").write_bytes(bytes(1 << 20))
            # A file as fresh as the clock's tick may still change unnoticed; it is not trusted.
            time.sleep(0.06)

        read: list[str] = []
        real = hashing._read
        monkeypatch.setattr(hashing, "_read", lambda item, start: read.append(item.path) or real(item, start))
        lab.script("")
        out = PipelineData("out")
        in_process(script)
        lab.run("make", arguments=[out], outputs=[out])
        in_process(lambda *_: None)
        lab.run("use", arguments=[out], inputs=[out])
        lab.run("use again", arguments=["--download", out], inputs=[out.as_download()])
        lab.run("make", arguments=[out], outputs=[out], run_id="run-2")
        assert len([path for path in read if path.endswith("big")]) == 1


class TestADocument:
    def test_reads_back_equal(self) -> None:
        output = StoredOutput("o", "pipeline_data", BLOB, "g/o", "file", "d", 1, 1, "g", True, ("o2",))
        assert StoredOutput.from_document(output.to_document()) == output
        assert StoredOutput.from_document({**output.to_document(), "later": 1}) == output

    @pytest.mark.parametrize("document", [{}, {"name": "x"}, {"siblings": 3}])
    def test_of_another_kind_is_refused_with_an_error_of_ours(self, document: dict[str, Any]) -> None:
        with pytest.raises(AzureMLException, match="not the document of an output"):
            StoredOutput.from_document(document)

    def test_of_an_unknown_datastore_is_a_damage_and_no_failure(self, lab: Any) -> None:
        output = StoredOutput("o", "pipeline_data", "lost", "g/o", "file", "d", 1, 1, "g", True)
        _, problem = stored_manifest(lab.workspace, output, lab.services.hashes)
        assert problem is not None
        assert problem.startswith("cannot be read (no datastore 'lost'")
