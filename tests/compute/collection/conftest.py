"""A workspace with runs, results and data in it, made without running anything."""

from __future__ import annotations

import hashlib
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_azureml.compute.collection import (
    CollectionLimits,
    CollectionPlan,
    CollectionReport,
    Kind,
    collect,
    plan_collection,
)
from airflow_azureml.compute.outputs import Span, StoredOutput, save_manifest
from airflow_azureml.model.canonical import canonical_json
from airflow_azureml.reuse.entries import Entry, EntryStore, HeadState
from airflow_azureml.workspace.handle import WorkspaceHandle
from airflow_azureml.workspace.hashing import hash_tree
from airflow_azureml.workspace.memory_store import MemoryStore
from airflow_azureml.workspace.store import ObjectStore

BLOB = "workspaceblobstore"
DAY_S = 86_400.0
TODAY = 100
"""Everything is made on day 0 unless it says otherwise; collections happen on this day."""


class Stock:
    """A workspace to fill. Times are days; what is stored is as old as the test, which is day 0."""

    def __init__(self, store: ObjectStore | None = None) -> None:
        self.store = store or MemoryStore()
        self.workspace = WorkspaceHandle("memory://stock", self.store)
        self.entries = EntryStore(self.store)
        self.datastore = self.workspace.datastores.root(BLOB)
        self.day = float(TODAY)
        self.began = time.time()

    def clock(self) -> float:
        return self.began + self.day * DAY_S

    def time_of(self, day: float) -> str:
        return datetime.fromtimestamp(self.began + day * DAY_S, UTC).isoformat()

    def pipeline(self, name: str, *, ended: float | None = 0) -> str:
        """Make a pipeline run that has ended on a day, or not yet."""
        run_id = id_of(name)
        document = {
            "schema": 1,
            "kind": "pipeline",
            "id": run_id,
            "dag_id": "dag",
            "run_id": name,
            "name": "dag",
            "experiment": "trials",
            "status": "Running" if ended is None else "Finished",
            "start": self.time_of(0),
            "end": None if ended is None else self.time_of(ended),
        }
        self.workspace.runs.create_pipeline_run(document)
        return run_id

    def step(
        self,
        name: str,
        *,
        pipeline: str | None = None,
        ended: float | None = 0,
        content: str | None = None,
        destination: str | None = None,
        committed: bool = True,
        **fields: Any,
    ) -> str:
        """Make a step run that wrote ``content`` into one output, with a log and an artifact, and its pipeline run if needed."""
        step_id = id_of(name)
        parent = id_of(pipeline) if pipeline else self.pipeline(f"run of {name}", ended=ended)
        runs = self.workspace.runs
        outputs = {} if content is None else {"out": self.output(step_id, content, destination)}
        self.store.put(runs.log_key(step_id, "log.txt"), b"log")
        self.store.put(runs.artifact_key(step_id, "outputs/model"), b"model")
        runs.write_step(
            {
                "schema": 1,
                "kind": "step",
                "id": step_id,
                "pipeline_run_id": parent,
                "dag_id": "dag",
                "run_id": pipeline or f"run of {name}",
                "name": name,
                "status": "Running" if ended is None else "Finished" if committed else "Failed",
                "start": self.time_of(0),
                "end": None if ended is None else self.time_of(ended),
                "reuse": {"key": key_of(name), "code": "new", "decision": "run"},
                "reused_from": None,
                "outputs": outputs if committed else {},
                "artifacts": [{"name": "model", "key": runs.artifact_key(step_id, "outputs/model")}],
                **fields,
            }
        )
        if committed and ended is not None:
            runs.commit(step_id)
        return step_id

    def output(self, step_id: str, content: str, destination: str | None = None) -> dict[str, Any]:
        """Write an output of a step run, and return its document."""
        group = destination or f"azureml/{step_id}"
        folder = self.datastore / group
        inside = "" if destination else "out"
        place = folder / inside
        place.mkdir(parents=True, exist_ok=True)
        (place / "data.txt").write_text(content)
        tree = hash_tree(folder, keep_empty_directories=True)
        span = Span(inside)
        save_manifest(self.workspace, span.digest(tree), span.own(tree))
        path = f"{group}/{inside}".rstrip("/")
        return StoredOutput(
            "out",
            "pipeline_data",
            BLOB,
            path,
            "directory",
            span.digest(tree),
            len(content),
            1,
            group,
            destination is None,
        ).to_document()

    def result(self, name: str, content: str = "data", *, took_s: float = 10.0, **more: Any) -> str:
        """Make a step run whose result is remembered; return its action key."""
        step_id = self.step(name, content=content, **more)
        record = self.workspace.runs.get(step_id)
        key = key_of(name)
        entry = Entry(
            key,
            step_id,
            record["run_id"],
            "dag",
            name,
            record["end"] or self.time_of(0),
            took_s,
            record["outputs"],
            size_bytes=len(content),
        )
        head = self.entries.look(key).head
        self.entries.remember(entry, replaces=head.generation if head else None)
        self.action(key, code=f"code of {name}")
        return key

    def action(self, key: str, *, code: str) -> None:
        document = {"key": key, "action": {"code": code}, "details": {}}
        self.store.put(f"actions/{key[:2]}/{key}.json", canonical_json(document))

    def forget(self, name: str, state: HeadState = HeadState.INVALIDATED) -> None:
        """Make a result count no longer."""
        head = self.entries.look(key_of(name)).head
        assert head is not None
        assert self.entries.set_state(key_of(name), state, generation=head.generation, reason="test", by="me")

    def reuse(self, name: str, origin: str, *, pipeline: str | None = None, ended: float | None = 0) -> str:
        """Make a step run that took the result of another one."""
        record = self.workspace.runs.get(id_of(origin))
        return self.step(
            name,
            pipeline=pipeline,
            ended=ended,
            reused_from=id_of(origin),
            outputs=record["outputs"],
            artifacts=record["artifacts"],
        )

    def plan(self, **limits: Any) -> CollectionPlan:
        return plan_collection(self.workspace, CollectionLimits(**limits), clock=self.clock)

    def collect(self, plan: CollectionPlan | None = None, **limits: Any) -> CollectionReport:
        return collect(
            self.workspace, plan if plan is not None else self.plan(**limits), by="me", clock=self.clock
        )

    def has_data(self, name: str) -> bool:
        return (self.datastore / "azureml" / id_of(name)).exists()

    def has_record(self, name: str) -> bool:
        return self.store.exists(f"runs/{id_of(name)}/record.json")

    def keys(self, prefix: str = "") -> list[str]:
        return [info.key for info in self.store.list(prefix)]

    def everything(self) -> Mapping[str, bytes]:
        """All that is there, on the datastore too."""
        objects = {info.key: self.store.get(info.key).data for info in self.store.list("")}
        files = {
            f"on the datastore: {path.relative_to(self.datastore)}": path.read_bytes()
            for path in self.datastore.rglob("*")
            if path.is_file()
        }
        return {**objects, **files}

    def check_consistent(self) -> None:
        """Check that no result lacks its data, no record its files, and that somebody knows every folder of a run."""
        for key in list(self.entries.keys()):
            entry = self.entries.look(key).entry
            if entry is not None:
                for document in entry.outputs.values():
                    assert (self.datastore / document["path"] / "data.txt").is_file(), "a result without data"
                assert self.store.exists(f"runs/{entry.step_run_id}/record.json"), "a result without origin"
        for folder in (self.datastore / "azureml").glob("*"):
            assert self.store.exists(f"runs/{folder.name}/record.json"), "data that nobody knows"
        for record in self.workspace.runs.walk():
            # A marker without a record would be taken for a step that counts and cannot be shown.
            for info in self.store.list(f"runs/{record['id']}/commits/"):
                step_id = info.key.rpartition("/")[2]
                if self.workspace.runs.is_committed(step_id):
                    assert self.workspace.runs.get(step_id)


def id_of(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def key_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


@pytest.fixture
def stock() -> Iterator[Stock]:
    made = Stock()
    yield made
    shutil.rmtree(made.datastore, ignore_errors=True)


@pytest.fixture
def names() -> Any:
    """What ids and keys are made of names by."""
    return type("Names", (), {"id": staticmethod(id_of), "key": staticmethod(key_of)})


@pytest.fixture
def kinds() -> Any:
    """Return kind to ids of the items of a plan."""

    def by_kind(plan: CollectionPlan) -> dict[Kind, list[str]]:
        found: dict[Kind, list[str]] = {}
        for item in plan.items:
            found.setdefault(item.kind, []).append(item.id)
        return found

    return by_kind
