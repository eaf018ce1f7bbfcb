"""Garbage collection: what goes, and what stays because something refers to it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml.compute.collection import CollectionLimits, Kind, collect, plan_collection
from airflow_azureml.model.canonical import canonical_json
from airflow_azureml.reuse.entries import HeadState
from airflow_azureml.reuse.leases import Holder, LeaseStore
from airflow_azureml.runtime.exceptions import StoreError
from airflow_azureml.workspace.pins import Pin, PinRegistry
from airflow_azureml.workspace.sources import scan_source

BLOB = "workspaceblobstore"


def definition(path: str) -> dict[str, Any]:
    source = {"format": "files", "paths": [{"datastore": BLOB, "path": path}]}
    return {"schema": 1, "kind": "file", "source": source, "operations": []}


class TestAnOldRun:
    def test_goes_with_its_outputs_artifacts_and_logs(self, stock: Any, names: Any) -> None:
        stock.step("old", content="data")
        report = stock.collect()
        assert not stock.has_data("old")
        assert stock.keys("runs/") == stock.keys("experiments/") == stock.keys("manifests/") == []
        assert report.size_bytes >= len("data") + len("model") + len("log")
        assert not report.kept
        assert not report.failed

    def test_is_only_named_by_a_plan(self, stock: Any, names: Any, kinds: Any) -> None:
        stock.step("old", content="data")
        before = stock.everything()
        plan = stock.plan()
        assert stock.everything() == before
        found = kinds(plan)
        assert found[Kind.RUN] == [names.id("old")]
        assert found[Kind.PIPELINE_RUN] == [names.id("run of old")]
        assert found[Kind.OUTPUT] == [str(stock.datastore.resolve() / "azureml" / names.id("old"))]
        assert plan.to_document()["kinds"]["output"] == {"count": 1, "size_bytes": 4}
        assert all(item["reason"] for item in plan.to_document()["items"])

    def test_stays_inside_the_retention(self, stock: Any) -> None:
        stock.step("young", content="data", ended=80)
        assert not stock.plan(retention_s=30 * 86_400.0).items
        assert stock.plan(retention_s=10 * 86_400.0).items

    def test_stays_within_the_grace_however_short_the_retention(self, stock: Any) -> None:
        stock.step("just ended", content="data", ended=99.5)
        assert not stock.plan(retention_s=0).items

    def test_stays_while_its_pipeline_run_goes_on(self, stock: Any) -> None:
        stock.pipeline("long", ended=None)
        stock.step("first of many", pipeline="long", content="data")
        assert not stock.plan().items

    def test_of_a_pipeline_run_of_which_a_step_stays_goes_alone(self, stock: Any, names: Any) -> None:
        stock.pipeline("p")
        stock.result("kept", pipeline="p")
        stock.step("not remembered", pipeline="p", content="other")
        stock.collect()
        assert stock.has_record("kept")
        assert not stock.has_record("not remembered")
        assert stock.has_record("p")
        assert [record["name"] for record in stock.workspace.runs.children(names.id("p"))] == ["kept"]
        assert stock.workspace.runs.parent_view(names.id("p")) == {
            "metrics": [],
            "tags": {},
            "properties": {},
        }

    def test_that_is_cleared_while_it_is_collected_stays(self, stock: Any, names: Any) -> None:
        stock.step("old", content="data")
        plan = stock.plan()

        def reopen(item: Any) -> None:
            stock.workspace.runs.update(
                names.id("run of old"), lambda record: {**record, "status": "Running", "end": None}
            )

        report = collect(stock.workspace, plan, by="me", clock=stock.clock, on_progress=reopen)
        assert stock.has_data("old")
        assert stock.has_record("old")
        assert stock.has_record("run of old")
        assert {kept.item.kind for kept in report.kept} >= {Kind.OUTPUT, Kind.RUN}

    def test_takes_the_files_of_runs_below_it_along(self, stock: Any) -> None:
        key = stock.workspace.runs.artifact_key("child", "a.txt")
        stock.store.put(key, b"a")
        stock.step("old", children=[{"id": "child", "artifacts": [{"name": "a.txt", "key": key}]}])
        kept = stock.workspace.runs.artifact_key("other child", "a.txt")
        stock.store.put(kept, b"a")
        stock.result("live", children=[{"id": "other child", "artifacts": [{"name": "a.txt", "key": kept}]}])
        stock.collect()
        assert not stock.store.exists(key)
        assert stock.store.exists(kept)

    def test_never_takes_a_destination_of_the_users(self, stock: Any) -> None:
        stock.step("old", content="data", destination="shared/wine")
        stock.collect()
        assert not stock.has_record("old")
        assert (stock.datastore / "shared/wine/data.txt").read_text() == "data"

    def test_never_takes_a_folder_that_is_not_named_for_it(self, stock: Any, names: Any) -> None:
        precious = stock.datastore / "precious"
        precious.mkdir()
        lie = {**stock.output(names.id("liar"), "x"), "group": "precious", "path": "precious"}
        stock.step("liar", outputs={"out": lie})
        stock.collect()
        assert precious.is_dir()


class TestARememberedResult:
    def test_keeps_its_data_and_the_run_that_made_it(self, stock: Any) -> None:
        key = stock.result("live")
        before = stock.everything()
        assert not stock.collect().removed
        assert stock.everything() == before
        assert stock.entries.find(key) is not None

    def test_that_no_longer_counts_goes_after_the_grace(self, stock: Any) -> None:
        for state in (HeadState.INVALIDATED, HeadState.QUARANTINED):
            stock.result(state.value)
            stock.forget(state.value, state)
        stock.day = 0.5
        assert not stock.plan(retention_s=0).items
        stock.day = 100
        stock.collect()
        assert stock.keys("entries/") == []
        assert not stock.has_data("invalidated")
        # The lists of files and the actions of results that are gone go with them.
        assert stock.keys("manifests/") == stock.keys("actions/") == []

    def test_of_a_run_inside_the_retention_leaves_the_run_its_data(self, stock: Any, names: Any) -> None:
        stock.result("young", ended=90)
        stock.forget("young")
        stock.collect()
        assert stock.keys("entries/") == []
        assert stock.has_data("young")
        assert stock.has_record("young")

    def test_whose_place_another_took_goes_and_leaves_that_one(self, stock: Any, names: Any) -> None:
        stock.result("first")
        second = stock.step("second", content="other")
        entry = stock.entries.find(names.key("first"))
        record = stock.workspace.runs.get(second)
        stock.entries.remember(replace(entry, step_run_id=second, outputs=record["outputs"]), replaces=1)
        stock.collect()
        assert stock.entries.generations(names.key("first")) == [2]
        assert not stock.has_data("first")
        assert stock.has_data("second")
        stock.check_consistent()

    def test_that_was_taken_by_a_young_run_leaves_it_data_and_origin_when_it_no_longer_counts(
        self, stock: Any
    ) -> None:
        stock.result("origin")
        stock.reuse("young", "origin", ended=90)
        stock.forget("origin")
        stock.collect()
        assert stock.keys("entries/") == []
        assert stock.has_data("origin")
        assert stock.has_record("origin")
        assert stock.store.exists(stock.workspace.runs.get(_id(stock, "young"))["artifacts"][0]["key"])

    def test_that_is_being_computed_anew_stays_as_it_is(self, stock: Any, names: Any) -> None:
        stock.result("busy")
        stock.forget("busy")
        lease = LeaseStore(stock.store, 200 * 86_400.0).take(names.key("busy"), Holder("somebody"))
        assert lease is not None
        assert not stock.collect().removed
        lease.release()
        assert stock.collect().removed

    def test_of_a_later_version_of_the_package_keeps_its_data(self, stock: Any, names: Any) -> None:
        key = stock.result("later")
        path = f"entries/{key[:2]}/{key}/000001.json"
        document = json.loads(stock.store.get(path).data)
        stock.store.put(path, canonical_json({**document, "schema": 9, "colour": "blue"}))
        assert stock.entries.find(key) is None
        stock.collect()
        assert stock.has_data("later")
        assert stock.has_record("later")


def _id(stock: Any, name: str) -> str:
    return next(record["id"] for record in stock.workspace.runs.walk() if record["name"] == name)


class TestADataset:
    @pytest.mark.parametrize(
        "path", ["azureml/{id}/out", "azureml/{id}/out/data.txt", "azureml/*/out/*.txt", ""]
    )
    def test_keeps_the_data_it_names_and_whose_it_is(self, stock: Any, names: Any, path: str) -> None:
        stock.step("old", content="data")
        stock.workspace.datasets.register("wine", definition(path.format(id=names.id("old"))))
        stock.collect()
        assert stock.has_data("old")
        assert stock.has_record("old")

    def test_by_a_path_of_this_machine_keeps_it_too(self, stock: Any, names: Any) -> None:
        stock.step("old", content="data")
        place = stock.datastore / "azureml" / names.id("old") / "out"
        source = {"format": "files", "paths": [{"local": str(place)}]}
        document = {"schema": 1, "kind": "file", "source": source, "operations": []}
        stock.workspace.datasets.register("wine", document)
        stock.collect()
        assert stock.has_data("old")

    def test_keeps_it_no_longer_when_it_is_unregistered(self, stock: Any, names: Any) -> None:
        stock.step("old", content="data")
        stock.workspace.datasets.register("wine", definition(f"azureml/{names.id('old')}/out"))
        stock.workspace.datasets.unregister("wine")
        stock.collect()
        assert not stock.has_data("old")

    def test_stays_visible_however_old_the_run_that_registered_it(self, stock: Any, names: Any) -> None:
        step_id = stock.step("old", content="data")
        stock.workspace.datasets.register("else", definition("raw/wine"), pending_run=step_id)
        stock.workspace.models.register("model", [], run_id=step_id, pending_run=step_id)
        stock.collect()
        assert stock.workspace.datasets.get_by_name("else").version == 1
        assert stock.workspace.models.get("model").version == 1
        assert stock.has_record("old")
        assert not stock.has_data("old")

    def test_that_a_failed_try_registered_goes_and_its_number_never_comes_again(self, stock: Any) -> None:
        failed = stock.step("failed", committed=False, ended=90)
        datasets = stock.workspace.datasets
        datasets.register("wine", definition("a"), pending_run=failed)
        assert not stock.collect().removed
        assert datasets.register("wine", definition("b"), create_new_version=True).version == 2
        stock.collect()
        assert stock.keys("registry/datasets/named/") == ["registry/datasets/named/wine/00000002.json"]
        assert datasets.register("wine", definition("c"), create_new_version=True).version == 3


class TestAPin:
    def test_keeps_runs_results_snapshots_and_data(self, stock: Any, names: Any, tmp_path: Path) -> None:
        stock.step("by run", content="1")
        stock.step("by pipeline run", content="2")
        stock.result("by key", "3")
        stock.step("by path", content="4")
        (tmp_path / "main.py").write_text("")
        tree = scan_source(tmp_path)
        stock.workspace.snapshots.upload(tree)
        stock.workspace.snapshots.upload(scan_source(tmp_path, hash_paths=["main.py"]))
        pin = Pin(
            "published",
            runs=(names.id("by run"), names.id("run of by pipeline run")),
            keys=(names.key("by key"),),
            snapshots=(tree.digest,),
            paths=((BLOB, f"azureml/{names.id('by path')}/out"),),
        )
        PinRegistry(stock.store).put(pin)
        assert list(PinRegistry(stock.store).all()) == [pin]
        stock.collect(quota_bytes=0)
        assert all(
            stock.has_data(name) and stock.has_record(name)
            for name in ("by run", "by pipeline run", "by key", "by path")
        )
        assert [key[-69:-5] for key in stock.keys("snapshots/trees/")] == [tree.digest]
        PinRegistry(stock.store).remove("published")
        stock.collect(quota_bytes=0)
        assert stock.keys("runs/") == stock.keys("snapshots/trees/") == []

    def test_that_cannot_be_read_stops_everything(self, stock: Any) -> None:
        stock.step("old", content="data")
        stock.store.put("registry/pins/x.json", b"[]")
        with pytest.raises(StoreError, match="pin"):
            stock.plan()


class TestWhatFailedTriesLeft:
    def test_goes_from_the_datastore_before_the_run_does(self, stock: Any, names: Any) -> None:
        stock.pipeline("p", ended=None)
        stock.step("try 1", pipeline="p", committed=False)
        stock.output(names.id("try 1"), "half")
        stock.step("running", pipeline="p", ended=None, start=stock.time_of(99.9))
        stock.output(names.id("running"), "on its way")
        report = stock.collect()
        assert {item.kind for item in report.removed} == {Kind.LEFTOVER, Kind.MANIFEST}
        assert not stock.has_data("try 1")
        assert stock.has_data("running")
        assert stock.has_record("try 1")

    def test_that_nobody_knows_is_named_and_stays(self, stock: Any, names: Any) -> None:
        stock.output(names.id("unknown"), "x")
        (stock.datastore / "azureml" / "people's").mkdir()
        plan = stock.plan()
        assert plan.unknown == (str(stock.datastore.resolve() / "azureml" / names.id("unknown")),)
        stock.collect(plan)
        assert stock.has_data("unknown")

    def test_files_of_runs_without_a_record_go(self, stock: Any) -> None:
        stock.store.put("runs/lost/artifacts/a", b"a")
        stock.store.put("experiments/trials/lost", b"{}")
        stock.collect()
        assert stock.keys() == []

    def test_files_of_models_that_no_version_has_are_named_and_stay(self, stock: Any) -> None:
        kept = "models/files/aa/" + "aa" * 32
        stock.store.put(kept, b"weights")
        stock.store.put("models/files/bb/" + "bb" * 32, b"weights")
        stock.workspace.models.register(
            "m", [{"path": "m", "key": kept, "size_bytes": 7, "sha256": "aa" * 32}]
        )
        plan = stock.plan()
        assert plan.unknown == ("models/files/bb/" + "bb" * 32,)
        assert not plan.items


class TestThingsKnownByContent:
    def test_go_when_nothing_refers_to_them(self, stock: Any, names: Any, tmp_path: Path) -> None:
        for name in ("used", "unused"):
            folder = tmp_path / name
            folder.mkdir()
            (folder / "main.py").write_text(name)
        used, unused = (scan_source(tmp_path / name) for name in ("used", "unused"))
        stock.workspace.snapshots.upload(used)
        stock.workspace.snapshots.upload(unused)
        stock.result("live", snapshot=used.digest)
        stock.action(names.key("recent"), code="x")
        stock.store.put("actions/recent/f.json", canonical_json({"recent": [{"key": names.key("recent")}]}))
        stock.action(names.key("nobody's"), code="x")
        stock.store.put("manifests/ab/abc.json", b"{}")
        stock.collect()
        assert stock.workspace.snapshots.exists(used.digest)
        assert not stock.workspace.snapshots.exists(unused.digest)
        assert len(stock.keys("actions/")) == 3
        assert len(stock.keys("manifests/")) == 1
        stock.workspace.snapshots.lay_out(used.digest, tmp_path / "laid out")

    def test_packs_go_a_collection_later_than_their_index(self, stock: Any, tmp_path: Path) -> None:
        code = tmp_path / "code"
        code.mkdir()
        (code / "main.py").write_text("print()")
        tree = scan_source(code)
        snapshots = stock.workspace.snapshots
        snapshots.upload(tree)
        assert {item.kind for item in stock.collect().removed} == {Kind.SNAPSHOT, Kind.PACK_INDEX}
        # An upload that looked at the indexes before may still refer to the pack; a later one does not.
        assert len(stock.keys("snapshots/packs/")) == 1
        assert snapshots.upload(tree).uploaded_files == 1
        snapshots.lay_out(tree.digest, tmp_path / "laid out")
        assert [{item.kind for item in stock.collect().removed} for _ in range(3)] == [
            {Kind.SNAPSHOT, Kind.PACK_INDEX},
            {Kind.PACK},
            set(),
        ]
        assert stock.keys("snapshots/") == []

    def test_stay_within_the_grace(self, stock: Any) -> None:
        stock.store.put("manifests/ab/abc.json", b"{}")
        stock.day = 0.5
        assert not stock.plan(retention_s=0).items


def test_leases_that_nobody_holds_go(stock: Any, names: Any) -> None:
    leases = LeaseStore(stock.store, 60.0)
    leases.take(names.key("crashed"), Holder("somebody"))
    given_back = leases.take(names.key("given back"), Holder("somebody"))
    given_back.release()
    LeaseStore(stock.store, 200 * 86_400.0).take(names.key("held"), Holder("somebody"))
    stock.collect()
    assert list(leases.keys()) == [names.key("held")]


def test_only_the_fence_of_a_key_that_nobody_finished_goes_too(stock: Any, names: Any) -> None:
    assert stock.entries.fence_off(names.key("x"), 3)
    stock.collect()
    assert stock.keys() == []


def test_what_this_machine_cached_goes_when_it_is_not_used(stock: Any, tmp_path: Path) -> None:
    old, used, runtime = (
        tmp_path / name for name in ("snapshots/packs/old", "converted/x/part.csv", "runtime/run.py")
    )
    for path in (old, used, runtime):
        path.parent.mkdir(parents=True)
        path.write_text("x")
    os.utime(old, (0, 0))
    os.utime(runtime, (0, 0))
    stock.day = 0
    plan = plan_collection(stock.workspace, CollectionLimits(), cache=tmp_path, clock=stock.clock)
    assert [(item.kind, item.name, item.size_bytes) for item in plan.items] == [(Kind.CACHE, "1 files", 1)]
    stock.collect(plan)
    assert not old.exists()
    assert used.exists()
    assert runtime.exists()


def test_a_store_that_cannot_be_read_stops_a_collection_before_anything_goes(
    stock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock.step("old", content="data")
    plan = stock.plan()
    real = stock.store.get

    def down(key: str) -> Any:
        if key.startswith("runs/"):
            raise StoreError("down")
        return real(key)

    with monkeypatch.context() as patched:
        patched.setattr(stock.store, "get", down)
        with pytest.raises(StoreError, match="down"):
            stock.collect(plan)
    assert stock.has_data("old")


def test_what_cannot_be_removed_is_reported_and_tried_again(
    stock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock.step("old", content="data")
    real: Callable[..., None] = stock.store.delete

    def refuse(key: str, **options: Any) -> None:
        if "artifacts" in key:
            raise StoreError("not now")
        real(key, **options)

    with monkeypatch.context() as patched:
        patched.setattr(stock.store, "delete", refuse)
        report = stock.collect()
    assert [(kept.item.kind, kept.why) for kept in report.failed] == [(Kind.RUN, "not now")]
    assert stock.has_record("old")
    stock.collect()
    assert stock.keys() == []


@pytest.mark.parametrize("name", ["retention_s", "grace_s", "quota_bytes", "cache_age_s"])
def test_limits_are_no_less_than_nothing(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        CollectionLimits(**{name: -1})
