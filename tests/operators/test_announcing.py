"""The reuse decision reaches Airflow while the script runs."""

import threading

import pytest

from airflow_azureml.operators.announcing import ReuseXCom


class TaskInstance:
    def __init__(self, problem=None):
        self.pushed = {}
        self.may_go_on = threading.Event()
        self._problem = problem

    def xcom_push(self, key, value):
        self.may_go_on.wait(10)
        if self._problem:
            raise self._problem
        self.pushed[key] = value


def decide(ti, problem=None):
    with ReuseXCom(ti) as xcom:
        xcom.push({"code": "NEW"})
        if problem:
            raise problem


def test_it_is_pushed_without_waiting_for_airflow():
    ti = TaskInstance()
    with ReuseXCom(ti) as xcom:
        xcom.push({"code": "NEW"})
        assert ti.pushed == {}
        ti.may_go_on.set()
    assert ti.pushed == {"reuse": {"code": "NEW"}}


def test_it_is_pushed_for_a_step_that_fails():
    ti = TaskInstance()
    ti.may_go_on.set()
    with pytest.raises(RuntimeError, match="the script failed"):
        decide(ti, RuntimeError("the script failed"))
    assert ti.pushed


def test_a_push_that_fails_fails_the_step():
    ti = TaskInstance(problem=ConnectionError("no API server"))
    ti.may_go_on.set()
    with pytest.raises(ConnectionError):
        decide(ti)


def test_a_push_that_fails_does_not_hide_why_the_step_failed():
    ti = TaskInstance(problem=ConnectionError("no API server"))
    ti.may_go_on.set()
    with pytest.raises(RuntimeError, match="the script failed"):
        decide(ti, RuntimeError("the script failed"))


def test_a_step_that_never_came_to_a_decision_pushes_nothing():
    ti = TaskInstance()
    with ReuseXCom(ti):
        pass
    assert ti.pushed == {}
