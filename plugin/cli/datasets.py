"""``airflow azureml datasets list``, ``show``, ``versions``, ``register`` and ``unregister``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from airflow_azureml import config
from airflow_azureml.cli.commands import UsageError, audited, command, workspace_of
from airflow_azureml.cli.printing import (
    NOTHING,
    Answer,
    Table,
    fields,
    moment,
    plural,
    print_answer,
    size,
)
from airflow_azureml.runtime.dataset import PromoteHeadersBehavior, sources
from airflow_azureml.runtime.dataset.definition import check_definition, new_definition
from airflow_azureml.runtime.dataset.locations import clean_datastore_path, path_entries
from airflow_azureml.runtime.exceptions import AzureMLException
from airflow_azureml.workspace.data_cache import DataCache
from airflow_azureml.workspace.dataset_content import DatasetContent, save_content, saved_content
from airflow_azureml.workspace.dataset_difference import Difference, changed_since_registration
from airflow_azureml.workspace.dataset_files import DatasetFiles

if TYPE_CHECKING:
    from argparse import Namespace

    from airflow_azureml.workspace.datasets import DatasetRecord
    from airflow_azureml.workspace.handle import WorkspaceHandle

Document = dict[str, Any]

_SHOWN_FILES = 20
_COLUMNS = ("name", "version", "kind", "format", "registered (UTC)", "by", "description")


@command
def list_datasets(args: Namespace) -> None:
    """List the newest version of every registered dataset."""
    _print_records(workspace_of(args).datasets.list(), args.output, "dataset")


@command
def versions(args: Namespace) -> None:
    """List the versions of a dataset, the newest last."""
    registry = workspace_of(args).datasets
    registry.get_by_name(args.name)
    _print_records(registry.versions(args.name), args.output, "version")


@command
def show(args: Namespace) -> None:
    """Show a version: its definition, its files, and whether they are what they were at registration."""
    workspace = workspace_of(args)
    record = workspace.datasets.get_by_name(args.name, args.version)
    content = saved_content(workspace.store, record.fingerprint)
    with data_of(workspace) as data:
        state = _state(workspace, data, record)
    document = {**asdict(record), "content": content and content.to_document(), "content_now": state}
    facts = {
        "name": record.name,
        "version": str(record.version),
        "kind": record.definition["kind"],
        "format": record.definition["source"]["format"],
        "id": record.id,
        "description": record.description,
        "tags": ", ".join(f"{key}={value}" for key, value in sorted(record.tags.items())) or None,
        "registered": f"{moment(record.registered_at)} UTC",
        "registered by": record.run_id,
        "content": None if content is None else _summary(content),
        "since then": state,
    }
    parts: list[str | Table] = [fields(facts), "", "source:", _source(record.definition)]
    if content is not None:
        parts += ["", "files:", _files(content)]
    print_answer(Answer(document, parts, fields(facts)), args.output)


@audited
def register(args: Namespace) -> None:
    """Register a dataset, or a new version of one."""
    workspace = workspace_of(args)
    definition = _definition(args, workspace)
    with data_of(workspace) as data:
        content = _content(data, definition)
    fingerprint = None if content is None else save_content(workspace.store, content)
    record = workspace.datasets.register(
        args.name,
        definition,
        fingerprint=fingerprint,
        description=args.description,
        tags=dict(_tag(text) for text in args.tag),
        create_new_version=args.new_version,
    )
    found = "its data cannot be looked at now" if content is None else _summary(content)
    said = f"{record.name} has version {record.version}: {found}"
    print_answer(Answer(asdict(record), [said], Table((), [(record.name, str(record.version))])), args.output)


@audited
def unregister(args: Namespace) -> None:
    """Take a name with all its versions out of the registry."""
    workspace = workspace_of(args)
    count = len(workspace.datasets.versions(args.name))
    workspace.datasets.unregister(args.name)
    said = f"{args.name} is not registered any more ({plural(count, 'version')}); its data is where it was"
    print_answer(Answer({"name": args.name, "versions": count}, [said]), args.output)


@contextmanager
def data_of(workspace: WorkspaceHandle) -> Iterator[DatasetFiles]:
    """Open the files of a workspace's datasets, with the cache that the steps of this machine use."""
    with (
        TemporaryDirectory(prefix="azureml-datasets-") as scratch,
        DataCache(config.cache_directory() / "data", config.data_cache_limit_bytes()) as cache,
    ):
        yield DatasetFiles(workspace.datastores, cache, Path(scratch))


