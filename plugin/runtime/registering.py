"""What the ``Datastore.register_*`` methods have in common."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Mapping

from airflow_azureml.runtime import service
from airflow_azureml.runtime.exceptions import UserErrorException

if TYPE_CHECKING:
    from airflow_azureml.runtime.datastore import Datastore
    from airflow_azureml.runtime.workspace import Workspace


def register(
    workspace: Workspace | None,
    name: str,
    kind: str,
    container: str | None,
    account: str | None,
    claims: Mapping[str, object],
    **options: Any,
) -> Datastore:
    """Register a datastore behind a connection.

    :param kind: v1's word for its type.
    :param claims: what the caller says about account or server.
    :param options: further parameters of ``datastore.register``.
    :raises UserErrorException: inside a step, or whatever the service says.
    """
    if service.is_online():
        # Here already, so that no secret of the call goes anywhere.
        raise UserErrorException(
            "registering a datastore is not possible inside a step; do it where the pipeline is defined"
        )
    record = service.call(
        "datastore.register",
        name=name,
        kind=kind,
        container=container,
        account=account,
        claims={claim: str(value) for claim, value in claims.items() if value is not None},
        **options,
    )
    return datastore(record, workspace)


def datastore(record: Mapping[str, Any], workspace: Workspace | None) -> Datastore:
    """Return the object for a record."""
    from airflow_azureml.runtime.datastore import Datastore

    return Datastore.from_record(record, workspace)


def whole_server(name: str, endpoint: str | None) -> str:
    """Return a server with its domain, when that is given separately."""
    return "%s.%s" % (name, endpoint) if endpoint and "." not in name else name


def note_meaningless(**arguments: object) -> None:
    """Say which arguments of v1 change nothing here, of those that were given."""
    given = ", ".join(sorted(name for name, value in arguments.items() if value not in (None, False)))
    if given:
        warnings.warn(
            "Datastore.register_*: %s: nothing depends on it here, access is what the Airflow connection has"
            % given,
            stacklevel=3,
        )
