"""``airflow azureml reuse invalidate``, ``verify`` and ``gc``: looking after what a workspace remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_azureml import config
from airflow_azureml.cli.commands import UsageError, audited, who, workspace_of
from airflow_azureml.cli.printing import KEY_LENGTH, Answer, Table, plural, print_answer, size
from airflow_azureml.cli.results import find_key, newest_of
from airflow_azureml.compute.verification import VerificationReport
from airflow_azureml.compute.verification import verify as verify_results
from airflow_azureml.reuse.actions import ActionStore
from airflow_azureml.reuse.entries import EntryStore
from airflow_azureml.reuse.invalidation import invalidate as invalidate_result
from airflow_azureml.reuse.policy import VerifyLevel
from airflow_azureml.workspace.stat_cache import StatCache

if TYPE_CHECKING:
    from argparse import Namespace


@audited
def invalidate(args: Namespace) -> None:
    """Make sure that a result, and with ``--downstream`` all that came out of it, is not reused again."""
    workspace = workspace_of(args)
    entries = EntryStore(workspace.store)
    if args.key and (args.dag or args.step):
        raise UsageError("give a key, or --dag and --step, not both")
    if args.key:
        key = find_key(workspace, args.key)
    elif args.dag and args.step:
        key = newest_of(entries, args.dag, args.step)
    else:
        raise UsageError("give the key of a result, or --dag and --step for the newest result of a step")
    found = invalidate_result(
        entries,
        ActionStore(workspace.store),
        key,
        reason=args.reason,
        by=who(),
        downstream=args.downstream,
    )
    columns = ("key", "step", "pipeline", "run", "because of")
    rows = [
        (
            item.key[:KEY_LENGTH],
            item.step_name,
            item.dag_id,
            item.run_id,
            (item.because_of or "")[:KEY_LENGTH],
        )
        for item in found
    ]
    table = Table(columns, rows)
    last = f"{plural(len(found), 'result')} invalidated; the next run that needs one computes it again"
    parts: list[str | Table] = [table, last] if found else ["it was invalidated before"]
    print_answer(Answer([item.to_document() for item in found], parts, table), args.output)


@audited
def verify(args: Namespace) -> None:
    """Look at the outputs of results; those that are not what was written are set aside."""
    workspace = workspace_of(args)
    keys = [find_key(workspace, key) for key in args.keys] or None
    report = verify_results(
        workspace,
        level=VerifyLevel(args.level),
        hashes=StatCache(config.cache_directory() / "hashes"),
        by=who(),
        keys=keys,
        fresh=args.full,
    )
    columns = ("key", "step", "pipeline", "run", "problem", "set aside")
    rows = [
        (
            item.key[:KEY_LENGTH],
            item.step_name,
            item.dag_id,
            item.run_id,
            item.what,
            "yes" if item.quarantined else "no",
        )
        for item in report.problems
    ]
    table = Table(columns, rows)
    parts: list[str | Table] = [table] if rows else []
    print_answer(Answer(report.to_document(), [*parts, _verified(report)], table), args.output)


def _verified(report: VerificationReport) -> str:
    how = "every byte" if report.fresh else report.level.value
    said = f"{plural(report.checked, 'result')} looked at ({how}, {size(report.checked_bytes)}): {report.good} good"
    if report.problems:
        said += f", {len(report.problems)} not what was written, {report.quarantined} set aside"
    if report.not_live:
        said += f"; {report.not_live} don't count anyway and were not looked at"
    return said
