"""What reuse has brought: hits, misses by reason, time saved and waited, bytes not written again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_azureml.model.status import RunStatus
from airflow_azureml.reuse.reasons import ReasonCode

if TYPE_CHECKING:
    from airflow_azureml.workspace.runs import RunRecords

Record = Mapping[str, Any]

_HITS = frozenset({ReasonCode.HIT.value, ReasonCode.JOINED.value})


@dataclass(slots=True)
class Tally:
    """What happened to a number of step runs.

    :param hits: those that took an earlier result.
    :param joined: those that waited for another run to compute the result, and took it.
    :param misses: foremost reason to the number of those that ran for it.
    :param saved_s: time that computing the taken results had needed.
    :param waited_s: time spent waiting for others.
    :param ran_s: time spent running.
    :param reused_bytes: size of the outputs that were not written again.
    :param diverged: results that differed from an earlier one of the same key.
    """

    hits: int = 0
    joined: int = 0
    misses: dict[str, int] = field(default_factory=dict)
    saved_s: float = 0.0
    waited_s: float = 0.0
    ran_s: float = 0.0
    reused_bytes: int = 0
    diverged: int = 0

    @property
    def ran(self) -> int:
        """Number of step runs that ran."""
        return sum(self.misses.values())

    @property
    def hit_rate(self) -> float | None:
        """Share of step runs that needn't run; ``None`` without any."""
        reused = self.hits + self.joined
        return reused / (reused + self.ran) if reused + self.ran else None

    def to_document(self) -> dict[str, Any]:
        """Return the tally as JSON data, misses by number."""
        return {
            "hits": self.hits,
            "joined": self.joined,
            "ran": self.ran,
            "hit_rate": self.hit_rate,
            "misses": dict(sorted(self.misses.items(), key=lambda item: (-item[1], item[0]))),
            "saved_s": self.saved_s,
            "waited_s": self.waited_s,
            "ran_s": self.ran_s,
            "reused_bytes": self.reused_bytes,
            "diverged": self.diverged,
        }

    def add(self, record: Record) -> None:
        """Count a step run.

        :param record: its run record, with a reuse document.
        """
        reuse = record["reuse"]
        code = str(reuse.get("code"))
        self.waited_s += reuse.get("waited_s") or 0.0
        if code not in _HITS:
            self.misses[code] = self.misses.get(code, 0) + 1
            self.ran_s += record.get("duration_s") or 0.0
            return
        self.hits += code == ReasonCode.HIT
        self.joined += code == ReasonCode.JOINED
        self.saved_s += reuse.get("saved_s") or 0.0
        self.reused_bytes += sum(item.get("size_bytes") or 0 for item in record.get("outputs", {}).values())


@dataclass(slots=True)
class Statistics:
    """Tallies of a workspace.

    :param since: start of the time that was looked at; ``None`` for all that is kept.
    :param total: of all step runs.
    :param steps: by pipeline and step.
    """

    since: datetime | None
    total: Tally = field(default_factory=Tally)
    steps: dict[tuple[str, str], Tally] = field(default_factory=dict)

    def pipelines(self) -> dict[str, Tally]:
        """Return the tallies by pipeline."""
        found: dict[str, Tally] = {}
        for (dag_id, _), tally in self.steps.items():
            _merge(found.setdefault(dag_id, Tally()), tally)
        return found

    def to_document(self) -> dict[str, Any]:
        """Return the statistics as JSON data."""
        return {
            "since": None if self.since is None else self.since.astimezone(UTC).isoformat(),
            "total": self.total.to_document(),
            "pipelines": [
                {"dag_id": dag_id, **tally.to_document()}
                for dag_id, tally in sorted(self.pipelines().items())
            ],
            "steps": [
                {"dag_id": dag_id, "step": step, **tally.to_document()}
                for (dag_id, step), tally in sorted(self.steps.items())
            ],
        }


def statistics(
    runs: RunRecords,
    *,
    since: datetime | None = None,
    dag_id: str | None = None,
    step: str | None = None,
    divergences: Callable[[str], Iterable[Mapping[str, Any]]] = lambda _: (),
) -> Statistics:
    """Count what became of step runs.

    Steps that failed before anything was decided are passed over, and so are hits that were not committed.

    :param runs: the run records.
    :param since: only step runs that started then or later; a time with its zone.
    :param dag_id: of this pipeline only.
    :param step: of this step only, by name.
    :param divergences: returns the divergence records of an action key, such as ``EntryStore.divergences``.
    """
    found = Statistics(since)
    ran: dict[str, set[str]] = {}
    for record in runs.walk():
        if not _counts(record, since, dag_id, step):
            continue
        tally = found.steps.setdefault((str(record["dag_id"]), str(record["name"])), Tally())
        key = str(record["reuse"].get("key"))
        if record["reuse"].get("code") not in _HITS:
            if key not in ran:
                ran[key] = {str(item.get("step_run_id")) for item in divergences(key)}
            tally.diverged += record["id"] in ran[key]
        tally.add(record)
    for tally in found.steps.values():
        _merge(found.total, tally)
    return found


def _counts(record: Record, since: datetime | None, dag_id: str | None, step: str | None) -> bool:
    if record.get("kind") != "step" or not isinstance(record.get("reuse"), Mapping):
        return False
    if not _has_come_true(record):
        return False
    if dag_id not in (None, record.get("dag_id")) or step not in (None, record.get("name")):
        return False
    return since is None or _started(record) >= since


def _has_come_true(record: Record) -> bool:
    decision = record["reuse"].get("decision")
    # A step that waits has decided nothing yet; a reused result may turn out to be gone before it is committed.
    return decision == "run" or (decision == "reuse" and record.get("status") == RunStatus.FINISHED)


def _started(record: Record) -> datetime:
    return datetime.fromisoformat(str(record["start"]))


def _merge(target: Tally, other: Tally) -> None:
    target.hits += other.hits
    target.joined += other.joined
    target.saved_s += other.saved_s
    target.waited_s += other.waited_s
    target.ran_s += other.ran_s
    target.reused_bytes += other.reused_bytes
    target.diverged += other.diverged
    for code, number in other.misses.items():
        target.misses[code] = target.misses.get(code, 0) + number
