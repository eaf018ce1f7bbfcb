"""Whether the two ends of a transfer are files or directories, where nobody says so."""

from __future__ import annotations

from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.storage.files import FileStore
from airflow_azureml.transfer.request import ReferenceType


def infer_types(
    source: FileStore,
    source_path: str,
    source_type: ReferenceType | None,
    target: FileStore,
    target_path: str,
    target_type: ReferenceType | None,
) -> tuple[ReferenceType, ReferenceType]:
    """Return what source and destination are.

    v1 source: ``DataTransferStep``: ``source_reference_type`` is by default what the path is; ``destination_reference_type``
    what the path is if there is something already, else what the source is.

    :param source_type: as the user gave it, or None.
    :param target_type: as the user gave it, or None.
    :raises UserErrorException: there is nothing at the source's path, or a file and a folder and no ``source_type``.
    """
    from_type = source_type or _existing(source, source_path, "source")
    if from_type is None:
        raise UserErrorException(
            f"there is neither a file nor a folder {source_path!r} on {source.uri}; "
            "check the path of the source reference, or make its step run first"
        )
    return from_type, target_type or _existing(target, target_path, "destination") or from_type


def _existing(store: FileStore, path: str, end: str) -> ReferenceType | None:
    if not path:
        return "directory"
    is_file, is_folder = store.stat(path) is not None, store.is_folder(path)
    if is_file and is_folder:
        # A blob store may have both; whichever were taken would surprise somebody.
        raise UserErrorException(
            f"{path!r} is a file and also a folder on {store.uri}; say which with {end}_reference_type='file' or 'directory'"
        )
    if is_file:
        return "file"
    return "directory" if is_folder else None
