"""Tells Airflow the reuse decision while the script runs."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from airflow.sdk.types import RuntimeTaskInstanceProtocol

KEY = "reuse"


class ReuseXCom:
    """Pushes a step's reuse decision as XCom ``reuse``, in a thread of its own.

    People see why a step runs while it does, also when it fails in the end, and nothing waits for Airflow's API server.
    Used as a context around the execution of the step; when that ends well, a push that failed is raised.

    :param ti: Airflow's task instance.
    """

    def __init__(self, ti: RuntimeTaskInstanceProtocol) -> None:
        self._ti = ti
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reuse-xcom")
        self._pushed: Future[Any] | None = None

    def push(self, decision: dict[str, Any]) -> None:
        """Start pushing the decision."""
        self._pushed = self._thread.submit(self._ti.xcom_push, KEY, decision)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown()
        if error is None and self._pushed is not None:
            self._pushed.result()
