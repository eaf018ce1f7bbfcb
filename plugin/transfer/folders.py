"""What a transfer does beside copying files: empty folders, and the deletions of a mirror."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from airflow_azureml.runtime.exceptions import StepCanceled
from airflow_azureml.storage.files import joined
from airflow_azureml.transfer.lanes import Lanes
from airflow_azureml.transfer.patterns import chooser
from airflow_azureml.transfer.request import TransferRequest

_DELETIONS_AT_ONCE = 16


def make_empty_folders(request: TransferRequest) -> int:
    """Make the source's empty folders on the target, where both have such things, and return how many they are."""
    made = 0
    for folder in _empty_folders_of_source(request):
        if not request.dry_run:
            request.target.make_folder(joined(request.target_path, folder))
        made += 1
    return made


def delete_extra(
    request: TransferRequest,
    paths: Iterator[str],
    stopping: threading.Event,
    tell: Callable[[str], None],
) -> int:
    """Delete files of the target, and return how many they were.

    :param paths: the files, as the transfer calls them.
    :raises StoreError: one could not be deleted.
    """
    lanes = Lanes(
        lambda path: request.target.delete(request.target_file(path)), [(paths, _DELETIONS_AT_ONCE)]
    )
    deleted = 0
    try:
        for outcome in lanes.outcomes():
            if stopping.is_set():
                raise StepCanceled(
                    f"transfer of {request.name} was stopped while it deleted; {deleted} files are gone"
                )
            if outcome is not None:
                path, error = outcome
                if isinstance(error, BaseException):
                    tell(f"cannot delete {path!r} on {request.target.uri}: {error}")
                    raise error
                deleted += 1
    finally:
        lanes.close()
    return deleted


def remove_empty_folders(request: TransferRequest) -> None:
    """Remove the target's empty folders that the source doesn't have, until there are none."""
    if not request.target.has_folders:
        return
    wanted = set(_empty_folders_of_source(request))
    beginning = len(request.target_path) + 1 if request.target_path else 0
    while True:
        found = [
            folder
            for folder in request.target.empty_folders(request.target_path)
            if folder != request.target_path and folder[beginning:] not in wanted
        ]
        if not found:
            return
        for folder in found:
            request.target.remove_folder(folder)


def _empty_folders_of_source(request: TransferRequest) -> Iterator[str]:
    if request.source_type == "file" or not (request.source.has_folders and request.target.has_folders):
        return
    beginning = len(request.source_path) + 1 if request.source_path else 0
    # With a choice of files, a folder without any of them is none that was chosen.
    chosen = chooser(request.include, request.exclude)
    for folder in request.source.empty_folders(request.source_path):
        path = folder[beginning:]
        if not request.include and chosen(path) and path:
            yield path
    if request.source.is_folder(request.source_path):
        yield ""
