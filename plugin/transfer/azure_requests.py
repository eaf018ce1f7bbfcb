"""Requests to Azure Blob storage at a third of the CPU time, for transfers, which make one or two per file.

The same requests as :class:`AzureRest` makes, with the same signatures, tries and errors, over the standard library's connections
instead of httpx. Where a proxy stands between, httpx does it.
"""

from __future__ import annotations

import http.client
import random
import socket
import ssl
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

from airflow_azureml import __version__
from airflow_azureml.storage import azure_rest
from airflow_azureml.storage.azure_blob_files import AzureBlobFiles
from airflow_azureml.storage.azure_rest import AzureRest, RequestFailed
from airflow_azureml.storage.credentials import AzureAccount
from airflow_azureml.storage.failures import Failure
from airflow_azureml.storage.files import FileStore
from airflow_azureml.storage.obstore_files import quoted_etag

_API_VERSION = "2021-12-02"
_TIMEOUT_S = 60.0
# Services close connections that rest; Azurite does after five seconds.
_REST_S = 4.0
_LONGEST_WAIT_S = 8.0
_LARGE_BYTES = 1 << 20


def quick(store: FileStore) -> FileStore:
    """Return a store that makes the same requests with less work, where there is one; else the store itself."""
    if not isinstance(store, AzureBlobFiles):
        return store
    return QuickBlobFiles(store.client, QuickRest(store.rest.account), store.container, store.prefix)


def close(store: FileStore) -> None:
    """Close the connections of what :func:`quick` returned."""
    if isinstance(store, AzureBlobFiles) and isinstance(store.rest, QuickRest):
        store.rest.close()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    :param status: HTTP status.
    :param headers: by any spelling of their names.
    :param content: the body.
    """

    status: int
    headers: http.client.HTTPMessage
    content: bytes


class QuickBlobFiles(AzureBlobFiles):
    """See ``AzureBlobFiles``; large ranges come straight from the connection into the bytes that are returned."""

    def read(
        self, path: str, start: int = 0, size_bytes: int | None = None, *, etag: str | None = None
    ) -> bytes:
        """See ``FileStore.read``."""
        if size_bytes is None or size_bytes < _LARGE_BYTES:
            return super().read(path, start, size_bytes, etag=etag)
        headers = {"range": f"bytes={start}-{start + size_bytes - 1}"}
        if etag is not None:
            headers["if-match"] = quoted_etag(etag)
        with self.requests("read", path):
            try:
                return self.rest.send("GET", self.container, self.key(path), headers=headers).content
            except RequestFailed as error:
                if error.failure.status != 416:
                    raise
        # It starts behind the end.
        return b""


class QuickRest(AzureRest):
    """See ``AzureRest``.

    :param account: where it is and how to sign in.
    """

    def __init__(self, account: AzureAccount) -> None:
        super().__init__(account)
        parts = urlsplit(account.endpoint)
        self._host, self._scheme = parts.netloc, parts.scheme
        self._resting: deque[tuple[http.client.HTTPConnection, float]] = deque()
        self._tls: ssl.SSLContext | None = None
        self._by_proxy = parts.scheme in getproxies() and not proxy_bypass(parts.netloc)

    def close(self) -> None:
        """See ``AzureRest.close``."""
        super().close()
        while self._resting:
            self._resting.pop()[0].close()

    def _try(
        self,
        method: str,
        url: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
        tried: int,
    ) -> tuple[Any, float]:
        if self._by_proxy:
            return super()._try(method, url, query, headers, body, tried)
        wait_s = min(_LONGEST_WAIT_S, 0.1 * 2.0**tried) * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load
        target, signed = self._signed(method, url, query, headers, len(body))
        try:
            answer = self._ask(method, target, signed, body)
        except (OSError, http.client.HTTPException):
            return Failure(None, retried=tried > 1, on_the_wire=True), wait_s
        if answer.status < 300:
            return answer, 0.0
        failure = Failure(answer.status, answer.headers.get("x-ms-error-code"), retried=tried > 1)
        asked = answer.headers.get("retry-after", "")
        return failure, max(wait_s, min(float(asked), _LONGEST_WAIT_S) if asked.isdigit() else 0.0)

    def _signed(
        self, method: str, url: str, query: Mapping[str, str], headers: Mapping[str, str], size_bytes: int
    ) -> tuple[str, dict[str, str]]:
        """Return the request's target and all of its headers."""
        target = url[len(self._scheme) + 3 + len(self._host) :]
        if query:
            target += "?" + urlencode(query)
        signed = {
            "user-agent": f"airflow-azureml/{__version__}",
            **{name.lower(): value for name, value in headers.items()},
            "x-ms-version": _API_VERSION,
            "x-ms-date": formatdate(usegmt=True),
        }
        account = self.account
        if account.account_key is not None:
            request = SimpleNamespace(
                method=method, headers=signed, url=SimpleNamespace(raw_path=target.encode())
            )
            signature = azure_rest._signature(request, account.account, account.account_key, size_bytes)  # type: ignore[arg-type]  # noqa: SLF001 - one place for the rules of signing
            signed["authorization"] = f"SharedKey {account.account}:{signature}"
        elif account.sas_token is not None:
            target += ("&" if "?" in target else "?") + account.sas_token
        else:
            signed["authorization"] = f"Bearer {self.bearer()}"
        return target, signed

    def _ask(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        connection = self._connection()
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            if body or method == "PUT":
                connection.putheader("content-length", str(len(body)))
            small = len(body) < _LARGE_BYTES
            connection.endheaders(body if body and small else None)
            if not small:
                _send_all(connection.sock, body)
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        except BaseException:
            connection.close()
            raise
        if response.will_close:
            connection.close()
        else:
            self._resting.append((connection, time.monotonic()))
        return answer

    def _connection(self) -> http.client.HTTPConnection:
        oldest = time.monotonic() - _REST_S
        with suppress(IndexError):
            while True:
                connection, since = self._resting.pop()
                if since > oldest:
                    return connection
                connection.close()
        if self._scheme == "http":
            return http.client.HTTPConnection(self._host, timeout=_TIMEOUT_S)
        return http.client.HTTPSConnection(self._host, timeout=_TIMEOUT_S, context=self._tls_context())

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            import httpx

            # The certificates that all other requests trust.
            self._tls = httpx.create_ssl_context()
        return self._tls


def _send_all(connection: socket.socket, body: bytes) -> None:
    # http.client reads the body of a request in pieces of 8 KiB when it is told in any other way.
    connection.sendall(body)
