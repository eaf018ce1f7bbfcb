"""Writing to Azure Blob storage so that the service itself checks what arrives.

Each block carries its MD5, and the service refuses one that is damaged; the MD5 of the whole is kept with the blob, for whoever
reads it. Nothing has to be read back, and nothing damaged is ever seen under the blob's name.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Self

from airflow_azureml.storage.azure_blob_files import AzureBlobFiles
from airflow_azureml.storage.azure_rest import RequestFailed
from airflow_azureml.storage.files import FileInfo
from airflow_azureml.storage.obstore_files import plain_etag
from airflow_azureml.transfer.checksums import BytesDamaged, Sums

if TYPE_CHECKING:
    import httpx

SMALL_BYTES = 4 << 20
"""Up to this size a blob is written in one request."""

BLOCKS_AT_ONCE = 3
_DAMAGED = frozenset({"Md5Mismatch", "InvalidOperation"})
_BLOCK_BYTES = 4 << 20
_MAX_BLOCKS = 40_000


def put_blob(store: AzureBlobFiles, path: str, data: bytes, md5: str) -> FileInfo:
    """Write a small blob.

    :param md5: hex MD5 of the data.
    :raises BytesDamaged: something else arrived; nothing was written.
    """
    headers = {"x-ms-blob-type": "BlockBlob", "content-type": "application/octet-stream"}
    answer = _send(store, path, data, headers | {"content-md5": _base64(md5)}).headers
    return FileInfo(path, len(data), time.time(), plain_etag(answer["etag"]), md5)


class BlockWriter:
    """See ``FileWriter``. What is never closed leaves blocks that no one sees and that the service removes after a week.

    :param store: the container.
    :param path: the blob.
    :param size_bytes: how large it will be.
    :param sums: computes its MD5 from what is passed on to this writer.
    """

    def __init__(self, store: AzureBlobFiles, path: str, size_bytes: int, sums: Sums) -> None:
        self._store = store
        self._path = path
        self._sums = sums
        self._block_bytes = max(_BLOCK_BYTES, -(-size_bytes // _MAX_BLOCKS))
        self._held: list[bytes] = []
        self._held_bytes = 0
        # Of its own, so that the blocks of somebody who writes the same blob are not taken for ours; and as long as those
        # of obstore, because the service wants all ids for a blob in one length, those of dead writers included.
        self._token = secrets.token_hex(6)
        self._blocks: list[str] = []
        self._sending: deque[Future[None]] = deque()
        self._pool = ThreadPoolExecutor(BLOCKS_AT_ONCE, thread_name_prefix="transfer-block")

    def write(self, data: bytes) -> None:
        """See ``FileWriter.write``."""
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes >= self._block_bytes:
            self._send()

    def close(self) -> FileInfo:
        """See ``FileWriter.close``."""
        self._send()
        while self._sending:
            self._sending.popleft().result()
        listed = "".join(f"<Latest>{block}</Latest>" for block in self._blocks)
        body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{listed}</BlockList>'.encode()
        headers = {"x-ms-blob-content-type": "application/octet-stream"}
        if self._sums.md5 is not None:
            headers["x-ms-blob-content-md5"] = _base64(self._sums.md5)
        _send(self._store, self._path, body, headers, {"comp": "blocklist"})
        return self._store.written(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._held.clear()

    def _send(self) -> None:
        if not self._held:
            return
        data = self._held[0] if len(self._held) == 1 else b"".join(self._held)
        self._held, self._held_bytes = [], 0
        if len(self._sending) == BLOCKS_AT_ONCE:
            self._sending.popleft().result()
        block = base64.b64encode(f"{self._token}{len(self._blocks):08d}".encode()).decode("ascii")
        self._blocks.append(block)
        self._sending.append(self._pool.submit(self._put, block, data))

    def _put(self, block: str, data: bytes) -> None:
        headers = {}
        if self._sums.wanted.service:
            headers["content-md5"] = _base64(hashlib.md5(data, usedforsecurity=False).hexdigest())
        _send(self._store, self._path, data, headers, {"comp": "block", "blockid": block})


def _send(
    store: AzureBlobFiles,
    path: str,
    data: bytes,
    headers: dict[str, str],
    query: dict[str, str] | None = None,
) -> httpx.Response:
    with store.requests("write", path):
        try:
            return store.rest.send(
                "PUT", store.container, store.key(path), query=query, headers=headers, body=data
            )
        except RequestFailed as error:
            if error.failure.code not in _DAMAGED:
                raise
    raise BytesDamaged(
        f"{path!r} was damaged on its way to {store.uri}; the service refused it, because its MD5 is another one"
    )


def _base64(md5: str) -> str:
    return base64.b64encode(bytes.fromhex(md5)).decode("ascii")
