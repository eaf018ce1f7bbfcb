"""The supervisor's end of the run socket: it answers, it bears anything, it ends."""

from __future__ import annotations

import io
import json
import os
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_azureml.compute import run_server
from airflow_azureml.compute.run_server import RunServer
from airflow_azureml.runtime.exceptions import (
    AzureMLException,
    RunEnvironmentException,
    UserErrorException,
    WebserviceException,
)
from airflow_azureml.runtime.transport import SocketService, pack, read_frame
from airflow_azureml.workspace.run_service_base import Reply


class Echo:
    """Does what it is asked."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.go_on = threading.Event()

    def dispatch(self, method: str, params: Mapping[str, Any], payload: BinaryIO | None = None) -> Reply:
        answer: Callable[[Mapping[str, Any], BinaryIO | None], Any] = getattr(self, method)
        found = answer(params, payload)
        return found if isinstance(found, Reply) else Reply(found, None)

    def echo(self, params: Mapping[str, Any], payload: BinaryIO | None) -> Any:
        return dict(params)

    def length(self, params: Mapping[str, Any], payload: BinaryIO | None) -> Any:
        total = 0
        while payload is not None and (chunk := payload.read(1000)):
            total += len(chunk)
        return None if payload is None else total

    def ignore(self, params: Mapping[str, Any], payload: BinaryIO | None) -> Any:
        return "ignored"

    def file(self, params: Mapping[str, Any], payload: BinaryIO | None) -> Any:
        return Reply("a file", io.BytesIO(b"x" * params["size"]))

    def fail(self, params: Mapping[str, Any], payload: BinaryIO | None) -> Any:
        raise {
            "user": WebserviceException("no such model"),
            "value": ValueError("bad"),
            "bug": ZeroDivisionError(),
        }[params["how"]]

    def not_json(self, params: Mapping[str, Any], payload: BinaryIO | None) -> Any:
        return object()

    def wait(self, params: Mapping[str, Any], payload: BinaryIO | None) -> Any:
        self.entered.set()
        self.go_on.wait(10)
        return "waited"


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def server(echo: Echo) -> Iterator[RunServer]:
    with RunServer(echo) as running:
        yield running
    assert [thread for thread in threading.enumerate() if thread.name.startswith("run-")] == []


@pytest.fixture
def client(server: RunServer) -> SocketService:
    return SocketService(str(server.path))


def raw(server: RunServer, data: bytes) -> dict[str, Any] | None:
    """Send bytes as they are, say that no more will come, and return the answer, if there is one."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(server.path))
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as stream:
            frame = read_frame(stream, "result")  # type: ignore[arg-type]
            return None if frame is None else frame.header


def test_the_socket_is_private(server: RunServer) -> None:
    folder = server.path.parent

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(os.fsencode(server.path)) <= 100


def test_a_long_temporary_folder_is_no_matter(
    echo: Echo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))

    with RunServer(echo) as running:
        assert len(os.fsencode(running.path)) <= 100
    assert list(long.iterdir()) == []


def test_a_given_folder_is_used_and_stays(
    echo: Echo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with RunServer(echo, folder=Path()) as running:
        assert SocketService(str(running.path)).request("echo", {}).result == {}
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserErrorException, match="too long"):
        RunServer(echo, folder=tmp_path / ("x" * 100))


def test_calls_are_answered(client: SocketService) -> None:
    assert client.request("echo", {"a": [1, "ü"]}).result == {"a": [1, "ü"]}
    assert client.request("length", {}).result is None
    assert client.request("length", {}, b"").result == 0
    assert client.request("length", {}, b"x" * 3_000_000).result == 3_000_000
    assert client.request("ignore", {}, b"x" * 3_000_000).result == "ignored"
    answer = client.request("file", {"size": 3_000_000})
    assert answer.payload is not None
    assert (answer.result, len(answer.payload.read())) == ("a file", 3_000_000)


