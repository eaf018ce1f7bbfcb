"""``airflow azureml datasets preview``, ``profile``, ``diff`` and ``lineage``: what is in datasets, and who made and used it."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow_azureml.cli.commands import UsageError, command, workspace_of
from airflow_azureml.cli.datasets import data_of, described
from airflow_azureml.cli.printing import NOTHING, Answer, Table, moment, plural, print_answer, size
from airflow_azureml.workspace.dataset_difference import Difference, RowDifference, compare_versions
from airflow_azureml.workspace.dataset_lineage import Use, uses_of
from airflow_azureml.workspace.dataset_reading import read_first_rows, read_profile

if TYPE_CHECKING:
    from argparse import Namespace

    from airflow_azureml.runtime.dataset.engine.profile import ColumnProfile
    from airflow_azureml.workspace.dataset_files import DatasetFiles
    from airflow_azureml.workspace.datasets import DatasetRecord

_NUMBERS = frozenset(
    {"count", "missing", "distinct", "min", "max", "mean", "std", "25 %", "50 %", "75 %", "size"}
)
_BARS = " ▁▂▃▄▅▆▇█"
_CELL = 40
_LISTED = 10


@command
def preview(args: Namespace) -> None:
    """Show the first rows of a table, or the first files."""
    workspace = workspace_of(args)
    record = workspace.datasets.get_by_name(args.name, args.version)
    with data_of(workspace) as data:
        table, document = _preview(data, record, args.rows)
    print_answer(Answer(document, [table], table), args.output)


@command
def profile(args: Namespace) -> None:
    """Show what the columns of a table hold."""
    workspace = workspace_of(args)
    record = workspace.datasets.get_by_name(args.name, args.version)
    with data_of(workspace) as data:
        found = read_profile(data, record.definition)
    columns = (
        "column",
        "type",
        "count",
        "missing",
        "distinct",
        "min",
        "25 %",
        "50 %",
        "75 %",
        "max",
        "mean",
        "std",
    )
    rows = [_profile_row(column) for column in found.columns.values()]
    table = Table((*columns, "histogram"), rows, _NUMBERS)
    first = f"{record.name}, version {record.version}: {plural(found.rows, 'row')}"
    print_answer(Answer(found.to_document(), [first, table], table), args.output)


@command
def diff(args: Namespace) -> None:
    """Show how two versions of a dataset differ."""
    workspace = workspace_of(args)
    second = workspace.datasets.get_by_name(args.name, args.second)
    earlier = args.first if args.first is not None else second.version - 1
    if earlier < 1:
        raise UsageError(f"{args.name} has no version before {second.version}; name one with --from")
    first = workspace.datasets.get_by_name(args.name, earlier)
    with data_of(workspace) as data:
        found = compare_versions(workspace.store, data, first, second)
    parts: list[str | Table] = [
        f"{found.name}: version {first.version} and version {second.version}",
        f"definition: {described(found.definition)}",
        *_differing(found.definition),
        f"files: {described(found.files)}",
        *_differing(found.files, with_values=False),
    ]
    if "now" in found.files_as_of:
        parts.append("  compared as the files are now: nothing was written down of them at registration")
    if found.schema is not None:
        parts += [f"columns: {described(found.schema)}", *_differing(found.schema)]
    if found.rows is not None:
        parts.append(_rows_line(found.rows))
    if found.unknown is not None:
        parts.append(f"columns and rows are not known: {found.unknown}")
    print_answer(Answer(found.to_document(), parts), args.output)


@command
def lineage(args: Namespace) -> None:
    """Show which steps wrote and read a dataset."""
    workspace = workspace_of(args)
    workspace.datasets.get_by_name(args.name, args.version)
    versions = {
        record.version: record
        for record in workspace.datasets.versions(args.name)
        if args.version in (None, record.version)
    }
    uses = uses_of(workspace.runs, versions, args.name)
    columns = ("version", "", "step", "pipeline", "run", "started (UTC)", "status", "as")
    table = Table(columns, [_use_row(use) for use in uses], frozenset({"version"}))
    parts: list[str | Table] = [table] if uses else ["no step has written or read it"]
    print_answer(Answer([asdict(use) for use in uses], parts, table), args.output)


def _preview(data: DatasetFiles, record: DatasetRecord, count: int) -> tuple[Table, Any]:
    if record.definition["kind"] == "file":
        files = data.list_files(record.definition)[:count]
        rows = [(file.name, size(file.size_bytes)) for file in files]
        document = [{"name": file.name, "size_bytes": file.size_bytes} for file in files]
        return Table(("file", "size"), rows, _NUMBERS), document
    frame = read_first_rows(data, record.definition, count)
    names = [str(name) for name in frame.columns]
    cells = [
        [
            None if is_missing else value
            for value, is_missing in zip(frame[name].tolist(), frame[name].isna(), strict=True)
        ]
        for name in frame.columns
    ]
    rows_of_values = list(zip(*cells, strict=True))
    shown = [tuple(_cell(value) for value in row) for row in rows_of_values]
    document = [
        {name: _plain(value) for name, value in zip(names, row, strict=True)} for row in rows_of_values
    ]
    return Table(tuple(names), shown), document


def _profile_row(column: ColumnProfile) -> tuple[str, ...]:
    quantiles = [_cell(column.quantiles.get(share)) for share in ("0.25", "0.5", "0.75")]
    return (
        column.name,
        column.type,
        str(column.count),
        str(column.missing),
        _cell(column.distinct),
        _cell(column.min),
        *quantiles,
        _cell(column.max),
        _cell(column.mean),
        _cell(column.std),
        _histogram(column),
    )


def _histogram(column: ColumnProfile) -> str:
    if column.histogram:
        highest = max(bar.count for bar in column.histogram)
        # At least the lowest bar for what is there at all.
        return "".join(_BARS[-(-bar.count * (len(_BARS) - 1) // highest)] for bar in column.histogram)
    frequent = [f"{_cell(value)} ({count})" for value, count in column.frequent[:3]]
    return ", ".join(frequent)


def _differing(difference: Difference, *, with_values: bool = True) -> list[str]:
    lines = [f"  + {name}" for name in difference.added]
    lines += [f"  - {name}" for name in difference.removed]
    lines += [
        f"  ~ {name}: {_cell(before)} → {_cell(after)}" if with_values else f"  ~ {name}"
        for name, (before, after) in difference.changed.items()
    ]
    if len(lines) > _LISTED:
        lines = [*lines[:_LISTED], f"  … and {len(lines) - _LISTED} more; --output json has all"]
    return lines


def _rows_line(rows: RowDifference) -> str:
    counts = f"rows: {rows.before} → {rows.after}"
    if not rows.added and not rows.removed:
        return f"{counts}, the same"
    return f"{counts}: {rows.added} added, {rows.removed} removed"


def _use_row(use: Use) -> tuple[str, ...]:
    status = f"{use.status}, reused" if use.reused_from else use.status
    return (
        str(use.version),
        use.action,
        use.step_name,
        use.dag_id or NOTHING,
        use.run_id or use.pipeline_run_id,
        moment(use.start),
        status,
        use.port or NOTHING,
    )


def _cell(value: Any) -> str:
    if value is None:
        return NOTHING
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    # A table has a line per row.
    text = " ".join(text.split()) if text.strip() else text
    return text if len(text) <= _CELL else f"{text[: _CELL - 1]}…"


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        # JSON has no infinity.
        return str(value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
