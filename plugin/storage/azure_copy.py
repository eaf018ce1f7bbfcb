"""Copies that Azure's Blob service makes by itself, between containers and between accounts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from airflow_azureml.runtime.exceptions import ObjectNotFound, StepCanceled, StoreError
from airflow_azureml.storage.azure_rest import AzureRest, BlobAddress, RequestFailed
from airflow_azureml.storage.failures import Failure

if TYPE_CHECKING:
    from airflow_azureml.storage.files import FileInfo, FileStore

_LINK_VALID_S = 24 * 3600.0
_SYNC_BYTES = 256 << 20
_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 10.0
_TELL_EVERY_S = 15.0
# What a service says that cannot read the source or doesn't know how to copy; then the bytes go through this machine.
_CANNOT = frozenset(
    {"CannotVerifyCopySource", "CopyAcrossAccountsNotSupported", "UnsupportedHeader", "NotImplemented"}
)


def server_copy(
    source: FileStore,
    source_path: str,
    target: FileStore,
    target_path: str,
    *,
    stopping: threading.Event,
    tell: Callable[[str], None] | None = None,
    info: FileInfo | None = None,
) -> FileInfo | None:
    """Copy a file between two stores without moving its bytes through this machine, and wait until it is there.

    While the service copies a large file it shows the target with its final size and no content; a copy within an
    account and one of up to 256 MiB is there at once.

    :param stopping: set to abort: the copy is called off, and what is there of it is removed.
    :param tell: told how far a long copy is.
    :param info: the source as it was looked at, which saves looking again; the copy is refused when it changed.
    :returns: what was written; None when these two stores cannot do that, and nothing was done.
    :raises ObjectNotFound: there is no such file.
    :raises FileChanged: the source isn't the file of ``info`` any more.
    :raises StepCanceled: it was stopped.
    :raises StoreError: the copy failed.
    """
    from airflow_azureml.storage.azure_blob_files import AzureBlobFiles

    if not isinstance(source, AzureBlobFiles) or not isinstance(target, AzureBlobFiles):
        return None
    origin, place = source.address(source_path), target.address(target_path)
    found = info or source.stat(source_path)
    if found is None:
        raise ObjectNotFound(source_path, f"there is no file {source_path!r} in {source.uri}")
    with target.requests("copy", source_path):
        try:
            copy_blob(source.rest, origin, target.rest, place, info=found, stopping=stopping, tell=tell)
        except RequestFailed as error:
            if error.failure.status == 501 or error.failure.code in _CANNOT:
                return None
            raise
    return target.written(target_path)


def copy_blob(
    source_account: AzureRest,
    source: BlobAddress,
    target_account: AzureRest,
    target: BlobAddress,
    *,
    info: FileInfo,
    stopping: threading.Event,
    tell: Callable[[str], None] | None = None,
) -> None:
    """Copy a blob and wait until it is there.

    :param info: the source as it was looked at.
    :raises RequestFailed: the service refuses.
    :raises StepCanceled: it was stopped.
    :raises StoreError: the copy ended without success.
    """
    headers = _source_headers(source_account, source, target_account, info)
    answer = target_account.send("PUT", target.container, target.name, headers=headers).headers
    status, copy_id = answer.get("x-ms-copy-status", "success"), answer.get("x-ms-copy-id", "")
    wait_s, told = _FIRST_WAIT_S, time.monotonic()
    while status == "pending":
        if stopping.wait(wait_s):
            _abort(target_account, target, copy_id)
            raise StepCanceled(f"the copy of {source.name!r} was called off", reason="stopped")
        wait_s = min(_LONGEST_WAIT_S, wait_s * 1.5)
        found = target_account.send("HEAD", target.container, target.name).headers
        if found.get("x-ms-copy-id") != copy_id:
            raise StoreError(f"{target.name!r} was written by somebody else while it was copied")
        status = found.get("x-ms-copy-status", "")
        if tell is not None and time.monotonic() - told >= _TELL_EVERY_S:
            told = time.monotonic()
            tell(f"copying {source.name}: {found.get('x-ms-copy-progress', '?')} bytes")
    if status != "success":
        raise StoreError(f"the service did not copy {source.name!r}: it ended as {status!r}; try again")


def _source_headers(
    source_account: AzureRest, source: BlobAddress, target_account: AzureRest, info: FileInfo
) -> dict[str, str]:
    """Say where the source is, and let the target's service read it."""
    headers = {"x-ms-source-if-match": f'"{info.etag}"'} if info.etag else {}
    same = source_account.account.endpoint == target_account.account.endpoint
    if same and target_account.account.sas_token is None:
        # The credentials of the request count for the source, too.
        return headers | {"x-ms-copy-source": source_account.url(source.container, source.name)}
    sync = {"x-ms-requires-sync": "true"} if info.size_bytes <= _SYNC_BYTES else {}
    signed = source_account.signed_url(source, valid_s=_LINK_VALID_S)
    if signed is not None:
        return headers | sync | {"x-ms-copy-source": signed}
    if not sync:
        # A token for the source is taken only for copies that are made at once.
        raise RequestFailed(Failure(501, "CannotVerifyCopySource"))
    return (
        headers
        | sync
        | {
            "x-ms-copy-source": source_account.url(source.container, source.name),
            "x-ms-copy-source-authorization": f"Bearer {source_account.bearer()}",
        }
    )


def _abort(account: AzureRest, blob: BlobAddress, copy_id: str) -> None:
    query = {"comp": "copy", "copyid": copy_id}
    try:
        account.send("PUT", blob.container, blob.name, query=query, headers={"x-ms-copy-action": "abort"})
        # What is left is an empty blob.
        account.send("DELETE", blob.container, blob.name)
    except RequestFailed as error:
        # It ended meanwhile, or somebody removed it.
        if error.failure.status not in (404, 409):
            raise
