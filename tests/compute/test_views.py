"""What scripts see of their inputs, and what happens when these change."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml import DataPath, DataReference, Dataset, PipelineData
from airflow_azureml.compute.inputs import InputChanged
from airflow_azureml.compute.views import InputViews
from airflow_azureml.model.data import InputPortBinding
from airflow_azureml.runtime.exceptions import StepFailed, UserErrorException

BLOB = "workspaceblobstore"


class TestAMountedFile:
    def test_is_read_only_when_a_step_wrote_it(self, lab: Any, in_process: Any) -> None:
        lab.script("")
        out = PipelineData("out")
        in_process(lambda cwd, env, argv: Path(argv[0]).write_text("1"))
        lab.run("make", arguments=[out], outputs=[out])
        found = []
        in_process(lambda cwd, env, argv: found.append(os.stat(argv[0]).st_mode))
        lab.run("use", arguments=[out], inputs=[out])
        assert not found[0] & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)

    def test_may_go_from_the_view_and_files_may_come(self, lab: Any, in_process: Any) -> None:
        source = lab.datastore_file("raw/a.csv", "1")

        def script(cwd: Path, env: Any, argv: list[str]) -> None:
            Path(argv[0], "a.csv").unlink()
            Path(argv[0], "scratch").write_text("")

        in_process(script)
        lab.script("")
        raw = DataReference(BLOB, "raw", "raw")
        lab.run(inputs=[raw], arguments=[raw])
        assert os.listdir(lab.datastore / "raw") == ["a.csv"]
        assert source.read_text() == "1"

    def test_changed_in_place_fails_the_step_and_nothing_is_remembered(
        self, lab: Any, in_process: Any
    ) -> None:
        lab.datastore_file("raw/a.csv", "1")
        in_process(lambda cwd, env, argv: Path(argv[0], "a.csv").write_text("changed"))
        lab.script("")
        raw = DataReference(BLOB, "raw", "raw")
        with pytest.raises(
            StepFailed, match=r"input files changed while the script ran \(a.csv\).*as_download"
        ):
            lab.run(inputs=[raw], arguments=[raw])
        assert not list(lab.workspace.store.list("entries/"))

    def test_replaced_by_somebody_else_meanwhile_fails_the_step_too(self, lab: Any, in_process: Any) -> None:
        source = lab.datastore_file("raw/a.csv", "1")

        def script(cwd: Path, env: Any, argv: list[str]) -> None:
            source.with_name("new").write_text("2")
            source.with_name("new").rename(source)

        in_process(script)
        lab.script("")
        raw = DataReference(BLOB, "raw", "raw")
        with pytest.raises(StepFailed, match="input files changed"):
            lab.run(inputs=[raw], arguments=[raw])

    def test_as_does_a_direct_dataset(self, lab: Any, in_process: Any) -> None:
        source = lab.datastore_file("raw/a.csv", "x\n1\n")
        table = Dataset.Tabular.from_delimited_files(
            DataPath(BLOB, "raw/a.csv"), validate=False, infer_column_types=False
        )
        in_process(lambda *_: source.write_text("x\n2\n3\n"))
        lab.script("")
        with pytest.raises(StepFailed, match="input files changed"):
            lab.run(inputs=[table.as_named_input("table")])

    def test_changed_while_the_step_starts_is_found_at_rest_by_the_next_try(
        self, lab: Any, in_process: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = lab.datastore_file("raw/a.csv", "1")
        lab.script("")
        in_process(lambda *_: None)
        raw = DataReference(BLOB, "raw", "raw")
        real = InputViews.lay_out

        def late(self: InputViews, item: Any) -> str:
            source.write_text("22")
            return real(self, item)

        with monkeypatch.context() as patched:
            patched.setattr(InputViews, "lay_out", late)
            with pytest.raises(
                InputChanged, match=r"input 'raw': a\.csv changed while the step was starting"
            ) as error:
                lab.run(inputs=[raw], arguments=[raw])
        assert error.value.transient
        lab.run(inputs=[raw], arguments=[raw], try_number=2)


class TestADownload:
    def test_is_a_private_copy(self, lab: Any, in_process: Any) -> None:
        source = lab.datastore_file("raw/a.csv", "1")
        source.chmod(0o444)
        in_process(lambda cwd, env, argv: Path(argv[0], "a.csv").write_text("mine"))
        lab.script("")
        raw = DataReference(BLOB, "raw", "raw", mode="download")
        lab.run(inputs=[raw], arguments=[raw])
        assert source.read_text() == "1"

    def test_is_not_bothered_by_later_changes(self, lab: Any, in_process: Any) -> None:
        source = lab.datastore_file("raw/a.csv", "1")
        in_process(lambda *_: source.write_text("2"))
        lab.script("")
        raw = DataReference(BLOB, "raw", "raw", mode="download")
        lab.run(inputs=[raw], arguments=[raw])

    def test_of_an_output_mirrors_the_layout_of_the_datastore(self, lab: Any, in_process: Any) -> None:
        lab.script("")
        out = PipelineData("out")
        in_process(lambda cwd, env, argv: Path(argv[0]).write_text("1"))
        made = lab.run("make", arguments=[out], outputs=[out])
        found = []
        in_process(lambda cwd, env, argv: found.append(argv[0]))
        lab.run("use", inputs=[out.as_download()], arguments=[out.as_download()])
        assert found[0].endswith(f"/azureml/{made.document['step_run_id']}/out")

    def test_and_a_mount_of_the_same_output_are_two_views(self, lab: Any, in_process: Any) -> None:
        lab.script("")
        out = PipelineData("out")
        in_process(lambda cwd, env, argv: Path(argv[0]).write_text("1"))
        lab.run("make", arguments=[out], outputs=[out])
        found = []

        def script(cwd: Path, env: Any, argv: list[str]) -> None:
            Path(argv[1]).write_text("mine")
            found.extend(Path(word).read_text() for word in argv)

        in_process(script)
        copy = InputPortBinding("copy", out, bind_mode="download")
        lab.run("use", inputs=[out, copy], arguments=[out, copy])
        assert found == ["1", "mine"]


class TestAChosenPlace:
    def test_relative_is_below_the_working_directory(self, lab: Any, in_process: Any) -> None:
        lab.datastore_file("raw/a.csv", "1")
        found = []
        in_process(
            lambda cwd, env, argv: found.append(
                (argv[0] == f"{cwd}/data/raw", (cwd / "data/raw/a.csv").read_text())
            )
        )
        lab.script("")
        raw = DataReference(BLOB, "raw", "raw", path_on_compute="data/raw")
        lab.run(inputs=[raw], arguments=[raw])
        assert found == [(True, "1")]

    def test_absolute_is_there_and_gone_after_the_step(self, lab: Any, in_process: Any) -> None:
        lab.datastore_file("raw/a.csv", "1")
        place = lab.root / "elsewhere" / "raw"
        found = []
        in_process(lambda *_: found.append((place / "a.csv").read_text()))
        lab.script("")
        raw = DataReference(BLOB, "raw", "raw", path_on_compute=str(place))
        lab.run(inputs=[raw], arguments=[raw])
        assert found == ["1"]
        assert not place.is_symlink()

    def test_that_a_dead_step_left_is_taken_over(self, lab: Any, in_process: Any) -> None:
        lab.datastore_file("raw/a.csv", "1")
        place = lab.root / "raw"
        place.symlink_to(lab.root / "long gone")
        in_process(lambda *_: None)
        lab.script("")
        raw = DataReference(BLOB, "raw", "raw", path_on_compute=str(place))
        lab.run(inputs=[raw], arguments=[raw])

    def test_that_is_taken_is_refused(self, lab: Any, in_process: Any) -> None:
        lab.datastore_file("raw/a.csv", "1")
        lab.script("")
        lab.script("mine", "data/raw/mine.txt")
        in_process(lambda *_: None)
        raw = DataReference(BLOB, "raw", "raw", path_on_compute="data/raw")
        with pytest.raises(
            UserErrorException, match="input 'raw': path_on_compute 'data/raw' exists already"
        ):
            lab.run(inputs=[raw], arguments=[raw])

    def test_that_is_taken_is_replaced_on_demand_but_only_in_the_steps_own_folder(
        self, lab: Any, in_process: Any
    ) -> None:
        lab.datastore_file("raw/a.csv", "1")
        lab.script("")
        lab.script("mine", "data/raw/mine.txt")
        found = []
        in_process(lambda cwd, env, argv: found.append(os.listdir(argv[0])))
        raw = DataReference(BLOB, "raw", "raw", path_on_compute="data/raw", overwrite=True)
        lab.run(inputs=[raw], arguments=[raw])
        assert found == [["a.csv"]]
        precious = lab.root / "precious"
        precious.mkdir()
        raw = DataReference(BLOB, "raw", "raw", path_on_compute=str(precious), overwrite=True)
        with pytest.raises(UserErrorException, match="exists already"):
            lab.run(inputs=[raw], arguments=[raw], run_id="run-2")
        assert precious.is_dir()

    def test_of_two_inputs_is_refused(self, lab: Any, in_process: Any) -> None:
        lab.datastore_file("raw/a.csv", "1")
        lab.script("")
        in_process(lambda *_: None)
        both = [
            DataReference(BLOB, name, "raw", path_on_compute="data", overwrite=True) for name in ("a", "b")
        ]
        with pytest.raises(UserErrorException, match="input 'b': path_on_compute 'data' exists already"):
            lab.run(inputs=both)
