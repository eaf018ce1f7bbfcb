"""Garbage on datastores that are no folders of this machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml import OutputFileDatasetConfig, PipelineData
from airflow_azureml.compute.collection import CollectionReport, Kind, collect, plan_collection
from airflow_azureml.compute.listings import ListedFile
from airflow_azureml.compute.output_checks import check_output
from airflow_azureml.compute.outputs import output_of_files
from airflow_azureml.compute.records import finish
from airflow_azureml.model.status import RunStatus
from airflow_azureml.reuse.entries import EntryStore, HeadState
from airflow_azureml.reuse.policy import VerifyLevel
from airflow_azureml.runtime.exceptions import StoreError
from airflow_azureml.workspace.pins import Pin, PinRegistry

LATER_S = 90 * 86_400.0


@pytest.fixture
def write(lab: Any, lake: Any, in_process: Any) -> Any:
    def run(output: Any = None) -> Any:
        def script(cwd: Path, env: Any, argv: list[str]) -> None:
            Path(argv[0]).mkdir(exist_ok=True)
            Path(argv[0], "a.txt").write_text("one")

        output = output or PipelineData("out")
        in_process(script)
        lab.script("")
        return lab.run(arguments=[output], outputs=[output])

    return run


def collect_later(lab: Any) -> CollectionReport:
    """Collect after the retention of everything that there is."""
    for record in list(lab.workspace.runs.walk()):
        if record["kind"] == "pipeline":
            finish(record, RunStatus.FINISHED)
            lab.workspace.runs.update(record["id"], lambda _, record=record: record)

    def clock() -> float:
        return time.time() + LATER_S

    return collect(lab.workspace, plan_collection(lab.workspace, clock=clock), by="me", clock=clock)


def forget(lab: Any) -> None:
    """Make all results count no longer, since a long time ago."""
    entries = EntryStore(lab.workspace.store)
    for key in list(entries.keys()):
        head = entries.look(key).head
        assert head is not None
        entries.set_state(key, HeadState.INVALIDATED, generation=head.generation, by="me")


def kinds(report: CollectionReport) -> set[Kind]:
    return {item.kind for item in report.removed}


class TestTheOutputsOfAResult:
    def test_stay_with_the_list_of_their_files(self, lab: Any, lake: Any, write: Any) -> None:
        document = write().document["outputs"]["out"]
        assert Kind.OUTPUT not in kinds(collect_later(lab))
        assert check_output(lab.workspace, document, VerifyLevel.DIGEST, lake.fresh_cache()) is None
        assert lake.reads() == 0

    def test_go_with_the_result(self, lab: Any, lake: Any, write: Any) -> None:
        document = write().document["outputs"]["out"]
        lake.put("azureml/others/a.txt", "others'")
        forget(lab)
        report = collect_later(lab)
        (item,) = [item for item in report.removed if item.kind is Kind.OUTPUT]
        assert item.id.endswith(f"/{document['group']}")
        assert item.size_bytes == 3
        assert not report.failed
        assert lake.content() == {"azureml/others/a.txt": "others'"}
        left = [info.key for info in lab.workspace.store.list("manifests/")]
        assert not [key for key in left if document["digest"] in key or document["listing"] in key]
        assert not list(lab.workspace.store.list("runs/"))

    def test_stay_at_a_destination_of_the_users(self, lab: Any, lake: Any, write: Any) -> None:
        write(OutputFileDatasetConfig("out", destination=("lake", "shared")))
        forget(lab)
        assert Kind.OUTPUT not in kinds(collect_later(lab))
        assert lake.content() == {"shared/a.txt": "one"}

    def test_stay_while_a_pin_names_them(self, lab: Any, lake: Any, write: Any) -> None:
        document = write().document["outputs"]["out"]
        PinRegistry(lab.workspace.store).put(Pin("mine", paths=(("lake", f"{document['path']}/a.txt"),)))
        forget(lab)
        assert Kind.OUTPUT not in kinds(collect_later(lab))
        assert lake.content() == {f"{document['path']}/a.txt": "one"}

    def test_are_tried_again_when_the_store_is_down(self, lab: Any, lake: Any, write: Any) -> None:
        write()
        forget(lab)
        for method in ("browse", "walk", "remove_folder"):
            lake.counted.fails(method, StoreError("down"))
        report = collect_later(lab)
        assert [kept.why for kept in report.failed] == ["down"]
        assert Kind.RUN not in kinds(report)
        lake.counted.works()
        assert {Kind.OUTPUT, Kind.RUN} <= kinds(collect_later(lab))
        assert lake.content() == {}


class TestLeftovers:
    def test_of_a_try_that_failed_go(self, lab: Any, lake: Any, in_process: Any) -> None:
        def script(cwd: Path, env: Any, argv: list[str]) -> None:
            raise SystemExit(1)

        in_process(script)
        lab.script("")
        out = PipelineData("out")
        with pytest.raises(Exception, match="exit"):
            lab.run(arguments=[out], outputs=[out])
        record = next(item for item in lab.workspace.runs.walk() if item["kind"] == "step")
        lake.put(f"azureml/{record['id']}/out/a.txt", "half")
        lake.put("azureml/by hand/a.txt", "kept")
        report = collect_later(lab)
        (item,) = [item for item in report.removed if item.kind is Kind.LEFTOVER]
        assert item.size_bytes == 4
        assert lake.content() == {"azureml/by hand/a.txt": "kept"}

    def test_of_a_commit_that_is_over_go(self, lab: Any, lake: Any, write: Any) -> None:
        outcome = write(OutputFileDatasetConfig("out", destination=("lake", "shared")))
        run = outcome.document["step_run_id"]
        lake.put(f".azureml-arriving/{run}/old/shared/a.txt", "older")
        report = collect_later(lab)
        assert Kind.LEFTOVER in kinds(report)
        assert lake.content() == {"shared/a.txt": "one"}


def test_the_list_of_copied_files_goes_when_no_run_names_it(lab: Any, lake: Any) -> None:
    info = lake.put("in/a.txt", "one")
    output_of_files(
        lab.workspace, lake.fresh_cache(), name="out", datastore="lake", path="in", type_="directory",
        files=[ListedFile(info.path, info.size_bytes, info.version)],
    )  # fmt: skip
    assert len(list(lab.workspace.store.list("manifests/"))) == 2
    collect_later(lab)
    assert not list(lab.workspace.store.list("manifests/"))
    assert lake.content() == {"in/a.txt": "one"}
