"""Every question the dataset classes ask the service, and the answers they expect.

===================== ================================================================ ==============================
method                parameters                                                       answer
===================== ================================================================ ==============================
dataset.files         definition, fetch, first                                         ``resolve.files_document(…)``
dataset.save          definition                                                       saved id, text
dataset.get           id                                                               definition document
dataset.get_by_name   name, version (int or None)                                      record
dataset.list                                                                           list of records, latest versions
dataset.register      name, definition, description, tags, create_new_version          record
dataset.update        name, version, description, tags, add_tags, remove_tags          record
dataset.unregister    name
datastore.exists      name, path                                                       bool
datastore.upload      name, path, overwrite; the file is the payload
===================== ================================================================ ==============================

A record is ``{name, version, id, definition, description, tags, registered_at, …}``. For ``dataset.update`` None means
"leave as it is". Names, versions or ids that don't exist raise ``UserErrorException`` (v1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO, Iterable, Mapping

from airflow_azureml.runtime import service

if TYPE_CHECKING:
    from airflow_azureml.runtime.dataset.resolve import ResolvedFile

Record = Mapping[str, Any]


def files(definition: dict[str, Any], first: int | None = None) -> list[ResolvedFile]:
    """Return the files of a dataset as this process can open them.

    :param first: only so many, and none that is empty.
    """
    return _files(definition, fetch=True, first=first)


def listed(definition: dict[str, Any]) -> list[ResolvedFile]:
    """Return the files of a dataset with their names, sizes and times; remote ones may not be on this machine."""
    return _files(definition, fetch=False, first=None)


def _files(definition: dict[str, Any], *, fetch: bool, first: int | None) -> list[ResolvedFile]:
    from airflow_azureml.runtime.dataset.resolve import ResolvedFile

    answer = service.call("dataset.files", definition=definition, fetch=fetch, first=first)
    return [ResolvedFile.from_document(document) for document in answer["files"]]


def save(definition: dict[str, Any]) -> str:
    """Keep a definition and return its id."""
    return _text(service.call("dataset.save", definition=definition))


def get(saved_id: str) -> dict[str, Any]:
    """Return a saved definition."""
    definition: dict[str, Any] = service.call("dataset.get", id=saved_id)
    return definition


def get_by_name(name: str, version: int | None) -> Record:
    """Return the record of a registered dataset, of the latest version for None."""
    return _record(service.call("dataset.get_by_name", name=name, version=version))


def list_latest() -> list[Record]:
    """Return the record of the latest version of every registered dataset."""
    return [_record(record) for record in service.call("dataset.list")]


def register(
    name: str,
    definition: dict[str, Any],
    description: str | None,
    tags: Mapping[str, str],
    create_new_version: bool,
) -> Record:
    """Register a definition under a name and return the record."""
    return _record(
        service.call(
            "dataset.register",
            name=name,
            definition=definition,
            description=description,
            tags=dict(tags),
            create_new_version=create_new_version,
        )
    )


def update(
    name: str,
    version: int,
    *,
    description: str | None = None,
    tags: Mapping[str, str] | None = None,
    add_tags: Mapping[str, str] | None = None,
    remove_tags: Iterable[str] = (),
) -> Record:
    """Change description or tags of a version and return the record."""
    return _record(
        service.call(
            "dataset.update",
            name=name,
            version=version,
            description=description,
            tags=None if tags is None else dict(tags),
            add_tags=dict(add_tags or {}),
            remove_tags=list(remove_tags),
        )
    )


def unregister(name: str) -> None:
    """Take a name with all its versions out of the registry."""
    service.call("dataset.unregister", name=name)


def upload(datastore: str, path: str, file: BinaryIO, overwrite: bool) -> bool:
    """Upload a file to a datastore and tell whether that was done: one that is there stays unless overwritten."""
    if not overwrite and service.call("datastore.exists", name=datastore, path=path):
        return False
    service.call("datastore.upload", file, name=datastore, path=path, overwrite=overwrite)
    return True


def _record(answer: Any) -> Record:
    record: Record = answer
    return record


def _text(answer: Any) -> str:
    return str(answer)
