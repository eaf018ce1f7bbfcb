"""The gate: whether an earlier result stands in for running a step, and why or why not."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from airflow_azureml.reuse.action import Action
from airflow_azureml.reuse.actions import ActionStore
from airflow_azureml.reuse.differences import Difference, FilesOf, differences, ignored_changes, nearest
from airflow_azureml.reuse.entries import Entry, EntryStore, HeadState, Standing
from airflow_azureml.reuse.leases import LeaseView
from airflow_azureml.reuse.policy import ReusePolicy
from airflow_azureml.reuse.reasons import ReasonCode
from airflow_azureml.runtime.exceptions import AzureMLException, StoreError

OutputCheck = Callable[[Mapping[str, Any]], "str | None"]
"""Looks at one output document; returns what is wrong with the stored bytes, or ``None``."""


UNCERTAIN = "cannot be"
"""Begins what is said of outputs that nobody can look at now."""


@dataclass(frozen=True, slots=True)
class Question:
    """A step that may have a result already.

    :param action: the step of this run.
    :param family: see :func:`airflow_azureml.reuse.actions.family_of`.
    :param policy: what the step asks of reuse.
    :param allow_reuse: the step's own switch (v1 ``allow_reuse``).
    :param forced: why this run wants a new result whatever there is, as the end of the sentence "ran again because …".
    :param ignores_results: why this run looks at no earlier results, likewise.
    :param max_staleness_s: results older than this don't count for this run.
    :param accept_from: deployments whose results count; empty for all.
    :param deployment: the own one; its results always count.
    :param source_label: name of the source folder, for sentences.
    :param waited_s: how long the step waited for somebody else to compute the result.
    """

    action: Action
    family: str
    policy: ReusePolicy = field(default_factory=ReusePolicy)
    allow_reuse: bool = True
    forced: str | None = None
    ignores_results: str | None = None
    max_staleness_s: float | None = None
    accept_from: frozenset[str] = frozenset()
    deployment: str = ""
    source_label: str = ""
    waited_s: float | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that speaks for or against reuse.

    :param what: the end of a sentence that begins "ran again because".
    :param difference: what differs from the nearest earlier action, when that is the reason.
    """

    code: ReasonCode
    what: str
    difference: Difference | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What the gate decided, and why.

    :param code: the foremost reason.
    :param message: the sentence a person reads in the task log.
    :param key: the action key.
    :param codes: all reasons that hold, the foremost first.
    :param entry: the entry to reuse, for a hit.
    :param replaces: generation of a live entry that is too old, damaged or overruled; the next commit replaces it.
    :param damaged: what is wrong with the stored outputs of that entry.
    :param differences: everything that differs from the nearest earlier action.
    :param waited_s: how long the step waited for somebody else's result.
    :param lease: who is computing the result, for a step that waits.
    """

    code: ReasonCode
    message: str
    key: str
    codes: tuple[ReasonCode, ...] = ()
    entry: Entry | None = None
    replaces: int | None = None
    damaged: str | None = None
    differences: tuple[Difference, ...] = ()
    waited_s: float | None = None
    lease: LeaseView | None = None

    @property
    def is_hit(self) -> bool:
        """Whether the step needs not run."""
        return self.entry is not None

    @property
    def is_forced(self) -> bool:
        """Whether the step is to compute a result of its own, whatever others have or are about to have."""
        forced = {
            ReasonCode.BYPASSED_BY_RUN,
            ReasonCode.BYPASSED_BY_STEP,
            ReasonCode.SAMPLED,
            # Nobody else's result would ever be certain to be this step's.
            ReasonCode.WEAK_IDENTITY,
        }
        return not forced.isdisjoint(self.codes or (self.code,))

    def waiting_for(self, lease: LeaseView, message: str) -> Decision:
        """Return the decision of a step that waits for somebody else's result."""
        return replace(self, lease=lease, message=message)

    def lost_to(self, winner: Entry) -> Decision:
        """Return the decision of a step that ran until somebody else's result was there first."""
        code = ReasonCode.JOINED
        message = (
            f"reused the result of run {winner.run_id}, which came first while this step was computing it"
        )
        return Decision(code, message, self.key, (code,), entry=winner, waited_s=self.waited_s)

    def to_document(self) -> dict[str, Any]:
        """Return the reuse document: the same in task log, XCom ``reuse``, run record and terminal."""
        origin = self.entry
        return {
            "decision": "reuse" if origin else "wait" if self.lease else "run",
            "code": self.code.value,
            "codes": [code.value for code in self.codes or (self.code,)],
            "message": self.message,
            "key": self.key,
            "origin": None
            if origin is None
            else {
                "step_run_id": origin.step_run_id,
                "dag_id": origin.dag_id,
                "run_id": origin.run_id,
                "writer": origin.writer,
                "finished": origin.finished,
            },
            "saved_s": origin.duration_s if origin else None,
            "waited_s": self.waited_s,
            "differences": [item.to_document() for item in self.differences],
        }


