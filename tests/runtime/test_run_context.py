"""What a script sees of its run: one behaviour, inside a step and outside any."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml import Run
from airflow_azureml.runtime.exceptions import (
    ActivityFailedException,
    RunEnvironmentException,
    UserErrorException,
)
from airflow_azureml.runtime.run import _OfflineRun, _SubmittedRun


@pytest.fixture
def run(place: Any) -> Run:
    return Run.get_context()


def test_the_context_is_one_object_per_run(run: Run) -> None:
    assert Run.get_context() is run


def test_scripts_can_tell_where_they_are(place: Any, run: Run) -> None:
    assert run.id.startswith("OfflineRun") is not place.online
    assert isinstance(run, _SubmittedRun if place.online else _OfflineRun)


def test_an_offline_run_can_be_refused(offline: Any) -> None:
    with pytest.raises(RunEnvironmentException, match="wasn't started as a step"):
        Run.get_context(allow_offline=False)


def test_a_step_is_no_offline_run(online: Any) -> None:
    assert Run.get_context(allow_offline=False).id == online.state.run_id


class TestIdentity:
    def test_members(self, place: Any, run: Run) -> None:
        assert run.id == place.state.run_id
        assert run.name == place.state.root.name
        assert run.number == 1
        assert run.status == run.get_status() == "Running"
        assert run.type == "azureml.StepRun"
        assert run.experiment.name == place.state.experiment
        assert run.experiment.workspace.name == place.workspace.name

    def test_parent_is_the_pipelines_run(self, place: Any, run: Run) -> None:
        assert run.parent is not None
        assert run.parent.id == place.state.parent.id
        assert run.parent.type == "azureml.PipelineRun"
        assert run.parent.parent is None

    def test_details_have_v1s_keys(self, run: Run) -> None:
        details = run.get_details()

        assert details["runId"] == run.id
        assert details["status"] == "Running"
        assert {
            "target",
            "startTimeUtc",
            "endTimeUtc",
            "properties",
            "inputDatasets",
            "outputDatasets",
            "runDefinition",
            "logFiles",
            "submittedBy",
        } <= set(details)

    def test_it_can_be_found_again_by_its_id(self, run: Run) -> None:
        assert Run.get(run.experiment.workspace, run.id) == run
        assert run.experiment.workspace.get_run(run.id) == run

    def test_an_unknown_run_is_the_users_error(self, run: Run) -> None:
        with pytest.raises(UserErrorException, match="no run 'nobody'"):
            run.experiment.workspace.get_run("nobody")


class TestNotes:
    def test_tags(self, run: Run) -> None:
        run.tag("stage", "test")
        run.tag("candidate")
        run.set_tags({"stage": "production", "number": 3})
        run.remove_tags(["candidate", "never there"])

        assert run.get_tags() == run.tags == {"stage": "production", "number": "3"}

    def test_properties_cannot_be_changed(self, run: Run) -> None:
        run.add_properties({"data": "v1"})
        run.add_properties({"data": "v1", "more": 1})

        with pytest.raises(UserErrorException, match="'data' is 'v1' already"):
            run.add_properties({"data": "v2"})
        assert run.get_properties() == run.properties == {"data": "v1", "more": "1"}

    def test_limits(self, run: Run) -> None:
        run.set_tags({f"tag {number}": "" for number in range(50)})

        with pytest.raises(UserErrorException, match="at most 50 tags"):
            run.tag("one more")
        with pytest.raises(UserErrorException, match="at most 50 properties"):
            run.add_properties({f"property {number}": "" for number in range(51)})

    def test_names(self, run: Run) -> None:
        assert run.display_name == run.name

        run.display_name = "The best one"
        run.description = "with the new scaler"

        assert (run.display_name, run.description) == ("The best one", "with the new scaler")


class TestParent:
    def test_what_a_step_says_on_its_parent_it_can_read_there(self, run: Run, tmp_path: Path) -> None:
        parent = run.parent
        assert parent is not None

        parent.log("best", 0.9)
        parent.log_row("fold", index=1)
        parent.tag("winner", "ridge")
        parent.add_properties({"data": "v1"})
        parent.upload_file("report.txt", io.BytesIO(b"fine"))
        parent.log_list("sizes", [1])

        assert parent.get_metrics() == {"best": 0.9, "fold": {"index": 1}, "sizes": [1]}
        assert parent.get_tags() == {"winner": "ridge"}
        assert parent.get_properties() == {"data": "v1"}
        assert parent.get_file_names() == ["report.txt"]
        parent.download_file("report.txt", str(tmp_path / "back.txt"))
        assert (tmp_path / "back.txt").read_text() == "fine"
        assert run.get_metrics() == {}
        assert run.get_tags() == {}

    def test_the_steps_run_is_among_its_children(self, run: Run) -> None:
        parent = run.parent
        assert parent is not None

        assert run in list(parent.get_children())
        assert parent.find_step_run(run.name) == [run]  # type: ignore[attr-defined]
        assert parent.find_step_run("nobody") == []  # type: ignore[attr-defined]

    def test_its_end_is_not_the_scripts_business(self, run: Run) -> None:
        parent = run.parent
        assert parent is not None

        for refused in (parent.complete, parent.fail, parent.child_run):
            with pytest.raises(NotImplementedError):
                refused()


class TestChildren:
    def test_a_child_has_notes_of_its_own(self, run: Run) -> None:
        child = run.child_run("fold 1")
        child.log("score", 1)
        child.tag("fold", 1)
        run.log("score", 2)

        assert child.name == "fold 1"
        assert child.parent == run
        assert child.get_metrics() == {"score": 1}
        assert run.get_metrics() == {"score": 2}
        assert run.get_metrics(recursive=True) == {run.id: {"score": 2}, child.id: {"score": 1}}

    def test_a_child_ends_by_hand(self, run: Run) -> None:
        done, broken, stopped = run.child_run(), run.child_run(), run.child_run()

        done.complete()
        broken.fail("too hot")
        stopped.cancel()
        done.fail("too late")

        assert [child.get_status() for child in (done, broken, stopped)] == ["Finished", "Failed", "Canceled"]
        assert done.wait_for_completion()["status"] == "Finished"
        with pytest.raises(ActivityFailedException, match="too hot"):
            broken.wait_for_completion()

    def test_a_child_as_context(self, run: Run) -> None:
        with run.child_run() as good:
            good.log("a", 1)
        with pytest.raises(ZeroDivisionError), run.child_run() as bad:
            _ = 1 / 0

        assert (good.get_status(), bad.get_status()) == ("Finished", "Failed")
        assert "ZeroDivisionError" in bad.get_details()["error"]

    def test_outputs_of_a_child(self, run: Run, tmp_path: Path) -> None:
        folder = tmp_path / "fold"
        (folder / "deep").mkdir(parents=True)
        (folder / "deep" / "m.txt").write_text("x")

        child = run.child_run(outputs=str(folder))
        child.complete()

        assert child.get_file_names() == ["fold/deep/m.txt"]

    def test_several_at_once(self, run: Run) -> None:
        assert len(run.create_children(count=3)) == 3
        tagged = run.create_children(tag_key="fold", tag_values=[1, 2])

        assert [child.get_tags() for child in tagged] == [{"fold": "1"}, {"fold": "2"}]
        assert list(run.get_children(tags={"fold": 2})) == [tagged[1]]
        assert len(list(run.get_children(tags="fold"))) == 2
        assert len(list(run.get_children(status="Running"))) == 5

    @pytest.mark.parametrize(
        "arguments", [{}, {"count": 1, "tag_key": "x"}, {"tag_key": "x"}, {"count": 101}]
    )
    def test_bad_ways_to_ask_for_several(self, run: Run, arguments: dict[str, Any]) -> None:
        with pytest.raises(UserErrorException, match="create_children"):
            run.create_children(**arguments)

    def test_children_of_children(self, run: Run) -> None:
        child = run.child_run("outer")
        grandchild = child.child_run("inner")

        assert list(run.get_children()) == [child]
        assert list(run.get_children(recursive=True)) == [child, grandchild]

    def test_an_id_is_taken_once(self, run: Run) -> None:
        run.child_run(run_id="mine")

        with pytest.raises(UserErrorException, match="'mine' already"):
            run.child_run(run_id="mine")


class TestEnd:
    def test_complete_and_fail_of_the_own_run_change_nothing(self, run: Run) -> None:
        run.complete()
        run.fail("whatever")
        run.flush()

        assert run.get_status() == "Running"

    def test_canceling_returns_and_leaves_the_rest_to_the_supervisor(self, place: Any, run: Run) -> None:
        run.cancel("enough")

        assert place.state.cancel_requested.is_set()
        assert (place.state.cancel.run, place.state.cancel.reason) == ("self", "enough")
        assert run.get_status() == "CancelRequested"

    def test_canceling_the_parent(self, place: Any, run: Run) -> None:
        assert run.parent is not None
        run.parent.cancel()
        run.cancel("too late")

        assert place.state.cancel_requested.is_set()
        assert (place.state.cancel.run, place.state.cancel.reason) == ("parent", "")

    def test_secrets_say_what_to_do_instead(self, run: Run) -> None:
        for ask in (run.get_secret, run.experiment.workspace.get_default_keyvault().get_secret):
            with pytest.raises(UserErrorException, match="environment variable"):
                ask("password")
        with pytest.raises(UserErrorException, match="'password'"):
            run.get_secrets(["password"])


class TestBoundData:
    def test_paths_of_inputs_and_outputs(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AZUREML_DATASET_ENVIRONMENT_VARS", "raw:mount,extra:download")
        monkeypatch.setenv("raw", "/data/raw")
        monkeypatch.setenv("extra", "/data/extra")
        monkeypatch.setenv("AZUREML_DATASET_FILE_OUTPUTS", "scored;more")
        monkeypatch.setenv("scored", "/out/scored")
        monkeypatch.setenv("more", "/out/more")

        assert dict(run.input_datasets) == {"raw": "/data/raw", "extra": "/data/extra"}
        assert dict(run.output_datasets) == {"scored": "/out/scored", "more": "/out/more"}

    def test_a_tabular_input_is_a_dataset(
        self, run: Run, working_directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from airflow_azureml import Dataset

        (working_directory / "t.csv").write_text("a,b\n1,2\n")
        dataset = Dataset.Tabular.from_delimited_files(str(working_directory / "t.csv"))
        monkeypatch.setenv("AZUREML_DATASET_ENVIRONMENT_VARS", "table:direct")
        monkeypatch.setenv("table", dataset.id)

        found = run.input_datasets["table"]

        assert found.to_pandas_dataframe().to_dict("list") == {"a": [1], "b": [2]}
        assert run.input_datasets["table"].id == dataset.id

    def test_an_unknown_name_says_which_there_are(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(KeyError, match="this run has none"):
            run.input_datasets["raw"]
        monkeypatch.setenv("AZUREML_DATASET_ENVIRONMENT_VARS", "raw:mount")
        with pytest.raises(KeyError, match="this run has raw"):
            run.input_datasets["row"]
