"""Outputs on datastores that are no folders of this machine: how they get there and what is taken back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml import OutputFileDatasetConfig, PipelineData
from airflow_azureml.compute.commit import Commit
from airflow_azureml.compute.outputs import stored_files
from airflow_azureml.compute.staging import find_places, withdraw_outputs
from airflow_azureml.model.port_types import OutputPort
from airflow_azureml.runtime.exceptions import StepFailed, StoreError, UserErrorException
from airflow_azureml.storage.files import StoreBusy


def folder(place: Path) -> None:
    place.mkdir(exist_ok=True)
    (place / "a.txt").write_text("one")
    (place / "b").mkdir()
    (place / "b" / "c.txt").write_text("three")


def fixed(**upload: Any) -> OutputFileDatasetConfig:
    out = OutputFileDatasetConfig("out", destination=("lake", "shared"))
    return out.as_upload(**upload) if upload else out


@pytest.fixture
def write(lab: Any, in_process: Any) -> Any:
    """Run a step whose script does something with the place of its output."""

    def run(content: Any = folder, output: Any = None, run_id: str = "run-1", **more: Any) -> Any:
        output = output or PipelineData("out")
        in_process(lambda cwd, env, argv: content(Path(argv[0])))
        lab.script("")
        return lab.run(arguments=[output], outputs=[output], run_id=run_id, **more)

    return run


class TestAPlaceOfTheStepRun:
    def test_gets_the_files_by_upload(self, lake: Any, write: Any) -> None:
        outcome = write()
        run = outcome.document["step_run_id"]
        assert lake.content() == {
            f"azureml/{run}/out/a.txt": "one",
            f"azureml/{run}/out/b/c.txt": "three",
        }
        document = outcome.document["outputs"]["out"]
        assert (document["type"], document["file_count"], document["size_bytes"]) == ("directory", 2, 8)

    def test_may_be_one_file(self, lake: Any, write: Any) -> None:
        outcome = write(lambda place: place.write_text("x"))
        document = outcome.document["outputs"]["out"]
        assert document["type"] == "file"
        assert lake.content() == {document["path"]: "x"}

    def test_has_what_was_glued_onto_the_path_beside_it(self, lake: Any, write: Any) -> None:
        outcome = write(lambda place: Path(f"{place}x.csv").write_text("1"))
        output = lake.output(outcome)
        assert output.file_count == 0
        found = stored_files(lake.lab.workspace, output, lake.fresh_cache())
        assert [item.path for item in found.manifest.files] == ["outx.csv"]

    @pytest.mark.parametrize("output", [PipelineData("out"), OutputFileDatasetConfig("out")])
    def test_may_stay_empty(self, lake: Any, write: Any, output: Any) -> None:
        outcome = write(lambda _: None, output)
        assert lake.content() == {}
        found = stored_files(lake.lab.workspace, lake.output(outcome), lake.fresh_cache())
        assert found.problem is None
        assert write(lambda _: None, output, "run-2").reuse["code"] == "hit"

    def test_is_removed_when_an_upload_fails(self, lake: Any, write: Any) -> None:
        lake.counted.fails("put_file", StoreError("no space left"), at=2)
        with pytest.raises(StoreError, match="no space left"):
            write()
        assert lake.content() == {}

    def test_is_removed_when_the_commit_fails(
        self, lake: Any, write: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: Any) -> None:
            raise StoreError("cannot register")

        monkeypatch.setattr(Commit, "_register_outputs", fail)
        with pytest.raises(StoreError, match="cannot register"):
            write()
        assert lake.counted.calls["put_file"] == 2
        assert lake.content() == {}

    def test_is_removed_when_a_later_try_finds_that_its_worker_died(self, lake: Any) -> None:
        port = OutputPort("out", "pipeline_data")
        lake.put("azureml/lost/out/a.txt", "half")
        lake.put("azureml/other/out/a.txt", "other")
        lake.put("shared/a.txt", "others'")
        lake.put(".azureml-arriving/lost/new/shared/a.txt", "half")
        ports = [port, OutputPort("two", "file_dataset", path="shared")]
        withdraw_outputs(lake.lab.workspace, find_places(ports, "lost", "lake"))
        assert lake.content() == {"azureml/other/out/a.txt": "other", "shared/a.txt": "others'"}


class TestWhatABlobStoreHasNoRoomFor:
    def test_comes_back_from_the_workspace(self, lake: Any, write: Any) -> None:
        def content(place: Path) -> None:
            (place / "empty" / "deep").mkdir(parents=True)
            (place / "tool").write_text("#!")
            (place / "tool").chmod(0o755)

        outcome = write(content)
        found = stored_files(lake.lab.workspace, lake.output(outcome), lake.fresh_cache())
        assert found.problem is None
        assert [(item.path, item.executable) for item in found.manifest.files] == [("out/tool", True)]
        assert found.manifest.empty_directories == ("out/empty/deep",)

    def test_is_refused_where_it_is_a_name_that_is_no_text(self, lake: Any, write: Any) -> None:
        def content(place: Path) -> None:
            place.mkdir()
            os.close(os.open(os.fsencode(place) + b"/\xff.csv", os.O_CREAT, 0o644))

        with pytest.raises(UserErrorException, match=r"\.csv': its name isn't UTF-8"):
            write(content)
        assert lake.content() == {}


class TestTheDigest:
    @pytest.mark.parametrize("content", [folder, lambda place: place.write_text("x"), lambda _: None])
    def test_is_that_of_the_same_output_on_a_local_datastore(
        self, lake: Any, lab: Any, write: Any, content: Any
    ) -> None:
        remote = write(content)
        lab.workspace.datastores.set_default("workspaceblobstore")
        local = write(content, run_id="run-2", regenerate=True)
        here, there = (item.document["outputs"]["out"] for item in (local, remote))
        same = ("type", "digest", "size_bytes", "file_count", "exclusive")
        assert [here[name] for name in same] == [there[name] for name in same]
        assert "listing" in there
        assert "listing" not in here


class TestADestinationThatOthersUse:
    def test_keeps_their_files_and_shows_nothing_of_the_way_there(self, lake: Any, write: Any) -> None:
        lake.put("shared/theirs", "theirs")
        lake.put("shared/a.txt", "old")
        outcome = write(folder, fixed())
        assert lake.content() == {"shared/a.txt": "one", "shared/b/c.txt": "three", "shared/theirs": "theirs"}
        assert outcome.document["outputs"]["out"]["file_count"] == 2
        lake.put("shared/more", "")
        assert write(folder, fixed(), "run-2").reuse["code"] == "hit"

    def test_overwritten_by_a_later_run_the_older_result_is_none(self, lake: Any, write: Any) -> None:
        def text(value: str) -> Any:
            return lambda place: (place / "a.txt").write_text(value)

        write(text("1"), fixed(), version="1")
        write(text("2"), fixed(), "run-2", version="2")
        assert write(text("1"), fixed(), "run-3", version="1").reuse["code"] == "output_corrupt"
        assert lake.content() == {"shared/a.txt": "1"}

    @pytest.mark.parametrize(("method", "at"), [("put_file", 2), ("copy", 1), ("copy", 2), ("copy", 3)])
    def test_is_as_it_was_when_the_store_fails(self, lake: Any, write: Any, method: str, at: int) -> None:
        before = {"shared/a.txt": "old", "shared/theirs": "theirs"}
        for path, text in before.items():
            lake.put(path, text)
        calls = []

        def fail_once(number: int) -> None:
            calls.append(number)
            if len(calls) == at:
                raise StoreBusy("throttled")

        lake.counted.faults[method] = fail_once
        with pytest.raises(StoreBusy, match="throttled"):
            write(folder, fixed())
        assert lake.content() == before

    def test_is_as_it_was_when_the_commit_fails_except_for_what_others_wrote_since(
        self, lake: Any, write: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: Any) -> None:
            assert lake.content("shared") == {"a.txt": "one", "b/c.txt": "three"}
            lake.put("shared/b/c.txt", "newer")
            raise StoreError("cannot register")

        lake.put("shared/a.txt", "old")
        monkeypatch.setattr(Commit, "_register_outputs", fail)
        with pytest.raises(StoreError, match="cannot register"):
            write(folder, fixed())
        assert lake.content() == {"shared/a.txt": "old", "shared/b/c.txt": "newer"}

    def test_without_overwrite_refuses_to_replace_a_file(self, lake: Any, write: Any) -> None:
        lake.put("shared/b/c.txt", "old")
        with pytest.raises(UserErrorException, match=r"lake/shared/b/c\.txt exists already; pass as_upload"):
            write(folder, fixed(overwrite=False))
        assert lake.content() == {"shared/b/c.txt": "old"}

    def test_with_many_files_is_listed_instead_of_asked_file_by_file(self, lake: Any, write: Any) -> None:
        def many(place: Path) -> None:
            for number in range(70):
                (place / f"{number:02}").write_text(str(number))

        lake.put("shared/00", "old")
        write(many, fixed())
        assert lake.counted.calls["stat"] == 0
        assert len(lake.content("shared")) == 70


def test_a_store_that_cannot_be_opened_fails_the_step_before_its_script(
    lake: Any, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> Any:
        raise UserErrorException("connection 'lake' lacks the account name")

    monkeypatch.setattr(lake.lab.workspace.datastores, "files", fail)
    ran: list[int] = []
    with pytest.raises(UserErrorException, match="lacks the account name"):
        write(lambda _: ran.append(1))
    assert not ran


def test_a_link_to_nowhere_is_refused_as_locally(lake: Any, write: Any) -> None:
    with pytest.raises(StepFailed, match="output 'out' cannot be kept"):
        write(lambda place: place.symlink_to("nowhere"))
    assert lake.content() == {}
