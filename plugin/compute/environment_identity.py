"""What a step's environment counts for in the key of its result.

With ``env="declared"`` that is what was declared: requirements, Python version, image, variables. Two machines that resolved the
same requirements at different times share results.

With ``env="strict"`` it is also the platform and the exact packages. Those are only known once somebody has built the
environment, and a key that changed with the first build could never be found again. So the packages are settled *before* the key
is made: they are those of the environment on this machine, else those that the workspace has from the first machine that built
it (which any further build installs), and if there are neither, the environment is built first. A step that may not build,
because it only looks or decides in the triggerer, gets an identity instead under which nothing is ever kept: it finds no result.
There is none either, unless the packages could not be shared (conda, paths of one machine) and this machine lacks them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_azureml.model.canonical import digest_of
from airflow_azureml.reuse.policy import EnvironmentScope
from airflow_azureml.reuse.secrecy import Secrecy

if TYPE_CHECKING:
    from airflow_azureml.compute.environments import EnvironmentCache, Interpreter
    from airflow_azureml.model.environment import Environment

ANY = digest_of({"environment": "any"})
"""What every environment is known by with ``env="off"``."""

Build = Callable[["Environment"], "Interpreter"]
"""Makes an environment, see :meth:`EnvironmentCache.ensure`."""


@dataclass(frozen=True, slots=True)
class EnvironmentIdentity:
    """What an environment is known by.

    :param digest: what enters the key.
    :param specification: what it is made of, for explanations: as ``Environment.specification()`` has it, but with keyed digests
        for the values of variables; with ``strict`` also ``platform`` and ``packages``. ``None`` with ``off``.
    """

    digest: str
    specification: Mapping[str, Any] | None = None


def environment_identity(
    environments: EnvironmentCache,
    environment: Environment,
    scope: str,
    secrecy: Secrecy,
    build: Build | None = None,
) -> EnvironmentIdentity:
    """Return what a step's environment counts for.

    :param environments: the interpreters of this machine.
    :param environment: the step's.
    :param scope: the policy's ``env``.
    :param secrecy: variables with a secret in them count by a keyed digest.
    :param build: makes the environment where that is the only way to know its packages; ``None`` to look only.
    :raises EnvironmentBuildError: there is no such user-managed interpreter, or the environment cannot be built.
    """
    if scope == EnvironmentScope.OFF:
        return EnvironmentIdentity(ANY)
    declared = _declared(environments, environment, secrecy)
    specification = _without_values(environment.specification(), secrecy)
    if scope != EnvironmentScope.STRICT:
        return EnvironmentIdentity(declared, specification)
    exact = {
        "platform": environments.platform(environment),
        "packages": _packages(environments, environment, build),
    }
    return EnvironmentIdentity(
        digest_of({"scope": "strict", "declared": declared, **exact}), {**specification, **exact}
    )


def _declared(environments: EnvironmentCache, environment: Environment, secrecy: Secrecy) -> str:
    secret = {
        name: secrecy.digest(str(value))
        for name, value in environment.environment_variables.items()
        if secrecy.finds(str(value))
    }
    if not secret:
        return environments.identity(environment)
    # Even inside a digest, a password as it is could be found by trying.
    public = environment.clone(environment.name)
    for name in secret:
        del public.environment_variables[name]
    return digest_of({"environment": environments.identity(public), "secrets": secret})


def _without_values(specification: Mapping[str, Any], secrecy: Secrecy) -> dict[str, Any]:
    variables = specification["environment_variables"]
    hidden = {name: secrecy.digest(value) for name, value in variables.items()}
    return {**specification, "environment_variables": hidden}


def _packages(
    environments: EnvironmentCache, environment: Environment, build: Build | None
) -> list[str] | None:
    known = environments.known_packages(environment)
    if known is None and build is not None:
        with build(environment) as interpreter:
            known = interpreter.lock
    return None if known is None else known.splitlines()
