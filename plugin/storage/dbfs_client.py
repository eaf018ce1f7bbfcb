"""The DBFS API 2.0 of a Databricks workspace: https://docs.databricks.com/api/azure/workspace/dbfs."""

from __future__ import annotations

import base64
import random
import time
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from airflow_azureml.runtime.exceptions import ObjectNotFound, StoreError
from airflow_azureml.storage.files import StoreBusy

if TYPE_CHECKING:
    from types import TracebackType

    import httpx

    from airflow_azureml.storage.credentials import DatabricksAccount

BLOCK_BYTES = 1_000_000
"""Most that the service takes or gives in one request is 1 MB of content."""

# The application id of Azure Databricks, the same in every tenant.
_SCOPE = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d/.default"
_TRIES = 5
_GIVES_UP_AFTER_S = 60.0
_LONGEST_WAIT_S = 8.0
_BUSY = frozenset({408, 429, 500, 502, 503, 504})
# Carried out or not, nothing was changed twice by a repetition.
_CARRIED_OUT_ONCE = "dbfs/add-block"


@dataclass(frozen=True, slots=True)
class DbfsEntry:
    """A file or folder as the service describes it.

    :param path: absolute.
    :param is_folder: whether it is one.
    :param size_bytes: of a file.
    :param modified_ms: when it was last written, milliseconds since the epoch.
    """

    path: str
    is_folder: bool
    size_bytes: int
    modified_ms: int


class DbfsClient:
    """Requests to one workspace. Safe for several threads.

    :param account: the workspace and how to sign in.
    """

    def __init__(self, account: DatabricksAccount) -> None:
        import httpx

        from airflow_azureml import __version__

        self._account = account
        self._credential = account.token_credential()
        self._http = httpx.Client(
            base_url=f"{account.url}/api/2.0/",
            timeout=httpx.Timeout(60.0, connect=10.0),
            headers={"user-agent": f"airflow-azureml/{__version__}"},
        )
        # A store is dropped, not closed.
        weakref.finalize(self, self._http.close)

    def status(self, path: str) -> DbfsEntry | None:
        """Look at a file or folder; None without one."""
        try:
            return _entry(self._get("dbfs/get-status", path=path))
        except ObjectNotFound:
            return None

    def entries(self, path: str) -> list[DbfsEntry]:
        """Return what a folder holds; nothing for one that isn't there."""
        try:
            return [_entry(each) for each in self._get("dbfs/list", path=path).get("files", [])]
        except ObjectNotFound:
            return []

    def read(self, path: str, offset: int, size_bytes: int) -> bytes:
        """Read a range of at most :data:`BLOCK_BYTES`."""
        answer = self._get("dbfs/read", path=path, offset=offset, length=size_bytes)
        return base64.b64decode(answer.get("data") or "")

    def create(self, path: str) -> int:
        """Begin a file, and return the handle to add blocks to."""
        return int(self._post("dbfs/create", path=path, overwrite=True)["handle"])

    def add_block(self, handle: int, data: bytes) -> None:
        """Add at most :data:`BLOCK_BYTES` to a file."""
        self._post(_CARRIED_OUT_ONCE, handle=handle, data=base64.b64encode(data).decode("ascii"))

    def close_file(self, handle: int) -> None:
        """End a file."""
        self._post("dbfs/close", handle=handle)

    def move(self, source: str, target: str) -> None:
        """Give a file another name, which nothing may have."""
        self._post("dbfs/move", source_path=source, destination_path=target)

    def delete(self, path: str, *, recursive: bool = False) -> None:
        """Remove a file or folder; an absent one is no error."""
        try:
            self._post("dbfs/delete", path=path, recursive=recursive)
        except ObjectNotFound:
            return

    def make_folders(self, path: str) -> None:
        """Make a folder, and those that it lies in."""
        self._post("dbfs/mkdirs", path=path)

    def close(self) -> None:
        """Close idle connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _get(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._request("GET", method, parameters)

    def _post(self, method: str, **document: Any) -> dict[str, Any]:
        return self._request("POST", method, document)

    def _request(self, verb: str, method: str, values: dict[str, Any]) -> dict[str, Any]:
        import httpx

        until = time.monotonic() + _GIVES_UP_AFTER_S
        for tried in range(1, _TRIES + 1):
            answer: httpx.Response | None = None
            try:
                answer = self._http.request(
                    verb,
                    method,
                    headers=self._authorization(),
                    params=values if verb == "GET" else None,
                    json=None if verb == "GET" else values,
                )
            except httpx.TransportError:
                if method == _CARRIED_OUT_ONCE:
                    break
            if answer is not None and answer.status_code not in _BUSY:
                return self._understood(method, values, answer)
            wait_s = min(_LONGEST_WAIT_S, 0.1 * 2.0**tried) * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load
            if answer is not None and answer.headers.get("retry-after", "").isdigit():
                wait_s = min(_LONGEST_WAIT_S, float(answer.headers["retry-after"]))
            if tried == _TRIES or time.monotonic() + wait_s > until:
                break
            time.sleep(wait_s)
        said = "no answer" if answer is None else f"status {answer.status_code}"
        raise StoreBusy(f"{self._account.url} cannot do {method} now: {said}; it was tried again for a while")

    def _understood(self, method: str, values: dict[str, Any], answer: httpx.Response) -> dict[str, Any]:
        document = _json(answer)
        if answer.is_success:
            return document
        code = document.get("error_code") or f"status {answer.status_code}"
        path = str(values.get("path") or values.get("source_path") or "")
        where = f"{path!r} on {self._account.url}"
        if code == "RESOURCE_DOES_NOT_EXIST":
            raise ObjectNotFound(path, f"there is no {where}")
        if answer.status_code in (401, 403):
            raise StoreError(
                f"{method} is refused for {where} ({code}); check the token of the connection and what it may do"
            )
        raise StoreError(f"{method} failed for {where}: {code}")

    def _authorization(self) -> dict[str, str]:
        token = self._account.token
        if self._credential is not None:
            token = self._credential.get_token(_SCOPE).token
        return {"authorization": f"Bearer {token}"}


def _entry(document: dict[str, Any]) -> DbfsEntry:
    return DbfsEntry(
        path=str(document["path"]),
        is_folder=bool(document.get("is_dir")),
        size_bytes=int(document.get("file_size") or 0),
        modified_ms=int(document.get("modification_time") or 0),
    )


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
