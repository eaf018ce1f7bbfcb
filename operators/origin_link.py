"""The link from a reused step to the run that made its result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

from airflow_azureml import config

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class OriginLink(BaseOperatorLink):
    """Leads from a reused step to the origin run in the Airflow UI; from a step that ran it leads nowhere.

    Airflow asks for it when the task ends, in the process that ran the operator, and keeps the answer as an XCom.
    """

    name = "Reused from"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address; empty for a step that ran.

        :param operator: the operator; it has the reuse document as ``reuse_document``.
        """
        return origin_url(getattr(operator, "reuse_document", None))


LINK_KEY = OriginLink().xcom_key
"""The XCom in which Airflow keeps the address."""


def origin_url(document: Mapping[str, Any] | None) -> str:
    """Return the address of the run that made a reused result; empty when there is none, or nobody can tell.

    :param document: the reuse document of a step.
    """
    origin = (document or {}).get("origin")
    if not origin or (document or {}).get("decision") != "reuse":
        return ""
    server = _server_of(origin.get("writer") or config.deployment())
    return f"{server}/dags/{quote(origin['dag_id'])}/runs/{quote(origin['run_id'])}" if server else ""


def _server_of(deployment: str) -> str:
    """Return the address of a deployment: of this one, or of one that is called by its address."""
    if deployment == config.deployment():
        return config.base_url()
    return deployment.rstrip("/") if deployment.startswith(("http://", "https://")) else ""