def described(difference: Difference) -> str:
    """Return how many things differ, in one line."""
    counts = (
        (len(difference.added), "added"),
        (len(difference.removed), "removed"),
        (len(difference.changed), "changed"),
    )
    return ", ".join(f"{count} {word}" for count, word in counts if count) or "no difference"


def _print_records(records: Any, output: str, noun: str) -> None:
    table = Table(_COLUMNS, [_row(record) for record in records], frozenset({"version"}))
    parts: list[str | Table] = [table, plural(len(records), noun)] if records else [f"no {noun}s"]
    print_answer(Answer([asdict(record) for record in records], parts, table), output)


def _row(record: DatasetRecord) -> tuple[str, ...]:
    return (
        record.name,
        str(record.version),
        str(record.definition["kind"]),
        str(record.definition["source"]["format"]),
        moment(record.registered_at),
        record.run_id or NOTHING,
        record.description or "",
    )


def _state(workspace: WorkspaceHandle, data: DatasetFiles, record: DatasetRecord) -> str | None:
    """Return how the data differs from what it was when it was registered, for people."""
    try:
        changed = changed_since_registration(workspace.store, data, record)
    except (AzureMLException, OSError) as error:
        return f"the data cannot be looked at: {error}"
    if changed is None:
        return None
    return "unchanged" if changed.is_empty else f"files: {described(changed)}"


def _content(data: DatasetFiles, definition: Document) -> DatasetContent | None:
    try:
        return DatasetContent.of(data.list_files(definition))
    except (AzureMLException, OSError):
        # Registering doesn't need the data.
        return None


def _summary(content: DatasetContent) -> str:
    return f"{plural(len(content.files), 'file')}, {size(content.size_bytes)}"


def _files(content: DatasetContent) -> Table:
    rows = [
        (f"  {file.name}", size(None if file.size_bytes < 0 else file.size_bytes))
        for file in content.files[:_SHOWN_FILES]
    ]
    if len(content.files) > _SHOWN_FILES:
        rows.append((f"  and {len(content.files) - _SHOWN_FILES} more", ""))
    return Table((), rows)


def _source(definition: Document) -> Table:
    source = definition["source"]
    rows = [(f"  {_place(entry)}", "") for entry in source.get("paths", ())]
    rows += [
        (f"  {name}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in source.items()
        if name not in ("paths", "format") and value not in (None, False, {}, "")
    ]
    rows += [("  then", json.dumps(operation, ensure_ascii=False)) for operation in definition["operations"]]
    return Table((), rows)


def _place(entry: Document) -> str:
    if "datastore" in entry:
        return f"{entry['path'] or '/'} on {entry['datastore']}"
    return str(entry.get("local") or entry.get("url"))


def _tag(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not key or not separator:
        raise UsageError(f"--tag {text!r} is no tag; write key=value")
    return key, value


def _definition(args: Namespace, workspace: WorkspaceHandle) -> Document:
    given = [bool(args.paths), bool(args.query), bool(args.definition)]
    if sum(given) != 1:
        raise UsageError("give paths, --query or --definition, one of them")
    if args.definition:
        document = json.loads(Path(args.definition).read_text(encoding="utf-8"))
        # What `show --output json` prints has it among other things.
        return check_definition(
            document.get("definition", document) if isinstance(document, dict) else document
        )
    if args.datastore:
        workspace.datastores.get(args.datastore)
    if args.query:
        if not args.datastore:
            raise UsageError("--query needs --datastore, the database that answers it")
        return new_definition("tabular", sources.sql_source(args.datastore, args.query))
    paths = (
        [{"datastore": args.datastore, "path": clean_datastore_path(path)} for path in args.paths]
        if args.datastore
        else path_entries([_absolute(path) for path in args.paths])
    )
    return _of_files(args, paths)


def _of_files(args: Namespace, paths: list[Document]) -> Document:
    partition = args.partition_format
    if args.format == "files":
        return new_definition("file", sources.files_source(paths, partition))
    if args.format == "parquet":
        return new_definition("tabular", sources.parquet_source(paths, partition_format=partition))
    if args.format == "jsonlines":
        source = sources.json_lines_source(paths, partition_format=partition, encoding=args.encoding)
        return new_definition("tabular", source)
    source = sources.delimited_source(
        paths,
        separator=args.separator,
        encoding=args.encoding,
        partition_format=partition,
        header=PromoteHeadersBehavior.ALL_FILES_HAVE_SAME_HEADERS,
    )
    return new_definition("tabular", source)


def _absolute(path: str) -> str:
    # At a terminal a path starts at the current folder.
    return path if "://" in path else str(Path(path).expanduser().absolute())
