"""A proxy before Azurite that makes trouble: refuses, is busy, or damages bytes on their way.

The signature of a request covers neither its host nor its body, so what passes through is accepted as it is.
"""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True)
class Seen:
    """A request: its method, the decoded path of the blob and the query's fields."""

    method: str
    path: str
    query: dict[str, list[str]]
    size_bytes: int


Condition = Callable[[Seen], bool]


@dataclass
class Fault:
    """What happens to requests.

    :param when: which requests.
    :param kind: ``status`` answers with one, ``flip-up`` and ``flip-down`` change a byte, ``drop`` closes the connection;
        ``done-status`` and ``done-drop`` do that after the server has done what it was asked.
    :param times: to how many of them.
    :param after: how many pass before.
    """

    when: Condition
    kind: str
    times: int
    after: int = 0
    status: int = 503
    code: str = "ServerBusy"
    met: int = 0

    def applies(self, seen: Seen) -> bool:
        if not self.when(seen):
            return False
        self.met += 1
        return self.after < self.met <= self.after + self.times


class FaultProxy:
    """Listens on a free port, and passes requests on to the port of a server."""

    def __init__(self, port: int) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self.seen: list[Seen] = []
        proxy = self

        class Handler(_Handler):
            target = port
            owner = proxy

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def add(
        self,
        kind: str,
        when: Condition,
        *,
        times: int = 1,
        after: int = 0,
        status: int = 503,
        code: str = "ServerBusy",
    ) -> Fault:
        fault = Fault(when, kind, times, after, status, code)
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        self._faults.clear()

    def fault_for(self, seen: Seen) -> Fault | None:
        with self._lock:
            self.seen.append(seen)
            return next((fault for fault in self._faults if fault.applies(seen)), None)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    target = 0
    owner: FaultProxy

    def log_message(self, *_: object) -> None:
        """Tests are quiet."""

    def setup(self) -> None:
        super().setup()
        self._upstream: http.client.HTTPConnection | None = None

    def finish(self) -> None:
        super().finish()
        if self._upstream is not None:
            self._upstream.close()

    def _pass(self) -> None:
        body = self._body()
        parts = urlsplit(self.path)
        seen = Seen(self.command, unquote(parts.path), parse_qs(parts.query), len(body))
        fault = self.owner.fault_for(seen)
        kind = fault.kind if fault is not None else ""
        if fault is not None and kind.startswith("done-"):
            self._ask(body)
            kind = kind.removeprefix("done-")
        if kind == "drop":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        if fault is not None and kind == "status":
            self._refuse(fault)
            return
        self._forward(_flipped(body) if kind == "flip-up" else body, flip=kind == "flip-down")

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = do_PATCH = _pass

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _refuse(self, fault: Fault) -> None:
        text = f"<?xml version='1.0'?><Error><Code>{fault.code}</Code><Message>made for a test</Message></Error>".encode()
        self.send_response(fault.status)
        self.send_header("x-ms-error-code", fault.code)
        self.send_header("content-type", "application/xml")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def _ask(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        if self._upstream is None:
            self._upstream = http.client.HTTPConnection("127.0.0.1", self.target, timeout=60)
        self._upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("transfer-encoding", "content-length", "expect", "connection"):
                self._upstream.putheader(name, value)
        if body or self.command in ("PUT", "POST") or "content-length" in self.headers:
            self._upstream.putheader("content-length", str(len(body)))
        self._upstream.endheaders(body or None)
        answer = self._upstream.getresponse()
        return answer, answer.read()

    def _forward(self, body: bytes, *, flip: bool) -> None:
        answer, data = self._ask(body)
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in (
                "transfer-encoding",
                "connection",
                "date",
                "server",
                "keep-alive",
            ) and not (name.lower() == "content-length" and self.command != "HEAD"):
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(_flipped(data) if flip else data)


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :] if data else data
