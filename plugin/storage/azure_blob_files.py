"""Files in a container of Azure Blob storage or Data Lake Storage Gen2.

Bytes move through obstore. What it lacks goes through :mod:`.azure_rest`: MD5s, which the service checks for each part and keeps
with the file; listings with those MD5s and of any name; deletes; copies whose end is awaited.
"""

from __future__ import annotations

import base64
import calendar
import hashlib
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from airflow_azureml.runtime.exceptions import StoreError, UserErrorException
from airflow_azureml.storage.azure_copy import server_copy
from airflow_azureml.storage.azure_rest import AzureRest, BlobAddress, RequestFailed
from airflow_azureml.storage.files import FileInfo, joined
from airflow_azureml.storage.obstore_files import ObstoreFiles, plain_etag, quoted_etag

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Client

_MONTHS = {calendar.month_abbr[number]: number for number in range(1, 13)}
_BLOCKS_AT_ONCE = 4
_BATCH_WORKERS = 8


class AzureBlobFiles(ObstoreFiles):
    """See ``FileStore`` and :class:`ObstoreFiles`. MD5s are the service's own, which other tools read and write, too.

    Data Lake Gen2 keeps folders of their own; here they are only seen by the files in them.

    :param client: the container.
    :param rest: the account that it is in.
    :param container: its name.
    :param prefix: folder in it that is the root.
    """

    def __init__(self, client: Client, rest: AzureRest, container: str, prefix: str = "") -> None:
        uri = "/".join(filter(None, ("azure:/", rest.account.account, container, prefix.strip("/"))))
        super().__init__(client, uri, prefix)
        self.rest = rest
        self.container = container

    def key(self, path: str) -> str:
        """See ``ObstoreFiles.key``."""
        # The service would take it for a slash.
        if "\\" in path:
            raise UserErrorException(
                f"file {path!r} cannot be kept in {self.uri}: its name has a backslash; rename it"
            )
        return super().key(path)

    def address(self, path: str) -> BlobAddress:
        """Return where a file is."""
        return BlobAddress(self.container, self.key(path))

    def stat(self, path: str) -> FileInfo | None:
        """See ``FileStore.stat``."""
        key = self.key(path)
        with self.requests("look at", path):
            try:
                found = self.rest.send("HEAD", self.container, key).headers
            except RequestFailed as error:
                if error.failure.is_absent:
                    return None
                raise
        if found.get("x-ms-meta-hdi_isfolder") == "true" or found.get("x-ms-resource-type") == "directory":
            return None
        return FileInfo(
            path,
            int(found["content-length"]),
            _seconds(found["last-modified"]),
            plain_etag(found["etag"]),
            _hex(found.get("content-md5")),
        )

    def listed(self, folder: str) -> Iterator[FileInfo]:
        """See ``ObstoreFiles.listed``; with MD5s."""
        prefix = joined(self.prefix, folder)
        for page in self._pages(folder, prefix + "/" if prefix else "", ""):
            yield from self._of_page(page)

    def level(self, folder: str) -> tuple[Iterable[str], Iterable[FileInfo]]:
        """See ``ObstoreFiles.level``."""
        prefix = joined(self.prefix, folder)
        names: set[str] = set()
        files: list[FileInfo] = []
        for page in self._pages(folder, prefix + "/" if prefix else "", "/"):
            names.update(
                found.rstrip("/").rpartition("/")[2] for found in _texts(page, "Blobs/BlobPrefix/Name")
            )
            files += self._of_page(page)
        # A folder of Data Lake Gen2 is listed beside its own prefix.
        return names, [info for info in files if info.size_bytes or info.path.rpartition("/")[2] not in names]

    def put_bytes(self, path: str, data: bytes, *, md5: str | None = None) -> FileInfo:
        """See ``ObstoreFiles.put_bytes``; with an MD5 the service refuses what didn't arrive as it was sent."""
        if md5 is None:
            return super().put_bytes(path, data)
        headers = {
            "x-ms-blob-type": "BlockBlob",
            "content-type": "application/octet-stream",
            "content-md5": _base64(md5),
        }
        with self.requests("write", path):
            found = self.rest.send("PUT", self.container, self.key(path), headers=headers, body=data).headers
        return FileInfo(path, len(data), _seconds(found["last-modified"]), plain_etag(found["etag"]), md5)

    def put_parts(
        self,
        key: str,
        parts: Iterator[bytes],
        part_bytes: int,
        unchanged: Callable[[], None],
        md5: str | None,
    ) -> None:
        """See ``ObstoreFiles.put_parts``; with an MD5 the service checks each part and keeps it."""
        if md5 is None:
            super().put_parts(key, parts, part_bytes, unchanged, md5)
            return
        with self.requests("write", key), ThreadPoolExecutor(_BLOCKS_AT_ONCE) as pool:
            blocks: list[str] = []
            # Another one for each upload: the service keeps waiting parts by the file's name and theirs.
            token = secrets.token_hex(8)
            sending: list[Future[None]] = []
            for part in parts:
                blocks.append(base64.b64encode(f"{token}{len(blocks):08d}".encode()).decode("ascii"))
                sending.append(pool.submit(self._put_block, key, blocks[-1], part))
                # Not all at once: a part stays in memory until it is sent.
                if len(sending) >= _BLOCKS_AT_ONCE:
                    sending.pop(0).result()
            for future in sending:
                future.result()
            unchanged()
            self._put_block_list(key, blocks, md5)

    def copy(self, source: str, target: str) -> FileInfo:
        """See ``FileStore.copy``."""
        copied = server_copy(self, source, self, target, stopping=threading.Event())
        if copied is None:
            raise StoreError(f"the service does not copy {source!r} in {self.uri}")
        return copied

    def remove(self, keys: list[str], path: str) -> None:
        """See ``ObstoreFiles.remove``."""
        if len(keys) == 1:
            self.remove_if(keys[0], path, None)
            return
        with ThreadPoolExecutor(_BATCH_WORKERS) as pool:
            for _ in pool.map(lambda key: self.remove_if(key, path, None), keys):
                pass

    def remove_if(self, key: str, path: str, etag: str | None) -> None:
        """Remove a file by its name in the container; ``FileChanged`` when it has another etag."""
        headers = {"x-ms-delete-snapshots": "include"} | ({"if-match": quoted_etag(etag)} if etag else {})
        with self.requests("delete", path):
            try:
                self.rest.send("DELETE", self.container, key, headers=headers)
            except RequestFailed as error:
                # A condition doesn't hold for what isn't there, either.
                if error.failure.is_absent or (error.failure.status == 412 and not self._is_there(key)):
                    return
                raise

    @contextmanager
    def requests(self, verb: str, path: str) -> Iterator[None]:
        """Turn failed requests into the package's errors."""
        try:
            yield
        except RequestFailed as error:
            raise error.failure.exception(verb, path, self.uri) from None

    def _is_there(self, key: str) -> bool:
        try:
            self.rest.send("HEAD", self.container, key)
        except RequestFailed as error:
            if error.failure.is_absent:
                return False
            raise
        return True

    def _put_block(self, key: str, block: str, part: bytes) -> None:
        digest = base64.b64encode(hashlib.md5(part, usedforsecurity=False).digest()).decode("ascii")
        query = {"comp": "block", "blockid": block}
        self.rest.send("PUT", self.container, key, query=query, headers={"content-md5": digest}, body=part)

    def _put_block_list(self, key: str, blocks: list[str], md5: str) -> None:
        listed = "".join(f"<Latest>{block}</Latest>" for block in blocks)
        body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{listed}</BlockList>'.encode()
        headers = {
            "x-ms-blob-content-md5": _base64(md5),
            "x-ms-blob-content-type": "application/octet-stream",
        }
        self.rest.send("PUT", self.container, key, query={"comp": "blocklist"}, headers=headers, body=body)

    def _pages(self, folder: str, prefix: str, delimiter: str) -> Iterator[ElementTree.Element]:
        query = {"restype": "container", "comp": "list", "prefix": prefix, "delimiter": delimiter}
        query = {name: value for name, value in query.items() if value}
        while True:
            with self.requests("list", folder):
                answer = self.rest.send("GET", self.container, query=query)
            # From the account that keeps our data, over its own protocol.
            page = ElementTree.fromstring(answer.content)  # noqa: S314
            yield page
            marker = page.findtext("NextMarker")
            if not marker:
                return
            query["marker"] = marker

    def _of_page(self, page: ElementTree.Element) -> Iterator[FileInfo]:
        cut = len(self.prefix) + 1 if self.prefix else 0
        for blob in page.iterfind("Blobs/Blob"):
            name, about = blob.findtext("Name") or "", blob.find("Properties")
            if about is None or name.endswith("/") or about.findtext("ResourceType") == "directory":
                continue
            yield FileInfo(
                name[cut:],
                int(about.findtext("Content-Length") or 0),
                _seconds(about.findtext("Last-Modified") or ""),
                plain_etag(about.findtext("Etag")),
                _hex(about.findtext("Content-MD5")),
            )


def _texts(page: ElementTree.Element, path: str) -> Iterator[str]:
    return (found.text or "" for found in page.iterfind(path))


def _seconds(text: str) -> float:
    # "Tue, 24 Nov 2026 00:07:13 GMT", by place: the standard library's parser takes longer than the rest of the line.
    try:
        hour, minute, second = text[17:25].split(":")
        parts = (int(text[12:16]), _MONTHS[text[8:11]], int(text[5:7]), int(hour), int(minute), int(second))
    except (ValueError, KeyError):
        return 0.0
    return float(calendar.timegm((*parts, 0, 0, 0)))


def _hex(md5: str | None) -> str | None:
    return base64.b64decode(md5).hex() if md5 else None


def _base64(md5: str) -> str:
    return base64.b64encode(bytes.fromhex(md5)).decode("ascii")
