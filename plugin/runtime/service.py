"""Where the runtime's questions go: the supervising operator inside a step, the local workspace outside.

Everything of the runtime that needs the workspace asks through :func:`call`, so the same code runs in both places.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
from typing import TYPE_CHECKING, Any, BinaryIO, Iterator, Protocol, cast

from airflow_azureml.runtime.exceptions import RunEnvironmentException

if TYPE_CHECKING:
    from airflow_azureml.runtime.transport import Answer

SOCKET_VARIABLE = "AZUREML_RUN_SOCKET"
OFFLINE_SERVICE = "airflow_azureml.workspace.offline:create_service"
"""What answers outside a step. A dotted path, because the runtime is also where the rest of the package isn't."""


class Service(Protocol):
    """Answers questions; in this process or at the other end of a socket."""

    def request(
        self,
        method: str,
        params: dict[str, Any],
        payload: BinaryIO | bytes | None = None,
        into: BinaryIO | None = None,
    ) -> Answer:
        """Ask and wait for the answer; see :class:`airflow_azureml.runtime.transport.SocketService`."""
        ...


_lock = threading.Lock()
_services: dict[str, Service] = {}
_chosen: list[Service] = []


def is_online() -> bool:
    """Tell whether this process belongs to a step that is supervised."""
    return bool(os.environ.get(SOCKET_VARIABLE))


def current() -> Service:
    """Return the service of this process.

    :raises RunEnvironmentException: outside a step in an interpreter that has only the runtime.
    """
    if _chosen:
        return _chosen[-1]
    path = os.environ.get(SOCKET_VARIABLE, "")
    service = _services.get(path)
    if service is not None:
        return service
    with _lock:
        if path not in _services:
            _services[path] = _make(path)
        return _services[path]


@contextlib.contextmanager
def using(service: Service) -> Iterator[Service]:
    """Let another service answer inside a ``with`` block, in all threads of this process."""
    _chosen.append(service)
    try:
        yield service
    finally:
        _chosen.remove(service)


def call(method: str, /, payload: BinaryIO | bytes | None = None, **params: Any) -> Any:
    """Ask the service and return its result.

    :param method: such as ``run.log``; the methods are listed in ``airflow_azureml.workspace.run_service``.
    :param payload: bytes or a binary stream to send along.
    :param params: JSON values.
    :raises AzureMLException: of the class v1 raised in that case.
    """
    return current().request(method, params, payload).result


def call_with_payload(
    method: str, /, payload: BinaryIO | bytes | None = None, **params: Any
) -> tuple[Any, BinaryIO | None]:
    """Like :func:`call`, but return the file that came with the answer too, positioned at its start."""
    answer = current().request(method, params, payload)
    return answer.result, answer.payload


def call_into(method: str, into: BinaryIO, /, **params: Any) -> Any:
    """Like :func:`call`, but write the file that comes with the answer to ``into`` as it arrives."""
    return current().request(method, params, None, into).result


def _make(path: str) -> Service:
    if not path:
        return _offline()
    if "://" in path:
        raise RunEnvironmentException(
            f"{SOCKET_VARIABLE}={path}: only the path of a Unix socket is understood"
        )
    from airflow_azureml.runtime.transport import SocketService

    return SocketService(path)


def _offline() -> Service:
    module_name, _, function = OFFLINE_SERVICE.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("airflow_azureml"):
            raise
        raise RunEnvironmentException(
            "no run around this process and no local workspace either: this interpreter has only the runtime of "
            "airflow-azureml. Run the script as a step, or install airflow-azureml here"
        ) from error
    return cast("Service", getattr(module, function)())
