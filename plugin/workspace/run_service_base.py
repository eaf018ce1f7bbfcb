"""What the families of methods of the run service share."""

from __future__ import annotations

import dataclasses
import hashlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from airflow_azureml.runtime.exceptions import ConditionFailed, UserErrorException

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_azureml.workspace.dataset_files import DatasetFiles
    from airflow_azureml.workspace.handle import WorkspaceHandle
    from airflow_azureml.workspace.run_state import RunState


class Reply(NamedTuple):
    """The answer to a call.

    :param result: a JSON value.
    :param payload: a file to send along, which the receiver closes.
    """

    result: Any
    payload: BinaryIO | None


@dataclass(frozen=True, slots=True)
class ServiceContext:
    """What every family works on.

    :param workspace: the run's workspace.
    :param state: what the run has said so far.
    :param is_step: whether the caller is a step.
    :param data: finds and fetches the files of datasets.
    """

    workspace: WorkspaceHandle
    state: RunState
    is_step: bool
    data: DatasetFiles

    @property
    def viewer(self) -> str:
        """The run that asks: it sees its own registrations before they count."""
        return self.state.run_id

    def refuse_in_step(self, what: str) -> None:
        """Raise when the caller is a step.

        :param what: what it wanted, for the message.
        :raises UserErrorException: it is.
        """
        if self.is_step:
            raise UserErrorException(
                f"{what} is not possible inside a step; do it where the pipeline is defined"
            )


class Family:
    """Methods under one prefix; every public method of a subclass can be called from outside.

    :param context: what they work on.
    """

    def __init__(self, context: ServiceContext) -> None:
        self._context = context
        self._workspace = context.workspace
        self._state = context.state


def document(record: Any) -> dict[str, Any]:
    """Return a registry's record as a JSON document, its ``id`` among the fields when it has one."""
    fields = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    identity = getattr(record, "id", None)
    return fields if identity is None else {**fields, "id": identity}


def keep_model_file(context: ServiceContext, stream: BinaryIO) -> dict[str, Any]:
    """Store a model's file under its content, and return ``{"key", "size_bytes", "sha256"}``."""
    staged = context.state.staging.store("model file", stream)
    try:
        key = model_file_key(staged.sha256)
        # Where there is one already it is the same: the key is made of the content.
        with suppress(ConditionFailed):
            context.workspace.store.put_file(key, staged.path, if_absent=True)
    finally:
        staged.path.unlink(missing_ok=True)
    return {"key": key, "size_bytes": staged.size_bytes, "sha256": staged.sha256}


def model_file_key(sha256: str) -> str:
    """Return the key of a model's file.

    :raises UserErrorException: no SHA-256 in hex.
    """
    if len(sha256) != hashlib.sha256().digest_size * 2 or set(sha256) - set("0123456789abcdef"):
        raise UserErrorException("no such upload")
    return f"models/files/{sha256[:2]}/{sha256}"


def open_key(context: ServiceContext, key: str) -> BinaryIO:
    """Open an object so that its size can be told, copying it to a local file first where it isn't one."""
    place: Path | None = context.workspace.store.local_path(key)
    if place is not None:
        return context.workspace.store.open(key)
    with context.workspace.store.open(key) as stream:
        staged = context.state.staging.store(key, stream)
    file = staged.path.open("rb")
    # The descriptor keeps the bytes.
    staged.path.unlink()
    return file
