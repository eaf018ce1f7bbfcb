"""The service behind a script's ``Run``, ``Dataset``, ``Datastore``, ``Model``, ``Workspace`` and ``Experiment``.

One service stands for one run: a step's, behind its socket, or an offline one in the script's own process. A step may read
the whole workspace; it may write its own run, the runs below it, what it has to say on its parent, registrations
(which count when the step is committed) and files on datastores. It never makes the service open a path it names: files
travel as payload.

Methods are the public methods of the classes in :data:`FAMILIES`, such as ``run.log`` or ``model.get``; their parameters
are checked against their signatures before they run.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO

from airflow_azureml.runtime.exceptions import UserErrorException
from airflow_azureml.workspace.data_cache import DataCache
from airflow_azureml.workspace.dataset_files import DatasetFiles
from airflow_azureml.workspace.run_service_base import Family, Reply, ServiceContext
from airflow_azureml.workspace.run_service_data import DatastoreMethods
from airflow_azureml.workspace.run_service_datasets import DatasetMethods
from airflow_azureml.workspace.run_service_models import ModelMethods
from airflow_azureml.workspace.run_service_runs import RunMethods
from airflow_azureml.workspace.run_service_workspace import (
    ComputeMethods,
    ExperimentMethods,
    WorkspaceMethods,
)

if TYPE_CHECKING:
    from airflow_azureml.workspace.handle import WorkspaceHandle
    from airflow_azureml.workspace.run_state import RunState

FAMILIES: Mapping[str, type[Family]] = {
    "run": RunMethods,
    "model": ModelMethods,
    "dataset": DatasetMethods,
    "datastore": DatastoreMethods,
    "experiment": ExperimentMethods,
    "workspace": WorkspaceMethods,
    "compute": ComputeMethods,
}


class RunService:
    """Answers calls for one run; safe to call from many threads.

    :param workspace: the run's workspace.
    :param state: what the run has said so far.
    :param is_step: whether the caller is a step, with a step's rights; else it is the user's own process.
    :param data: finds and fetches the files of datasets; None to keep what is fetched for this run alone.
    """

    def __init__(
        self,
        workspace: WorkspaceHandle,
        state: RunState,
        *,
        is_step: bool = True,
        data: DatasetFiles | None = None,
    ) -> None:
        if data is None:
            data = _private_data(workspace, state)
        context = ServiceContext(workspace, state, is_step, data)
        self._methods = {
            f"{prefix}.{name}": _Method(f"{prefix}.{name}", function)
            for prefix, family in FAMILIES.items()
            for name, function in _public_methods(family(context))
        }

    @property
    def methods(self) -> list[str]:
        """The names of all methods."""
        return sorted(self._methods)

    def dispatch(self, method: str, params: Mapping[str, Any], payload: BinaryIO | None = None) -> Reply:
        """Answer one call.

        :param method: such as ``run.log``.
        :param params: JSON values by name.
        :param payload: the file that came along; read as far as it is needed.
        :raises UserErrorException: no such method, or parameters that don't fit it.
        :raises AzureMLException: whatever the method raises.
        """
        found = self._methods.get(method)
        if found is None:
            raise UserErrorException(
                f"the run service has no method {method!r}; is the step's runtime newer than Airflow's?"
            )
        return found(params, payload)


def _private_data(workspace: WorkspaceHandle, state: RunState) -> DatasetFiles:
    cache = DataCache(state.staging.path("data"), None)
    return DatasetFiles(workspace.datastores, cache, state.staging.path("datasets"))


class _Method:
    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self._name = name
        self._function = function

    # Looked at when first called: a script calls few of the methods, and every step waits for this service to start.
    @cached_property
    def _signature(self) -> inspect.Signature:
        return inspect.signature(self._function)

    @cached_property
    def _types(self) -> dict[str, tuple[type, ...] | None]:
        hints = typing.get_type_hints(self._function)
        return {name: _accepted(hint) for name, hint in hints.items() if name not in ("payload", "return")}

    def __call__(self, params: Mapping[str, Any], payload: BinaryIO | None) -> Reply:
        arguments = dict(params)
        # Never from the caller: a stream is not a JSON value.
        arguments.pop("payload", None)
        if "payload" in self._signature.parameters:
            if payload is None:
                raise UserErrorException(f"{self._name}: a file must come along")
            arguments["payload"] = payload
        try:
            self._signature.bind(**arguments)
        except TypeError as error:
            raise UserErrorException(f"{self._name}: {error}") from None
        for parameter, accepted in self._types.items():
            value = arguments.get(parameter)
            if parameter in arguments and accepted is not None and type(value) not in accepted:
                raise UserErrorException(f"{self._name}: {parameter} cannot be a {type(value).__name__}")
        result = self._function(**arguments)
        return result if isinstance(result, Reply) else Reply(result, None)


def _public_methods(family: Family) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name in vars(type(family)):
        if not name.startswith("_"):
            yield name, getattr(family, name)


def _accepted(hint: Any) -> tuple[type, ...] | None:
    """Return the JSON types a parameter may have, None for any."""
    if hint is Any:
        return None
    members = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return tuple(typing.get_origin(member) or member for member in members)
