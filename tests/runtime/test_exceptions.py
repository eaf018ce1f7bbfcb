"""Errors keep their class and words, across the socket and across processes."""

from __future__ import annotations

import pickle

import pytest

from airflow_azureml.runtime import exceptions
from airflow_azureml.runtime.exceptions import (
    AzureMLException,
    ConditionFailed,
    DefinitionError,
    EnvironmentBuildError,
    ModelNotFoundException,
    ObjectNotFound,
    StepCanceled,
    StepFailed,
    UserErrorException,
    WebserviceException,
    rebuild,
    wire_name,
)

ALL = [
    kind
    for kind in vars(exceptions).values()
    if isinstance(kind, type) and issubclass(kind, AzureMLException)
]


@pytest.mark.parametrize("kind", ALL)
def test_every_class_crosses_the_socket(kind: type[AzureMLException]) -> None:
    back = rebuild(wire_name(kind("what happened")), "what happened")

    assert type(back) is kind
    assert str(back) == back.message == "what happened"


@pytest.mark.parametrize("error", [ValueError("x"), TypeError("x"), KeyError("x"), NotImplementedError("x")])
def test_some_builtins_cross_as_themselves(error: Exception) -> None:
    assert type(rebuild(wire_name(error), "x")) is type(error)


@pytest.mark.parametrize("error", [RuntimeError("x"), SystemExit("x"), KeyboardInterrupt()])
def test_others_become_the_base_class(error: BaseException) -> None:
    assert wire_name(error) == "AzureMLException"
    assert type(rebuild(type(error).__name__, "x")) is AzureMLException


@pytest.mark.parametrize("name", ["Any", "rebuild", "builtins", "", "os.system"])
def test_a_name_from_the_wire_makes_nothing_but_errors(name: str) -> None:
    assert type(rebuild(name, "x")) is AzureMLException


def test_a_class_of_another_module_crosses_as_its_nearest_known_base() -> None:
    class Special(WebserviceException):
        pass

    assert wire_name(Special()) == "WebserviceException"


def test_what_scripts_catch() -> None:
    assert issubclass(ModelNotFoundException, WebserviceException)
    assert issubclass(DefinitionError, UserErrorException)
    assert issubclass(DefinitionError, ValueError)


@pytest.mark.parametrize(
    "error",
    [
        ObjectNotFound("a/b"),
        ConditionFailed("a/b"),
        StepFailed("ended", exit_code=3),
        StepFailed("ended", signal=9),
        StepCanceled("stopped", reason="enough"),
        EnvironmentBuildError("no", log_tail="last line"),
    ],
)
def test_pickling_keeps_words_and_attributes(error: AzureMLException) -> None:
    back = pickle.loads(pickle.dumps(error))

    assert str(back) == str(error)
    assert vars(back) == vars(error)


def test_keywords_of_v1_are_accepted() -> None:
    assert str(AzureMLException("x", inner_exception=ValueError(), target="y")) == "x"
