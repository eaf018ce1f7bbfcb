"""What waits in Airflow's triggerer: for a result that is being computed, for a reuse decision, for a sensor's result.

Airflow keeps the class paths of triggers in its database: the names here stay. Everything that blocks runs in threads. None of
these triggers fails its task: whatever goes wrong, the task goes on in a worker, which decides by itself.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent

from airflow_azureml.reuse.entries import EntryStore
from airflow_azureml.reuse.leases import LeaseStore
from airflow_azureml.reuse.waiting import Found, ResultWatch
from airflow_azureml.runtime.exceptions import AzureMLException
from airflow_azureml.workspace.handle import open_workspace

STORE_PATIENCE_S = 300.0
"""For how long a store that cannot be read is asked again before the waiting ends."""

GROWTH = 1.5
SLOWEST = 4
"""How much longer each pause is than the one before, and how many times the first one it becomes at most."""

HANDOVER_S = 5.0
"""How long before Airflow takes a task away from the triggerer the gate gives it away itself."""

WORKER = "worker"
"""State of the event that sends a step on to a worker."""

_Answer = TypeVar("_Answer")

# Deciding may mean to hash much data: it must not hold up what other triggers do in threads.
_DECIDING = ThreadPoolExecutor(max_workers=4, thread_name_prefix="azureml-gate")


def pauses(poll_s: float) -> Iterator[float]:
    """Yield the seconds to wait between looks: growing, and never the same for all who wait."""
    pause = poll_s
    while True:
        yield pause * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load, hides nothing
        pause = min(pause * GROWTH, poll_s * SLOWEST)


class PatientWatch:
    """Looks for a result like :class:`ResultWatch`, and bears with a store that cannot be read for a while.

    :param workspace_url: the workspace.
    :param key: the action key.
    :param lease_ttl_s: the length of leases.
    :param refused: see :class:`ResultWatch`.
    """

    def __init__(self, workspace_url: str, key: str, lease_ttl_s: float, refused: int | None = None) -> None:
        store = open_workspace(workspace_url).store
        self._watch = ResultWatch(EntryStore(store), LeaseStore(store, lease_ttl_s), key, refused)
        self._unreadable_since: float | None = None

    @property
    def seen_expired(self) -> str | None:
        """Tag of the lease that was seen to expire, for whoever takes it over."""
        return self._watch.seen_expired

    def look(self) -> Found:
        """Look once; a store that is down for long counts as free, because the step then decides by itself."""
        try:
            found = self._watch.look()
        except (AzureMLException, OSError):
            since = self._unreadable_since = self._unreadable_since or time.monotonic()
            return Found.FREE if time.monotonic() - since > STORE_PATIENCE_S else Found.HELD
        self._unreadable_since = None
        return found


async def wait_for(watch: PatientWatch, poll_s: float) -> Found:
    """Return when there is a result or nobody computes it any more."""
    for pause in pauses(poll_s):
        found = await asyncio.to_thread(watch.look)
        if found is not Found.HELD:
            break
        await asyncio.sleep(pause)
    return found


class ResultTrigger(BaseTrigger):
    """Waits for a result that somebody else is computing.

    Its event is ``{"state": "available"}``, or ``{"state": "free"}`` when nobody computes it any more, with the tag of the lease
    that was seen to expire as ``seen_expired``.

    :param workspace_url: the workspace.
    :param key: the action key.
    :param lease_ttl_s: the length of leases.
    :param poll_s: seconds between two looks, at first.
    :param refused: generation of a result that is there and doesn't count for the step.
    """

    def __init__(
        self,
        workspace_url: str,
        key: str,
        lease_ttl_s: float,
        poll_s: float,
        refused: int | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow gives it no annotations
        self.workspace_url = workspace_url
        self.key = key
        self.lease_ttl_s = lease_ttl_s
        self.poll_s = poll_s
        self.refused = refused

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow builds the trigger from again."""
        return _described(self, ("workspace_url", "key", "lease_ttl_s", "poll_s", "refused"))

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event."""
        watch = await asyncio.to_thread(
            PatientWatch, self.workspace_url, self.key, self.lease_ttl_s, self.refused
        )
        found = await wait_for(watch, self.poll_s)
        yield TriggerEvent({"state": found.value, "seen_expired": watch.seen_expired})


class ReuseGateTrigger(BaseTrigger):
    """Decides in the triggerer whether a step runs; a result that is there ends the task without a worker.

    A result that is being computed elsewhere is waited for right here. Two triggerers may do this at the same time: what they
    write is the same.

    :param gate: the step, as :mod:`airflow_azureml.operators.triggerer_gate` describes it.
    """

    timeout_after: datetime | None = None
    """When Airflow takes the task away; the triggerer sets it."""

    def __init__(self, gate: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow gives it no annotations
        self.gate = gate

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow builds the trigger from again."""
        return _described(self, ("gate",))

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the end of the task, or an event that sends it on to a worker."""
        try:
            event = await asyncio.wait_for(self._decide(), self._time_left())
        except TimeoutError:
            event = _to_worker("there was no decision in time")
        except Exception as error:  # noqa: BLE001 - a step never fails for a decision that could not be made
            event = _to_worker(f"{type(error).__name__}: {error}")
        yield event

    async def _decide(self) -> TriggerEvent:
        from airflow_azureml.operators.triggerer_gate import decide

        since: float | None = None
        while True:
            waited_s = None if since is None else time.monotonic() - since
            answer = await _in_thread(decide, self.gate, self.task_instance, self.log, waited_s)
            if answer.is_reused:
                return TaskSuccessEvent()
            busy = answer.in_progress
            if busy is None:
                return _to_worker(answer.reason, waited_s)
            since = since or time.monotonic()
            watch = await asyncio.to_thread(
                PatientWatch, answer.workspace_url, busy.key, busy.lease.ttl_s, busy.refused
            )
            if await wait_for(watch, answer.poll_s) is Found.FREE:
                reason = "nobody computes the result any more"
                return _to_worker(reason, time.monotonic() - since, watch.seen_expired)

    def _time_left(self) -> float | None:
        if self.timeout_after is None:
            return None
        end = self.timeout_after.replace(tzinfo=self.timeout_after.tzinfo or UTC)
        return max((end - datetime.now(UTC)).total_seconds() - HANDOVER_S, 0.0)


class StepReuseTrigger(BaseTrigger):
    """Wakes a sensor when a result appears or goes under one of the keys it waits for, and now and then.

    Now and then, because the keys themselves change with code and data; the sensor looks again in a worker, where the pipeline's
    file can be read. The event is ``{"state": "changed"}`` or ``{"state": "look_again"}``, with ``since``.

    :param workspace_url: the workspace.
    :param seen: action key to the generation of the entry that counted when the sensor looked, 0 for none.
    :param poll_s: seconds between two looks.
    :param look_again_s: seconds after which the sensor looks again anyway.
    :param since: when the sensor began to wait, seconds since the epoch; comes back in the event.
    """

    def __init__(
        self, workspace_url: str, seen: dict[str, int], poll_s: float, look_again_s: float, since: float
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow gives it no annotations
        self.workspace_url = workspace_url
        self.seen = seen
        self.poll_s = poll_s
        self.look_again_s = look_again_s
        self.since = since

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow builds the trigger from again."""
        return _described(self, ("workspace_url", "seen", "poll_s", "look_again_s", "since"))

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event."""
        until = time.monotonic() + self.look_again_s
        state = "look_again"
        while time.monotonic() < until:
            if await asyncio.to_thread(self._has_changed):
                state = "changed"
                break
            await asyncio.sleep(min(self.poll_s * random.uniform(0.75, 1.25), self.look_again_s))  # noqa: S311
        yield TriggerEvent({"state": state, "since": self.since})

    def _has_changed(self) -> bool:
        try:
            return generations(self.workspace_url, self.seen) != self.seen
        except (AzureMLException, OSError):
            return False


def generations(workspace_url: str, keys: Iterable[str]) -> dict[str, int]:
    """Return key to the generation of the entry that counts, 0 for none.

    :raises StoreError: the store can't be read now.
    """
    entries = EntryStore(open_workspace(workspace_url).store)
    found = {key: entries.find(key) for key in keys}
    return {key: entry.generation if entry else 0 for key, entry in found.items()}


def _described(trigger: BaseTrigger, names: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    cls = type(trigger)
    return f"{cls.__module__}.{cls.__qualname__}", {name: getattr(trigger, name) for name in names}


def _to_worker(reason: str, waited_s: float | None = None, seen_expired: str | None = None) -> TriggerEvent:
    return TriggerEvent(
        {"state": WORKER, "reason": reason, "waited_s": waited_s, "seen_expired": seen_expired}
    )


async def _in_thread(function: Callable[..., _Answer], *arguments: Any) -> _Answer:
    # With the context of the trigger, so that what is logged there reaches the log of its task.
    call = partial(contextvars.copy_context().run, function, *arguments)
    return await asyncio.get_running_loop().run_in_executor(_DECIDING, call)
