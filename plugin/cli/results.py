"""``airflow azureml reuse list`` and ``show``: the results that a workspace remembers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow_azureml.cli.commands import command, workspace_of
from airflow_azureml.cli.printing import (
    KEY_LENGTH,
    NOTHING,
    Answer,
    Table,
    fields,
    moment,
    plural,
    print_answer,
    seconds,
    size,
)
from airflow_azureml.model.names import task_id_for
from airflow_azureml.reuse.actions import ActionStore
from airflow_azureml.reuse.entries import PREFIX, EntryStore, HeadState, Standing
from airflow_azureml.runtime.exceptions import UserErrorException

if TYPE_CHECKING:
    from argparse import Namespace

    from airflow_azureml.workspace.handle import WorkspaceHandle

SHARD = 2
"""How many letters of a key name the folder it is in."""
_COLUMNS = ("key", "step", "pipeline", "run", "finished (UTC)", "took", "size", "state", "written by")


@command
def list_results(args: Namespace) -> None:
    """List the results that are remembered, the newest first."""
    entries = EntryStore(workspace_of(args).store)
    found = [
        (key, standing)
        for key, standing in results(entries)
        if _matches(standing, args.dag, args.step) and args.state in (None, _state(standing))
    ]
    found.sort(key=lambda item: _finished(item[1]), reverse=True)
    shown = found[: args.limit]
    table = Table(_COLUMNS, [_row(key, standing) for key, standing in shown], frozenset({"took", "size"}))
    last = f"{plural(len(found), 'result')}"
    if len(found) > len(shown):
        last = f"the newest {len(shown)} of {last}; --limit shows more"
    parts: list[str | Table] = [table, last] if found else ["no results"]
    print_answer(Answer([_document(key, standing) for key, standing in shown], parts, table), args.output)


@command
def show(args: Namespace) -> None:
    """Show one result: where it came from, what it depends on and, if wanted, who used it."""
    workspace = workspace_of(args)
    entries = EntryStore(workspace.store)
    key = find_key(workspace, args.key)
    standing = entries.look(key)
    generations = [entry for number in entries.generations(key) if (entry := entries.generation(key, number))]
    action = ActionStore(workspace.store).get(key)
    divergences = entries.divergences(key)
    users = list(_users(workspace, {entry.step_run_id for entry in generations})) if args.users else None
    document = {
        **_document(key, standing),
        "generations": [asdict(entry) for entry in generations],
        "divergences": divergences,
        "action": None if action is None else action.document,
        "details": None if action is None else action.details,
        **({} if users is None else {"reused_by": users}),
    }
    columns = ("", "step", "pipeline", "run", "finished (UTC)", "written by")
    past = [
        (str(e.generation), e.step_name, e.dag_id, e.run_id, moment(e.finished), e.writer)
        for e in generations
    ]
    parts: list[str | Table] = [fields(_facts(key, standing))]
    _add(parts, "outputs:", _outputs(standing))
    _add(parts, "depends on:", None if action is None else _depends(action.document))
    _add(parts, "results under this key:", Table(columns, past) if len(past) > 1 else None)
    _add(parts, "other results for the same key, which do not count:", _diverged(divergences))
    _add(parts, "reused by:", None if users is None else _used(users))
    print_answer(Answer(document, parts, fields(_facts(key, standing))), args.output)


def results(entries: EntryStore) -> Iterator[tuple[str, Standing]]:
    """Walk all keys that have or had a result; a scan of the workspace's results."""
    for key in entries.keys():  # noqa: SIM118 - no mapping
        standing = entries.look(key)
        if standing.head is not None and standing.head.state is not HeadState.NONE:
            yield key, standing


def find_key(workspace: WorkspaceHandle, given: str) -> str:
    """Return the one key that begins with what a person typed.

    :raises UserErrorException: there is none, or more than one.
    """
    prefix = given.lower()
    if len(prefix) < SHARD or not all(letter in "0123456789abcdef" for letter in prefix):
        raise UserErrorException(f"{given!r} is no key; `airflow azureml reuse list` shows the keys")
    listed = workspace.store.list(f"{PREFIX}{prefix[:SHARD]}/{prefix}")
    found = sorted({info.key.split("/")[2] for info in listed})
    if not found:
        raise UserErrorException(f"no result has a key that begins with {given!r}")
    if len(found) > 1:
        shown = ", ".join(key[:KEY_LENGTH] for key in found[:5])
        raise UserErrorException(f"{len(found)} keys begin with {given!r}: {shown}, …; give more of it")
    return found[0]


