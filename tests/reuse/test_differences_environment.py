"""What changed in an environment, down to packages; values of variables are never shown."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_azureml.model.conda import CondaDependencies
from airflow_azureml.model.environment import Environment
from airflow_azureml.reuse.environment_differences import environment_differences


def environment(**changes: Any) -> Environment:
    made = Environment("training")
    values: dict[str, Any] = {"python_version": "3.11", "pip_packages": ["pandas==1.5.3", "numpy"], **changes}
    made.environment_variables = values.pop("variables", {})
    made.docker.base_image = values.pop("image", None)
    index = values.pop("index", None)
    made.python.conda_dependencies = CondaDependencies.create(**values)
    if index:
        made.python.conda_dependencies.set_pip_option(f"--index-url {index}")
    return made


def said(before: Any, after: Any) -> list[str]:
    found = environment_differences("1" * 64, "2" * 64, before, after)
    assert {item.code.value for item in found} == {"environment"}
    return [item.what for item in found]


CHANGES: list[tuple[dict[str, Any], list[str]]] = [
    (
        {"pip_packages": ["pandas==2.1.0", "numpy"]},
        ["environment: pandas==1.5.3 → pandas==2.1.0"],
    ),
    ({"pip_packages": ["pandas==1.5.3"]}, ["environment: numpy is gone"]),
    (
        {"pip_packages": ["pandas==1.5.3", "numpy", "Scikit_Learn>=1"]},
        ["environment: Scikit_Learn>=1 is new"],
    ),
    ({"python_version": "3.12"}, ["environment: Python: 3.11 → 3.12"]),
    ({"conda_packages": ["openssl=3"]}, ["environment: openssl=3 is new"]),
    ({"variables": {"TOKEN": "digest"}}, ["environment: variable TOKEN is new"]),
    ({"image": "ubuntu:22.04"}, ["environment: image: (none) → ubuntu:22.04"]),
    (
        {"index": "https://pypi.example.com"},
        ["environment: package index_url: (none) → https://pypi.example.com"],
    ),
    (
        {"python_version": "3.12", "pip_packages": ["pandas==2.1.0"]},
        [
            "environment: Python: 3.11 → 3.12",
            "environment: numpy is gone",
            "environment: pandas==1.5.3 → pandas==2.1.0",
        ],
    ),
]


@pytest.mark.parametrize(("changes", "sentences"), CHANGES)
def test_a_change_is_named(changes: dict[str, Any], sentences: list[str]) -> None:
    assert said(environment().specification(), environment(**changes).specification()) == sentences


def test_a_variable_is_named_without_its_value() -> None:
    one, other = (environment(variables={"TOKEN": value}).specification() for value in ("d1", "d2"))
    assert said(one, other) == ["environment: variable TOKEN changed"]
    assert said(one, environment().specification()) == ["environment: variable TOKEN is gone"]


def test_another_interpreter_is_named() -> None:
    one, other = (
        Environment.from_interpreter("mine", path).specification() for path in ("/a/python", "/b/python")
    )
    assert said(one, other) == ["environment: interpreter: /a/python → /b/python"]


def test_what_is_installed_beside_the_same_interpreter_is_all_that_is_left() -> None:
    same = Environment.from_interpreter("mine", "/a/python").specification()
    assert said(same, same) == ["environment: what is installed beside the interpreter /a/python changed"]


class TestWithStrict:
    def strict(self, packages: list[str] | None, platform: str = "linux-x86_64-py3.11") -> dict[str, Any]:
        return {**environment().specification(), "platform": platform, "packages": packages}

    def test_exact_packages_are_named(self) -> None:
        one, other = self.strict(["numpy==1.26", "six==1"]), self.strict(["numpy==2.0", "six==1"])
        assert said(one, other) == ["environment: numpy==1.26 → numpy==2.0"]

    def test_the_platform_is_named(self) -> None:
        assert said(self.strict([]), self.strict([], "darwin-arm64-py3.11")) == [
            "environment: platform: linux-x86_64-py3.11 → darwin-arm64-py3.11"
        ]

    def test_exact_packages_that_follow_from_what_is_declared_are_not(self) -> None:
        one = self.strict(["numpy==1.26"])
        other = {**environment(pip_packages=["pandas==2"]).specification()}
        other |= {"platform": one["platform"], "packages": ["numpy==2.0"]}
        assert said(one, other) == [
            "environment: numpy is gone",
            "environment: pandas==1.5.3 → pandas==2",
        ]

    @pytest.mark.parametrize(
        ("before", "after", "words"),
        [("off", "declared", "off → declared"), ("declared", "strict", "declared → strict")],
    )
    def test_another_policy_is_named(self, before: str, after: str, words: str) -> None:
        kinds = {"off": None, "declared": environment().specification(), "strict": self.strict([])}
        assert said(kinds[before], kinds[after]) == [f"environment: what counts of it (env): {words}"]


def test_what_nobody_can_name_is_told_by_digests() -> None:
    same = environment().specification()
    assert said(same, same) == ["the environment changed (11111111 → 22222222)"]


def test_an_equal_environment_has_no_differences() -> None:
    assert environment_differences("1", "1", None, environment().specification()) == []
