"""The supervisor's end of the run socket: a step's process asks, the run service answers.

The socket lies in a private folder of its own under a short path, because the address of a Unix socket has at most 108
bytes. Each connection has a thread. What comes in is not trusted: sizes are bounded before memory is reserved, bytes that
are no frame end the connection, an error in answering is an answer, and nothing a script sends ends the server.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import shutil
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, Self, cast

from airflow_azureml.runtime.exceptions import AzureMLException, UserErrorException, wire_name
from airflow_azureml.runtime.transport import (
    CHUNK_BYTES,
    Frame,
    FrameError,
    copy_exactly,
    measured,
    pack,
    read_frame,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from airflow_azureml.workspace.run_service_base import Reply

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 256
_LONGEST_PATH_BYTES = 100
_SOCKET_NAME = "run.sock"
_STOP_PATIENCE_S = 10.0
_LONGEST_MESSAGE = 50_000


class Dispatcher(Protocol):
    """What answers calls; see :class:`airflow_azureml.workspace.run_service.RunService`."""

    def dispatch(self, method: str, params: Mapping[str, Any], payload: BinaryIO | None = None) -> Reply:
        """Answer one call."""
        ...


class RunServer:
    """Serves one step. A context manager: it serves inside the ``with`` block and is gone after it.

    :param service: what answers.
    :param folder: an existing folder for the socket, such as one that is mounted into a container; default: a
        private temporary one.
    :raises UserErrorException: the path of the socket would be too long.
    """

    def __init__(self, service: Dispatcher, *, folder: Path | None = None) -> None:
        self._service = service
        self._own_folder = folder is None
        self._folder = _private_folder() if folder is None else folder
        self.path = self._folder / _SOCKET_NAME
        """The socket: the value of ``AZUREML_RUN_SOCKET``."""
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        try:
            self._listener = _listening(self.path)
        except BaseException:
            self._remove_files()
            raise
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._acceptor = threading.Thread(target=self._accept, name="run-server", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._acceptor.start()

    def stop(self) -> None:
        """Stop serving: calls under way are answered, then all connections and threads end. May be called twice."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._wake_sender.send(b".")
        deadline = time.monotonic() + _STOP_PATIENCE_S
        if self._acceptor.ident is not None:
            self._acceptor.join()
        self._listener.close()
        self._end_connections(deadline)
        self._wake_sender.close()
        self._wake_receiver.close()
        self._remove_files()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._wake_receiver, selectors.EVENT_READ)
            while not self._stopping.is_set():
                selector.select()
                if self._stopping.is_set():
                    return
                try:
                    connection, _ = self._listener.accept()
                except BlockingIOError:
                    continue
                except OSError as error:
                    # Out of descriptors: what is open goes on; a moment later there may be some again.
                    log.warning("The run socket cannot take a connection: %s", error)
                    self._stopping.wait(0.1)
                    continue
                self._begin(connection)

    def _begin(self, connection: socket.socket) -> None:
        connection.setblocking(True)
        thread = threading.Thread(target=self._serve, args=(connection,), name="run-connection", daemon=True)
        with self._lock:
            crowded = len(self._connections) >= MAX_CONNECTIONS
            if not crowded:
                self._connections[thread] = connection
        if crowded:
            log.warning("The step has %d connections open; one more is refused", MAX_CONNECTIONS)
            connection.close()
            return
        thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb", CHUNK_BYTES) as stream:
                while self._answer_one(connection, cast("BinaryIO", stream)):
                    pass
        except (OSError, FrameError):
            # The script has gone away, or stop() has ended the connection.
            log.debug("A run connection ended", exc_info=True)
        finally:
            with self._lock:
                self._connections.pop(threading.current_thread(), None)

    def _answer_one(self, connection: socket.socket, stream: BinaryIO) -> bool:
        """Answer one request; False when no more will come."""
        try:
            frame = read_frame(stream, "params")
        except FrameError as error:
            _send_error(connection, None, UserErrorException(f"not a request: {error}"))
            return False
        if frame is None:
            return False
        return self._answer(connection, frame, _Payload(stream, frame.payload_bytes or 0))

    def _answer(self, connection: socket.socket, frame: Frame, payload: _Payload) -> bool:
        given_id = frame.header.get("id")
        request_id = given_id if isinstance(given_id, int) else None
        try:
            reply = self._dispatch(frame, payload)
        except (AzureMLException, TypeError, ValueError) as error:
            return _settle(connection, request_id, payload, error)
        except FrameError:
            raise
        except Exception as error:
            log.exception("The run service failed at %r", frame.header.get("method"))
            failure = AzureMLException(f"the run service failed: {type(error).__name__}: {error}")
            return _settle(connection, request_id, payload, failure)
        with contextlib.ExitStack() as stack:
            file, size_bytes = None, 0
            if reply.payload is not None:
                file, size_bytes = stack.enter_context(measured(stack.enter_context(reply.payload)))
            payload.drain()
            _send_reply(connection, request_id, reply.result, file, size_bytes)
        return True

    def _dispatch(self, frame: Frame, payload: _Payload) -> Reply:
        method, params = frame.header.get("method"), frame.header.get("params", {})
        if not isinstance(method, str) or not isinstance(params, dict):
            raise UserErrorException("a request has a method, a text, and params, an object")
        stream = None if frame.payload_bytes is None else cast("BinaryIO", payload)
        return self._service.dispatch(method, params, stream)

    def _end_connections(self, deadline: float) -> None:
        with self._lock:
            open_now = dict(self._connections)
        for connection in open_now.values():
            # Nothing more is read, so that a call under way is the last one.
            _shut(connection, socket.SHUT_RD)
        for thread, connection in open_now.items():
            thread.join(max(0.0, (deadline - time.monotonic()) / 2))
            _shut(connection, socket.SHUT_RDWR)
            thread.join(max(0.1, deadline - time.monotonic()))
            if thread.is_alive():
                log.warning("A call of the step is still being answered after it has ended")

    def _remove_files(self) -> None:
        self.path.unlink(missing_ok=True)
        if self._own_folder:
            shutil.rmtree(self._folder, ignore_errors=True)


