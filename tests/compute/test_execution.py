"""A step's life: it runs, its results count, and the next run reuses them."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml import PipelineData, PipelineParameter
from airflow_azureml.model.environment import Environment
from airflow_azureml.reuse.actions import ActionStore
from airflow_azureml.reuse.entries import EntryStore
from airflow_azureml.reuse.leases import LeaseStore
from airflow_azureml.runtime.exceptions import StepFailed, StoreError

WRITE = """
    import os, sys
    os.mkdir(sys.argv[1])
    open(os.path.join(sys.argv[1], "a.csv"), "w").write("1")
"""


def test_a_step_runs_its_script_and_its_output_is_on_the_datastore(lab: Any) -> None:
    lab.script(WRITE)
    out = PipelineData("out")

    outcome = lab.run(arguments=[out], outputs=[out])

    assert (lab.path_of(outcome, "out") / "a.csv").read_text() == "1"
    assert outcome.reuse["code"] == "new"
    assert outcome.reuse["message"] == "ran for the first time"


def test_the_outcome_is_what_later_steps_and_tasks_read(lab: Any) -> None:
    lab.script(WRITE)
    out = PipelineData("out")

    document = lab.run("train", arguments=[out], outputs=[out]).document

    assert set(document) == {"step_run_id", "pipeline_run_id", "name", "status", "reused_from", "outputs"}
    assert (document["name"], document["status"], document["reused_from"]) == ("train", "Finished", None)
    output = document["outputs"]["out"]
    assert output["path"] == f"azureml/{document['step_run_id']}/out"
    assert (output["type"], output["file_count"], output["size_bytes"]) == ("directory", 1, 1)
    assert output["datastore"] == "workspaceblobstore"
    assert output["exclusive"] is True


def test_the_second_run_reuses_the_first_ones_result(lab: Any) -> None:
    lab.script(WRITE)
    out = PipelineData("out")
    first = lab.run(arguments=[out], outputs=[out])

    second = lab.run(arguments=[out], outputs=[out], run_id="run-2")

    assert second.reuse["decision"] == "reuse"
    assert second.reuse["code"] == "hit"
    assert second.reuse["origin"]["run_id"] == "run-1"
    assert second.document["reused_from"] == first.document["step_run_id"]
    assert second.document["outputs"] == first.document["outputs"]
    assert second.document["step_run_id"] != first.document["step_run_id"]


class TestAReusedStepShowsItsOrigin:
    SCRIPT = """
        from azureml.core import Run
        run = Run.get_context()
        run.log("rows", 7)
        run.tag("kind", "good")
        run.add_properties({"seed": "1"})
        run.parent.log("total", 9)
        run.parent.tag("from", "train")
        open("outputs/note.txt", "w").write("hello")
        child = run.child_run("fold")
        child.log("error", 0.5)
        child.complete()
        print("I ran")
    """

    @pytest.fixture
    def both(self, lab: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        lab.script(self.SCRIPT)
        first, second = lab.run(), lab.run(run_id="run-2")
        assert second.reuse["code"] == "hit"
        return lab.record(first), lab.record(second)

    @pytest.mark.parametrize(
        "field", ["metrics", "tags", "artifacts", "logs", "parent_effects", "children", "arguments"]
    )
    def test_with_what_it_said(self, both: tuple[dict[str, Any], dict[str, Any]], field: str) -> None:
        first, second = both
        assert second[field] == first[field]
        assert first[field] or field == "arguments"

    def test_and_says_that_it_was_reused(self, both: tuple[dict[str, Any], dict[str, Any]]) -> None:
        first, second = both
        assert first["properties"].items() <= second["properties"].items()
        assert second["properties"]["azureml.isreused"] == "true"
        assert second["properties"]["azureml.reusedrunid"] == first["id"]
        assert second["properties"]["azureml.reusedpipelinerunid"] == first["pipeline_run_id"]
        assert (second["status"], second["reused_from"]) == ("Finished", first["id"])

    def test_also_on_the_pipeline_run(self, lab: Any, both: tuple[dict[str, Any], dict[str, Any]]) -> None:
        _, second = both
        view = lab.workspace.runs.parent_view(second["pipeline_run_id"])
        assert [metric["name"] for metric in view["metrics"]] == ["total"]
        assert view["tags"] == {"from": "train"}

    def test_also_when_somebody_removed_the_record_of_its_origin(self, lab: Any) -> None:
        lab.script(self.SCRIPT)
        first = lab.run()
        lab.workspace.store.delete(f"runs/{first.document['step_run_id']}/record.json")
        assert lab.run(run_id="run-2").reuse["code"] == "hit"

    def test_but_runs_when_that_record_cannot_be_read(self, lab: Any) -> None:
        lab.script(self.SCRIPT)
        first = lab.run()
        lab.workspace.store.put(f"runs/{first.document['step_run_id']}/record.json", b"{")
        second = lab.run(run_id="run-2")
        assert second.reuse["code"] == "index_down"
        assert lab.run(run_id="run-3").reuse["origin"]["run_id"] == "run-2"


class TestRunsAgain:
    """Each component of the key alone, with the reason it gives."""

    @pytest.fixture
    def step(self, lab: Any) -> dict[str, Any]:
        lab.script("import helper")
        lab.script("x = 1", "helper.py")
        lab.script("notes", "../outside.txt")
        return {
            "arguments": ["--alpha", PipelineParameter("alpha", 0.5)],
            "params": {"lr": "0.1"},
            "hash_paths": ("../outside.txt",),
            "outputs": [PipelineData("out")],
        }

    def explained(self, lab: Any, step: dict[str, Any], **changes: Any) -> tuple[str, str]:
        reuse = lab.run(**{**step, "run_id": "run-2", **changes}).reuse
        return reuse["code"], reuse["message"]

    @pytest.fixture(autouse=True)
    def first_run(self, lab: Any, step: dict[str, Any], in_process: Any) -> None:
        in_process(lambda *_: None)
        lab.run(**step)

    def test_not_when_nothing_changed(self, lab: Any, step: dict[str, Any]) -> None:
        assert self.explained(lab, step)[0] == "hit"

    def test_when_a_source_file_changed(self, lab: Any, step: dict[str, Any]) -> None:
        lab.script("x = 2", "helper.py")
        assert self.explained(lab, step) == (
            "code",
            "ran again because code/helper.py changed (last used in run run-1)",
        )

    def test_when_a_source_file_came_or_went(self, lab: Any, step: dict[str, Any]) -> None:
        lab.script("", "new.py")
        assert "code/new.py is new" in self.explained(lab, step)[1]
        (lab.code / "new.py").unlink()
        (lab.code / "helper.py").rename(lab.code / "renamed.py")
        lab.script("")
        code, message = self.explained(lab, step, run_id="run-3")
        assert code == "code"
        assert "code/main.py changed; code/renamed.py is new; code/helper.py, code/new.py are gone" in message

    def test_when_a_file_of_hash_paths_changed(self, lab: Any, step: dict[str, Any]) -> None:
        lab.script("other notes", "../outside.txt")
        code, message = self.explained(lab, step)
        assert code == "code"
        assert "outside.txt changed" in message

    def test_when_a_parameter_changed(self, lab: Any, step: dict[str, Any]) -> None:
        assert self.explained(lab, step, parameters={"alpha": 0.7}) == (
            "parameter",
            "ran again because parameter alpha: 0.5 → 0.7 (last used in run run-1)",
        )

    def test_when_a_step_parameter_changed(self, lab: Any, step: dict[str, Any]) -> None:
        assert self.explained(lab, step, params={"lr": "0.2"}) == (
            "parameter",
            "ran again because params lr: '0.1' → '0.2' (last used in run run-1)",
        )

    def test_when_the_arguments_changed(self, lab: Any, step: dict[str, Any]) -> None:
        arguments = [*step["arguments"], "--fast"]
        assert self.explained(lab, step, arguments=arguments) == (
            "interface",
            "ran again because argument 3 is new: '--fast' (last used in run run-1)",
        )

    @pytest.mark.parametrize(
        ("outputs", "what"),
        [
            ([PipelineData("other")], "output other is new; output out is gone"),
            (
                [PipelineData("out", datastore="workspacefilestore")],
                "output out: datastore: workspaceblobstore → workspacefilestore",
            ),
            (
                [PipelineData("out", output_mode="upload", output_path_on_compute="elsewhere")],
                "output out: source: (none) → elsewhere",
            ),
            ([], "output out is gone"),
        ],
    )
    def test_when_the_declared_outputs_changed(
        self, lab: Any, step: dict[str, Any], outputs: list[Any], what: str
    ) -> None:
        assert self.explained(lab, step, outputs=outputs) == (
            "interface",
            f"ran again because {what} (last used in run run-1)",
        )

    def test_when_the_default_datastore_of_its_outputs_changed(self, lab: Any, step: dict[str, Any]) -> None:
        assert self.explained(lab, step, default_datastore="workspacefilestore")[0] == "interface"
        assert self.explained(lab, step, run_id="run-3", default_datastore="workspaceblobstore")[0] == "hit"

    def test_when_the_environment_changed(self, lab: Any, step: dict[str, Any]) -> None:
        environment = Environment.from_interpreter("here", sys.executable)
        environment.environment_variables["MODE"] = "fast"
        code, message = self.explained(lab, step, environment=environment)
        assert code == "environment"
        assert "environment: variable MODE is new" in message

    def test_when_the_users_version_changed(self, lab: Any, step: dict[str, Any]) -> None:
        assert self.explained(lab, step, version="2")[0] == "interface"

    def test_when_this_run_asks_for_it_and_its_result_is_the_one_that_counts(
        self, lab: Any, step: dict[str, Any]
    ) -> None:
        assert self.explained(lab, step, regenerate=True) == (
            "bypassed_by_run",
            "ran again because this run asked for regenerate_outputs",
        )
        assert lab.run(**{**step, "run_id": "run-3"}).reuse["origin"]["run_id"] == "run-2"

    def test_every_time_when_the_step_is_not_to_be_reused(self, lab: Any, step: dict[str, Any]) -> None:
        assert self.explained(lab, step, allow_reuse=False)[0] == "bypassed_by_step"
        assert lab.run(**{**step, "run_id": "run-3"}).reuse["origin"]["run_id"] == "run-1"

    def test_when_reuse_is_off(self, lab: Any, step: dict[str, Any]) -> None:
        lab.with_services(read_results=False)
        assert self.explained(lab, step)[1] == "ran because [azureml] reuse is off"


class TestDoesNotRunAgain:
    def test_for_another_run_try_name_or_label(self, lab: Any) -> None:
        lab.script("")
        lab.run("train")
        for number, changes in enumerate([{}, {"try_number": 3}, {"url": "https://airflow/run"}]):
            assert lab.run("train", **{"run_id": f"again-{number}", **changes}).reuse["code"] == "hit"
        assert lab.run("trains_the_same", run_id="run-3").reuse["code"] == "hit"

    def test_for_what_an_output_is_registered_as(self, lab: Any) -> None:
        from airflow_azureml import OutputFileDatasetConfig

        lab.script("")
        lab.run(outputs=[OutputFileDatasetConfig("out")])
        registered = OutputFileDatasetConfig("out").register_on_complete("wine")
        assert lab.run(outputs=[registered], run_id="run-2").reuse["code"] == "hit"
        assert lab.workspace.datasets.get_by_name("wine").version == 1

    def test_for_times_permissions_and_place_of_the_source(self, lab: Any) -> None:
        lab.script("")
        lab.run()
        (lab.code / "main.py").chmod(0o600)
        lab.code = lab.code.rename(lab.root / "moved")
        assert lab.run(run_id="run-2").reuse["code"] == "hit"

    def test_for_a_parameter_that_it_does_not_use(self, lab: Any) -> None:
        lab.script("")
        lab.run(run_parameters={"other": 1})
        assert lab.run(run_id="run-2", run_parameters={"other": 2}).reuse["code"] == "hit"


class TestTheIndexIsAHelpAndNoCondition:
    def test_a_store_that_fails_while_looking_means_the_step_runs(
        self, lab: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lab.script("")
        lab.run()

        def down(*_: object, **__: object) -> None:
            raise StoreError("the store is down")

        index = {
            EntryStore: ["look", "remember"],
            LeaseStore: ["read", "take"],
            ActionStore: ["save", "recent"],
        }
        with monkeypatch.context() as patched:
            for part, names in index.items():
                for name in names:
                    patched.setattr(part, name, down)
            outcome = lab.run(run_id="run-2")
        assert outcome.reuse["code"] == "index_down"
        assert outcome.document["status"] == "Finished"
        assert lab.run(run_id="run-3").reuse["code"] == "hit"

    @pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b"\xff", b'{"generation": "x"}', b"null"])
    @pytest.mark.parametrize("prefix", ["entries/", "actions/", "actions/recent/", "manifests/"])
    def test_damaged_objects_mean_the_step_runs_and_heals_them(
        self, lab: Any, prefix: str, damage: bytes
    ) -> None:
        lab.script("")
        out = PipelineData("out")
        lab.run(outputs=[out])
        for info in list(lab.workspace.store.list(prefix)):
            lab.workspace.store.put(info.key, damage)
        again = lab.run(outputs=[out], run_id="run-2")
        assert again.document["status"] == "Finished"
        assert lab.run(outputs=[out], run_id="run-3").reuse["code"] == "hit"


class TestAResultThatIsNoLongerThere:
    @pytest.fixture
    def output(self, lab: Any) -> Path:
        lab.script(WRITE)
        self.out = PipelineData("out")
        return lab.path_of(lab.run(arguments=[self.out], outputs=[self.out]), "out")

    def again(self, lab: Any) -> tuple[str, str]:
        outcome = lab.run(arguments=[self.out], outputs=[self.out], run_id="run-2")
        assert lab.run(arguments=[self.out], outputs=[self.out], run_id="run-3").reuse["code"] == "hit"
        return outcome.reuse["code"], outcome.reuse["message"]

    def test_gone(self, lab: Any, output: Path) -> None:
        (output / "a.csv").unlink()
        output.rmdir()
        assert self.again(lab) == (
            "output_gone",
            "ran again because output out is gone (written in run run-1)",
        )

    def test_gone_with_its_folder(self, lab: Any, output: Path) -> None:
        (output / "a.csv").unlink()
        output.rmdir()
        output.parent.rmdir()
        assert self.again(lab)[0] == "output_gone"

    def test_other_bytes_of_the_same_size_and_time(self, lab: Any, output: Path) -> None:
        import os

        file = output / "a.csv"
        times = file.stat()
        file.chmod(0o644)
        file.write_text("2")
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert self.again(lab) == (
            "output_corrupt",
            "ran again because output out is not what was written (written in run run-1)",
        )

    def test_another_file_beside(self, lab: Any, output: Path) -> None:
        (output / "b.csv").write_text("")
        assert self.again(lab)[0] == "output_corrupt"

    def test_a_link_out_of_the_datastore(self, lab: Any, output: Path) -> None:
        (output / "b.csv").symlink_to("/etc/hostname")
        assert self.again(lab)[0] == "output_corrupt"

    def test_on_a_datastore_that_was_unregistered(self, lab: Any) -> None:
        from airflow_azureml.workspace.datastores import DatastoreRecord

        lab.script("")
        record = DatastoreRecord("lake", "Local", root=str(lab.root / "lake"))
        lab.workspace.datastores.register(record)
        out = PipelineData("out", datastore="lake")
        lab.run(outputs=[out])
        lab.workspace.datastores.unregister("lake")
        with pytest.raises(Exception, match="no datastore 'lake'"):
            # Not the gate fails but the step that has nowhere to write.
            lab.run(outputs=[out], run_id="run-2")
        lab.workspace.datastores.register(record)
        assert lab.run(outputs=[out], run_id="run-3").reuse["code"] == "hit"


def test_an_earlier_failure_is_no_result(lab: Any) -> None:
    lab.script("raise SystemExit(3)")
    with pytest.raises(StepFailed):
        lab.run()
    with pytest.raises(StepFailed):
        lab.run(run_id="run-2")
    assert not list(lab.workspace.store.list("entries/"))


def test_the_decision_is_in_the_log_and_in_the_record(lab: Any, caplog: pytest.LogCaptureFixture) -> None:
    lab.script("")
    with caplog.at_level(logging.INFO):
        outcome = lab.run()
    assert "reuse: ran for the first time" in caplog.messages
    assert lab.record(outcome)["reuse"] == outcome.reuse


def test_two_steps_of_one_definition_share_a_result_within_a_run(lab: Any) -> None:
    lab.script("")
    lab.run("one")
    assert lab.run("two").reuse["code"] == "hit"