def test_parameters_and_results_larger_than_a_header(client: SocketService) -> None:
    params = {"text": "x" * 5_000_000}

    assert client.request("echo", params).result == params


def test_errors_keep_their_class(client: SocketService) -> None:
    with pytest.raises(WebserviceException, match="no such model"):
        client.request("fail", {"how": "user"})
    with pytest.raises(ValueError, match="bad"):
        client.request("fail", {"how": "value"}, b"x" * 3_000_000)


def test_a_bug_in_answering_is_an_answer(client: SocketService, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(AzureMLException, match="the run service failed: ZeroDivisionError"):
        client.request("fail", {"how": "bug"})
    assert "ZeroDivisionError" in caplog.text
    with pytest.raises(UserErrorException, match="JSON"):
        client.request("not_json", {})

    assert client.request("echo", {}).result == {}


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"method": 5},
        {"method": "echo", "params": []},
        {"id": {"deep": 1}, "method": None},
        {"method": "nobody"},
    ],
)
def test_requests_that_make_no_sense(server: RunServer, header: dict[str, Any]) -> None:
    answer = raw(server, pack(header, "params"))

    assert answer is not None
    assert answer["error"]["message"]


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">I", 0),
        struct.pack(">I", 1 << 31),
        struct.pack(">I", 2) + b"[]",
        struct.pack(">I", 50) + b"{",
        struct.pack(">I", 20) + b'{"params_bytes": -1}',
    ],
)
def test_bytes_that_are_no_request_are_answered_and_end_the_connection(
    server: RunServer, data: bytes
) -> None:
    answer = raw(server, data)

    assert answer is not None
    assert "not a request" in answer["error"]["message"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.binary(max_size=200)
    | st.dictionaries(st.text(), st.integers() | st.text()).map(lambda d: pack(d, "p"))
)
def test_nothing_ends_the_server(server: RunServer, client: SocketService, data: bytes) -> None:
    raw(server, data)

    assert client.request("echo", {}).result == {}


def test_a_script_that_dies_while_it_uploads(server: RunServer, client: SocketService) -> None:
    header = json.dumps({"id": 1, "method": "length", "payload_bytes": 1000}).encode()

    assert raw(server, struct.pack(">I", len(header)) + header + b"too little") is None
    assert client.request("echo", {}).result == {}


def test_many_threads_at_once(server: RunServer) -> None:
    client = SocketService(str(server.path))
    seen: list[int] = []

    def ask(number: int) -> None:
        seen.extend(client.request("echo", {"n": number}).result["n"] for _ in range(20))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(seen) == sorted(list(range(20)) * 20)


def test_too_many_connections_are_refused(
    server: RunServer, client: SocketService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_server, "MAX_CONNECTIONS", 1)
    client.request("echo", {})

    with pytest.raises(RunEnvironmentException):
        SocketService(str(server.path)).request("echo", {})
    assert client.request("echo", {}).result == {}


def test_a_call_under_way_is_answered_before_the_end(echo: Echo) -> None:
    answers: list[Any] = []
    with RunServer(echo) as running:
        client = SocketService(str(running.path))
        asking = threading.Thread(target=lambda: answers.append(client.request("wait", {}).result))
        asking.start()
        echo.entered.wait(10)
        ending = threading.Thread(target=running.stop)
        ending.start()
        echo.go_on.set()
        ending.join(10)
        asking.join(10)

    assert answers == ["waited"]
    assert not running.path.exists()


def test_stopping_ends_idle_connections_at_once(echo: Echo) -> None:
    running = RunServer(echo)
    running.start()
    client = SocketService(str(running.path))
    client.request("echo", {})

    started = time.monotonic()
    running.stop()
    running.stop()

    assert time.monotonic() - started < 2
    assert not running.path.parent.exists()
    with pytest.raises(RunEnvironmentException, match="doesn't answer"):
        client.request("echo", {})


def test_a_server_that_never_started_can_be_stopped(echo: Echo) -> None:
    RunServer(echo).stop()
