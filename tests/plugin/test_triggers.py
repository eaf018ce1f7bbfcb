"""What waits in the triggerer: the event of each trigger, whatever happens to the store."""

import asyncio
import itertools
import threading
import time

import pytest
from airflow.models.trigger import Trigger

from airflow_azureml import triggers
from airflow_azureml.reuse.entries import Entry, EntryStore, HeadState
from airflow_azureml.reuse.leases import Holder, LeaseStore
from airflow_azureml.reuse.waiting import Found
from airflow_azureml.runtime.exceptions import StoreError
from airflow_azureml.triggers import PatientWatch, ResultTrigger, ReuseGateTrigger, StepReuseTrigger, pauses
from airflow_azureml.workspace.handle import open_workspace

KEY = "ab" * 32
POLL_S = 0.01


@pytest.fixture
def url(tmp_path):
    return str(tmp_path / "workspace")


@pytest.fixture
def entries(url):
    return EntryStore(open_workspace(url).store)


@pytest.fixture
def lease(url):
    return LeaseStore(open_workspace(url).store, 60).take(KEY, Holder("somebody"))


def result(key=KEY):
    return Entry(key, "run-1", "manual__1", "dag", "step", "2026-01-01T00:00:00+00:00", 1.0, {})


def event(trigger):
    """The one event of a trigger."""

    async def collect():
        return [item async for item in trigger.run()]

    (found,) = asyncio.run(asyncio.wait_for(collect(), 30))
    return found.payload


def soon(action):
    timer = threading.Timer(0.1, action)
    timer.start()
    return timer


@pytest.mark.parametrize(
    "trigger",
    [
        ResultTrigger("/workspace", KEY, 60.0, 2.0, 3),
        ReuseGateTrigger('{"schema":1}'),
        StepReuseTrigger("/workspace", {KEY: 3}, 60.0, 600.0, 12.5),
    ],
    ids=lambda trigger: type(trigger).__name__,
)
def test_airflow_builds_a_trigger_again_from_what_it_keeps(trigger):
    path, arguments = trigger.serialize()
    # Airflow has these names in its database.
    assert path == f"airflow_azureml.triggers.{type(trigger).__name__}"
    kept = Trigger.from_object(trigger).kwargs
    assert kept == arguments
    assert type(trigger)(**kept).serialize() == (path, arguments)


class TestWaitingForAResult:
    def test_ends_when_it_is_there(self, url, entries, lease):
        timer = soon(lambda: entries.remember(result(), replaces=None))
        assert event(ResultTrigger(url, KEY, 60, POLL_S)) == {"state": "available", "seen_expired": None}
        timer.join()

    def test_ends_when_it_is_there_already(self, url, entries):
        entries.remember(result(), replaces=None)
        assert event(ResultTrigger(url, KEY, 60, POLL_S))["state"] == "available"

    def test_ends_when_the_lease_is_given_back_without_a_result(self, url, lease):
        timer = soon(lease.release)
        assert event(ResultTrigger(url, KEY, 60, POLL_S))["state"] == "free"
        timer.join()

    def test_ends_when_nobody_renews_the_lease_and_says_which_one(self, url):
        LeaseStore(open_workspace(url).store, 0.3).take(KEY, Holder("dead"))
        begun = time.monotonic()
        found = event(ResultTrigger(url, KEY, 0.3, POLL_S))
        assert found["state"] == "free"
        # Before the clocks say so: whoever takes the lease over has to show what was seen.
        assert time.monotonic() - begun < 0.6
        lease = LeaseStore(open_workspace(url).store, 0.3).take(
            KEY, Holder("heir"), seen_expired=found["seen_expired"]
        )
        assert lease is not None

    def test_does_not_hold_up_others_in_the_triggerer(self, url, lease):
        async def both():
            trigger = ResultTrigger(url, KEY, 60, POLL_S)
            waiting = asyncio.ensure_future(anext(trigger.run()))
            ticks = 0
            for _ in range(20):
                await asyncio.sleep(0.005)
                ticks += 1
            assert not waiting.done()
            waiting.cancel()
            return ticks

        assert asyncio.run(both()) == 20

    def test_bears_with_a_store_that_is_down_for_a_while(self, url, monkeypatch):
        watch = PatientWatch(url, KEY, 60)
        answers = iter([StoreError("down"), OSError("down"), Found.HELD, StoreError("down"), Found.AVAILABLE])

        def look():
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(watch._watch, "look", look)
        looks = [watch.look() for _ in range(5)]
        assert looks == [Found.HELD, Found.HELD, Found.HELD, Found.HELD, Found.AVAILABLE]

    def test_ends_when_the_store_stays_down(self, url, lease, monkeypatch):
        def down(self, key):
            raise StoreError("down")

        monkeypatch.setattr(triggers, "STORE_PATIENCE_S", 0.05)
        monkeypatch.setattr(EntryStore, "find", down)
        assert event(ResultTrigger(url, KEY, 60, POLL_S))["state"] == "free"

    def test_looks_more_and_more_rarely_and_never_in_step_with_others(self):
        first, second = (list(itertools.islice(pauses(2), 12)) for _ in range(2))
        assert first != second
        assert 1.5 <= first[0] <= 2.5
        assert all(6 <= pause <= 10 for pause in first[6:])


class TestTheSensorsTrigger:
    def test_wakes_the_sensor_when_a_result_appears(self, url, entries):
        timer = soon(lambda: entries.remember(result(), replaces=None))
        assert event(StepReuseTrigger(url, {"cd" * 32: 0, KEY: 0}, POLL_S, 20, 1.0)) == {
            "state": "changed",
            "since": 1.0,
        }
        timer.join()

    def test_wakes_the_sensor_when_a_result_is_replaced_or_disowned(self, url, entries):
        entries.remember(result(), replaces=None)
        seen = triggers.generations(url, [KEY])
        assert seen == {KEY: 1}
        disown = lambda: entries.set_state(KEY, HeadState.INVALIDATED, generation=1, reason="", by="")  # noqa: E731
        timer = soon(disown)
        assert event(StepReuseTrigger(url, seen, POLL_S, 20, 1.0)) == {"state": "changed", "since": 1.0}
        timer.join()

    def test_wakes_the_sensor_now_and_then(self, url):
        assert event(StepReuseTrigger(url, {KEY: 0}, POLL_S, 0.1, 1.0)) == {
            "state": "look_again",
            "since": 1.0,
        }
        assert event(StepReuseTrigger(url, {}, POLL_S, 0.0, 1.0)) == {"state": "look_again", "since": 1.0}

    def test_bears_with_a_store_that_is_down(self, url, monkeypatch):
        def down(self, key):
            raise StoreError("down")

        monkeypatch.setattr(EntryStore, "find", down)
        assert event(StepReuseTrigger(url, {KEY: 0}, POLL_S, 0.1, 1.0)) == {
            "state": "look_again",
            "since": 1.0,
        }


class TestTheGatesTrigger:
    @pytest.mark.parametrize("gate", ["", "{}", "no JSON"])
    def test_sends_the_step_to_a_worker_whatever_goes_wrong(self, gate):
        found = event(ReuseGateTrigger(gate))
        assert found["state"] == "worker"
        assert found["reason"]
