"""A stand-in for the DBFS API 2.0 of a Databricks workspace: does what its documentation says, over HTTP."""

from __future__ import annotations

import base64
import json
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

TOKEN = "stands-in-for-a-personal-access-token"
_MAX_BLOCK_BYTES = 1 << 20


class Refused(Exception):
    """An answer with an error."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


class DbfsServer:
    """A workspace on a free port; folders and files are in memory, by absolute path."""

    def __init__(self) -> None:
        self.folders: set[str] = {"/"}
        self.files: dict[str, tuple[bytes, int]] = {}
        self.handles: dict[int, tuple[str, bytearray]] = {}
        self.lock = threading.RLock()
        self.troubles: list[tuple[int, str]] = []
        """Answers (status, code) that the next requests get."""
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"service": self}))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self._clock_ms = 0

    @property
    def url(self) -> str:
        """URL of the workspace."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def connection(self, conn_type: str = "azureml_dbfs") -> dict[str, Any]:
        """An Airflow connection to it, as JSON has it."""
        return {"conn_type": conn_type, "host": self.url, "password": TOKEN}

    def stop(self) -> None:
        """End it."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def now_ms(self) -> int:
        """The time, another one at every call."""
        self._clock_ms = max(self._clock_ms + 1, int(time.time() * 1000))
        return self._clock_ms

    def answer(self, method: str, values: dict[str, Any]) -> dict[str, Any]:
        if self.troubles:
            raise Refused(*self.troubles.pop(0))
        function = getattr(self, "do_" + method.replace("-", "_"), None)
        if function is None:
            raise Refused(404, "ENDPOINT_NOT_FOUND")
        return function(**values) or {}

    # -- the methods --------------------------------------------------------------------------------------------

    def do_get_status(self, path: str) -> dict[str, Any]:
        if path in self.folders:
            return {"path": path, "is_dir": True, "file_size": 0, "modification_time": 0}
        data, modified = self._file(path)
        return {"path": path, "is_dir": False, "file_size": len(data), "modification_time": modified}

    def do_list(self, path: str) -> dict[str, Any]:
        if path in self.files:
            return {"files": [self.do_get_status(path)]}
        if path not in self.folders:
            raise Refused(404, "RESOURCE_DOES_NOT_EXIST")
        inside = [each for each in [*self.folders, *self.files] if each != "/" and _parent(each) == path]
        # As the service: no "files" at all for an empty folder.
        return {"files": [self.do_get_status(each) for each in inside]} if inside else {}

    def do_read(self, path: str, offset: str = "0", length: str = "524288") -> dict[str, Any]:
        if path in self.folders or int(length) > _MAX_BLOCK_BYTES:
            raise Refused(400, "INVALID_PARAMETER_VALUE")
        data = self._file(path)[0][int(offset) : int(offset) + int(length)]
        return {"bytes_read": len(data), "data": base64.b64encode(data).decode()}

    def do_create(self, path: str, overwrite: bool = False) -> dict[str, Any]:
        if path in self.folders or (path in self.files and not overwrite):
            raise Refused(400, "RESOURCE_ALREADY_EXISTS")
        self.do_mkdirs(_parent(path))
        handle = uuid.uuid4().int >> 70
        self.handles[handle] = (path, bytearray())
        self.files[path] = (b"", self.now_ms())
        return {"handle": handle}

    def do_add_block(self, handle: int, data: str) -> None:
        block = base64.b64decode(data)
        if len(block) > _MAX_BLOCK_BYTES:
            raise Refused(400, "MAX_BLOCK_SIZE_EXCEEDED")
        path, content = self._handle(handle)
        content += block
        self.files[path] = (bytes(content), self.now_ms())

    def do_close(self, handle: int) -> None:
        self._handle(handle)
        del self.handles[handle]

    def do_mkdirs(self, path: str) -> None:
        while path not in self.folders:
            if path in self.files:
                raise Refused(400, "RESOURCE_ALREADY_EXISTS")
            self.folders.add(path)
            path = _parent(path)

    def do_move(self, source_path: str, destination_path: str) -> None:
        if destination_path in self.files or destination_path in self.folders:
            raise Refused(400, "RESOURCE_ALREADY_EXISTS")
        self.files[destination_path] = self._file(source_path)
        del self.files[source_path]

    def do_delete(self, path: str, recursive: bool = False) -> None:
        below = [each for each in [*self.folders, *self.files] if each.startswith(path.rstrip("/") + "/")]
        if below and not recursive:
            raise Refused(400, "IO_ERROR")
        for each in [path, *below]:
            self.files.pop(each, None)
            self.folders.discard(each)
        self.folders.add("/")

    def _file(self, path: str) -> tuple[bytes, int]:
        try:
            return self.files[path]
        except KeyError:
            raise Refused(404, "RESOURCE_DOES_NOT_EXIST") from None

    def _handle(self, handle: int) -> tuple[str, bytearray]:
        try:
            return self.handles[handle]
        except KeyError:
            raise Refused(404, "RESOURCE_DOES_NOT_EXIST") from None


class _Handler(BaseHTTPRequestHandler):
    service: DbfsServer
    protocol_version = "HTTP/1.1"
    # An answer goes out in one piece; in two, the second would wait for the first to be acknowledged.
    wbufsize = -1

    def do_GET(self) -> None:
        self._serve(dict(parse_qsl(urlsplit(self.path).query)))

    def do_POST(self) -> None:
        self._serve(json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _serve(self, values: dict[str, Any]) -> None:
        try:
            if self.headers.get("authorization") != f"Bearer {TOKEN}":
                raise Refused(403, "PERMISSION_DENIED")
            with self.service.lock:
                status, document = (
                    200,
                    self.service.answer(urlsplit(self.path).path.rpartition("/")[2], values),
                )
        except Refused as refused:
            status, document = refused.status, {"error_code": refused.code, "message": refused.code}
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"


@pytest.fixture(scope="session")
def dbfs() -> Iterator[DbfsServer]:
    """A stand-in for a Databricks workspace, one per test session; use a folder of your own per test."""
    server = DbfsServer()
    try:
        yield server
    finally:
        server.stop()
