"""Frames, and the client's end of the socket."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_azureml.runtime import service
from airflow_azureml.runtime.exceptions import (
    AzureMLException,
    ObjectNotFound,
    RunEnvironmentException,
    UserErrorException,
)
from airflow_azureml.runtime.transport import (
    MAX_HEADER_BYTES,
    FrameError,
    SocketService,
    measured,
    pack,
    read_frame,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.text().filter(lambda key: not key.endswith("_bytes")), JSON))
def test_a_frame_comes_back_as_it_went(header: dict[str, Any]) -> None:
    stream = io.BytesIO(pack(header, "params") + b"next")

    frame = read_frame(stream, "params")

    assert frame is not None
    assert frame.header == header
    assert frame.payload_bytes is None
    assert stream.read() == b"next"


@given(st.binary())
def test_whatever_comes_is_a_frame_an_end_or_an_error(data: bytes) -> None:
    try:
        frame = read_frame(io.BytesIO(data), "params")
    except FrameError:
        return
    assert (frame is None) == (not data)


@given(st.binary(max_size=40), st.integers(0, 50))
def test_a_frame_cut_short_is_an_error(payload: bytes, cut: int) -> None:
    whole = pack({"id": 1, "params": {"data": payload.hex()}}, "params")
    part = whole[: min(cut + 1, len(whole) - 1)]

    with pytest.raises(FrameError):
        read_frame(io.BytesIO(part), "params")


def test_large_parameters_go_behind_the_header() -> None:
    params = {"text": "x" * (2 * MAX_HEADER_BYTES)}

    data = pack({"id": 7, "method": "m", "params": params}, "params")
    frame = read_frame(io.BytesIO(data), "params")

    assert struct.unpack(">I", data[:4])[0] < 100
    assert frame is not None
    assert frame.header == {"id": 7, "method": "m", "params": params}


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"5",
        b"{",
        b"\xff",
        b'{"payload_bytes": -1}',
        b'{"payload_bytes": true}',
        b'{"payload_bytes": "9"}',
        b'{"params_bytes": 1e3}',
        b'{"params_bytes": 999999999999}',
        b"[" * 100_000,
    ],
)
def test_hostile_headers(header: bytes) -> None:
    with pytest.raises(FrameError):
        read_frame(io.BytesIO(struct.pack(">I", len(header)) + header), "params")


def test_an_announced_gigabyte_is_refused_before_it_is_read() -> None:
    with pytest.raises(FrameError, match="at most"):
        read_frame(io.BytesIO(struct.pack(">I", 1 << 30)), "params")


@pytest.mark.parametrize("value", [object(), float("nan"), {1, 2}])
def test_what_json_cannot_carry_is_the_users_error(value: object) -> None:
    with pytest.raises(UserErrorException, match="cannot be sent as JSON"):
        pack({"params": {"value": value}}, "params")


@given(st.binary(), st.integers(0, 20))
def test_payloads_count_from_where_they_stand(data: bytes, start: int) -> None:
    stream = io.BytesIO(data)
    stream.seek(min(start, len(data)))
    with measured(stream) as (found, size):
        assert (found.read(), size) == (data[start:], len(data[start:]))


Answer = Callable[[dict[str, Any]], bytes]


class Peer:
    """A server that answers with the bytes it is told to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answer: Answer = lambda header: reply(header["id"], result=header)
        self.hangs_up = False
        self.accepted = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._closing:
                connection.close()
                return
            self.accepted += 1
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    _closing = False

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            while (frame := read_frame(stream, "params")) is not None:  # type: ignore[arg-type]
                stream.read(frame.payload_bytes or 0)
                answer = self.answer(frame.header)
                with contextlib.suppress(OSError):
                    connection.sendall(answer)
                if self.hangs_up:
                    return

    def close(self) -> None:
        self._closing = True
        with socket.socket(socket.AF_UNIX) as waker:
            waker.connect(str(self.path))
        self._threads[0].join()
        self._listener.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()


