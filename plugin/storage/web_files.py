"""Files behind web addresses, read without signing in: any web server, and public containers of Azure Blob Storage.

Read only. A file is known by its ``ETag``, else by ``Last-Modified``, else by its content, which has to be read for that.
"""

from __future__ import annotations

import hashlib
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_azureml.runtime.exceptions import ObjectNotFound, StoreError
from airflow_azureml.storage.files import FileChanged, FileInfo, StoreBusy, check_path

if TYPE_CHECKING:
    import httpx

_TRIES = 4
_FIRST_PAUSE_S = 0.5
_TIMEOUT_S = 60.0
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_GONE = frozenset({404, 410})
_NO_HEAD = frozenset({400, 403, 405, 501})
_CHANGED = 412
_OK, _PARTIAL = 200, 206
_BY_TIME, _BY_CONTENT = "modified:", "sha256:"
# Compressed on the way, a file has another size than the server says.
_PLAIN = {"Accept-Encoding": "identity"}


class WebFiles:
    """Files of one web server.

    :param base: scheme, host and port, and the folder that paths are relative to: ``https://example.com/data``.
    """

    can_list = False
    """Whether :meth:`walk` works."""

    def __init__(self, base: str) -> None:
        self._base = base.rstrip("/")
        self._client_made: httpx.Client | None = None

    @property
    def uri(self) -> str:
        """The server's address."""
        return self._base

    @property
    def local_root(self) -> Path | None:
        """None: nothing of it is on this machine."""
        return None

    def stat(self, path: str) -> FileInfo | None:
        """Look at one file; None without one.

        :raises StoreBusy: the server can't answer now.
        :raises StoreError: it doesn't let us.
        """
        with self._answer("HEAD", path) as answer:
            found = None if answer.status_code in _NO_HEAD else self._seen(path, answer)
            if answer.status_code in _GONE:
                return None
        return found or self._read_to_know(path)

    def walk(self, folder: str = "") -> Iterator[FileInfo]:  # noqa: ARG002
        """Return nothing: web servers don't say what they have."""
        return iter(())

    def get_file(self, path: str, target: Path, *, etag: str | None = None) -> FileInfo:
        """Download a file; the target appears whole.

        :param etag: what :meth:`stat` called it.
        :raises FileChanged: it is another one by now.
        """
        part = target.with_name(f".{target.name}.web")
        digest = hashlib.sha256()
        size_bytes = 0
        condition = {"If-Match": etag} if etag and etag.startswith('"') else {}
        try:
            with self._answer("GET", path, condition) as answer, part.open("wb") as file:
                self._check(path, answer)
                info = _described(path, answer)
                for chunk in self._chunks(path, answer):
                    digest.update(chunk)
                    size_bytes += file.write(chunk)
            by_content = f"{_BY_CONTENT}{digest.hexdigest()}"
            if etag is not None and etag not in (info.etag, by_content):
                raise FileChanged(f"{self._url(path)} is another file now; another try reads it as it is")
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return FileInfo(path, size_bytes, info.modified, etag or info.etag or by_content)

    def _url(self, path: str) -> str:
        return f"{self._base}/{path}"

    def _seen(self, path: str, answer: httpx.Response) -> FileInfo | None:
        """Return what an answer's headers say of a file; None when that is not enough to know it."""
        if answer.status_code in _GONE:
            return None
        self._check(path, answer)
        found = _described(path, answer)
        return found if found.etag and found.size_bytes >= 0 else None

    def _read_to_know(self, path: str) -> FileInfo | None:
        with self._answer("GET", path) as answer:
            if answer.status_code in _GONE:
                return None
            found = self._seen(path, answer)
            if found is not None:
                return found
            digest = hashlib.sha256()
            size_bytes = 0
            for chunk in self._chunks(path, answer):
                digest.update(chunk)
                size_bytes += len(chunk)
            modified = _described(path, answer).modified or time.time()
            return FileInfo(path, size_bytes, modified, f"{_BY_CONTENT}{digest.hexdigest()}")

    def _check(self, path: str, answer: httpx.Response) -> None:
        status = answer.status_code
        if status in (_OK, _PARTIAL):
            return
        if status in _GONE:
            raise ObjectNotFound(path, f"{self._url(path)} is not there (HTTP {status})")
        if status == _CHANGED:
            raise FileChanged(f"{self._url(path)} is another file now; another try reads it as it is")
        raise StoreError(
            f"{self._url(path)} cannot be read without signing in (HTTP {status}); register a datastore with a "
            "connection that may read it, or use an address that is public"
        )

    def _chunks(self, path: str, answer: httpx.Response) -> Iterator[bytes]:
        import httpx

        try:
            yield from answer.iter_raw()
        except httpx.HTTPError as error:
            raise StoreBusy(f"{self._url(path)} broke off: {str(error) or type(error).__name__}") from error

    @contextmanager
    def _answer(
        self, method: str, path: str, headers: dict[str, str] | None = None, **parameters: str
    ) -> Iterator[httpx.Response]:
        answer = self._asked(method, path, {**_PLAIN, **(headers or {})}, parameters)
        try:
            yield answer
        finally:
            answer.close()

    def _asked(
        self, method: str, path: str, headers: dict[str, str], parameters: dict[str, str]
    ) -> httpx.Response:
        """Ask until there is an answer that another try would not change; the body is still to be read."""
        import httpx

        problem = ""
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_FIRST_PAUSE_S * 2 ** (attempt - 1))
            try:
                request = self._client.build_request(
                    method, self._url(path), headers=headers, params=parameters or None
                )
                answer = self._client.send(request, stream=True)
            except httpx.TransportError as error:
                problem = str(error) or type(error).__name__
                continue
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise StoreError(f"{self._url(path)} cannot be read: {error}") from error
            if answer.status_code not in _BUSY:
                return answer
            problem = f"HTTP {answer.status_code}"
            answer.close()
        raise StoreBusy(f"{self._url(path)} cannot be read now, tried {_TRIES} times: {problem}")

    @property
    def _client(self) -> httpx.Client:
        import httpx

        if self._client_made is None:
            agent = {"User-Agent": "airflow-azureml"}
            self._client_made = httpx.Client(timeout=_TIMEOUT_S, follow_redirects=True, headers=agent)
            weakref.finalize(self, self._client_made.close)
        return self._client_made


