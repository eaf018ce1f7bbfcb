"""One copy by one library, in a process of its own, for ``benchmarks/transfer.py``.

``python transfer_once.py <library> <up|down|across> <endpoint> <container> <other container> <folder>``
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ACCOUNT = "devstoreaccount1"
# Azurite's own, the same in every installation.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
THREADS = 32
BLOCK_BYTES = 8 << 20


def main() -> None:
    """Make the copy that the arguments name."""
    library, direction, endpoint, container, other, folder = sys.argv[1:]
    LIBRARIES[library](direction, endpoint, container, other, Path(folder))


def here(direction: str, endpoint: str, container: str, other: str, folder: Path, **options: Any) -> None:
    """Copy with this package."""
    from airflow_azureml.storage import opening
    from airflow_azureml.storage.connections import ConnectionFields
    from airflow_azureml.storage.files import StoreAddress
    from airflow_azureml.storage.local_files import LocalFiles
    from airflow_azureml.transfer.engine import transfer
    from airflow_azureml.transfer.journal import Journal
    from airflow_azureml.transfer.request import TransferRequest

    # Without Airflow, which a task has loaded before a transfer begins.
    fields = ConnectionFields("azurite", "wasb", host=endpoint, login=ACCOUNT, password=KEY)
    opening.get_connection = lambda _: fields
    local = LocalFiles(folder)
    first, second = (
        opening.open_files(StoreAddress("AzureBlob", "azurite", container=name))
        for name in (container, other)
    )
    source, target = {"up": (local, first), "down": (first, local), "across": (first, second)}[direction]
    request = TransferRequest(source, "", target, "", **options)
    journal = Journal.in_folder(folder.parent / "journal", request.key)
    transfer(request, journal=journal, stopping=threading.Event(), tell=lambda _: None)


def here_sizes(*arguments: Any) -> None:
    """Copy with this package, and look at sizes alone."""
    here(*arguments, verify="size")


def sdk(
    direction: str, endpoint: str, container: str, other: str, folder: Path, *, validate: bool = False
) -> None:
    """Copy with azure-storage-blob, in as many threads as help it."""
    from azure.storage.blob import BlobServiceClient

    service = BlobServiceClient(
        endpoint, credential=KEY, max_block_size=BLOCK_BYTES, max_single_put_size=BLOCK_BYTES
    )
    first, second = service.get_container_client(container), service.get_container_client(other)

    def up(path: str) -> None:
        with (folder / path).open("rb") as file:
            first.upload_blob(path, file, max_concurrency=4, validate_content=validate)

    def down(path: str) -> None:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            blob = first.download_blob(path, max_concurrency=4, validate_content=validate)
            blob.readinto(file)

    def across(path: str) -> None:
        blob = second.get_blob_client(path)
        copy = blob.start_copy_from_url(first.get_blob_client(path).url)
        while copy["copy_status"] == "pending":
            copy = {"copy_status": blob.get_blob_properties().copy.status}

    paths = _files(folder) if direction == "up" else first.list_blob_names()
    work: dict[str, Callable[[str], None]] = {"up": up, "down": down, "across": across}
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(work[direction], list(paths)):
            pass


def sdk_checked(*arguments: Any) -> None:
    """Copy with azure-storage-blob, and let it check MD5s of what it sends and gets."""
    sdk(*arguments, validate=True)


def adlfs(direction: str, endpoint: str, container: str, other: str, folder: Path) -> None:
    """Copy with adlfs, as fsspec's users do."""
    from adlfs import AzureBlobFileSystem

    text = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={endpoint};"
    system = AzureBlobFileSystem(account_name=ACCOUNT, connection_string=text)
    if direction == "up":
        system.put(f"{folder}/", f"{container}/", recursive=True)
    elif direction == "down":
        system.get(f"{container}/", f"{folder}/", recursive=True)
    else:
        # A list of files: its recursive copy stumbles over the container itself.
        found = system.find(container)
        system.copy(found, [other + path[len(container) :] for path in found])


def _files(folder: Path) -> Iterator[str]:
    for place, _, names in os.walk(folder):
        yield from ((Path(place) / name).relative_to(folder).as_posix() for name in names)


LIBRARIES: dict[str, Callable[..., None]] = {
    "here": here,
    "here_sizes": here_sizes,
    "sdk": sdk,
    "sdk_checked": sdk_checked,
    "adlfs": adlfs,
}

if __name__ == "__main__":
    main()