def reply(request_id: Any, payload: bytes | None = None, **fields: Any) -> bytes:
    header = {"id": request_id, **fields}
    if payload is not None:
        header["payload_bytes"] = len(payload)
    return pack(header, "result") + (payload or b"")


@pytest.fixture
def peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Peer]:
    monkeypatch.chdir(tmp_path)
    running = Peer(Path("peer.sock"))
    yield running
    running.close()


@pytest.fixture
def client(peer: Peer) -> SocketService:
    return SocketService(str(peer.path))


def test_a_call_and_its_answer(client: SocketService) -> None:
    answer = client.request("run.log", {"name": "a", "path": os.fsdecode(b"\xff")})

    assert answer.result["method"] == "run.log"
    assert answer.result["params"] == {"name": "a", "path": "\udcff"}


def test_errors_are_raised_under_their_class(client: SocketService, peer: Peer) -> None:
    peer.answer = lambda header: reply(header["id"], error={"type": "ObjectNotFound", "message": "no object"})
    with pytest.raises(ObjectNotFound, match=r"^no object$"):
        client.request("x", {})

    peer.answer = lambda header: reply(header["id"], error={"type": "Nonsense"})
    with pytest.raises(AzureMLException):
        client.request("x", {})


def test_files_come_along(client: SocketService, peer: Peer, tmp_path: Path) -> None:
    peer.answer = lambda header: reply(header["id"], payload=b"content", result=None)

    answer = client.request("x", {})
    assert answer.payload is not None
    assert answer.payload.read() == b"content"

    with (tmp_path / "into").open("wb") as into:
        assert client.request("x", {}, into=into).payload is None
    assert (tmp_path / "into").read_bytes() == b"content"


@pytest.mark.parametrize(
    "answer",
    [
        lambda header: b"",
        lambda header: b"\0\0\0\4",
        lambda header: b"\xff\xff\xff\xff",
        lambda header: reply(header["id"] + 1, result=5),
        lambda header: reply(header["id"], result=5, payload=b"x" * 10)[:-3],
    ],
)
def test_a_peer_that_talks_nonsense_or_leaves(client: SocketService, peer: Peer, answer: Answer) -> None:
    peer.answer, peer.hangs_up = answer, True
    with pytest.raises(RunEnvironmentException, match="doesn't answer"):
        client.request("x", {})

    # The next call starts over with a connection of its own.
    peer.answer = lambda header: reply(header["id"], result="fine")
    assert client.request("x", {}).result == "fine"


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(RunEnvironmentException, match="doesn't answer"):
        SocketService(str(tmp_path / "nobody.sock")).request("x", {})


def test_one_connection_per_thread(client: SocketService, peer: Peer) -> None:
    def ask() -> None:
        for _ in range(3):
            client.request("x", {})

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert peer.accepted == 3


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_a_connection_of_its_own(client: SocketService, peer: Peer) -> None:
    client.request("x", {})

    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if client.request("y", {}).result["method"] == "y" else 1)
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert client.request("x", {}).result["method"] == "x"
    assert peer.accepted == 2


def test_a_file_that_shrinks_while_it_is_sent_is_an_error(client: SocketService) -> None:
    class Shrinking(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return b""

    with pytest.raises(AzureMLException, match="became shorter"):
        client.request("x", {}, Shrinking(b"content"))


def test_only_unix_sockets_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZUREML_RUN_SOCKET", "tcp://somewhere:1")

    with pytest.raises(RunEnvironmentException, match="only the path of a Unix socket"):
        service.current()


def test_without_the_rest_of_the_package_there_is_no_offline_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "OFFLINE_SERVICE", "airflow_azureml.not_shipped:create_service")

    with pytest.raises(RunEnvironmentException, match="only the runtime"):
        service.current()


def test_json_of_a_reply_is_plain() -> None:
    data = reply(1, result={"a": [1, None, "ü"]})

    assert json.loads(data[4:]) == {"id": 1, "result": {"a": [1, None, "ü"]}}
