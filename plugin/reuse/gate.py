"""The gate: whether an earlier result stands in for running a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_azureml.reuse.action import Action
from airflow_azureml.reuse.differences import Difference, FilesOf, differences
from airflow_azureml.reuse.entries import Entry, EntryStore
from airflow_azureml.reuse.reasons import ReasonCode
from airflow_azureml.runtime.exceptions import AzureMLException, StoreError

OutputCheck = Callable[[Mapping[str, Any]], "str | None"]
"""Looks at one output document; returns what is wrong with the stored bytes, or ``None``."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the gate decided, and why.

    :param code: the foremost reason.
    :param message: the sentence a person reads in the task log.
    :param key: the action key.
    :param entry: the entry to reuse, for a hit.
    :param replaces: generation of an entry that was found unusable or is overruled; the next commit replaces it.
    :param differences: everything that differs from the nearest earlier action.
    """

    code: ReasonCode
    message: str
    key: str
    entry: Entry | None = None
    replaces: int | None = None
    differences: tuple[Difference, ...] = field(default=())

    @property
    def is_hit(self) -> bool:
        """Whether the step needs not run."""
        return self.entry is not None

    def to_document(self) -> dict[str, Any]:
        """Return the reuse document: the same in task log, XCom ``reuse``, run record and terminal."""
        origin = self.entry
        return {
            "decision": "reuse" if origin else "run",
            "code": self.code.value,
            "message": self.message,
            "key": self.key,
            "origin": {"step_run_id": origin.step_run_id, "dag_id": origin.dag_id, "run_id": origin.run_id}
            if origin
            else None,
            "saved_s": origin.duration_s if origin else None,
            "differences": [item.to_document() for item in self.differences],
        }


class Gate:
    """Decides whether a step runs.

    :param entries: the remembered results.
    :param check_output: looks at a stored output before it is reused.
    :param files_of: reads the file list behind a digest of code, for explanations.
    """

    def __init__(self, entries: EntryStore, *, check_output: OutputCheck, files_of: FilesOf) -> None:
        self._entries = entries
        self._check_output = check_output
        self._files_of = files_of

    def decide(
        self,
        action: Action,
        *,
        family: str,
        allow_reuse: bool = True,
        regenerate: bool = False,
        source_label: str = "",
    ) -> Decision:
        """Decide whether the result of ``action`` is already there.

        :param action: the step of this run.
        :param family: see :func:`airflow_azureml.reuse.entries.family_of`.
        :param allow_reuse: the step's own switch (v1 ``allow_reuse``).
        :param regenerate: this run's switch (v1 ``regenerate_outputs``).
        :param source_label: name of the source folder, for sentences.
        """
        if not allow_reuse:
            return Decision(
                ReasonCode.BYPASSED_BY_STEP, "runs every time: the step has allow_reuse=False", action.key
            )
        try:
            return self._look_up(action, family, regenerate, source_label)
        except (StoreError, OSError) as error:
            # The index is a help, never a condition: without it the step simply runs.
            message = f"ran because the results of earlier runs could not be read ({error})"
            return Decision(ReasonCode.INDEX_DOWN, message, action.key)

    def _look_up(self, action: Action, family: str, regenerate: bool, label: str) -> Decision:
        entry = self._entries.find(action.key)
        standing = entry.generation if entry else None
        if regenerate:
            message = "ran again because this run asked for regenerate_outputs"
            return Decision(ReasonCode.BYPASSED_BY_RUN, message, action.key, replaces=standing)
        if action.is_weak:
            weak = ", ".join(item.name for item in action.inputs if not item.identity_class.sees_changes)
            message = f"ran because nothing tells whether the data behind {weak} changed"
            return Decision(ReasonCode.WEAK_IDENTITY, message, action.key, replaces=standing)
        if entry is None:
            return self._explain(action, family, label)
        damage = self._damage(entry)
        if damage:
            code = ReasonCode.OUTPUT_GONE if damage.endswith("is gone") else ReasonCode.OUTPUT_CORRUPT
            message = f"ran again because {damage} (written in run {entry.run_id})"
            return Decision(code, message, action.key, replaces=standing)
        message = f"reused the result of run {entry.run_id}: same code, inputs and parameters; saved {entry.duration_s:.1f} s"
        return Decision(ReasonCode.HIT, message, action.key, entry=entry)

    def _damage(self, entry: Entry) -> str | None:
        for name, document in entry.outputs.items():
            try:
                problem = self._check_output(document)
            except (AzureMLException, OSError) as error:
                problem = f"cannot be checked ({error})"
            if problem:
                return f"output {name} {problem}"
        return None

    def _explain(self, action: Action, family: str, label: str) -> Decision:
        earlier = self._entries.latest(family)
        if earlier is None:
            return Decision(ReasonCode.NEW, "ran for the first time", action.key)
        try:
            found = differences(earlier, action, files_of=self._files_of, source_label=label)
        except (AzureMLException, LookupError, TypeError, ValueError) as error:
            # What another version wrote, or what somebody removed by hand, costs the explanation and nothing else.
            message = (
                f"ran again; why cannot be told because what run {earlier.run_id} used is gone ({error})"
            )
            return Decision(ReasonCode.NEW, message, action.key)
        if not found:
            message = f"ran again because run {earlier.run_id} with the same inputs left no result"
            return Decision(ReasonCode.NEW, message, action.key)
        reasons = "; ".join(item.what for item in found[:3])
        more = f" (and {len(found) - 3} more differences)" if len(found) > 3 else ""
        message = f"ran again because {reasons}{more} (last used in run {earlier.run_id})"
        return Decision(found[0].code, message, action.key, differences=tuple(found))
