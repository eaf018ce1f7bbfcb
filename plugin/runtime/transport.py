"""Frames over the run socket, and the client that speaks them.

A step's process talks to the operator that supervises it over a Unix socket. One request is answered before the next
one is sent on the same connection. A frame is::

    4 bytes   length of the header, big-endian
    header    JSON object; request: id, method, params, payload_bytes; answer: id, result or error, payload_bytes
    payload   payload_bytes bytes: a file's content, so that neither side opens a path the other one names

``params`` or ``result`` that would make the header longer than 1 MiB follow the header as a JSON text of their own, and
the header says ``params_bytes`` or ``result_bytes`` in their place. An error is ``{"type": class name, "message": text}``.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import socket
import struct
import threading
from typing import Any, BinaryIO, Iterator, NamedTuple, cast

from airflow_azureml.runtime.exceptions import (
    AzureMLException,
    RunEnvironmentException,
    UserErrorException,
    rebuild,
)

MAX_HEADER_BYTES = 1 << 20
MAX_BODY_BYTES = 256 << 20
"""Bound of ``params`` or ``result`` beside the header: a listing of a million files fits."""

CHUNK_BYTES = 256 << 10
_KEPT_IN_MEMORY_BYTES = 8 << 20
_LENGTH = struct.Struct(">I")
_CONNECT_TIMEOUT_S = 10.0


class FrameError(Exception):
    """The bytes received are no frame; nothing after them on the connection can be trusted."""


class Answer(NamedTuple):
    """What a request came back with.

    :param result: any JSON value.
    :param payload: the file that came along, positioned at its start; None when none came or it went elsewhere.
    """

    result: Any
    payload: BinaryIO | None


class Frame(NamedTuple):
    """A header with its parameters or result in place; the payload is still on the stream.

    :param header: the JSON object.
    :param payload_bytes: length of the payload, None when there is none; an empty file has length 0.
    """

    header: dict[str, Any]
    payload_bytes: int | None


def pack(header: dict[str, Any], body: str) -> bytes:
    """Return the bytes of a frame without its payload.

    :param header: the JSON object to send.
    :param body: the field that may be moved behind the header, ``params`` or ``result``.
    :raises UserErrorException: a value that JSON cannot carry, or far too much of it.
    """
    data = _json(header)
    tail = b""
    if len(data) > MAX_HEADER_BYTES and body in header:
        tail = _json(header[body])
        data = _json({**{k: v for k, v in header.items() if k != body}, body + "_bytes": len(tail)})
    if len(data) > MAX_HEADER_BYTES or len(tail) > MAX_BODY_BYTES:
        raise UserErrorException(
            f"{len(data) + len(tail)} bytes are too much for one call; write them to a file instead"
        )
    return _LENGTH.pack(len(data)) + data + tail


def read_frame(stream: BinaryIO, body: str) -> Frame | None:
    """Read the next frame up to its payload, or None when the other side has closed the connection.

    :param body: the field that may follow the header.
    :raises FrameError: what comes is no frame, or goes beyond a bound.
    """
    start = stream.read(_LENGTH.size)
    if not start:
        return None
    if len(start) < _LENGTH.size:
        raise FrameError("the connection ended inside a frame's length")
    (length,) = _LENGTH.unpack(start)
    if length > MAX_HEADER_BYTES:
        raise FrameError(f"a header of {length} bytes; at most {MAX_HEADER_BYTES} are possible")
    header = _parse(read_exactly(stream, length))
    if not isinstance(header, dict):
        raise FrameError("a header is a JSON object")
    body_bytes = _size(header, body + "_bytes", MAX_BODY_BYTES)
    if body_bytes:
        header[body] = _parse(read_exactly(stream, body_bytes))
    has_payload = header.get("payload_bytes") is not None
    return Frame(header, _size(header, "payload_bytes", None) if has_payload else None)


def read_exactly(stream: BinaryIO, length: int) -> bytes:
    """Read ``length`` bytes; FrameError when the stream ends before."""
    parts = []
    left = length
    while left:
        # In chunks: a length that is a lie must not reserve memory for bytes that never come.
        part = stream.read(min(left, CHUNK_BYTES))
        if not part:
            raise FrameError(f"the connection ended {left} bytes too early")
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def copy_exactly(source: BinaryIO, target: BinaryIO | None, length: int) -> None:
    """Copy ``length`` bytes in chunks; FrameError when the source ends before.

    :param target: None reads the bytes and drops them.
    """
    left = length
    while left:
        chunk = source.read(min(left, CHUNK_BYTES))
        if not chunk:
            raise FrameError(f"the connection ended {left} bytes too early")
        if target is not None:
            target.write(chunk)
        left -= len(chunk)


@contextlib.contextmanager
def measured(payload: BinaryIO | bytes) -> Iterator[tuple[BinaryIO, int]]:
    """Give a payload as a stream, and the number of bytes from where it stands to its end.

    :param payload: bytes or a binary stream; one that cannot seek is copied to a temporary file first.
    :raises UserErrorException: a text stream.
    """
    stream, size_bytes = _measured(payload)
    try:
        yield stream, size_bytes
    finally:
        # What the caller gave stays the caller's.
        if stream is not payload:
            stream.close()


def _measured(payload: BinaryIO | bytes) -> tuple[BinaryIO, int]:
    if isinstance(payload, (bytes, bytearray, memoryview)):
        return io.BytesIO(payload), len(payload)
    if _is_text(payload):
        raise UserErrorException('a text stream cannot be uploaded; open the file with mode "rb"')
    try:
        start = payload.tell()
        end = payload.seek(0, os.SEEK_END)
        payload.seek(start)
    except (AttributeError, OSError):
        return _spooled(payload)
    return payload, end - start


def _is_text(stream: object) -> bool:
    return isinstance(stream, io.TextIOBase)


def _spooled(stream: BinaryIO) -> tuple[BinaryIO, int]:
    spool = _temporary_file()
    for chunk in iter(lambda: stream.read(CHUNK_BYTES), b""):
        if not isinstance(chunk, bytes):
            raise UserErrorException('a text stream cannot be uploaded; open the file with mode "rb"')
        spool.write(chunk)
    size_bytes = spool.tell()
    spool.seek(0)
    return spool, size_bytes


def _temporary_file() -> BinaryIO:
    # Imported here: it costs more than all the rest of this module, and few scripts need it.
    import tempfile

    return cast("BinaryIO", tempfile.TemporaryFile())


def _json(value: Any) -> bytes:
    try:
        # ASCII: file names that aren't valid Unicode travel as lone surrogates.
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise UserErrorException(f"a value cannot be sent as JSON: {error}") from error


def _parse(data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FrameError(f"not JSON: {error}") from error


def _size(header: dict[str, Any], field: str, limit: int | None) -> int:
    value = header.pop(field, 0)
    if type(value) is not int or value < 0 or (limit is not None and value > limit):
        raise FrameError(f"{field} {str(value)[:40]!r} is no size that is possible here")
    return value


class _Connection:
    """One connection of one thread of one process."""

    def __init__(self, path: str) -> None:
        self.process_id = os.getpid()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(_CONNECT_TIMEOUT_S)
            self._socket.connect(path)
            # Uploads and answers may take as long as they take: the other side being gone ends the wait.
            self._socket.settimeout(None)
        except BaseException:
            self._socket.close()
            raise
        self._stream = cast("BinaryIO", self._socket.makefile("rb", CHUNK_BYTES))

    def close(self) -> None:
        self._stream.close()
        self._socket.close()

    def __del__(self) -> None:
        # A thread that ends leaves its connection to the garbage collector, which would complain of a socket.
        if hasattr(self, "_stream"):
            self.close()

    def send(self, frame: bytes, payload: BinaryIO | None, payload_bytes: int) -> None:
        self._socket.sendall(frame)
        left = payload_bytes
        while payload is not None and left:
            chunk = payload.read(min(left, CHUNK_BYTES))
            if not chunk:
                raise FrameError("the file became shorter while it was being uploaded")
            self._socket.sendall(chunk)
            left -= len(chunk)

    def receive(self, request_id: int, into: BinaryIO | None) -> tuple[dict[str, Any], BinaryIO | None]:
        frame = read_frame(self._stream, "result")
        if frame is None:
            raise FrameError("the connection was closed")
        if frame.header.get("id") not in (request_id, None):
            raise FrameError("an answer to another question")
        return frame.header, self._payload(frame, into)

    def _payload(self, frame: Frame, into: BinaryIO | None) -> BinaryIO | None:
        if frame.payload_bytes is None:
            return None
        if into is not None:
            copy_exactly(self._stream, into, frame.payload_bytes)
            return None
        in_memory = frame.payload_bytes <= _KEPT_IN_MEMORY_BYTES
        target: BinaryIO = io.BytesIO() if in_memory else _temporary_file()
        copy_exactly(self._stream, target, frame.payload_bytes)
        target.seek(0)
        return target


class SocketService:
    """The run service of the operator that supervises this process.

    Each thread of each process has a connection of its own, so calls may come from anywhere, also after a fork.

    :param path: file system path of the Unix socket.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._local = threading.local()
        self._ids = itertools.count(1)

    def request(
        self,
        method: str,
        params: dict[str, Any],
        payload: BinaryIO | bytes | None = None,
        into: BinaryIO | None = None,
    ) -> Answer:
        """Ask and wait for the answer.

        :param method: such as ``run.log``.
        :param params: JSON values by name.
        :param payload: bytes or a binary stream to send along.
        :param into: where the payload of the answer is written; without it the answer carries it.
        :raises AzureMLException: what the service answered, under its class name.
        :raises RunEnvironmentException: the service is gone or answers nonsense.
        """
        header: dict[str, Any] = {"id": next(self._ids), "method": method, "params": params}
        if payload is None:
            return self._ask(header, None, 0, into)
        with measured(payload) as (stream, payload_bytes):
            header["payload_bytes"] = payload_bytes
            return self._ask(header, stream, payload_bytes, into)

    def _ask(
        self, header: dict[str, Any], payload: BinaryIO | None, payload_bytes: int, into: BinaryIO | None
    ) -> Answer:
        frame = pack(header, "params")
        answer, file = self._exchange(header["id"], frame, payload, payload_bytes, into)
        error = answer.get("error")
        if error is not None:
            raise rebuild(str(error.get("type")), str(error.get("message")))
        return Answer(answer.get("result"), file)

    def _exchange(
        self,
        request_id: int,
        frame: bytes,
        payload: BinaryIO | None,
        payload_bytes: int,
        into: BinaryIO | None,
    ) -> tuple[dict[str, Any], BinaryIO | None]:
        connection = self._connection()
        try:
            connection.send(frame, payload, payload_bytes)
            return connection.receive(request_id, into)
        except BaseException as error:
            # Half a question or half an answer is on the line: nobody may use it again.
            self._local.connection = None
            connection.close()
            if isinstance(error, (FrameError, ConnectionError)):
                raise self._gone(error) from error
            raise

    def _connection(self) -> _Connection:
        connection: _Connection | None = getattr(self._local, "connection", None)
        if connection is not None and connection.process_id == os.getpid():
            return connection
        if connection is not None:
            # Inherited through a fork: the parent goes on using it, here only our copy of the descriptor is closed.
            connection.close()
        try:
            connection = _Connection(self._path)
        except OSError as error:
            raise self._gone(error) from error
        self._local.connection = connection
        return connection

    def _gone(self, error: BaseException) -> AzureMLException:
        return RunEnvironmentException(
            f"the run's supervisor doesn't answer at {self._path} ({error}); it has ended, or this process outlived its step"
        )
