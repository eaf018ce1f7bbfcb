"""Requests to Azure Blob storage that obstore doesn't make.

They carry MD5s of contents, delete on a condition, copy between containers, and list any name. Measured
beside the Azure SDK, a request costs a third of its CPU time and a listing a tenth.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote

from airflow_azureml.storage.credentials import AzureAccount
from airflow_azureml.storage.failures import BUSY_STATUSES, Failure

if TYPE_CHECKING:
    import httpx

_VERSION = "2021-12-02"
SCOPE = "https://storage.azure.com/.default"
"""What tokens of Microsoft Entra are asked for."""

_TRIES = 5
_GIVES_UP_AFTER_S = 60.0
_LONGEST_WAIT_S = 8.0
_SIGNED_HEADERS = (
    "content-encoding", "content-language", "content-length", "content-md5", "content-type", "date",
    "if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range",
)  # fmt: skip
_NO_SLASH = "-_.~"


class RequestFailed(Exception):
    """A request that wasn't answered as hoped.

    :param failure: what came instead.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.status} {failure.code}")
        self.failure = failure


@dataclass(frozen=True, slots=True)
class BlobAddress:
    """A blob, by container and name."""

    container: str
    name: str


class AzureRest:
    """The Blob service of one account. Safe for several threads.

    :param account: where it is and how to sign in.
    """

    def __init__(self, account: AzureAccount) -> None:
        self.account = account
        self._credential = account.token_credential()
        self._client: httpx.Client | None = None
        self._lock = threading.Lock()

    def url(self, container: str, name: str | None = None) -> str:
        """Return the URL of a container or blob, without a signature."""
        path = "" if name is None else "/" + quote(name, safe="/" + _NO_SLASH)
        return f"{self.account.endpoint}/{container}{path}"

    def bearer(self) -> str | None:
        """Return a token of Microsoft Entra, when one signs in."""
        return None if self._credential is None else self._credential.get_token(SCOPE).token

    def signed_url(self, blob: BlobAddress, *, valid_s: float) -> str | None:
        """Return a URL that lets another account's service read a blob; None where one would need further rights."""
        if self.account.sas_token is not None:
            return f"{self.url(blob.container, blob.name)}?{self.account.sas_token}"
        if self.account.account_key is None:
            return None
        from datetime import UTC, datetime, timedelta

        from azure.storage.blob import generate_blob_sas

        token = generate_blob_sas(
            self.account.account,
            blob.container,
            blob.name,
            account_key=self.account.account_key,
            permission="r",
            expiry=datetime.now(UTC) + timedelta(seconds=valid_s),
        )
        return f"{self.url(blob.container, blob.name)}?{token}"

    def send(
        self,
        method: str,
        container: str,
        name: str | None = None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        once: bool = False,
    ) -> httpx.Response:
        """Make a request, again where trouble may pass.

        :param once: not again when the first may have been carried out without an answer.
        :raises RequestFailed: any answer but a good one.
        """
        until = time.monotonic() + _GIVES_UP_AFTER_S
        for tried in range(1, _TRIES + 1):
            failure, wait_s = self._try(
                method, self.url(container, name), query or {}, headers or {}, body, tried
            )
            if not isinstance(failure, Failure):
                return failure
            passing = failure.on_the_wire or failure.status in BUSY_STATUSES
            lost = once and failure.on_the_wire
            if not passing or lost or tried == _TRIES or time.monotonic() + wait_s > until:
                raise RequestFailed(failure) from None
            time.sleep(wait_s)
        raise AssertionError  # the last try returns or raises

    def close(self) -> None:
        """Close idle connections."""
        if self._client is not None:
            self._client.close()

    def _try(
        self,
        method: str,
        url: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
        tried: int,
    ) -> tuple[httpx.Response | Failure, float]:
        import httpx

        client = self._http()
        request = client.build_request(
            method, url, params=dict(query) or None, content=body or None, headers=dict(headers)
        )
        self._sign(request, len(body))
        wait_s = min(_LONGEST_WAIT_S, 0.1 * 2.0**tried) * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load
        try:
            answer = client.send(request)
        except httpx.TransportError:
            return Failure(None, retried=tried > 1, on_the_wire=True), wait_s
        if answer.is_success:
            return answer, 0.0
        return Failure(answer.status_code, answer.headers.get("x-ms-error-code"), retried=tried > 1), max(
            wait_s, _retry_after_s(answer)
        )

    def _http(self) -> httpx.Client:
        if self._client is None:
            with self._lock:
                if self._client is None:
                    self._client = _new_client()
        return self._client

    def _sign(self, request: httpx.Request, body_bytes: int) -> None:
        request.headers["x-ms-version"] = _VERSION
        request.headers["x-ms-date"] = formatdate(usegmt=True)
        if self._credential is not None:
            request.headers["authorization"] = f"Bearer {self.bearer()}"
        elif self.account.sas_token is not None:
            request.url = request.url.copy_merge_params(dict(parse_qsl(self.account.sas_token)))
        elif self.account.account_key is not None:
            signature = _signature(request, self.account.account, self.account.account_key, body_bytes)
            request.headers["authorization"] = f"SharedKey {self.account.account}:{signature}"


class _NoSignatures(logging.Filter):
    """Keeps URLs that sign in by themselves out of httpx's log of requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not any(
            "sig=" in str(part).lower() or "signature=" in str(part).lower() for part in record.args or ()
        )


_NO_SIGNATURES = _NoSignatures()


def keep_signatures_out_of_logs() -> None:
    """See to it that httpx, which logs the address of every request, logs no address with a signature."""
    # Adding it again changes nothing.
    logging.getLogger("httpx").addFilter(_NO_SIGNATURES)


def _new_client() -> httpx.Client:
    import httpx

    from airflow_azureml import __version__

    keep_signatures_out_of_logs()
    return httpx.Client(
        timeout=httpx.Timeout(60.0, connect=10.0),
        limits=httpx.Limits(max_connections=64, max_keepalive_connections=32, keepalive_expiry=4.0),
        headers={"user-agent": f"airflow-azureml/{__version__}", "accept": "application/xml"},
    )


def _retry_after_s(answer: httpx.Response) -> float:
    text = answer.headers.get("retry-after", "")
    return min(float(text), _LONGEST_WAIT_S) if text.isdigit() else 0.0


def _signature(request: httpx.Request, account: str, key: str, body_bytes: int) -> str:
    """Sign as the service's documentation says under "Authorize with Shared Key"."""
    values = {name: request.headers.get(name, "") for name in _SIGNED_HEADERS}
    values["content-length"] = str(body_bytes) if body_bytes else ""
    lines = [request.method, *(values[name] for name in _SIGNED_HEADERS)]
    extra = sorted(
        (name.lower(), value) for name, value in request.headers.items() if name.lower().startswith("x-ms-")
    )
    lines += [f"{name}:{' '.join(value.split())}" for name, value in extra]
    path, _, query = request.url.raw_path.decode("ascii").partition("?")
    lines.append(f"/{account}{path}")
    named: dict[str, list[str]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        named.setdefault(unquote(name).lower(), []).append(value)
    lines += [f"{name}:{','.join(sorted(values))}" for name, values in sorted(named.items())]
    digest = hmac.new(base64.b64decode(key), "\n".join(lines).encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode("ascii")
