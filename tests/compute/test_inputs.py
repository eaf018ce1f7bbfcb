"""Inputs: what they are known by, what scripts see of them, and what happens when they change."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml import DataPath, DataReference, Dataset, OutputFileDatasetConfig, PipelineData
from airflow_azureml.compute.input_trees import InputTree
from airflow_azureml.compute.inputs import InputResolver
from airflow_azureml.model.port_types import InputPort, PathSource
from airflow_azureml.runtime.dataset.walking import ARRIVING
from airflow_azureml.runtime.exceptions import DatasetValidationError, UserErrorException

BLOB = "workspaceblobstore"


def content(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def seen(lab: Any, in_process: Any) -> Callable[..., Any]:
    """Run a step that looks at its first argument, and return what it saw."""
    lab.script("")

    def look(source: Any, argument: Any = None, **more: Any) -> Any:
        found: list[Any] = []

        def script(cwd: Path, env: Any, argv: list[str]) -> None:
            path = Path(argv[0])
            found.append(content(path) if path.is_dir() else path.read_text())

        in_process(script)
        lab.run("look", inputs=[source], arguments=[source if argument is None else argument], **more)
        return found[0]

    return look


class TestADataReference:
    def test_to_a_folder_shows_its_files(self, lab: Any, seen: Any) -> None:
        lab.datastore_file("raw/a.csv", "1")
        lab.datastore_file("raw/deep/b.csv", "2")
        assert seen(DataReference(BLOB, "raw", "raw")) == {"a.csv": "1", "deep/b.csv": "2"}
        assert seen(DataReference(BLOB, "all"), run_id="run-2") == {"raw/a.csv": "1", "raw/deep/b.csv": "2"}

    def test_to_a_file_is_the_file(self, lab: Any, seen: Any) -> None:
        lab.datastore_file("raw/a.csv", "1")
        assert seen(DataReference(BLOB, "raw", "raw/a.csv")) == "1"

    def test_shows_empty_folders(self, lab: Any, in_process: Any) -> None:
        (lab.datastore / "raw/empty").mkdir(parents=True)
        lab.script("")
        found = []
        in_process(lambda cwd, env, argv: found.append(os.listdir(argv[0])))
        raw = DataReference(BLOB, "raw", "raw")
        lab.run(inputs=[raw], arguments=[raw])
        assert found == [["empty"]]

    def test_to_nothing_says_so(self, lab: Any, seen: Any) -> None:
        with pytest.raises(UserErrorException, match="input 'raw': datastore .* has nothing at 'lost'"):
            seen(DataReference(BLOB, "raw", "lost"))

    @pytest.mark.parametrize("path", ["../secret", "a/../../secret", "/../secret", "a\0b"])
    def test_cannot_leave_its_datastore(self, lab: Any, path: str) -> None:
        lab.datastore_file("../secret", "s")
        port = InputPort("raw", "mount", PathSource(BLOB, path))
        with pytest.raises(UserErrorException, match="leaves the datastore"):
            InputResolver(lab.workspace, lab.services.hashes, lab.services.data, lab.root).reference(
                port, BLOB, path
            )

    def test_cannot_leave_it_by_a_link(self, lab: Any, seen: Any) -> None:
        lab.datastore_file("raw/a.csv", "1")
        (lab.datastore / "raw/link").symlink_to("/etc/hostname")
        with pytest.raises(UserErrorException, match="input 'raw' cannot be read: .*leaves the folder"):
            seen(DataReference(BLOB, "raw", "raw"))

    def test_follows_links_within(self, lab: Any, seen: Any) -> None:
        lab.datastore_file("raw/v2.csv", "2")
        (lab.datastore / "raw/latest.csv").symlink_to("v2.csv")
        assert seen(DataReference(BLOB, "raw", "raw")) == {"v2.csv": "2", "latest.csv": "2"}

    def test_shows_nothing_of_what_another_run_is_about_to_commit(self, lab: Any, seen: Any) -> None:
        lab.datastore_file("a.csv", "1")
        lab.datastore_file(f"{ARRIVING}/x/half.csv", "half")
        assert seen(DataReference(BLOB, "all")) == {"a.csv": "1"}


class TestAKeyOfInputs:
    """The content decides, and how the script gets it; not where it lies."""

    def test_does_not_vary_with_place_and_time(self, lab: Any, seen: Any) -> None:
        for name in ("one/a.csv", "two/a.csv"):
            lab.datastore_file(name, "1")
        seen(DataReference(BLOB, "raw", "one"))
        os.utime(lab.datastore / "one/a.csv", (1, 1))
        reuse = lab.run("look", **self.reading(DataReference(BLOB, "raw", "one")), run_id="run-2").reuse
        assert reuse["code"] == "hit"
        reuse = lab.run("look", **self.reading(DataReference(BLOB, "raw", "two")), run_id="run-3").reuse
        assert reuse["code"] == "hit"

    def test_varies_with_content_and_says_which_files(self, lab: Any, seen: Any) -> None:
        lab.datastore_file("raw/a.csv", "1")
        lab.datastore_file("raw/b.csv", "1")
        raw = DataReference(BLOB, "raw", "raw")
        seen(raw)
        lab.datastore_file("raw/a.csv", "2")
        lab.datastore_file("raw/c.csv", "")
        (lab.datastore / "raw/b.csv").unlink()
        reuse = lab.run("look", **self.reading(raw), run_id="run-2").reuse
        assert reuse["code"] == "input"
        assert reuse["message"] == (
            "ran again because input raw: a.csv changed; c.csv is new; b.csv is gone (last used in run run-1)"
        )

    def test_varies_between_a_file_and_a_folder_with_that_file(self, lab: Any, in_process: Any) -> None:
        lab.script("")
        in_process(lambda *_: None)
        lab.datastore_file("raw/a.csv", "1")
        codes = []
        datasets = [
            Dataset.File.from_files(DataPath(BLOB, path), validate=False)
            for path in ("raw/a.csv", "raw/*.csv")
        ]
        for number, dataset in enumerate(datasets):
            named = dataset.as_named_input("raw").as_mount()
            codes.append(lab.run(inputs=[named], arguments=[named], run_id=f"run-{number}").reuse["code"])
        assert codes == ["new", "input"]

    def test_varies_with_paths_that_become_columns(self, lab: Any, in_process: Any) -> None:
        lab.script("")
        in_process(lambda *_: None)
        for year in ("2020", "2021"):
            lab.datastore_file(f"{year}/a.csv", "x\n1\n")
        codes = []
        for year in ("2020", "2021"):
            table = Dataset.Tabular.from_delimited_files(
                DataPath(BLOB, f"{year}/a.csv"),
                partition_format="/{year}/a.csv",
                validate=False,
                infer_column_types=False,
            )
            named = table.as_named_input("table")
            codes.append(lab.run(inputs=[named], arguments=[named], run_id=f"run-{year}").reuse["code"])
        assert codes == ["new", "input"]

    def test_varies_with_the_way_to_the_script(self, lab: Any, seen: Any) -> None:
        lab.datastore_file("raw/a.csv", "1")
        seen(DataReference(BLOB, "raw", "raw"))
        changed = DataReference(BLOB, "raw", "raw", mode="download")
        reuse = lab.run("look", **self.reading(changed), run_id="run-2").reuse
        assert reuse["code"] == "interface"
        assert "input raw: mode: mount → download" in reuse["message"]
        placed = DataReference(BLOB, "raw", "raw", path_on_compute="here")
        assert lab.run("look", **self.reading(placed), run_id="run-3").reuse["code"] == "interface"

    def test_names_inputs_that_came_and_went(self, lab: Any, in_process: Any) -> None:
        lab.script("")
        in_process(lambda *_: None)
        lab.datastore_file("raw/a.csv", "1")
        lab.run(inputs=[DataReference(BLOB, "one", "raw")])
        reuse = lab.run(inputs=[DataReference(BLOB, "two", "raw")], run_id="run-2").reuse
        assert [item["what"] for item in reuse["differences"]] == ["input one is called two now"]

    def test_does_not_vary_with_a_name_that_nobody_chose(self, lab: Any, in_process: Any) -> None:
        lab.script("")
        in_process(lambda *_: None)
        codes = []
        for name in ("one", "two"):
            lab.datastore_file(f"{name}/a.csv", "1")
            dataset = Dataset.File.from_files(DataPath(BLOB, f"{name}/*.csv"), validate=False).as_mount()
            codes.append(lab.run(inputs=[dataset], arguments=[dataset], run_id=name).reuse["code"])
        assert codes == ["new", "hit"]

    @staticmethod
    def reading(source: Any) -> dict[str, Any]:
        return {"inputs": [source], "arguments": [source]}


class TestAFileDataset:
    def test_of_one_file_arrives_as_the_file(self, lab: Any, seen: Any) -> None:
        lab.datastore_file("raw/a.csv", "1")
        dataset = Dataset.File.from_files(DataPath(BLOB, "raw/a.csv"), validate=False)
        assert seen(dataset.as_named_input("raw").as_mount()) == "1"
        assert seen(dataset.as_named_input("raw").as_download(), run_id="run-2") == "1"

    def test_of_a_pattern_arrives_as_a_folder(self, lab: Any, seen: Any) -> None:
        lab.datastore_file("raw/a.csv", "1")
        lab.datastore_file("raw/deep/b.csv", "2")
        dataset = Dataset.File.from_files(DataPath(BLOB, "raw/**/*.csv"), validate=False)
        assert seen(dataset.as_named_input("raw").as_mount()) == {"a.csv": "1", "deep/b.csv": "2"}

    def test_of_local_files_arrives_too(self, lab: Any, seen: Any) -> None:
        (lab.root / "mine").mkdir()
        (lab.root / "mine/a.csv").write_text("1")
        dataset = Dataset.File.from_files(str(lab.root / "mine/*.csv"), validate=False)
        assert seen(dataset.as_named_input("raw").as_mount()) == {"a.csv": "1"}

    def test_of_nothing_says_so(self, lab: Any, seen: Any) -> None:
        dataset = Dataset.File.from_files(DataPath(BLOB, "lost/*.csv"), validate=False)
        with pytest.raises(DatasetValidationError, match="lost"):
            seen(dataset.as_named_input("raw").as_mount())


class TestAMappedProducer:
    @pytest.fixture
    def made(self, lab: Any, in_process: Any) -> tuple[Any, list[Any]]:
        lab.script("")
        out = PipelineData("out")

        def script(cwd: Path, env: Any, argv: list[str]) -> None:
            if argv[1] == "file":
                Path(argv[0]).write_text("0")
            elif argv[1] == "folder":
                Path(argv[0], "empty").mkdir(parents=True)
                Path(argv[0], "a.csv").write_text("1")

        in_process(script)
        outputs = []
        for kind in ("file", "folder", "nothing"):
            lab.run(f"make-{kind}", arguments=[out, kind], outputs=[out])
            outputs.append(lab.written[out.origin])
        return out, outputs

    def test_shows_its_instances_as_numbered_folders(self, lab: Any, in_process: Any, made: Any) -> None:
        out, outputs = made
        found = []

        def script(cwd: Path, env: Any, argv: list[str]) -> None:
            root = Path(argv[0])
            found.append(sorted(path.relative_to(root).as_posix() for path in root.rglob("*")))

        in_process(script)
        lab.run("use", inputs=[out], arguments=[out], mapped={"out": outputs})
        assert found == [["0", "1", "1/a.csv", "1/empty", "2"]]

    def test_of_no_instances_is_an_empty_folder(self, lab: Any, seen: Any, made: Any) -> None:
        assert seen(made[0], mapped={"out": []}) == {}

    def test_counts_the_order_of_its_instances(self, lab: Any, in_process: Any, made: Any) -> None:
        out, outputs = made
        in_process(lambda *_: None)
        codes = [
            lab.run("use", inputs=[out], arguments=[out], mapped={"out": order}, run_id=f"run-{n}").reuse[
                "code"
            ]
            for n, order in enumerate([outputs, outputs, outputs[::-1], outputs[:2]])
        ]
        assert codes == ["new", "hit", "input", "input"]

    def test_cannot_be_read_as_one_dataset(self, lab: Any, made: Any) -> None:
        table = OutputFileDatasetConfig("table").read_delimited_files()
        with pytest.raises(UserErrorException, match="mapped step cannot be read as one dataset"):
            lab.run("use", inputs=[table.as_input("table")], mapped={"table": made[1]})


class TestWhatAStepWrote:
    def test_and_was_altered_since_stops_its_consumer_with_advice(self, lab: Any, in_process: Any) -> None:
        lab.script("")
        out = PipelineData("out")
        in_process(lambda cwd, env, argv: Path(argv[0]).write_text("1"))
        path = lab.path_of(lab.run("make", arguments=[out], outputs=[out]), "out")
        path.chmod(0o644)
        path.write_text("2")
        with pytest.raises(
            UserErrorException,
            match=r"input 'out': what 'producer' wrote .* is not what was written; its result .* clear 'producer'",
        ):
            lab.run("use", arguments=[out], inputs=[out])

    def test_again_with_the_same_bytes_leaves_its_consumers_reusable(self, lab: Any, in_process: Any) -> None:
        lab.script("")
        out = PipelineData("out")
        codes = []
        for run_id in ("run-1", "run-2"):
            in_process(lambda cwd, env, argv: Path(argv[0]).write_text("1"))
            lab.run("make", arguments=[out], outputs=[out], regenerate=True, run_id=run_id)
            in_process(lambda *_: None)
            codes.append(lab.run("use", arguments=[out], inputs=[out], run_id=run_id).reuse["code"])
        assert codes == ["new", "hit"]

    def test_can_be_read_as_a_table(self, lab: Any, in_process: Any) -> None:
        lab.script("")
        out = OutputFileDatasetConfig("out").read_delimited_files()
        in_process(lambda cwd, env, argv: Path(argv[0], "a.csv").write_text("x\n1\n"))
        lab.run("make", arguments=[out], outputs=[out])
        found = []
        in_process(lambda cwd, env, argv: found.append(env["table"]))
        lab.run("use", inputs=[out.as_input("table")])
        definition = lab.workspace.datasets.get(found[0])
        assert definition["source"]["paths"] == [{"datastore": BLOB, "path": lab.written[out.origin].path}]


def test_a_table_at_a_destination_that_others_use_counts_all_that_is_read(lab: Any, in_process: Any) -> None:
    lab.script("")
    out = OutputFileDatasetConfig("out", destination=(BLOB, "shared")).read_delimited_files()
    codes = []
    for run_id, theirs in (("run-1", "x\n1\n"), ("run-2", "x\n1\n"), ("run-3", "x\n2\n")):
        lab.datastore_file("shared/theirs.csv", theirs)
        in_process(lambda cwd, env, argv: Path(argv[0], "ours.csv").write_text("x\n0\n"))
        lab.run("make", arguments=[out], outputs=[out], run_id=run_id)
        in_process(lambda *_: None)
        codes.append(lab.run("use", inputs=[out.as_input("table")], run_id=run_id).reuse["code"])
    assert codes == ["new", "hit", "input"]


def test_a_tree_watches_the_files_it_was_made_of(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    assert [file.source for file in InputTree.of(tmp_path, "place", ["a"]).files] == [tmp_path / "a"]
    assert [file.source for file in InputTree.of(tmp_path / "a", "place", [""]).files] == [tmp_path / "a"]
    with pytest.raises(FileNotFoundError):
        InputTree.of(tmp_path, "place", ["b"])
