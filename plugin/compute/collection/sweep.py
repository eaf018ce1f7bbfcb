"""Removing what nothing refers to, beside running pipelines.

Between a step that is about to take a result and a collection that is about to remove it no clock decides. The step writes into
its record what it takes, then looks whether the result still counts. The collection retires the result, then looks for records
that name it. So one of the two sees the other: the step computes anew, or the result is brought back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from airflow_azureml.compute.collection.contents import DROPPED
from airflow_azureml.compute.collection.garbage import Garbage, find_garbage
from airflow_azureml.compute.collection.items import CollectionPlan, CollectionReport, Item, Kept, Kind
from airflow_azureml.compute.collection.machine import still_unused
from airflow_azureml.compute.collection.roots import find_roots, is_kept
from airflow_azureml.compute.collection.runs import was_given_up
from airflow_azureml.compute.collection.survey import RunFolder, read_document, survey
from airflow_azureml.compute.files import remove_tree
from airflow_azureml.model.canonical import canonical_json
from airflow_azureml.reuse.entries import EntryStore, HeadState
from airflow_azureml.runtime.exceptions import AzureMLException, ConditionFailed, UserErrorException
from airflow_azureml.workspace.handle import WorkspaceHandle
from airflow_azureml.workspace.names import encode_name

LOOK_AGAIN_S = 30.0
"""How old the knowledge of what is referred to may get while a long collection goes on."""

_OF_RUNS = frozenset({Kind.GENERATION, Kind.OUTPUT, Kind.LEFTOVER, Kind.RUN})
_BY_CONTENT = frozenset({Kind.ACTION, Kind.MANIFEST, Kind.SNAPSHOT, Kind.PACK, Kind.PACK_INDEX})

IN_USE = "it is in use again"


def collect(
    workspace: WorkspaceHandle,
    plan: CollectionPlan,
    *,
    by: str,
    on_progress: Callable[[Item], None] = lambda _: None,
    clock: Callable[[], float] = time.time,
) -> CollectionReport:
    """Remove what a plan names, as far as nothing refers to it now.

    It may be stopped or die at any moment: whatever is left is consistent, and the next collection goes on.

    :param by: who collects, for the reason of a result that is gone.
    :param on_progress: told each item before it is removed.
    :param clock: tells the time, seconds since the epoch.
    :raises StoreError: what is referred to cannot be read now. Nothing is removed without knowing that.
    """
    return _Sweep(workspace, plan, by, on_progress, clock).run()


class _Sweep:
    def __init__(
        self,
        workspace: WorkspaceHandle,
        plan: CollectionPlan,
        by: str,
        on_progress: Callable[[Item], None],
        clock: Callable[[], float],
    ) -> None:
        self._workspace = workspace
        self._store = workspace.store
        self._entries = EntryStore(workspace.store)
        self._plan = plan
        self._by = by
        self._on_progress = on_progress
        self._clock = clock
        self._report = CollectionReport()
        self._spared: set[str] = set()
        self._garbage: dict[tuple[Kind, str], Item] = {}
        self._looked_at = 0.0

    def run(self) -> CollectionReport:
        for item in self._plan.items:
            if item.evicts:
                self._retire(item)
        self._look()
        by_content = [item for item in self._plan.items if item.kind in _BY_CONTENT]
        for item in self._plan.items:
            if item.kind not in _BY_CONTENT:
                self._consider(item)
        if by_content:
            # What the runs just removed referred to is known only now.
            self._look()
        for item in by_content:
            self._consider(item)
        return self._report

    def _retire(self, item: Item) -> None:
        standing = self._entries.look(item.id)
        head = standing.head
        if head is not None and head.is_live:
            self._entries.set_state(
                item.id, HeadState.RETIRED, generation=item.generation, reason=item.reason, by=self._by
            )

    def _look(self) -> None:
        """Find out what nothing refers to now, and bring back retired results that something refers to."""
        garbage = self._find()
        if garbage.revive:
            for key, generation in garbage.revive:
                if self._entries.set_state(key, HeadState.LIVE, generation=generation, by=self._by):
                    self._report.revived.append(key)
            garbage = self._find()
        self._garbage = {item.place: item for item in garbage.items}

    def _find(self) -> Garbage:
        now = self._clock()
        found = survey(self._workspace)
        self._looked_at = found.at
        roots = find_roots(self._workspace, found, self._plan.limits, now=now)
        return find_garbage(self._store, found, roots, self._plan.limits, now=now)

    def _consider(self, planned: Item) -> None:
        if time.monotonic() - self._looked_at > LOOK_AGAIN_S:
            self._look()
        item = self._garbage.get(planned.place)
        if planned.kind is Kind.CACHE:
            item = still_unused(planned, self._plan.limits, now=self._clock())
        if item is None:
            self._spare(planned, IN_USE)
            return
        self._on_progress(item)
        try:
            if item.kind in _OF_RUNS and self._is_used(item):
                self._spare(item, IN_USE)
            elif self._remove(item):
                self._report.removed.append(item)
            else:
                self._spare(item, "it was changed meanwhile")
        except (AzureMLException, OSError) as error:
            self._report.failed.append(Kept(item, str(error)))
            self._spared.add(item.run_id)

    def _spare(self, item: Item, why: str) -> None:
        self._report.kept.append(Kept(item, why))
        if item.run_id:
            self._spared.add(item.run_id)

    def _is_used(self, item: Item) -> bool:
        """Look once more, at this moment, whether a step run is out of use."""
        if item.run_id in self._spared:
            return True
        if item.kind is Kind.GENERATION:
            head = self._entries.look(item.id.partition("/")[0]).head
            return head is not None and head.generation == item.generation
        run = self._read_run(item.run_id)
        if run.record is None or self._workspace.runs.is_committed(run.run_id) != item.is_committed:
            return run.record is not None
        pipeline = self._read_run(run.pipeline_run_id)
        if item.kind is Kind.LEFTOVER:
            return not was_given_up(run, pipeline, self._clock() - self._plan.limits.grace_s)
        return is_kept(run, pipeline, self._clock() - self._plan.limits.run_age_s) or self._has_result(run)

    def _has_result(self, run: RunFolder) -> bool:
        """Whether a result that the run made is remembered, in whatever state."""
        reuse = run.document.get("reuse")
        key = reuse.get("key") if isinstance(reuse, dict) else None
        entry = self._entries.look(key).entry if isinstance(key, str) and key else None
        return entry is not None and entry.step_run_id == run.run_id

    def _read_run(self, run_id: str) -> RunFolder:
        try:
            key = f"runs/{encode_name(run_id)}/record.json"
        except UserErrorException:
            return RunFolder(run_id)
        return RunFolder(run_id, record=read_document(self._store, key))

    def _remove(self, item: Item) -> bool:
        """Remove an item; return False when it was changed since it was looked at."""
        if item.kind is Kind.ENTRY:
            return self._remove_entry(item)
        if not self._is_unchanged(item):
            return False
        for path in item.paths:
            _remove_path(path)
        for datastore, folder in item.folders:
            self._workspace.datastores.files(datastore).remove_folder(folder)
        tags = dict(item.tags)
        try:
            if item.kind is Kind.PACK_INDEX:
                self._drop_index(item)
                return True
            for key in item.keys:
                self._store.delete(key, if_match=tags.get(key))
        except ConditionFailed:
            return False
        return True

    def _remove_entry(self, item: Item) -> bool:
        head = self._entries.look(item.id).head
        if head is not None and head.generation != item.generation:
            return False
        return self._entries.delete(item.id)

    def _is_unchanged(self, item: Item) -> bool:
        """Look at the objects that may only go as they are, before anything of the item goes."""
        for key, tag in item.tags:
            read = read_document(self._store, key)
            if read is not None and read.tag != tag:
                return False
        return True

    def _drop_index(self, item: Item) -> None:
        document = canonical_json({"schema": 1, "kind": DROPPED})
        for key, tag in item.tags:
            self._store.put(key, document, if_match=tag)


def _remove_path(path: Path) -> None:
    remove_tree(path)
    if path.is_symlink() or path.exists():
        raise OSError(f"{path} could not be removed")
