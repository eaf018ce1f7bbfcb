"""Work on many files at once: many small ones, a few large ones beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

_AHEAD_PER_THREAD = 3
_LOOK_UP_EVERY_S = 0.2

Job = TypeVar("Job")
Answer = TypeVar("Answer")


@dataclass(slots=True)
class _Lane(Generic[Job]):
    jobs: Iterator[Job]
    pool: ThreadPoolExecutor
    ahead: int
    open: bool = True
    under_way: int = 0


class Lanes(Generic[Job, Answer]):
    """Several queues of jobs, each with threads of its own. Jobs are taken from their iterators only as they are needed.

    :param work: what is done with a job, in some thread.
    :param lanes: the jobs of each lane, and how many threads it has.
    """

    def __init__(self, work: Callable[[Job], Answer], lanes: Sequence[tuple[Iterator[Job], int]]) -> None:
        self._work = work
        self._lanes = [
            _Lane(
                jobs, ThreadPoolExecutor(threads, thread_name_prefix="transfer"), threads * _AHEAD_PER_THREAD
            )
            for jobs, threads in lanes
        ]
        self._finished: SimpleQueue[tuple[_Lane[Job], Job, Answer | BaseException]] = SimpleQueue()

    def outcomes(self) -> Iterator[tuple[Job, Answer | BaseException] | None]:
        """Walk what comes of the jobs, in the order of their ends; None from time to time while nothing ends."""
        while self._fill():
            try:
                lane, job, answer = self._finished.get(timeout=_LOOK_UP_EVERY_S)
            except Empty:
                yield None
                continue
            lane.under_way -= 1
            yield job, answer

    def stop(self) -> None:
        """Begin no more jobs; those under way still come out of :meth:`outcomes`."""
        for lane in self._lanes:
            lane.open = False

    def close(self) -> None:
        """Wait for the threads to end."""
        self.stop()
        for lane in self._lanes:
            lane.pool.shutdown(wait=True)

    def _fill(self) -> bool:
        return sum(self._fill_lane(lane) for lane in self._lanes) > 0

    def _fill_lane(self, lane: _Lane[Job]) -> int:
        while lane.open and lane.under_way < lane.ahead:
            try:
                job = next(lane.jobs)
            except StopIteration:
                lane.open = False
                break
            lane.pool.submit(self._do, lane, job)
            lane.under_way += 1
        return lane.under_way

    def _do(self, lane: _Lane[Job], job: Job) -> None:
        try:
            answer: Answer | BaseException = self._work(job)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the thread that asked for it decides
            answer = error
        self._finished.put((lane, job, answer))