class Gate:
    """Decides whether a step runs. It only looks, and writes nothing.

    :param entries: the remembered results.
    :param actions: what their keys were made of.
    :param check_output: looks at a stored output before it is reused.
    :param files_of: reads the file list behind a digest of code, for explanations.
    :param draw: returns a number from 0 to 1, for ``verify="sample(…)"``.
    """

    def __init__(
        self,
        entries: EntryStore,
        actions: ActionStore,
        *,
        check_output: OutputCheck,
        files_of: FilesOf,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._entries = entries
        self._actions = actions
        self._check_output = check_output
        self._files_of = files_of
        self._draw = draw

    def decide(self, question: Question) -> Decision:
        """Decide whether the result of a step is already there."""
        key = question.action.key
        if not question.allow_reuse:
            return Decision(
                ReasonCode.BYPASSED_BY_STEP, "runs every time: the step has allow_reuse=False", key
            )
        if question.ignores_results is not None:
            return Decision(ReasonCode.BYPASSED_BY_RUN, f"ran because {question.ignores_results}", key)
        try:
            return self._look_up(question)
        except (StoreError, OSError) as error:
            # The index is a help, never a condition: without it the step simply runs.
            message = f"ran because the results of earlier runs could not be read ({error})"
            return Decision(ReasonCode.INDEX_DOWN, message, key)

    def _look_up(self, question: Question) -> Decision:
        standing = self._entries.look(question.action.key)
        entry = standing.live
        reasons = [*_of_run(question), *_of_standing(standing), *_of_inputs(question)]
        if entry is not None:
            reasons += _of_entry(entry, question)
        damaged = None
        if entry is not None and not reasons:
            # Looking at the outputs costs most, so it comes last.
            damaged = self._damage(entry)
            if damaged is None and not self._is_sampled(question):
                return _hit(entry, question, self._ignored(question))
            reasons = [_of_damage(damaged, entry) if damaged else _SAMPLED]
        last = ""
        if standing.entry is None:
            explained, last = self._explain(question)
            reasons += explained
        # What cannot be looked at now may be intact: it is computed again, and nothing is said against it.
        certain = damaged if damaged and UNCERTAIN not in damaged else None
        return _run(question, reasons, entry, certain, last)

    def _damage(self, entry: Entry) -> str | None:
        for name, document in entry.outputs.items():
            try:
                problem = self._check_output(document)
            except (AzureMLException, OSError) as error:
                problem = f"{UNCERTAIN} checked ({error})"
            if problem:
                return f"output {name} {problem}"
        return None

    def _ignored(self, question: Question) -> list[str]:
        """Say which ignored parameters had other values when the result was computed."""
        if not question.action.ignored:
            return []
        saved = self._actions.get(question.action.key)
        return [] if saved is None else ignored_changes(saved.details, question.action)

    def _is_sampled(self, question: Question) -> bool:
        return bool(question.policy.sample) and self._draw() < question.policy.sample

    def _explain(self, question: Question) -> tuple[list[Reason], str]:
        """Compare the action with the nearest earlier one; return what differs, and the end of the sentence."""
        earlier = nearest(self._actions.recent(question.family), question.action)
        if earlier is None:
            return [Reason(ReasonCode.NEW, "")], ""
        try:
            found = differences(
                earlier, question.action, files_of=self._files_of, source_label=question.source_label
            )
        except (AzureMLException, LookupError, TypeError, ValueError) as error:
            # What another version wrote, or what somebody removed by hand, costs the explanation and nothing else.
            what = f"what run {earlier.run_id} used cannot be compared with this run: it is gone ({error})"
            return [Reason(ReasonCode.NEW, what)], ""
        if not found:
            return [Reason(ReasonCode.NEW, f"run {earlier.run_id} with the same inputs left no result")], ""
        reasons = [Reason(item.code, item.what, item) for item in found]
        return reasons, f" (last used in run {earlier.run_id})"


_SAMPLED = Reason(ReasonCode.SAMPLED, "this run was drawn to compare its result with the one that is there")


def _of_run(question: Question) -> list[Reason]:
    return [] if question.forced is None else [Reason(ReasonCode.BYPASSED_BY_RUN, question.forced)]


def _of_standing(standing: Standing) -> list[Reason]:
    """Say why a result that is there doesn't count."""
    head, entry = standing.head, standing.entry
    if head is None or head.is_live or entry is None:
        return []
    why = f": {head.reason}" if head.reason else ""
    if head.state is HeadState.INVALIDATED:
        who = f" by {head.by}" if head.by else ""
        return [Reason(ReasonCode.INVALIDATED, f"the result of run {entry.run_id} was invalidated{who}{why}")]
    if head.state is HeadState.QUARANTINED:
        return [_of_damage(head.reason or "its outputs are not what was written", entry)]
    return [Reason(ReasonCode.OUTPUT_GONE, f"the result of run {entry.run_id} has been removed{why}")]


def _of_inputs(question: Question) -> list[Reason]:
    weak = question.action.weak_inputs(question.policy.minimum)
    if not weak:
        return []
    return [
        Reason(
            ReasonCode.WEAK_IDENTITY,
            f"nothing tells well enough whether the data behind {', '.join(weak)} changed "
            f"(min_identity is {question.policy.minimum.value})",
        )
    ]


def _of_entry(entry: Entry, question: Question) -> list[Reason]:
    """Say why an intact result doesn't count for this step or this run."""
    found = []
    trusted = question.accept_from
    if trusted and entry.writer not in trusted and entry.writer != question.deployment:
        found.append(
            Reason(
                ReasonCode.UNTRUSTED,
                f"the result of run {entry.run_id} was written by {entry.writer or 'an unnamed deployment'!r}, "
                f"and only those of {', '.join(sorted(trusted))} count",
            )
        )
    age_s = (datetime.now(UTC) - datetime.fromisoformat(entry.finished)).total_seconds()
    if question.policy.ttl_s is not None and age_s > question.policy.ttl_s:
        what = (
            f"the result of run {entry.run_id} is older than the step allows "
            f"({_age(age_s)}, ttl {_age(question.policy.ttl_s)})"
        )
        found.append(Reason(ReasonCode.EXPIRED, what))
    if question.max_staleness_s is not None and age_s > question.max_staleness_s:
        what = (
            f"the result of run {entry.run_id} is older than this run allows "
            f"({_age(age_s)}, max_staleness {_age(question.max_staleness_s)})"
        )
        found.append(Reason(ReasonCode.STALE_FOR_RUN, what))
    return found


def _of_damage(problem: str, entry: Entry) -> Reason:
    code = ReasonCode.OUTPUT_GONE if problem.endswith("is gone") else ReasonCode.OUTPUT_CORRUPT
    return Reason(code, f"{problem} (written in run {entry.run_id})")


def _hit(entry: Entry, question: Question, ignored: list[str]) -> Decision:
    waited = question.waited_s
    code = ReasonCode.HIT if waited is None else ReasonCode.JOINED
    what = f"reused the result of run {entry.run_id}"
    if waited is not None:
        what += f", which was computing it: waited {waited:.1f} s"
    message = f"{what}; same code, inputs and parameters; saved {entry.duration_s:.1f} s"
    if waited is None:
        message = f"{what}: same code, inputs and parameters; saved {entry.duration_s:.1f} s"
    if ignored:
        message += f" ({'; '.join(ignored)})"
    return Decision(code, message, question.action.key, (code,), entry=entry, waited_s=waited)


def _run(
    question: Question, reasons: list[Reason], entry: Entry | None, damaged: str | None, last: str
) -> Decision:
    ranked = sorted(reasons, key=lambda item: item.code.rank)
    first = ranked[0]
    sampled = first.code is ReasonCode.SAMPLED
    return Decision(
        first.code,
        _sentence(ranked) + last,
        question.action.key,
        tuple(dict.fromkeys(item.code for item in ranked)),
        replaces=None if entry is None or sampled else entry.generation,
        damaged=damaged,
        differences=tuple(item.difference for item in ranked if item.difference is not None),
        waited_s=question.waited_s,
    )


def _sentence(ranked: list[Reason]) -> str:
    said = [item.what for item in ranked if item.what]
    if not said:
        return "ran for the first time"
    more = f" (and {len(said) - 3} more)" if len(said) > 3 else ""
    return f"ran again because {'; '.join(said[:3])}{more}"


def _age(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
