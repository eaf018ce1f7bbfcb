"""Numbers about reuse for Airflow's StatsD or OpenTelemetry.

================================  =======  ====================================================================
``azureml.reuse.hit``             counter  a step took an earlier result
``azureml.reuse.miss``            counter  a step ran; tag ``reason`` holds the code of the foremost reason
``azureml.reuse.wait``            counter  a step waited for a result that somebody else was computing
``azureml.reuse.waited``          timing   for how long, in milliseconds
``azureml.reuse.saved``           timing   what computing a reused result took, in milliseconds
``azureml.reuse.gate``            timing   what the decision took, in milliseconds
================================  =======  ====================================================================

All have the tags ``dag_id`` and ``task_id``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk.observability.stats import Stats

if TYPE_CHECKING:
    from airflow_azureml.compute.request import StepRequest

_PREFIX = "azureml.reuse"


def report(request: StepRequest, reuse: Mapping[str, Any], gate_s: float | None) -> None:
    """Count a reuse decision.

    :param request: the step.
    :param reuse: the reuse document.
    :param gate_s: how long the decision took.
    """
    tags = {"dag_id": request.identity.dag_id, "task_id": request.identity.task_id}
    if reuse["decision"] == "reuse":
        Stats.incr(f"{_PREFIX}.hit", tags=tags)
        _time("saved", reuse.get("saved_s"), tags)
    else:
        Stats.incr(f"{_PREFIX}.miss", tags={**tags, "reason": str(reuse["code"])})
    if reuse.get("waited_s") is not None:
        Stats.incr(f"{_PREFIX}.wait", tags=tags)
        _time("waited", reuse["waited_s"], tags)
    _time("gate", gate_s, tags)


def _time(name: str, seconds: float | None, tags: Mapping[str, str]) -> None:
    if seconds is not None:
        Stats.timing(f"{_PREFIX}.{name}", seconds * 1000, tags=dict(tags))
