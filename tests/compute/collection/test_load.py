"""Garbage collection beside running pipelines: nobody is ever given a result whose data is gone, or another one's data."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml.compute.collection import CollectionLimits, collect, plan_collection
from airflow_azureml.compute.commit import Commit, origin_of
from airflow_azureml.compute.identity import StepIdentity
from airflow_azureml.compute.output_checks import check_output
from airflow_azureml.compute.outputs import Span, StoredOutput, save_manifest
from airflow_azureml.compute.records import finish, new_pipeline_record, new_step_record
from airflow_azureml.model.status import RunStatus
from airflow_azureml.reuse.entries import Entry, EntryStore, HeadState
from airflow_azureml.reuse.policy import VerifyLevel
from airflow_azureml.runtime.exceptions import ObjectNotFound
from airflow_azureml.workspace.handle import WorkspaceHandle
from airflow_azureml.workspace.hashing import hash_tree
from airflow_azureml.workspace.local_store import LocalStore
from airflow_azureml.workspace.stat_cache import StatCache

OPERATIONS = 10_000
WORKERS = 8
KEYS = [f"{number:02x}" * 32 for number in range(120)]
STEPS_PER_RUN = 8
BLOB = "workspaceblobstore"

NOTHING_STAYS = CollectionLimits(retention_s=0, grace_s=0, quota_bytes=36 * 20)
"""A sixth of the results may stay, and a run is kept only while it goes on."""


class Load:
    """Pipeline runs whose steps take results or make them, as ``StepExecution`` does, with data of their own each."""

    def __init__(self, root: Path) -> None:
        self.workspace = WorkspaceHandle(str(root), LocalStore(root))
        self.datastore = self.workspace.datastores.root(BLOB)
        self.entries = EntryStore(self.workspace.store)
        self.hashes = StatCache(None)
        self.counts: Counter[str] = Counter()
        self.errors: list[str] = []
        self.is_over = threading.Event()
        self._lock = threading.Lock()

    def work(self, worker: int) -> None:
        draw = random.Random(worker)
        number = 0
        while not self.is_over.is_set():
            number += 1
            self.run(f"{worker}-{number}", draw)

    def run(self, run_id: str, draw: random.Random) -> None:
        """Run a pipeline: what its steps have taken or made has to be there until its end."""
        identities = [
            StepIdentity("load", "dag", run_id, f"step{i}", -1, 1, f"step{i}", "PythonScriptStep", "dag")
            for i in range(STEPS_PER_RUN)
        ]
        runs = self.workspace.runs
        runs.create_pipeline_run(new_pipeline_record(identities[0], {}, None))
        held: list[tuple[str, Path]] = []
        for identity in identities:
            held.append(self.step(identity, draw.choice(KEYS), draw))
            for owner, path in draw.choices(held, k=8):
                self.read(owner, path)
        for owner, path in held:
            self.read(owner, path)
        runs.update(identities[0].pipeline_run_id, _ended)

    def step(self, identity: StepIdentity, key: str, draw: random.Random) -> tuple[str, Path]:
        """Take a result or make one; return whose it is and where it lies."""
        record = new_step_record(identity)
        record["reuse"] = {"key": key}
        self.workspace.runs.write_step(record)
        commit = Commit(self.workspace, record, [])
        entry = self.entries.find(key)
        if entry is not None and self._is_intact(entry):
            self._dawdle(draw)
            commit.refer(entry)
            self._dawdle(draw)
            if self.entries.is_current(entry):
                return self._take(commit, entry)
            commit.take_back()
            self._count("given up")
        return self._make(record, key, entry)

    def _dawdle(self, draw: random.Random) -> None:
        """Let whole collections go by now and then."""
        if draw.random() < 0.03:
            enough = self.counts["collections"] + 2
            while self.counts["collections"] < enough and not self.is_over.wait(0.02):
                pass

    def _is_intact(self, entry: Entry) -> bool:
        return all(
            check_output(self.workspace, document, VerifyLevel.SIZE, self.hashes) is None
            for document in entry.outputs.values()
        )

    def _take(self, commit: Commit, entry: Entry) -> tuple[str, Path]:
        try:
            commit.reuse(entry, self.workspace.runs.get(entry.step_run_id))
        except ObjectNotFound:
            self.errors.append(f"the origin of {entry.key[:4]} is gone")
        assert origin_of(self.workspace, entry)
        self._count("taken")
        path = self.datastore / entry.outputs["out"]["path"] / "data.txt"
        self.read(entry.step_run_id, path)
        return entry.step_run_id, path

    def _make(self, record: dict[str, Any], key: str, replaced: Entry | None) -> tuple[str, Path]:
        step_id = record["id"]
        group = f"azureml/{step_id}"
        folder = self.datastore / group
        (folder / "out").mkdir(parents=True)
        path = folder / "out" / "data.txt"
        path.write_text(step_id)
        tree = hash_tree(folder)
        span = Span("out")
        save_manifest(self.workspace, span.digest(tree), span.own(tree))
        output = StoredOutput(
            "out", "pipeline_data", BLOB, f"{group}/out", "directory", span.digest(tree), 36, 1, group, True
        )
        record["outputs"] = {"out": output.to_document()}
        finish(record, RunStatus.FINISHED)
        self.workspace.runs.write_step(record)
        self.workspace.runs.commit(step_id)
        commit = Commit(self.workspace, record, [])
        commit.remember(self.entries, key, replaced.generation if replaced else None, writer="load", fence=0)
        self._count("made")
        return step_id, path

    def read(self, owner: str, path: Path) -> None:
        """Read data that a run which is going on has."""
        try:
            found = path.read_text()
        except OSError as error:
            found = str(error)
        if found != owner:
            self.errors.append(f"{path} of {owner}: {found}")
        self._count("read")

    def collect(self, number: int) -> None:
        while not self.is_over.wait(0.02):
            plan = plan_collection(self.workspace, NOTHING_STAYS)
            report = collect(self.workspace, plan, by=f"collector {number}")
            for item in report.removed:
                self._count(f"removed {item.kind.value}")
            self._count("collections")
            self.counts["revived"] += len(report.revived)
            self.errors += [f"{kept.item.kind}: {kept.why}" for kept in report.failed]

    def disown(self) -> None:
        draw = random.Random(0)
        while not self.is_over.wait(0.05):
            entry = self.entries.find(draw.choice(KEYS))
            if entry is not None:
                self.entries.set_state(entry.key, HeadState.INVALIDATED, generation=entry.generation)

    def _count(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1
            if self.counts["taken"] + self.counts["made"] + self.counts["read"] >= OPERATIONS:
                self.is_over.set()


def _ended(record: dict[str, Any]) -> dict[str, Any]:
    finish(record, RunStatus.FINISHED)
    return record


def test_no_dangling_result_in_ten_thousand_operations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A power cut is no part of this.
    monkeypatch.setattr(os, "fsync", lambda _: None)
    load = Load(tmp_path / "workspace")
    raised: list[BaseException] = []

    def guarded(task: Any, *arguments: Any) -> None:
        try:
            task(*arguments)
        except BaseException as error:
            raised.append(error)
            load.is_over.set()

    threads = [threading.Thread(target=guarded, args=(load.work, number)) for number in range(WORKERS)]
    threads += [threading.Thread(target=guarded, args=(load.collect, number)) for number in range(2)]
    threads.append(threading.Thread(target=guarded, args=(load.disown,)))
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"{time.monotonic() - began:.1f} s: {dict(load.counts)}")
    assert raised == []
    assert load.errors == []
    # It was no idle run: results were taken, made, removed, and collided over.
    assert load.counts["taken"] > 150
    assert load.counts["made"] > 150
    assert load.counts["removed output"] > 50
    assert load.counts["removed entry"] > 25
    assert load.counts["given up"] > 0
    # And when all is over, what is left goes.
    for _ in range(3):
        collect(load.workspace, plan_collection(load.workspace, NOTHING_STAYS), by="me")
    for folder in (load.datastore / "azureml").iterdir():
        assert load.workspace.runs.get(folder.name)
