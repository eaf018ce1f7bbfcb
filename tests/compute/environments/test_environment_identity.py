"""What a step's environment counts for in the key of its result."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_azureml.compute.environment_identity import EnvironmentIdentity, environment_identity
from airflow_azureml.compute.environments import EnvironmentCache, Interpreter
from airflow_azureml.model.environment import CondaDependencies, Environment
from airflow_azureml.reuse.secrecy import Secrecy

OPEN = Secrecy(lambda text: text, lambda: bytes(32))
SECRET = Secrecy(lambda text: text.replace("hunter2", "***").replace("s3cret", "***"), lambda: bytes(32))


@pytest.fixture
def leaf(wheels: Path) -> Environment:
    """An environment whose package has two versions, built from a folder of wheels."""
    made = Environment("leaf")
    made.python.conda_dependencies = CondaDependencies.create(pip_packages=["leaf"])
    made.python.conda_dependencies.set_pip_option("--no-index")
    made.python.conda_dependencies.set_pip_option(f"--find-links {wheels}")
    return made


def known(
    cache: EnvironmentCache,
    environment: Environment,
    scope: str = "strict",
    *,
    secrecy: Secrecy = OPEN,
    builds: bool = False,
) -> EnvironmentIdentity:
    def build(wanted: Environment) -> Interpreter:
        return cache.ensure(wanted, lambda _: None)

    return environment_identity(cache, environment, scope, secrecy, build if builds else None)


class TestDeclared:
    def test_is_what_was_declared_and_the_same_on_every_machine(
        self, tmp_path: Path, leaf: Environment, store: Any
    ) -> None:
        one, two = (EnvironmentCache(tmp_path / name, locks=store) for name in ("one", "two"))
        assert known(one, leaf, "declared") == known(two, leaf, "declared")
        assert known(one, leaf, "declared").digest == leaf.digest
        assert not store.objects
        assert not (tmp_path / "one").exists()

    def test_says_what_it_is_made_of_without_the_values_of_variables(
        self, cache: EnvironmentCache, leaf: Environment
    ) -> None:
        leaf.environment_variables = {"NAME": "value"}
        specification = known(cache, leaf, "declared").specification
        assert specification is not None
        assert "leaf" in specification["pip"]
        assert set(specification["environment_variables"]) == {"NAME"}
        assert "value" not in repr(list(specification["environment_variables"].values()))


class TestOff:
    def test_is_one_for_all(self, cache: EnvironmentCache, leaf: Environment) -> None:
        nowhere = Environment.from_interpreter("mine", "/nowhere/python")
        assert known(cache, leaf, "off") == known(cache, nowhere, "off")
        assert known(cache, leaf, "off").specification is None


class TestStrict:
    def test_is_the_same_before_and_after_the_first_build(
        self, tmp_path: Path, leaf: Environment, store: Any
    ) -> None:
        """Otherwise the first result could never be found."""
        one, two = (EnvironmentCache(tmp_path / name, locks=store) for name in ("one", "two"))
        first = known(one, leaf, builds=True)
        again = known(one, leaf, builds=True)
        looked = known(one, leaf)
        elsewhere = known(two, leaf)
        assert first == again == looked == elsewhere
        assert first.specification is not None
        assert first.specification["packages"] == ["leaf==1.1"]
        assert not (tmp_path / "two").exists()

    def test_is_none_that_is_ever_kept_while_nobody_has_built_it(
        self, cache: EnvironmentCache, leaf: Environment
    ) -> None:
        before = known(cache, leaf)
        after = known(cache, leaf, builds=True)
        assert before.digest != after.digest
        assert before.specification is not None
        assert before.specification["packages"] is None

    def test_follows_what_this_machine_has_rather_than_what_the_workspace_says(
        self, tmp_path: Path, leaf: Environment, store: Any
    ) -> None:
        one, two = (EnvironmentCache(tmp_path / name, locks=store) for name in ("one", "two"))
        known(one, leaf, builds=True)
        store.objects = dict.fromkeys(store.objects, b"leaf==1.0\n")
        assert known(one, leaf) != known(two, leaf)
        assert known(two, leaf) == known(two, leaf, builds=True)

    def test_depends_on_the_platform(
        self, cache: EnvironmentCache, leaf: Environment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here = known(cache, leaf)
        monkeypatch.setattr("platform.machine", lambda: "m68k")
        there = known(cache, leaf)
        assert here.digest != there.digest
        assert known(cache, leaf, "declared").digest == leaf.digest

    def test_needs_no_build_where_there_are_no_packages(self, cache: EnvironmentCache) -> None:
        plain = Environment.default()
        assert known(cache, plain) == known(cache, plain, builds=True)

    def test_of_an_interpreter_that_the_user_manages(self, cache: EnvironmentCache) -> None:
        mine = Environment.from_interpreter("mine", sys.executable)
        found = known(cache, mine)
        assert found == known(cache, mine, builds=True)
        assert found.digest != known(cache, mine, "declared").digest
        assert found.specification is not None
        assert found.specification["platform"].endswith(f"py3.{sys.version_info.minor}")


class TestSecretVariables:
    def digest(self, cache: EnvironmentCache, value: str, secrecy: Secrecy = SECRET) -> str:
        environment = Environment.default()
        environment.environment_variables = {"TOKEN": value, "PLAIN": "x"}
        return known(cache, environment, "declared", secrecy=secrecy).digest

    def test_count_by_a_keyed_digest(self, cache: EnvironmentCache) -> None:
        one = self.digest(cache, "hunter2")
        assert one == self.digest(cache, "hunter2") != self.digest(cache, "s3cret")
        assert one != self.digest(cache, "hunter2", OPEN)

    def test_have_other_digests_in_another_workspace(self, cache: EnvironmentCache) -> None:
        elsewhere = Secrecy(lambda text: text.replace("hunter2", "***"), lambda: bytes([1] * 32))
        assert self.digest(cache, "hunter2") != self.digest(cache, "hunter2", elsewhere)
