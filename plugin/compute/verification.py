"""Going over the remembered results of a workspace, to find those whose outputs are no longer what was written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from airflow_azureml.compute.output_checks import UNKNOWN, check_afresh, check_output
from airflow_azureml.reuse.entries import Entry, EntryStore, HeadState, Standing
from airflow_azureml.reuse.policy import VerifyLevel
from airflow_azureml.workspace.handle import WorkspaceHandle
from airflow_azureml.workspace.stat_cache import StatCache

UNREADABLE = "the entry is damaged or gone"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a remembered result.

    :param key: its action key.
    :param what: what is wrong, such as "output model is gone".
    :param quarantined: whether the result was set aside. One that nobody could look at is not: its datastore may be back soon.
    :param step_name: the step that computed it.
    :param dag_id: the DAG in which that was.
    :param run_id: the Airflow run in which that was.
    """

    key: str
    what: str
    quarantined: bool
    step_name: str = ""
    dag_id: str = ""
    run_id: str = ""


@dataclass(slots=True)
class VerificationReport:
    """What a look at the remembered results found.

    :param level: how closely they were looked at.
    :param fresh: whether every byte was read.
    :param checked: results that were looked at.
    :param good: those that are as they were written.
    :param not_live: results that don't count anyway, and were not looked at.
    :param checked_bytes: size of the outputs that were looked at.
    :param problems: what was found.
    """

    level: VerifyLevel
    fresh: bool = False
    checked: int = 0
    good: int = 0
    not_live: int = 0
    checked_bytes: int = 0
    problems: list[Problem] = field(default_factory=list)

    @property
    def quarantined(self) -> int:
        """Number of results that were set aside."""
        return sum(item.quarantined for item in self.problems)

    def to_document(self) -> dict[str, Any]:
        """Return the report as JSON data."""
        return {
            "level": self.level.value,
            "fresh": self.fresh,
            "checked": self.checked,
            "good": self.good,
            "not_live": self.not_live,
            "checked_bytes": self.checked_bytes,
            "quarantined": self.quarantined,
            "problems": [asdict(item) for item in self.problems],
        }


def verify(
    workspace: WorkspaceHandle,
    *,
    level: VerifyLevel,
    hashes: StatCache,
    by: str,
    keys: Iterable[str] | None = None,
    fresh: bool = False,
    on_progress: Callable[[VerificationReport], None] = lambda _: None,
) -> VerificationReport:
    """Look at the outputs of remembered results, and set aside those that are not what was written.

    A result that is set aside is computed again by the next run that needs it.

    :param level: how closely to look, see :func:`airflow_azureml.compute.output_checks.check_output`.
    :param hashes: knows the content of unchanged files.
    :param by: who verifies, for the reason of a result that is set aside.
    :param keys: action keys of the results to look at; by default all.
    :param fresh: read every byte, whatever is remembered of the files.
    :param on_progress: told the report after each result.
    """
    entries = EntryStore(workspace.store)
    report = VerificationReport(VerifyLevel.DIGEST if fresh else level, fresh)
    for key in entries.keys() if keys is None else keys:
        standing = entries.look(key)
        if standing.head is None or not standing.head.is_live:
            report.not_live += 1
            continue
        report.checked += 1
        what = _problem(workspace, standing.entry, report, hashes)
        if what is None:
            report.good += 1
        else:
            report.problems.append(_set_aside(entries, key, standing, what, by))
        on_progress(report)
    return report


def _problem(
    workspace: WorkspaceHandle, entry: Entry | None, report: VerificationReport, hashes: StatCache
) -> str | None:
    if entry is None:
        return UNREADABLE
    report.checked_bytes += entry.size_bytes
    for name, document in entry.outputs.items():
        found = (
            check_afresh(workspace, document)
            if report.fresh
            else check_output(workspace, document, report.level, hashes)
        )
        if found is not None:
            return f"output {name} {found}"
    return None


def _set_aside(entries: EntryStore, key: str, standing: Standing, what: str, by: str) -> Problem:
    quarantined = False
    if standing.head is not None and f" {UNKNOWN}" not in what:
        quarantined = entries.set_state(
            key, HeadState.QUARANTINED, generation=standing.head.generation, reason=what, by=by
        )
    entry = standing.entry
    if entry is None:
        return Problem(key, what, quarantined)
    return Problem(key, what, quarantined, entry.step_name, entry.dag_id, entry.run_id)