def newest_of(entries: EntryStore, dag_id: str, step: str) -> str:
    """Return the key of the newest live result of a step.

    :raises UserErrorException: there is none.
    """
    live = [
        (_finished(standing), key)
        for key, standing in results(entries)
        if standing.live is not None and _matches(standing, dag_id, step)
    ]
    if not live:
        raise UserErrorException(f"step {step!r} of pipeline {dag_id!r} has no live result")
    return max(live)[1]


def names_of(step_name: str) -> set[str]:
    """Return what people call a step: its name, and the task id that follows from it."""
    return {step_name, task_id_for(step_name.removesuffix(".py"))}


def _matches(standing: Standing, dag_id: str | None, step: str | None) -> bool:
    entry = standing.entry
    if entry is None:
        return dag_id is None and step is None
    return dag_id in (None, entry.dag_id) and (step is None or step in names_of(entry.step_name))


def _state(standing: Standing) -> str:
    return HeadState.NONE.value if standing.head is None else standing.head.state.value


def _finished(standing: Standing) -> str:
    return standing.entry.finished if standing.entry is not None else ""


def _row(key: str, standing: Standing) -> tuple[str, ...]:
    entry, state = standing.entry, _state(standing)
    if entry is None:
        return (key[:KEY_LENGTH], *[NOTHING] * 6, f"{state}, damaged", NOTHING)
    return (
        key[:KEY_LENGTH],
        entry.step_name,
        entry.dag_id,
        entry.run_id,
        moment(entry.finished),
        seconds(entry.duration_s),
        size(entry.size_bytes),
        state,
        entry.writer or NOTHING,
    )


def _document(key: str, standing: Standing) -> dict[str, Any]:
    head = standing.head
    return {
        "key": key,
        "state": _state(standing),
        "state_reason": head.reason if head else None,
        "state_by": head.by if head else None,
        "state_time": head.time if head else None,
        "entry": None if standing.entry is None else asdict(standing.entry),
    }


def _facts(key: str, standing: Standing) -> dict[str, str | None]:
    head, entry = standing.head, standing.entry
    said = f"{head.reason}, {head.by}, {moment(head.time)}" if head and head.reason else None
    facts: dict[str, str | None] = {"key": key, "state": _state(standing), "because": said}
    if entry is None:
        return {**facts, "entry": "damaged or gone"}
    return {
        **facts,
        "step": f"{entry.step_name} of {entry.dag_id}",
        "run": entry.run_id,
        "written by": entry.writer,
        "finished": f"{moment(entry.finished)} UTC",
        "took": seconds(entry.duration_s),
        "size": size(entry.size_bytes),
        "generation": str(entry.generation),
        "step run": entry.step_run_id,
    }


def _add(parts: list[str | Table], heading: str, table: Table | None) -> None:
    if table is not None and table.rows:
        parts += ["", heading, table]


def _outputs(standing: Standing) -> Table | None:
    if standing.entry is None:
        return None
    rows = [
        (
            f"  {name}",
            f"{item['datastore']}/{item['path']}",
            size(item["size_bytes"]),
            item["digest"][:KEY_LENGTH],
        )
        for name, item in standing.entry.outputs.items()
    ]
    return Table((), rows)


def _depends(document: Any) -> Table:
    """Return the parts of an action document, one line each."""
    rows = [
        (f"  {name}", text if len(text) <= 100 else f"{text[:100]}…")
        for name, value in document.items()
        if value not in (None, "", [], {})
        and (text := value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    ]
    return Table((), rows)


def _diverged(divergences: list[dict[str, Any]]) -> Table:
    return Table(
        (),
        [
            (
                f"  {item['dag_id']}",
                item["run_id"],
                moment(item["time"]),
                f"other {', '.join(item['outputs'])}",
            )
            for item in divergences
        ],
    )


def _used(users: list[dict[str, Any]]) -> Table:
    rows = [(f"  {item['dag_id']}", str(item["name"]), str(item["run_id"])) for item in users]
    return Table((), rows or [("  nobody yet", "", "")])


def _users(workspace: WorkspaceHandle, step_run_ids: set[str]) -> Iterator[dict[str, Any]]:
    """Walk the step runs that took one of these results."""
    for record in workspace.runs.walk():
        if record.get("kind") == "step" and record.get("reused_from") in step_run_ids:
            yield {name: record[name] for name in ("dag_id", "run_id", "name", "map_index", "id", "end")}