class PublicContainer(WebFiles):
    """A container of Azure Blob Storage that anybody may read, and list when it is public as a whole.

    :param base: ``https://account.blob.core.windows.net/container``.
    """

    can_list = True

    def stat(self, path: str) -> FileInfo | None:
        """Look at one file; None without one."""
        return super().stat(check_path(path))

    def walk(self, folder: str = "") -> Iterator[FileInfo]:
        """Walk all files below a folder in the order of their paths as text.

        :raises StoreError: the container doesn't let anybody list it.
        """
        marker = ""
        prefix = f"{folder}/" if folder else ""
        while True:
            with self._answer(
                "GET", "", restype="container", comp="list", prefix=prefix, marker=marker
            ) as answer:
                self._check(folder, answer)
                page = _Listing.of(b"".join(self._chunks(folder, answer)), self._base)
            yield from page.files
            marker = page.marker
            if not marker:
                return

    def _url(self, path: str) -> str:
        # Blob names are not quoted as addresses are.
        return f"{self._base}/{quote(path)}" if path else self._base


class _Listing:
    """One page of a container's listing."""

    def __init__(self, files: list[FileInfo], marker: str) -> None:
        self.files = files
        self.marker = marker

    @classmethod
    def of(cls, text: bytes, where: str) -> _Listing:
        from xml.etree import ElementTree as ET

        try:
            root = ET.fromstring(text)  # noqa: S314 - expat loads nothing external and limits expansion
        except ET.ParseError as error:
            raise StoreError(f"{where} answers a listing with something else: {error}") from error
        files = [
            FileInfo(
                path=blob.findtext("Name", ""),
                size_bytes=int(blob.findtext("Properties/Content-Length", "0")),
                modified=_seconds(blob.findtext("Properties/Last-Modified")),
                etag=_quoted(blob.findtext("Properties/Etag")),
            )
            for blob in root.iter("Blob")
            # A marker of a folder, as hierarchical accounts have them, is no file.
            if blob.findtext("Properties/ResourceType") != "directory"
        ]
        return cls(files, root.findtext("NextMarker") or "")


def _described(path: str, answer: httpx.Response) -> FileInfo:
    """Return what the headers say; without a size it is -1, without a version ``etag`` is None."""
    headers: Any = answer.headers
    modified = headers.get("Last-Modified")
    etag = _quoted(headers.get("ETag")) or (f"{_BY_TIME}{modified}" if modified else None)
    length = headers.get("Content-Length", "")
    size_bytes = int(length) if length.isdigit() and "Content-Encoding" not in headers else -1
    return FileInfo(path, size_bytes, _seconds(modified), etag)


def _quoted(etag: str | None) -> str | None:
    # Listings have tags without quotes, headers with them.
    if not etag or etag.startswith(('"', "W/")):
        return etag or None
    return f'"{etag}"'


def _seconds(text: str | None) -> float:
    try:
        return parsedate_to_datetime(text).timestamp() if text else 0.0
    except ValueError:
        return 0.0
