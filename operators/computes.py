"""Compute targets at definition time: whether there is such a target and a step can run on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_azureml.runtime.exceptions import ComputeTargetException, DefinitionError, UserErrorException

if TYPE_CHECKING:
    from airflow_azureml.operators.step import PipelineStep

LOCAL = "local"


def check_compute(step: PipelineStep, target: Any) -> None:
    """Check that a step can run on its compute target.

    :param target: a name, a compute object, or v1's ``(name, type)``.
    :raises DefinitionError: unknown, or of a kind that cannot run scripts.
    """
    name = target[0] if isinstance(target, tuple) and target else getattr(target, "name", target)
    if name == LOCAL:
        return
    from airflow_azureml.operators.services import workspace_of

    try:
        record = workspace_of(step).computes.get(str(name))
    except (ComputeTargetException, UserErrorException) as error:
        raise DefinitionError(f"{step.title}: argument compute_target: {error}") from None
    raise DefinitionError(
        f"{step.title}: argument compute_target is {name!r}, a {record.type}, which cannot run scripts here; "
        f"use {LOCAL!r}"
    )
