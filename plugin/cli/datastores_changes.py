"""``airflow azureml datastores register``, ``set-default``, ``unregister``, ``upload`` and ``download``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from airflow_azureml.cli.commands import UsageError, audited, command, workspace_of
from airflow_azureml.cli.printing import Answer, plural, print_answer, size
from airflow_azureml.runtime.dataset.locations import clean_datastore_path
from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.storage.files import FileInfo, FileStore, joined
from airflow_azureml.storage.moving import download_many, upload_many
from airflow_azureml.workspace.datastore_registration import register as register_remote
from airflow_azureml.workspace.datastores import LOCAL_TYPE, DatastoreRecord

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator


@audited
def register(args: Namespace) -> None:
    """Register a datastore."""
    datastores = workspace_of(args).datastores
    record = _record(args)
    if args.create and record.is_local:
        raise UsageError("--create makes containers and file shares; a folder is made when it is first used")
    if record.type == LOCAL_TYPE:
        found = datastores.register(record, overwrite=args.overwrite)
    else:
        found = register_remote(
            datastores,
            record,
            _claims(record),
            overwrite=args.overwrite,
            create_container=args.create,
            validate=not args.no_check,
        )
    if args.default:
        datastores.set_default(found.name)
    last = f"datastore {found.name!r} is registered" + (", and the default" if args.default else "")
    print_answer(Answer(found.to_document(), [last]), args.output)


@audited
def set_default(args: Namespace) -> None:
    """Make a datastore the default."""
    workspace_of(args).datastores.set_default(args.name)
    print_answer(Answer({"default": args.name}, [f"{args.name!r} is the default datastore"]), args.output)


@audited
def unregister(args: Namespace) -> None:
    """Forget a datastore."""
    workspace_of(args).datastores.unregister(args.name)
    print_answer(
        Answer({"unregistered": args.name}, [f"{args.name!r} is forgotten; its data stay"]), args.output
    )


@audited
def upload(args: Namespace) -> None:
    """Copy a local file or folder to a datastore."""
    store = workspace_of(args).datastores.files(args.name)
    target = clean_datastore_path(args.target)
    source = Path(args.source)
    if source.is_dir():
        files = [
            (path, joined(target, path.relative_to(source).as_posix()))
            for path in sorted(source.rglob("*"))
            if path.is_file()
        ]
    elif source.is_file():
        files = [(source, joined(target, source.name))]
    else:
        raise UserErrorException(f"there is no file or folder {args.source!r}")
    written = [info for info in upload_many(store, files, overwrite=args.overwrite) if info is not None]
    _say_what_was_copied(args, written, kept=len(files) - len(written))


@command
def download(args: Namespace) -> None:
    """Copy a file or folder of a datastore to a local folder; paths on the datastore are kept below it."""
    store = workspace_of(args).datastores.files(args.name)
    listed = list(_listed(store, clean_datastore_path(args.path)))
    if not listed:
        raise UserErrorException(f"datastore {args.name!r} has nothing at {args.path!r}")
    files = [(info, Path(args.to, info.path)) for info in listed]
    wanted = [(info, path) for info, path in files if args.overwrite or not path.exists()]
    download_many(store, wanted)
    _say_what_was_copied(args, [info for info, _ in wanted], kept=len(files) - len(wanted))


def _listed(store: FileStore, path: str) -> Iterator[FileInfo]:
    file = store.stat(path) if path else None
    if file is not None:
        yield file
    else:
        yield from store.walk(path)


def _say_what_was_copied(args: Namespace, copied: list[FileInfo], *, kept: int) -> None:
    total = sum(info.size_bytes for info in copied)
    document = {"copied": [info.path for info in copied], "size_bytes": total, "kept": kept}
    text = f"{plural(len(copied), 'file')} copied, {size(total)}"
    if kept:
        text += f"; {plural(kept, 'file')} stayed as they are (--overwrite replaces them)"
    print_answer(Answer(document, [text]), args.output)


def _record(args: Namespace) -> DatastoreRecord:
    tags = dict(tag.partition("=")[::2] for tag in args.tag)
    root = None if args.root is None else str(Path(args.root).expanduser().absolute())
    return DatastoreRecord(
        args.name,
        args.type,
        connection_id=args.connection,
        root=root,
        container=args.container,
        path=clean_datastore_path(args.path or "") or None,
        account=args.account,
        replaces=args.replaces,
        description=args.description,
        tags=tags,
    )


def _claims(record: DatastoreRecord) -> dict[str, str]:
    if record.account is None:
        return {}
    return {"server_name" if record.is_database else "account_name": record.account}