class _Payload:
    """The bytes that follow a request on its connection, as a stream that ends where they end."""

    def __init__(self, stream: BinaryIO, length: int) -> None:
        self._stream = stream
        self._left = length

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        if not wanted:
            return b""
        data = self._stream.read(wanted)
        if not data:
            raise FrameError(f"the connection ended {self._left} bytes too early")
        self._left -= len(data)
        return data

    def drain(self) -> None:
        """Read what nobody wanted, so that the next request is found."""
        copy_exactly(self._stream, None, self._left)
        self._left = 0


def _settle(connection: socket.socket, request_id: Any, payload: _Payload, error: Exception) -> bool:
    payload.drain()
    _send_error(connection, request_id, error)
    return True


def _send_error(connection: socket.socket, request_id: Any, error: Exception) -> None:
    message = {"type": wire_name(error), "message": str(error)[:_LONGEST_MESSAGE]}
    connection.sendall(pack({"id": request_id, "error": message}, "error"))


def _send_reply(
    connection: socket.socket, request_id: Any, result: Any, stream: BinaryIO | None, size_bytes: int
) -> None:
    header = {"id": request_id, "result": result}
    if stream is not None:
        header["payload_bytes"] = size_bytes
    try:
        frame = pack(header, "result")
    except UserErrorException as error:
        _send_error(connection, request_id, error)
        return
    connection.sendall(frame)
    left = size_bytes
    while stream is not None and left:
        chunk = stream.read(min(left, CHUNK_BYTES))
        if not chunk:
            # Too late for an error: the length is told already. Closing says it.
            raise OSError("the file became shorter while it was being sent")
        connection.sendall(chunk)
        left -= len(chunk)


def _listening(path: Path) -> socket.socket:
    if len(os.fsencode(path)) > _LONGEST_PATH_BYTES:
        raise UserErrorException(
            f"the run socket's path is too long ({path}); set TMPDIR to a shorter folder"
        )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(os.fspath(path))
        listener.listen(128)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _private_folder() -> Path:
    for place in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):  # noqa: S108 - see mkdtemp
        if place and os.access(place, os.W_OK | os.X_OK):
            # mkdtemp makes it for the owner alone.
            folder = Path(tempfile.mkdtemp(prefix="azml-", dir=place))
            if len(os.fsencode(folder / _SOCKET_NAME)) <= _LONGEST_PATH_BYTES:
                return folder
            folder.rmdir()
    raise UserErrorException(
        "no writable folder has a path short enough for the run socket; set TMPDIR to one"
    )


def _shut(connection: socket.socket, how: int) -> None:
    try:
        connection.shutdown(how)
    except OSError:
        # It has ended by itself.
        return
